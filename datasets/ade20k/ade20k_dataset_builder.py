"""ADE20K's scene parsing benchmark, as a TensorFlow Datasets builder.

    python scripts/prepare.py ade20k --source ROOT --data_dir DIR

ROOT is ADEChallengeData2016, or the folder that it or its zip lies in.
"""

from collections.abc import Iterator

import tensorflow_datasets as tfds

from arm_jax.data import builders
from arm_jax.data.official import ADE20K


class Builder(tfds.core.GeneratorBasedBuilder):
    """Image as its JPEG, fine label, and id."""

    name = "ade20k"
    progress = True  # whether to show bars
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Fetch ADEChallengeData2016.zip of the scene parsing benchmark."
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = (tfds.core.BuilderConfig(name="benchmark", description="train and val"),)

    def _info(self) -> tfds.core.DatasetInfo:
        return builders.information(
            self,
            ADE20K.classes,
            ("fine",),
            description="ADE20K: scenes of all kinds with pixel labels of 150 classes.",
            image="jpeg",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        root = builders.manual_folder(dl_manager)
        return {split: self._generate_examples(root, split) for split in ADE20K.splits}

    def _generate_examples(self, root, split: str) -> Iterator[tuple[int, dict]]:
        sources = {"fine": ADE20K.open(root, split)}
        return builders.examples(f"{self.name} {split}", sources, self.progress)
