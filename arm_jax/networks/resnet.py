"""Residual networks for dense prediction: He et al. 2016, dilated instead of strided late on.

The numbers are those of mmsegmentation's `mmseg/models/backbones/resnet.py`. What differs between
the ImageNet weights that people have is a row of `VARIANTS`, at the bottom of the file; dilation,
its contraction at the start of a stage, and multi-grid are in `stage_plan`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
from flax import nnx
from jax.typing import DTypeLike

from arm_jax.networks.layers import ConvNorm
from arm_jax.networks.parts import FourStages
from arm_jax.networks.pooling import average_pool, max_pool
from arm_jax.system.errors import InputError


@dataclasses.dataclass(frozen=True)
class Variant:
    """Where published weights of one depth differ.

    Attributes:
        deep_stem: the channels of three 3x3 convolutions, in units of the width; none of them
            stands for one 7x7 convolution.
        stride_first: a strided bottleneck strides in its first 1x1 convolution, not in its 3x3.
        average_shortcut: a strided shortcut averages, then convolves, rather than skip pixels.
        centred_pool: see `pooling.max_pool`.
    """

    deep_stem: tuple[float, ...]
    stride_first: bool = False
    average_shortcut: bool = False
    centred_pool: bool = True


@dataclasses.dataclass(frozen=True)
class BlockPlan:
    """One residual block's place: `nominal_stride` is what `stride` is without any dilation."""

    stride: int
    nominal_stride: int
    dilation: int


def stage_plan(
    depths: Sequence[int], output_stride: int, multi_grid: Sequence[int] | None = None
) -> list[list[BlockPlan]]:
    """Stride and dilation of every block of the four stages.

    From the stage on where the output stride is reached, a stage doubles its dilation instead of
    striding. Its first block still has the dilation of the stage before (mmsegmentation's
    contract_dilation): it reads that stage's grid. `multi_grid` sets the dilations of the last
    stage's blocks one by one, contraction and all. A stage of no blocks leaves the stride as it is.

    Raises:
        InputError: output_stride is not 8, 16 or 32.
    """
    if output_stride not in (8, 16, 32):
        raise InputError(f"output_stride = {output_stride} is not supported; choose 8, 16 or 32")
    plans: list[list[BlockPlan]] = []
    stride, dilation = 4, 1
    for stage, depth in enumerate(depths):
        if not depth:
            plans.append([])
            continue
        nominal_stride = 1 if stage == 0 else 2
        first_dilation = dilation
        if stride * nominal_stride <= output_stride:
            first_stride = nominal_stride
            stride *= nominal_stride
        else:
            first_stride = 1
            dilation *= nominal_stride
        dilations = [first_dilation] + [dilation] * (depth - 1)
        if multi_grid is not None and stage == len(depths) - 1:
            dilations = [multi_grid[block % len(multi_grid)] for block in range(depth)]
        blocks = [BlockPlan(first_stride, nominal_stride, dilations[0])]
        blocks += [BlockPlan(1, 1, dilation) for dilation in dilations[1:]]
        plans.append(blocks)
    return plans


class Stem(nnx.Module):
    """The image at a quarter of its size: one 7x7 or three 3x3 convolutions, then max pooling."""

    def __init__(
        self, width: int, variant: Variant, *, bands: int = 3, dtype: DTypeLike, rngs: nnx.Rngs
    ):
        layers = []
        if variant.deep_stem:
            channels = [bands, *(int(width * factor) for factor in variant.deep_stem)]
            for stride, ins, outs in zip((2, 1, 1), channels, channels[1:], strict=False):
                layers.append(ConvNorm(ins, outs, 3, stride=stride, dtype=dtype, rngs=rngs))
        else:
            channels = [bands, width]
            layers.append(ConvNorm(bands, width, 7, stride=2, dtype=dtype, rngs=rngs))
        self.layers = nnx.List(layers)
        self.channels = channels[-1]
        self.centred_pool = variant.centred_pool

    def __call__(self, images: jax.Array) -> jax.Array:
        x = images
        for layer in self.layers:
            x = nnx.relu(layer(x))
        return max_pool(x, centred=self.centred_pool)


class Shortcut(nnx.Module):
    """The projection around a block that strides or changes the number of channels."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        *,
        average: bool,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.pool_stride = stride if average else 1
        self.projection = ConvNorm(
            in_channels, out_channels, 1, stride=1 if average else stride, dtype=dtype, rngs=rngs
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        if self.pool_stride > 1:
            x = average_pool(x, self.pool_stride, self.pool_stride)
        return self.projection(x)


class Block(nnx.Module):
    """A residual block: convolutions, and a projection around them where the identity does not fit.

    Args:
        in_channels: of the block's input; it returns `width * expansion`.
        width: channels of its inner convolutions.
        plan: its stride and dilation.
        variant: a row of `VARIANTS`.
        dtype: compute dtype of the convolutions.
    """

    expansion: int

    def __init__(
        self,
        in_channels: int,
        width: int,
        plan: BlockPlan,
        *,
        variant: Variant,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        common: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        self.add_convolutions(in_channels, width, plan, variant, common)
        outs, average = width * self.expansion, variant.average_shortcut
        fits = plan.stride == 1 and in_channels == outs
        self.shortcut = (
            None if fits else Shortcut(in_channels, outs, plan.stride, average=average, **common)
        )

    def add_convolutions(
        self, ins: int, width: int, plan: BlockPlan, variant: Any, common: dict[str, Any]
    ) -> None:
        """Set the block's convolutions, each made with `common`: dtype and rngs."""
        raise NotImplementedError

    def around(self, x: jax.Array) -> jax.Array:
        """What is added to the last convolution's output."""
        return x if self.shortcut is None else self.shortcut(x)


class BasicBlock(Block):
    """Two 3x3 convolutions. Only the first one is dilated, as in mmsegmentation."""

    expansion = 1

    def add_convolutions(
        self, ins: int, width: int, plan: BlockPlan, variant: Variant, common: dict[str, Any]
    ) -> None:
        self.conv1 = ConvNorm(ins, width, 3, stride=plan.stride, dilation=plan.dilation, **common)
        self.conv2 = ConvNorm(width, width, 3, zero_init=True, **common)

    def __call__(self, x: jax.Array) -> jax.Array:
        identity = self.around(x)
        return self.conv2(nnx.relu(self.conv1(x)), identity=identity, relu=True)


class Bottleneck(Block):
    """1x1, 3x3 (strided and dilated), 1x1 to four times the width."""

    expansion = 4

    def add_convolutions(
        self, ins: int, width: int, plan: BlockPlan, variant: Variant, common: dict[str, Any]
    ) -> None:
        stride1, stride2 = (plan.stride, 1) if variant.stride_first else (1, plan.stride)
        self.conv1 = ConvNorm(ins, width, 1, stride=stride1, **common)
        self.conv2 = ConvNorm(width, width, 3, stride=stride2, dilation=plan.dilation, **common)
        self.conv3 = ConvNorm(width, width * self.expansion, 1, zero_init=True, **common)

    def __call__(self, x: jax.Array) -> jax.Array:
        identity = self.around(x)
        x = nnx.relu(self.conv2(nnx.relu(self.conv1(x))))
        return self.conv3(x, identity=identity, relu=True)


class ResNet(FourStages):
    """A stem and four stages of residual blocks.

    Args:
        block: the kind of residual block.
        depths: blocks per stage.
        variant: a row of `VARIANTS`.
        output_stride: 8, 16 or 32, of the last stage's features.
        multi_grid: see `stage_plan`.
        width: channels of the first stage's inner convolutions; 64 in every published network.
        bands: channels of the images.
        remat: compute what is inside a block again in the backward pass instead of keeping it.
        dtype: compute dtype of the convolutions.

    Raises:
        InputError: output_stride is not 8, 16 or 32.
    """

    def __init__(
        self,
        block: type[Block],
        depths: Sequence[int],
        *,
        variant: Variant,
        output_stride: int,
        multi_grid: Sequence[int] | None = None,
        width: int = 64,
        bands: int = 3,
        remat: bool = False,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        plans = stage_plan(depths, output_stride, multi_grid)
        self.width = width
        self.remat = remat
        self.stem = Stem(width, variant, bands=bands, dtype=dtype, rngs=rngs)
        channels = self.stem.channels
        stages, stage_channels = [], []
        for number, stage in enumerate(plans):
            blocks = []
            for plan in stage:
                inner = width * 2**number
                blocks.append(block(channels, inner, plan, variant=variant, dtype=dtype, rngs=rngs))
                channels = inner * block.expansion
            stages.append(nnx.List(blocks))
            stage_channels.append(channels)
        self.stages = nnx.List(stages)
        self.channels = tuple(stage_channels)


VARIANTS = {
    # torchvision, timm `resnet50`: the 7x7 stem; the stride is in the 3x3 convolution.
    "v1b": Variant(deep_stem=()),
    # K. He's original weights: the stride in the first 1x1, and Caffe's pooling. (mmsegmentation
    # and detectron2 run them with PyTorch's pooling, whose windows lie one pixel up and left.)
    "caffe": Variant(deep_stem=(), stride_first=True, centred_pool=False),
    # mmsegmentation's ResNetV1c, timm `resnet50c`.
    "v1c": Variant(deep_stem=(0.5, 0.5, 1)),
    # mmsegmentation's ResNetV1d, timm `resnet50d`.
    "v1d": Variant(deep_stem=(0.5, 0.5, 1), average_shortcut=True),
    # openseg.pytorch and detectron2's "R103", timm `resnet50s`: V1c with a stem twice as wide.
    "v1s": Variant(deep_stem=(1, 1, 2)),
}
