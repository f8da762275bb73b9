"""The DeepLabv3+ head: Chen et al. 2018, with the numbers of mmsegmentation.

`decode_heads/sep_aspp_head.py` there: 512 channels (the original has 256), separable convolutions
in the atrous branches and after the low-level features, a 3x3 fusion of the branches, dropout
only before the classifier.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from arm_jax.networks.depthwise import after
from arm_jax.networks.layers import Classifier, ConvNorm, SeparableConv
from arm_jax.networks.names import conv_module, separable
from arm_jax.networks.parts import Head
from arm_jax.networks.resampling import resize

# Dilations of the three atrous branches, by output stride. At 32, which mmsegmentation has no
# DeepLab for, they reach as far over the image as the others do.
RATES = {8: (12, 24, 36), 16: (6, 12, 18), 32: (3, 6, 9)}


class AtrousPyramid(nnx.Module):
    """Atrous spatial pyramid pooling: the image's mean, the pixel, and three dilated surroundings.

    The mean's BatchNorm sees one value per image, so a training batch must hold at least two.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        rates: Sequence[int],
        *,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.image = ConvNorm(in_channels, channels, 1, few_values=True, dtype=dtype, rngs=rngs)
        self.pixel = ConvNorm(in_channels, channels, 1, dtype=dtype, rngs=rngs)
        self.atrous = nnx.List(
            [
                SeparableConv(in_channels, channels, dilation=rate, dtype=dtype, rngs=rngs)
                for rate in rates
            ]
        )
        branches = 2 + len(rates)
        self.fusion = ConvNorm(branches * channels, channels, 3, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        mean = jnp.mean(x.astype(jnp.float32), axis=(1, 2), keepdims=True).astype(x.dtype)
        image = nnx.relu(self.image(mean))
        pixel = nnx.relu(self.pixel(x))
        branches = [jnp.broadcast_to(image, pixel.shape), pixel]
        for branch in self.atrous:
            x, filtered = after(x, branch.filter(x))
            branches.append(branch.mix(filtered))
        return nnx.relu(self.fusion(jnp.concatenate(branches, axis=-1)))


class DeepLabV3PlusHead(nnx.Module):
    """The pyramid over the last stage, refined by the first stage's features at stride 4."""

    def __init__(
        self,
        in_channels: Sequence[int],
        outputs: int,
        *,
        output_stride: int,
        channels: int,
        low_level_channels: int,
        align_corners: bool = False,
        dropout_rate: float = 0.1,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.pyramid = AtrousPyramid(
            in_channels[-1], channels, RATES[output_stride], dtype=dtype, rngs=rngs
        )
        self.low_level = ConvNorm(in_channels[0], low_level_channels, 1, dtype=dtype, rngs=rngs)
        self.refinement = nnx.List(
            [
                SeparableConv(channels + low_level_channels, channels, dtype=dtype, rngs=rngs),
                SeparableConv(channels, channels, dtype=dtype, rngs=rngs),
            ]
        )
        self.classifier = Classifier(
            channels, outputs, dropout_rate=dropout_rate, dtype=dtype, rngs=rngs
        )
        self.align_corners = align_corners

    def __call__(
        self,
        features: Sequence[jax.Array],
        coarse: jax.Array | None = None,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:
        """The backbone's features to float32 scores (b, h/4, w/4, outputs)."""
        low_level = nnx.relu(self.low_level(features[0]))
        x = resize(self.pyramid(features[-1]), low_level.shape[1:3], self.align_corners)
        x = jnp.concatenate([x, low_level], axis=-1)
        for layer in self.refinement:
            x = layer(x)
        return self.classifier(x, dropout_key)


HEAD = Head(
    create=DeepLabV3PlusHead,
    sizes={"channels": 512, "low_level_channels": 48},
    needs_coarse=False,
    reads=(0, 3),
    # mmsegmentation's DeepLabs of stride 16 vary the dilation that is left by block.
    multi_grid={16: (1, 2, 4)},
    names={
        "mmsegmentation": [
            *conv_module(r"head\.pyramid\.image", "decode_head.image_pool.1"),
            *conv_module(r"head\.pyramid\.pixel", "decode_head.aspp_modules.0"),
            *separable(r"head\.pyramid\.atrous\.0", "decode_head.aspp_modules.1"),
            *separable(r"head\.pyramid\.atrous\.1", "decode_head.aspp_modules.2"),
            *separable(r"head\.pyramid\.atrous\.2", "decode_head.aspp_modules.3"),
            *conv_module(r"head\.pyramid\.fusion", "decode_head.bottleneck"),
            *conv_module(r"head\.low_level", "decode_head.c1_bottleneck"),
            *separable(r"head\.refinement\.(\d)", r"decode_head.sep_bottleneck.\1"),
            (r"head\.classifier", "decode_head.conv_seg"),
            *conv_module(r"auxiliary_head\.conv", "auxiliary_head.convs.0"),
            (r"auxiliary_head\.classifier", "auxiliary_head.conv_seg"),
        ]
    },
)
