"""ResNeSt: Zhang et al. 2020, a ResNet whose 3x3 convolutions are split attention.

The numbers are those of mmsegmentation's `mmseg/models/backbones/resnest.py`: radix 2, one group,
reduction 4. `VARIANTS`, at the bottom, has the two ways in which published weights were dilated.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from arm_jax.networks.layers import BatchNorm, Conv, ConvNorm
from arm_jax.networks.pooling import average_pool
from arm_jax.networks.resnet import Block, BlockPlan, Variant

RADIX = 2
REDUCTION = 4


@dataclasses.dataclass(frozen=True)
class ResNeStVariant(Variant):
    """A ResNet-D whose strided blocks average 3x3 pixels after the attention.

    Attributes:
        average_when_dilated: where dilation has taken the place of a stride, a block still
            averages, at stride 1.
    """

    average_shortcut: bool = True
    average_when_dilated: bool = False


class SplitAttention(nnx.Module):
    """A 3x3 convolution to two maps, mixed per channel by attention over their global means."""

    def __init__(self, channels: int, *, dilation: int, dtype: DTypeLike, rngs: nnx.Rngs):
        inner = max(channels * RADIX // REDUCTION, 32)
        self.splits = ConvNorm(
            channels, channels * RADIX, 3, dilation=dilation, groups=RADIX, dtype=dtype, rngs=rngs
        )
        self.squeeze = Conv(channels, inner, 1, bias=True, dtype=dtype, rngs=rngs)
        self.squeeze_norm = BatchNorm(inner, few_values=True, rngs=rngs)
        self.excite = Conv(inner, channels * RADIX, 1, bias=True, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        splits = jnp.stack(jnp.split(nnx.relu(self.splits(x)), RADIX, axis=-1))
        mean = splits.astype(jnp.float32).sum(0).mean((1, 2), keepdims=True).astype(x.dtype)
        scores = self.excite(nnx.relu(self.squeeze_norm(self.squeeze(mean))))
        scores = jnp.stack(jnp.split(scores.astype(jnp.float32), RADIX, axis=-1))
        attention = nnx.softmax(scores, axis=0).astype(splits.dtype)
        return (splits * attention).sum(0)


class SplitAttentionBottleneck(Block):
    """1x1, split attention, an average where the block strides, 1x1 to four times the width."""

    expansion = 4

    def add_convolutions(
        self, ins: int, width: int, plan: BlockPlan, variant: ResNeStVariant, common: dict[str, Any]
    ) -> None:
        self.conv1 = ConvNorm(ins, width, 1, **common)
        self.conv2 = SplitAttention(width, dilation=plan.dilation, **common)
        self.conv3 = ConvNorm(width, width * self.expansion, 1, zero_init=True, **common)
        self.stride = plan.stride
        strided = plan.nominal_stride if variant.average_when_dilated else plan.stride
        self.averages = strided > 1

    def __call__(self, x: jax.Array) -> jax.Array:
        identity = self.around(x)
        x = self.conv2(nnx.relu(self.conv1(x)))
        if self.averages:
            x = average_pool(x, 3, self.stride, padding=1)
        return self.conv3(x, identity=identity, relu=True)


def _variants(deep_stem: tuple[float, ...]) -> dict[str, ResNeStVariant]:
    return {
        # mmsegmentation's weights `resnest101_d2`, and detectron2.
        "d2": ResNeStVariant(deep_stem),
        # The authors' own PyTorch code.
        "original": ResNeStVariant(deep_stem, average_when_dilated=True),
    }


VARIANTS = {50: _variants((0.5, 0.5, 1)), 101: _variants((1, 1, 2))}
