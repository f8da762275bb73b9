"""The object-contextual head: Yuan et al. 2020, with the numbers of mmsegmentation.

`decode_heads/ocr_head.py` and `utils/self_attention_block.py` there. One departure: in training
mmsegmentation runs the coarse head a second time for this head's sake, with another draw of
dropout and a second update of its running statistics; here one pass serves both losses.
"""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from arm_jax.networks.layers import Classifier, ConvNorm
from arm_jax.networks.names import conv_module
from arm_jax.networks.parts import Head
from arm_jax.networks.resampling import resize


def gather_objects(features: jax.Array, coarse_logits: jax.Array) -> jax.Array:
    """The mean feature of each class's pixels, weighted by softmax over the *positions*.

    Args:
        features: (b, h, w, c).
        coarse_logits: (b, h, w, k) float32.

    Returns:
        (b, k, 1, c), of the dtype of `features`.
    """
    shares = jax.nn.softmax(coarse_logits, axis=(1, 2)).astype(features.dtype)
    objects = jnp.einsum("bhwk,bhwc->bkc", shares, features, preferred_element_type=jnp.float32)
    return objects[:, :, None].astype(features.dtype)


class Projection(nnx.Module):
    """1x1 convolutions, each with BatchNorm and ReLU."""

    def __init__(
        self, channels: Sequence[int], *, few_values: bool = False, dtype: DTypeLike, rngs: nnx.Rngs
    ):
        self.layers = nnx.List(
            [
                ConvNorm(ins, outs, 1, few_values=few_values, dtype=dtype, rngs=rngs)
                for ins, outs in itertools.pairwise(channels)
            ]
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in self.layers:
            x = nnx.relu(layer(x))
        return x


class ObjectAttention(nnx.Module):
    """Each pixel attends to the classes' mean features."""

    def __init__(self, channels: int, inner: int, *, dtype: DTypeLike, rngs: nnx.Rngs):
        self.query = Projection((channels, inner, inner), dtype=dtype, rngs=rngs)
        self.key = Projection((channels, inner, inner), few_values=True, dtype=dtype, rngs=rngs)
        self.value = Projection((channels, inner), few_values=True, dtype=dtype, rngs=rngs)
        self.out = Projection((inner, channels), dtype=dtype, rngs=rngs)

    def __call__(self, features: jax.Array, objects: jax.Array) -> jax.Array:
        query = self.query(features)
        key, value = self.key(objects)[:, :, 0], self.value(objects)[:, :, 0]
        similarity = jnp.einsum("bhwc,bkc->bhwk", query, key, preferred_element_type=jnp.float32)
        attention = nnx.softmax(similarity * query.shape[-1] ** -0.5, axis=-1)
        return self.out(jnp.einsum("bhwk,bkc->bhwc", attention.astype(value.dtype), value))


class OcrHead(nnx.Module):
    """The last stage's pixels, beside what they draw from the classes of a first guess."""

    def __init__(
        self,
        in_channels: Sequence[int],
        outputs: int,
        *,
        output_stride: int,  # not needed: the scores have the features' stride
        channels: int,
        object_channels: int,
        align_corners: bool = False,
        dropout_rate: float = 0.1,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.pixels = ConvNorm(in_channels[-1], channels, 3, dtype=dtype, rngs=rngs)
        self.attention = ObjectAttention(channels, object_channels, dtype=dtype, rngs=rngs)
        self.fusion = ConvNorm(2 * channels, channels, 1, dtype=dtype, rngs=rngs)
        self.classifier = Classifier(
            channels, outputs, dropout_rate=dropout_rate, dtype=dtype, rngs=rngs
        )
        self.align_corners = align_corners

    def __call__(
        self,
        features: Sequence[jax.Array],
        coarse: jax.Array,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:
        """The backbone's features and a first guess to float32 scores (b, h, w, outputs)."""
        pixels = nnx.relu(self.pixels(features[-1]))
        # At output stride 32 the guess is twice as fine as the features.
        coarse = resize(coarse, pixels.shape[1:3], self.align_corners)
        context = self.attention(pixels, gather_objects(pixels, coarse))
        x = nnx.relu(self.fusion(jnp.concatenate([context, pixels], axis=-1)))
        return self.classifier(x, dropout_key)


_OCR = "decode_head.1.object_context_block"

HEAD = Head(
    create=OcrHead,
    sizes={"channels": 512, "object_channels": 256},
    needs_coarse=True,
    reads=(3,),
    multi_grid={},
    names={
        # The coarse head counts among the decoders there, and the fusion among the attention.
        "mmsegmentation": [
            *conv_module(r"auxiliary_head\.conv", "decode_head.0.convs.0"),
            (r"auxiliary_head\.classifier", "decode_head.0.conv_seg"),
            *conv_module(r"head\.pixels", "decode_head.1.bottleneck"),
            *conv_module(r"head\.attention\.query\.layers\.(\d)", rf"{_OCR}.query_project.\1"),
            *conv_module(r"head\.attention\.key\.layers\.(\d)", rf"{_OCR}.key_project.\1"),
            *conv_module(r"head\.attention\.value\.layers\.0", rf"{_OCR}.value_project"),
            *conv_module(r"head\.attention\.out\.layers\.0", rf"{_OCR}.out_project"),
            *conv_module(r"head\.fusion", rf"{_OCR}.bottleneck"),
            (r"head\.classifier", "decode_head.1.conv_seg"),
        ]
    },
)
