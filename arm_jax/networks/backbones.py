"""The table of backbones, with their names in other packages and where weights are published."""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from arm_jax.networks import resnest, resnet
from arm_jax.networks.names import Names
from arm_jax.networks.parts import Backbone
from arm_jax.networks.resnest import SplitAttentionBottleneck
from arm_jax.networks.resnet import BasicBlock, Bottleneck, ResNet, Variant
from arm_jax.system.registry import Registry


def names(variant: Variant) -> Mapping[str, Names]:
    """What torchvision, mmsegmentation and timm call the modules of this shape."""
    first = 1 if variant.average_shortcut else 0  # the average pooling is an entry too
    shortcut = _in_stages(
        (r"shortcut\.projection\.conv", f"downsample.{first}"),
        (r"shortcut\.projection\.norm", f"downsample.{first + 1}"),
    )
    if variant.deep_stem:
        stem, timm_stem = _deep_stem("stem"), [(r"stem\.layers\.2\.norm", "bn1")]
        timm_stem += _deep_stem("conv1")
    else:
        stem = [(r"stem\.layers\.0\.conv", "conv1"), (r"stem\.layers\.0\.norm", "bn1")]
        timm_stem = stem
    return {"backbone": [*stem, *shortcut, *BLOCKS], "timm": [*timm_stem, *shortcut, *BLOCKS]}


def _deep_stem(there: str) -> list[tuple[str, str]]:
    """Three convolutions: 0, 3 and 6, as PyTorch's Sequential counts norms and ReLUs too."""
    return [
        (rf"stem\.layers\.{layer}\.{part}", f"{there}.{3 * layer + place}")
        for layer in range(3)
        for place, part in enumerate(("conv", "norm"))
    ]


def _in_stages(*modules: tuple[str, str]) -> Names:
    """Modules of a block, in all stages: a stage of ours is one less than a layer of theirs."""
    return [
        (rf"stages\.{layer - 1}\.(\d+)\.{ours}", rf"layer{layer}.\1.{theirs}")
        for layer in (1, 2, 3, 4)
        for ours, theirs in modules
    ]


BLOCKS = _in_stages(
    (r"conv(\d)\.conv", r"conv\2"),
    (r"conv(\d)\.norm", r"bn\2"),
    # ResNeSt's split attention.
    (r"conv2\.splits\.conv", "conv2.conv"),
    (r"conv2\.splits\.norm", "conv2.bn0"),
    (r"conv2\.squeeze", "conv2.fc1"),
    (r"conv2\.squeeze_norm", "conv2.bn1"),
    (r"conv2\.excite", "conv2.fc2"),
)


def fits(variant: Variant, module: ResNet, tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether a file of any of these packages has the stem and the shortcuts of the variant."""
    stems = sorted(
        key for key in tensors if re.fullmatch(r"(backbone\.)?(stem|conv1)(\.\d)?\.weight", key)
    )
    stem = [tensors[key].shape[0] for key in stems if tensors[key].ndim == 4]
    shortcuts = {match[1] for key in tensors if (match := re.search(r"downsample\.(\d)\.", key))}
    channels = [int(module.width * factor) for factor in variant.deep_stem] or [module.width]
    same_shortcuts = not shortcuts or ("2" in shortcuts) == variant.average_shortcut
    return (not stem or stem == channels) and same_shortcuts


def entry(
    block: Any,
    depths: Sequence[int],
    *,
    variants: Mapping[str, Variant] = resnet.VARIANTS,
    variant: str = "v1c",
    width: int = 64,
    published: Mapping[str, str] | None = None,
) -> Backbone:
    """The entry of a residual network: see `parts.Backbone`."""
    return Backbone(
        create=functools.partial(ResNet, block),
        sizes={"depths": tuple(depths), "width": width},
        variants=variants,
        variant=variant,
        names=names,
        published=published or {},
        fits=fits,
    )


# The published weights expect images normalised with ImageNet's mean and deviation, and timm gives
# each an Apache-2.0 or BSD licence. Of "caffe" there are none. One file of a ResNeSt serves both of
# its variants, which differ only where a stride became a dilation.
BACKBONES = Registry(
    "backbone",
    Backbone,
    # Made by the dozen on a CPU: half of the blocks, a quarter of the width.
    resnet10=entry(BasicBlock, (1, 1, 1, 1), width=16),
    resnet18=entry(
        BasicBlock,
        (2, 2, 2, 2),
        published={"v1b": "hf://timm/resnet18.tv_in1k", "v1d": "hf://timm/resnet18d.ra2_in1k"},
    ),
    resnet50=entry(
        Bottleneck,
        (3, 4, 6, 3),
        published={
            "v1b": "hf://timm/resnet50.tv_in1k",
            "v1c": "hf://timm/resnet50c.gluon_in1k",
            "v1d": "hf://timm/resnet50d.gluon_in1k",
            "v1s": "hf://timm/resnet50s.gluon_in1k",
        },
    ),
    resnet101=entry(
        Bottleneck,
        (3, 4, 23, 3),
        published={
            "v1b": "hf://timm/resnet101.tv_in1k",
            "v1c": "hf://timm/resnet101c.gluon_in1k",
            "v1d": "hf://timm/resnet101d.gluon_in1k",
            "v1s": "hf://timm/resnet101s.gluon_in1k",
        },
    ),
    resnest50=entry(
        SplitAttentionBottleneck,
        (3, 4, 6, 3),
        variants=resnest.VARIANTS[50],
        variant="d2",
        published=dict.fromkeys(resnest.VARIANTS[50], "hf://timm/resnest50d.in1k"),
    ),
    resnest101=entry(
        SplitAttentionBottleneck,
        (3, 4, 23, 3),
        variants=resnest.VARIANTS[101],
        variant="d2",
        published=dict.fromkeys(resnest.VARIANTS[101], "hf://timm/resnest101e.in1k"),
    ),
)
