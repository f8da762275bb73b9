"""Images and labels of one's own, in any format that is read, as a TensorFlow Datasets builder.

    python scripts/prepare.py folders --source ROOT --splits train,val --data_dir DIR

The labels are stored as class indices, under the kind "fine".
"""

import tensorflow_datasets as tfds

from arm_jax.data import builders


class Builder(builders.OwnBuilder, tfds.core.GeneratorBasedBuilder):
    """Image, label, and id."""

    name = "folders"
