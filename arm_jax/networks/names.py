"""What other packages call the modules of a network: tables of regex -> replacement.

Each part of a network has its tables in its own file. `weights.weight_names` puts them together.
"""

from collections.abc import Sequence

# Pairs: the path of a module of ours, as a regular expression, and its path there.
Names = Sequence[tuple[str, str]]


def conv_module(ours: str, theirs: str) -> Names:
    """Our ConvNorm and mmcv's ConvModule."""
    return [(rf"{ours}\.conv", rf"{theirs}.conv"), (rf"{ours}\.norm", rf"{theirs}.bn")]


def separable(ours: str, theirs: str) -> Names:
    """Our SeparableConv and mmcv's DepthwiseSeparableConvModule."""
    return [
        *conv_module(rf"{ours}\.depthwise", rf"{theirs}.depthwise_conv"),
        *conv_module(rf"{ours}\.pointwise", rf"{theirs}.pointwise_conv"),
    ]
