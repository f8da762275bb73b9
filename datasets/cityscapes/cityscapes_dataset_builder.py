"""Cityscapes with the fine and the coarse label of each image, as a TensorFlow Datasets builder.

    python scripts/prepare.py cityscapes --source ROOT --data_dir DIR [--config coarse]

ROOT holds leftImg8bit/, gtFine/ and gtCoarse/, or the zips as they come.
"""

import dataclasses
from collections.abc import Iterator

import tensorflow_datasets as tfds

from arm_jax.data import builders, cityscapes
from arm_jax.data.labels import CITYSCAPES


@dataclasses.dataclass
class Labels(tfds.core.BuilderConfig):
    """The kinds of label, and the splits that have them all."""

    kinds: tuple[str, ...] = ("fine", "coarse")
    splits: tuple[str, ...] = ("train", "val")


class Builder(tfds.core.GeneratorBasedBuilder):
    """Image, label of each kind, and id (city/city_sequence_frame)."""

    name = "cityscapes"
    progress = True  # whether to show bars
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Register at cityscapes-dataset.com and fetch the packages."
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = (
        Labels(name="both", description="fine and coarse labels of train and val"),
        Labels(name="fine", description="fine labels of train and val", kinds=("fine",)),
        Labels(
            name="extra",
            description="coarse labels of train_extra",
            kinds=("coarse",),
            splits=("train_extra",),
        ),
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return builders.information(
            self,
            CITYSCAPES,
            self.builder_config.kinds,
            description="Cityscapes: street scenes of 50 cities with pixel labels of 19 classes.",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        root = builders.manual_folder(dl_manager)
        return {split: self._generate_examples(root, split) for split in self.builder_config.splits}

    def _generate_examples(self, root, split: str) -> Iterator[tuple[int, dict]]:
        sources = {
            kind: cityscapes.LAYOUT.open(root, split, kind) for kind in self.builder_config.kinds
        }
        return builders.examples(f"{self.name} {split}", sources, self.progress)
