"""ADE20K's scene parsing benchmark, as a TensorFlow Datasets builder.

    python scripts/prepare.py ade20k --source ROOT --data_dir DIR

ROOT is ADEChallengeData2016, or the folder that it or its zip lies in.
"""

import tensorflow_datasets as tfds

from arm_jax.data import builders
from arm_jax.data.official import ADE20K


class Builder(builders.LayoutBuilder, tfds.core.GeneratorBasedBuilder):
    """Image as its JPEG, fine label, and id."""

    name = "ade20k"
    layout = ADE20K
    about = "ADE20K: scenes of all kinds with pixel labels of 150 classes."
    image = "jpeg"
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Fetch ADEChallengeData2016.zip of the scene parsing benchmark."
    BUILDER_CONFIGS = (builders.Labels(name="benchmark", description="train and val"),)
