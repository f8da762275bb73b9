"""Whole networks by name: a backbone, a head, an auxiliary head."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from arm_jax.networks import resnest, resnet
from arm_jax.networks.deeplabv3plus import RATES, DeepLabV3PlusHead
from arm_jax.networks.fcn import FcnHead
from arm_jax.networks.ocr import OcrHead
from arm_jax.networks.resnest import SplitAttentionBottleneck
from arm_jax.networks.resnet import STAGE_DEPTHS, BasicBlock, Bottleneck
from arm_jax.system.errors import InputError

DTYPES = ("float32", "bfloat16", "float16")


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A row of `ARCHITECTURES`: all that distinguishes one named network from another."""

    head: str
    block: Any
    depths: tuple[int, ...]
    variants: Mapping[str, resnet.Variant]
    variant: str
    width: int = 64
    channels: int = 512
    low_level_channels: int = 48
    object_channels: int = 256
    auxiliary_channels: int = 256
    dropout_rate: float = 0.1


class Segmenter(nnx.Module):
    """A segmentation network. Made by `create`, in evaluation mode.

    Attributes:
        backbone, head, auxiliary_head: the parts, which hold the parameters.
        name, variant, num_classes, extra_channels, output_stride, align_corners: what it was
            created as.
    """

    def __init__(
        self,
        name: str,
        architecture: Architecture,
        num_classes: int,
        *,
        output_stride: int,
        extra_channels: int,
        align_corners: bool,
        remat: bool,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.name = name
        self.variant = architecture.variant
        self.num_classes = num_classes
        self.extra_channels = extra_channels
        self.output_stride = output_stride
        self.align_corners = align_corners
        self.remat = remat
        is_ocr = architecture.head == "ocr"
        self.backbone = resnet.ResNet(
            architecture.block,
            architecture.depths,
            variant=architecture.variants[architecture.variant],
            output_stride=output_stride,
            # mmsegmentation's DeepLabs of stride 16 vary the dilation that is left by block.
            multi_grid=(1, 2, 4) if output_stride == 16 and not is_ocr else None,
            width=architecture.width,
            remat=remat,
            dtype=dtype,
            rngs=rngs,
        )
        stage1, _, stage3, stage4 = self.backbone.channels
        self.head: DeepLabV3PlusHead | OcrHead
        if is_ocr:
            self.head = OcrHead(
                stage4,
                num_classes + extra_channels,
                channels=architecture.channels,
                object_channels=architecture.object_channels,
                align_corners=align_corners,
                dropout_rate=architecture.dropout_rate,
                dtype=dtype,
                rngs=rngs,
            )
        else:
            self.head = DeepLabV3PlusHead(
                stage4,
                stage1,
                num_classes + extra_channels,
                channels=architecture.channels,
                low_level_channels=architecture.low_level_channels,
                rates=RATES[output_stride],
                align_corners=align_corners,
                dropout_rate=architecture.dropout_rate,
                dtype=dtype,
                rngs=rngs,
            )
        self.auxiliary_head = FcnHead(
            stage3,
            architecture.auxiliary_channels,
            num_classes,
            dropout_rate=architecture.dropout_rate,
            dtype=dtype,
            rngs=rngs,
        )

    @overload
    def __call__(
        self,
        images: jax.Array,
        *,
        auxiliary: Literal[False] = False,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array: ...

    @overload
    def __call__(
        self,
        images: jax.Array,
        *,
        auxiliary: Literal[True],
        dropout_key: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]: ...

    def __call__(
        self,
        images: jax.Array,
        *,
        auxiliary: bool = False,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array | tuple[jax.Array, jax.Array]:
        """Scores per pixel and class, at a quarter of the images' size from DeepLabv3+.

        Args:
            images: (b, h, w, 3) float32, RGB normalised with ImageNet's mean and deviation; any
                size.
            auxiliary: return the auxiliary head's scores too.
            dropout_key: a jax key, needed in training mode only.

        Returns:
            (b, ceil(h/4), ceil(w/4), num_classes + extra_channels) float32 from DeepLabv3+,
            (b, ceil(h/output_stride), ...) from OCR; with `auxiliary` a pair of it and the third
            stage's (b, ceil(h/s), ceil(w/s), num_classes), s the output stride but at most 16.
        """
        main_key = auxiliary_key = None
        if dropout_key is not None:
            main_key, auxiliary_key = jax.random.split(dropout_key)
        features = self.backbone(images)
        call = nnx.remat(_call) if self.remat else _call
        if isinstance(self.head, OcrHead):
            coarse = call(self.auxiliary_head, features[2], auxiliary_key)
            logits = call(self.head, features[3], coarse, main_key)
            return (logits, coarse) if auxiliary else logits
        logits = call(self.head, features, main_key)
        if not auxiliary:
            return logits
        return logits, call(self.auxiliary_head, features[2], auxiliary_key)


def _call(module: Any, *arguments: Any) -> jax.Array:
    return module(*arguments)


def create(
    name: str,
    num_classes: int,
    *,
    output_stride: int = 8,
    dtype: DTypeLike = jnp.float32,
    extra_channels: int = 0,
    variant: str | None = None,
    align_corners: bool = False,
    remat: bool = False,
    rngs: nnx.Rngs,
    **sizes: Any,
) -> Segmenter:
    """A network by its name, freshly initialised, in evaluation mode.

    Args:
        name: a key of `ARCHITECTURES`.
        num_classes: classes to score.
        output_stride: 8, 16 or 32: image pixels per position of the last stage's features.
        dtype: compute dtype of the convolutions: float32, bfloat16 or float16. Parameters,
            BatchNorm and the returned scores are float32 in any case.
        extra_channels: channels of the main output after the classes.
        variant: which published weights the backbone is shaped for, as `resnet.VARIANTS` explains;
            the architecture's usual one by default.
        align_corners: the convention of the resizing inside, True for weights that were trained
            on crops of 8 n + 1 pixels.
        remat: in the backward pass, compute what is inside the residual blocks and the heads
            again instead of keeping it: about a third more work, for a fraction of the memory.
        sizes: other fields of `Architecture`, to size a network down.

    Raises:
        InputError: unknown name, variant or dtype, unsupported output stride, no class.
    """
    sized = dataclasses.replace(architecture(name, variant), **sizes)
    if str(jnp.dtype(dtype)) not in DTYPES:
        raise InputError(f"compute dtype {jnp.dtype(dtype)} is not one of {', '.join(DTYPES)}")
    if num_classes < 1:
        raise InputError(f"num_classes = {num_classes}; a network needs at least one class")
    return Segmenter(
        name,
        sized,
        num_classes,
        output_stride=output_stride,
        extra_channels=extra_channels,
        align_corners=align_corners,
        remat=remat,
        dtype=dtype,
        rngs=rngs,
    )


def architecture(name: str, variant: str | None = None) -> Architecture:
    """The row of `ARCHITECTURES` of this name, with a variant of the backbone.

    Raises:
        InputError: unknown name or variant.
    """
    if name not in ARCHITECTURES:
        raise InputError(f"network {name!r} is not known; choose one of {', '.join(ARCHITECTURES)}")
    row = ARCHITECTURES[name]
    if variant is not None and variant not in row.variants:
        choices = ", ".join(row.variants)
        raise InputError(f"{name} has no variant {variant!r}; choose one of {choices}")
    return row if variant is None else dataclasses.replace(row, variant=variant)


def training(model: nnx.Module) -> nnx.Module:
    """A view of `model` in training mode, sharing its variables.

    BatchNorm normalises by the batch and updates the shared running statistics; dropout is on,
    so that calls need a `dropout_key`. The model itself stays in evaluation mode.
    """
    # A part of a network may well have no dropout.
    return nnx.view(model, use_running_average=False, deterministic=False, raise_if_not_found=False)


_RESNET50 = Architecture("deeplabv3plus", Bottleneck, STAGE_DEPTHS[50], resnet.VARIANTS, "v1c")
_RESNET101 = Architecture("deeplabv3plus", Bottleneck, STAGE_DEPTHS[101], resnet.VARIANTS, "v1c")

ARCHITECTURES = {
    # Made by the dozen on a CPU: half of the blocks, a quarter of the width.
    "deeplabv3plus_resnet10": Architecture(
        "deeplabv3plus",
        BasicBlock,
        (1, 1, 1, 1),
        resnet.VARIANTS,
        "v1c",
        width=16,
        channels=32,
        low_level_channels=8,
        auxiliary_channels=16,
    ),
    # Small enough for a CPU.
    "deeplabv3plus_resnet18": Architecture(
        "deeplabv3plus",
        BasicBlock,
        STAGE_DEPTHS[18],
        resnet.VARIANTS,
        "v1c",
        channels=128,
        low_level_channels=12,
        auxiliary_channels=64,
    ),
    "deeplabv3plus_resnet50": _RESNET50,
    "deeplabv3plus_resnet101": _RESNET101,
    "deeplabv3plus_resnest50": Architecture(
        "deeplabv3plus", SplitAttentionBottleneck, STAGE_DEPTHS[50], resnest.VARIANTS[50], "d2"
    ),
    "deeplabv3plus_resnest101": Architecture(
        "deeplabv3plus", SplitAttentionBottleneck, STAGE_DEPTHS[101], resnest.VARIANTS[101], "d2"
    ),
    "ocr_resnet50": dataclasses.replace(_RESNET50, head="ocr"),
    "ocr_resnet101": dataclasses.replace(_RESNET101, head="ocr"),
}
