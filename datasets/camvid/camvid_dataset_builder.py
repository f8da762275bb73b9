"""CamVid with the 11 classes and the split of SegNet, as a TensorFlow Datasets builder.

    python scripts/prepare.py camvid --source ROOT --data_dir DIR

ROOT holds train/, trainannot/ and so on, or images/train/, labels/train/ and so on.
"""

from collections.abc import Iterator

import tensorflow_datasets as tfds

from arm_jax.data import builders
from arm_jax.data.official import CAMVID


class Builder(tfds.core.GeneratorBasedBuilder):
    """Image, fine label, and id."""

    name = "camvid"
    progress = True  # whether to show bars
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Fetch CamVid as it is distributed with SegNet."
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = (tfds.core.BuilderConfig(name="segnet", description="train, val and test"),)

    def _info(self) -> tfds.core.DatasetInfo:
        return builders.information(
            self,
            CAMVID.classes,
            ("fine",),
            description="CamVid: frames of drives through Cambridge with labels of 11 classes.",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        root = builders.manual_folder(dl_manager)
        return {split: self._generate_examples(root, split) for split in CAMVID.splits}

    def _generate_examples(self, root, split: str) -> Iterator[tuple[int, dict]]:
        sources = {"fine": CAMVID.open(root, split)}
        return builders.examples(f"{self.name} {split}", sources, self.progress)
