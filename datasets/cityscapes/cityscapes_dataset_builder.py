"""Cityscapes with the fine and the coarse label of each image, as a TensorFlow Datasets builder.

    python scripts/prepare.py cityscapes --source ROOT --data_dir DIR [--config coarse]

ROOT holds leftImg8bit/, gtFine/ and gtCoarse/, or the zips as they come.
"""

import tensorflow_datasets as tfds

from arm_jax.data import builders, cityscapes
from arm_jax.data.builders import Labels


class Builder(builders.LayoutBuilder, tfds.core.GeneratorBasedBuilder):
    """Image, label of each kind, and id (city/city_sequence_frame)."""

    name = "cityscapes"
    layout = cityscapes.LAYOUT
    about = "Cityscapes: street scenes of 50 cities with pixel labels of 19 classes."
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Register at cityscapes-dataset.com and fetch the packages."
    BUILDER_CONFIGS = (
        Labels(
            name="both",
            description="fine and coarse labels of train and val",
            kinds=("fine", "coarse"),
        ),
        Labels(name="fine", description="fine labels of train and val"),
        Labels(
            name="extra",
            description="coarse labels of train_extra",
            kinds=("coarse",),
            splits=("train_extra",),
        ),
    )
