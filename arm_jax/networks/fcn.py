"""The fully convolutional head: the auxiliary output, and OCR's first guess."""

import jax
from flax import nnx
from jax.typing import DTypeLike

from arm_jax.networks.layers import Classifier, ConvNorm


class FcnHead(nnx.Module):
    """A 3x3 convolution and a classifier on one map of features.

    mmsegmentation's `decode_heads/fcn_head.py` with num_convs=1 and concat_input=False.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        num_classes: int,
        *,
        dropout_rate: float = 0.1,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.conv = ConvNorm(in_channels, channels, 3, dtype=dtype, rngs=rngs)
        self.classifier = Classifier(
            channels, num_classes, dropout_rate=dropout_rate, dtype=dtype, rngs=rngs
        )

    def __call__(self, x: jax.Array, dropout_key: jax.Array | None) -> jax.Array:
        """(b, h, w, in_channels) to float32 scores (b, h, w, num_classes)."""
        return self.classifier(nnx.relu(self.conv(x)), dropout_key)
