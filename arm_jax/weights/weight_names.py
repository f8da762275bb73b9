"""What other packages call our tensors: tables regex -> replacement, at the bottom of the file.

Our own name of a tensor is its path in the model joined by dots, such as
`backbone.stages.0.1.conv2.conv.kernel`; a table names the module, `LEAVES` the tensor in it. All
foreign layouts are PyTorch's, where a kernel is (out, in, height, width) and ours is
(height, width, in, out).
"""

import re
from collections.abc import Sequence

import numpy as np
from flax import nnx

from arm_jax.networks import Segmenter
from arm_jax.networks.ocr import OcrHead

OWN = "arm_jax"
Table = Sequence[tuple[str, str]]


def variables(model: nnx.Module) -> dict[str, nnx.Variable]:
    """Every parameter and running statistic of the model, by its own name."""
    state = nnx.state(model, nnx.Any(nnx.Param, nnx.BatchStat))
    return {".".join(map(str, path)): variable for path, variable in nnx.to_flat_state(state)}


def foreign_names(model: Segmenter, layout: str) -> dict[str, str]:
    """From our name of each tensor to its key in a layout, for those the layout has.

    Args:
        model: a network; its backbone's variant and its kind of head decide which rows apply.
        layout: a key of `DESCRIPTIONS`.
    """
    ours = variables(model)
    if layout == OWN:
        return {name: name for name in ours}
    variant = model.backbone.variant
    if not variant.deep_stem:
        stem = PLAIN_STEM
    else:
        stem = TIMM_STEM if layout == "timm" else MMSEGMENTATION_STEM
    shortcut = AVERAGE_SHORTCUT if variant.average_shortcut else PLAIN_SHORTCUT
    backbone = [*stem, *shortcut, *BLOCKS]
    heads: Table = []
    if layout == "mmsegmentation":
        backbone = [(pattern, f"backbone.{name}") for pattern, name in backbone]
        heads = OCR_HEADS if isinstance(model.head, OcrHead) else DEEPLABV3PLUS_HEADS
    table = [(rf"backbone\.{pattern}", name) for pattern, name in backbone] + [*heads]
    names = {name: _translate(name, table) for name in ours}
    return {ours: theirs for ours, theirs in names.items() if theirs is not None}


def to_torch(array: np.ndarray) -> np.ndarray:
    """One of our tensors in PyTorch's order of axes."""
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array


def to_ours(array: np.ndarray) -> np.ndarray:
    """One of PyTorch's tensors in our order of axes."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def shape_there(shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    """A shape of ours as it reads in the layout."""
    if layout == OWN or len(shape) != 4:
        return shape
    height, width, ins, outs = shape
    return outs, ins, height, width


def _translate(name: str, table: Table) -> str | None:
    module, leaf = name.rsplit(".", 1)
    for pattern, replacement in table:
        match = re.fullmatch(pattern, module)
        if match:
            return f"{match.expand(replacement)}.{LEAVES[leaf]}"
    return None


def _conv_module(ours: str, theirs: str) -> Table:
    """Our ConvNorm and mmcv's ConvModule."""
    return [(rf"{ours}\.conv", rf"{theirs}.conv"), (rf"{ours}\.norm", rf"{theirs}.bn")]


def _separable(ours: str, theirs: str) -> Table:
    """Our SeparableConv and mmcv's DepthwiseSeparableConvModule."""
    return [
        *_conv_module(rf"{ours}\.depthwise", rf"{theirs}.depthwise_conv"),
        *_conv_module(rf"{ours}\.pointwise", rf"{theirs}.pointwise_conv"),
    ]


LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}

# The layouts, and whose names they are.
DESCRIPTIONS = {
    OWN: "our own",
    "mmsegmentation": "mmsegmentation's",
    "backbone": "torchvision's (and mmsegmentation's backbones')",
    "timm": "timm's",
}

PLAIN_STEM: Table = [
    (r"stem\.layers\.0\.conv", "conv1"),
    (r"stem\.layers\.0\.norm", "bn1"),
]
# PyTorch's Sequential counts its ReLUs, so the three convolutions are 0, 3 and 6.
MMSEGMENTATION_STEM: Table = [
    (r"stem\.layers\.0\.conv", "stem.0"),
    (r"stem\.layers\.0\.norm", "stem.1"),
    (r"stem\.layers\.1\.conv", "stem.3"),
    (r"stem\.layers\.1\.norm", "stem.4"),
    (r"stem\.layers\.2\.conv", "stem.6"),
    (r"stem\.layers\.2\.norm", "stem.7"),
]
TIMM_STEM: Table = [
    (r"stem\.layers\.0\.conv", "conv1.0"),
    (r"stem\.layers\.0\.norm", "conv1.1"),
    (r"stem\.layers\.1\.conv", "conv1.3"),
    (r"stem\.layers\.1\.norm", "conv1.4"),
    (r"stem\.layers\.2\.conv", "conv1.6"),
    (r"stem\.layers\.2\.norm", "bn1"),
]

# A stage of ours is one less than a layer of theirs.
BLOCKS: Table = [
    (rf"stages\.{layer - 1}\.(\d+)\.{ours}", rf"layer{layer}.\1.{theirs}")
    for layer in (1, 2, 3, 4)
    for ours, theirs in [
        (r"conv(\d)\.conv", r"conv\2"),
        (r"conv(\d)\.norm", r"bn\2"),
        # ResNeSt's split attention.
        (r"conv2\.splits\.conv", "conv2.conv"),
        (r"conv2\.splits\.norm", "conv2.bn0"),
        (r"conv2\.squeeze", "conv2.fc1"),
        (r"conv2\.squeeze_norm", "conv2.bn1"),
        (r"conv2\.excite", "conv2.fc2"),
    ]
]
PLAIN_SHORTCUT: Table = [
    (rf"stages\.{layer - 1}\.(\d+)\.shortcut\.projection\.{ours}", rf"layer{layer}.\1.{theirs}")
    for layer in (1, 2, 3, 4)
    for ours, theirs in [("conv", "downsample.0"), ("norm", "downsample.1")]
]
# The average pooling is the first entry.
AVERAGE_SHORTCUT: Table = [
    (rf"stages\.{layer - 1}\.(\d+)\.shortcut\.projection\.{ours}", rf"layer{layer}.\1.{theirs}")
    for layer in (1, 2, 3, 4)
    for ours, theirs in [("conv", "downsample.1"), ("norm", "downsample.2")]
]

DEEPLABV3PLUS_HEADS: Table = [
    *_conv_module(r"head\.pyramid\.image", "decode_head.image_pool.1"),
    *_conv_module(r"head\.pyramid\.pixel", "decode_head.aspp_modules.0"),
    *_separable(r"head\.pyramid\.atrous\.0", "decode_head.aspp_modules.1"),
    *_separable(r"head\.pyramid\.atrous\.1", "decode_head.aspp_modules.2"),
    *_separable(r"head\.pyramid\.atrous\.2", "decode_head.aspp_modules.3"),
    *_conv_module(r"head\.pyramid\.fusion", "decode_head.bottleneck"),
    *_conv_module(r"head\.low_level", "decode_head.c1_bottleneck"),
    *_separable(r"head\.refinement\.(\d)", r"decode_head.sep_bottleneck.\1"),
    (r"head\.classifier", "decode_head.conv_seg"),
    *_conv_module(r"auxiliary_head\.conv", "auxiliary_head.convs.0"),
    (r"auxiliary_head\.classifier", "auxiliary_head.conv_seg"),
]
_ATTENTION = "decode_head.1.object_context_block"
# mmsegmentation counts the coarse head among the decoders, and the fusion among the attention.
OCR_HEADS: Table = [
    *_conv_module(r"auxiliary_head\.conv", "decode_head.0.convs.0"),
    (r"auxiliary_head\.classifier", "decode_head.0.conv_seg"),
    *_conv_module(r"head\.pixels", "decode_head.1.bottleneck"),
    *_conv_module(r"head\.attention\.query\.layers\.(\d)", rf"{_ATTENTION}.query_project.\1"),
    *_conv_module(r"head\.attention\.key\.layers\.(\d)", rf"{_ATTENTION}.key_project.\1"),
    *_conv_module(r"head\.attention\.value\.layers\.0", rf"{_ATTENTION}.value_project"),
    *_conv_module(r"head\.attention\.out\.layers\.0", rf"{_ATTENTION}.out_project"),
    *_conv_module(r"head\.fusion", rf"{_ATTENTION}.bottleneck"),
    (r"head\.classifier", "decode_head.1.conv_seg"),
]
