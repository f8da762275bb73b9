"""Whole networks by name: a backbone, a head, an auxiliary head."""

from collections.abc import Mapping
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from arm_jax.networks.architectures import HEADS, Architecture, architecture
from arm_jax.networks.backbones import BACKBONES
from arm_jax.networks.fcn import FcnHead
from arm_jax.networks.freezing import read_parts
from arm_jax.networks.input import RGB, Bands
from arm_jax.networks.parts import called
from arm_jax.settings.rows import DTYPES
from arm_jax.system.errors import InputError


class Segmenter(nnx.Module):
    """A segmentation network. Made by `create`, in evaluation mode.

    Attributes:
        backbone, head, auxiliary_head: the parts, which hold the parameters.
        name, variant, num_classes, extra_channels, output_stride, align_corners, bands: what it
            was created as.
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
        bands: Bands = RGB,
    ):
        self.name = name
        self.bands = bands
        self.variant = architecture.variant
        self.num_classes = num_classes
        self.extra_channels = extra_channels
        self.output_stride = output_stride
        self.align_corners = align_corners
        self.remat = remat
        self.backbone_name = architecture.backbone
        self.head_name = architecture.head
        backbone, head = BACKBONES[architecture.backbone], HEADS[architecture.head]
        self.needs_coarse = head.needs_coarse
        self.backbone = backbone.create(
            variant=backbone.variants[architecture.variant],
            output_stride=output_stride,
            multi_grid=head.multi_grid.get(output_stride),
            remat=remat,
            dtype=dtype,
            rngs=rngs,
            **architecture.sizes_of(backbone),
            **({} if bands.number == 3 else {"bands": bands.number}),
        )
        self.head: Any = head.create(
            self.backbone.channels,
            num_classes + extra_channels,
            output_stride=output_stride,
            align_corners=align_corners,
            dropout_rate=architecture.dropout_rate,
            dtype=dtype,
            rngs=rngs,
            **architecture.sizes_of(head),
        )
        if not hasattr(self.head, "classifier"):
            raise InputError(f"head {self.head_name!r} has no `classifier`, its last layer; add it")
        self.auxiliary_head = FcnHead(
            self.backbone.channels[2],
            architecture.auxiliary_channels,
            num_classes,
            dropout_rate=architecture.dropout_rate,
            dtype=dtype,
            rngs=rngs,
        )

    def frozen_features(self, images: jax.Array) -> dict[str, jax.Array]:
        """What the frozen parts compute of images, and the rest of the network reads.

        A call on them returns what one on the images does, in training as in evaluation mode.

        Args:
            images: as for a call.

        Returns:
            The name of a frozen part, one of `parts.PARTS`, to its features (b, h', w', c).
        """
        return read_parts(self.backbone, images, {2, *HEADS[self.head_name].reads})

    @overload
    def __call__(
        self,
        images: jax.Array | Mapping[str, jax.Array],
        *,
        auxiliary: Literal[False] = False,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array: ...

    @overload
    def __call__(
        self,
        images: jax.Array | Mapping[str, jax.Array],
        *,
        auxiliary: Literal[True],
        dropout_key: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]: ...

    def __call__(
        self,
        images: jax.Array | Mapping[str, jax.Array],
        *,
        auxiliary: bool = False,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array | tuple[jax.Array, jax.Array]:
        """Scores per pixel and class, at a quarter of the images' size from DeepLabv3+.

        Args:
            images: (b, h, w, 3) float32, RGB normalised with ImageNet's mean and deviation, or
                other `bands` with theirs; any size. Or what `frozen_features` returned of them.
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
        call = nnx.remat(called) if self.remat else called
        coarse = None
        if self.needs_coarse:
            coarse = call(self.auxiliary_head, features[2], auxiliary_key)
        logits = call(self.head, features, coarse, main_key)
        if not auxiliary:
            return logits
        if coarse is None:
            coarse = call(self.auxiliary_head, features[2], auxiliary_key)
        return logits, coarse


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
    bands: Bands = RGB,
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
            its usual one by default.
        align_corners: the convention of the resizing inside, True for weights that were trained
            on crops of 8 n + 1 pixels.
        remat: in the backward pass, compute what is inside the residual blocks and the heads
            again instead of keeping it: about a third more work, for a fraction of the memory.
        bands: of the images, with their mean and deviation.
        sizes: what to change of the network's `Architecture`: the sizes of its backbone and its
            head by their names, or another attribute. To size a network down.

    Raises:
        InputError: unknown name, variant, size or dtype, unsupported output stride, no class.

    >>> model = create("deeplabv3plus_resnet10", 3, output_stride=16, rngs=nnx.Rngs(0))
    >>> model(jnp.zeros((1, 32, 48, 3))).shape
    (1, 8, 12, 3)
    """
    sized = architecture(name, variant, **sizes)
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
        bands=bands,
    )


def training(model: nnx.Module) -> nnx.Module:
    """A view of `model` in training mode, sharing its variables.

    BatchNorm normalises by the batch and updates the shared running statistics; dropout is on,
    so that calls need a `dropout_key`. The model itself stays in evaluation mode.

    >>> model = create("deeplabv3plus_resnet10", 3, output_stride=16, rngs=nnx.Rngs(0))
    >>> training(model)(jnp.zeros((2, 32, 48, 3)), dropout_key=jax.random.key(0)).shape
    (2, 8, 12, 3)
    """
    # A part of a network may well have no dropout.
    return nnx.view(model, use_running_average=False, deterministic=False, raise_if_not_found=False)
