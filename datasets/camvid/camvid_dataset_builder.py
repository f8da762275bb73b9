"""CamVid with the 11 classes and the split of SegNet, as a TensorFlow Datasets builder.

    python scripts/prepare.py camvid --source ROOT --data_dir DIR

ROOT holds train/, trainannot/ and so on, or images/train/, labels/train/ and so on.
"""

import tensorflow_datasets as tfds

from arm_jax.data import builders
from arm_jax.data.official import CAMVID


class Builder(builders.LayoutBuilder, tfds.core.GeneratorBasedBuilder):
    """Image, fine label, and id."""

    name = "camvid"
    layout = CAMVID
    about = "CamVid: frames of drives through Cambridge with labels of 11 classes."
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Fetch CamVid as it is distributed with SegNet."
    BUILDER_CONFIGS = (
        builders.Labels(
            name="segnet", description="train, val and test", splits=("train", "val", "test")
        ),
    )
