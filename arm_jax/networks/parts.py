"""What a backbone and a head must bring along to be entries of `BACKBONES` and `HEADS`."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from flax import nnx

from arm_jax.networks.names import Names
from arm_jax.system.registry import Entry


class FourStages(nnx.Module):
    """A stem and four stages of blocks; the features of all four are returned.

    A class of this kind sets the attributes; each block maps features (b, h, w, c) to features.

    Attributes:
        stem: images (b, h, w, 3) to features at a quarter of their size.
        stages: four `nnx.List`s of blocks.
        channels: of the features that the four stages return.
        remat: compute what is inside a block again in the backward pass instead of keeping it.
    """

    stem: nnx.Module
    stages: nnx.List
    channels: tuple[int, ...]
    remat: bool

    def __call__(self, images: jax.Array) -> tuple[jax.Array, ...]:
        """(b, h, w, 3) to the four stages' features, (b, h/4, w/4, channels[0]) and on."""
        x = self.stem(images)
        call = nnx.remat(_call) if self.remat else _call
        features = []
        for stage in self.stages:
            for block in stage:
                x = call(block, x)
            features.append(x)
        return tuple(features)


def _call(block: Any, x: jax.Array) -> jax.Array:
    return block(x)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Backbone(Entry):
    """An entry of `BACKBONES`.

    Attributes:
        create: makes a `FourStages` from (*, variant, output_stride, multi_grid, remat, dtype,
            rngs, **sizes), where `variant` is a value of `variants`, `output_stride` (8, 16 or 32)
            that of the last stage's features and `multi_grid` None or the dilations of the last
            stage's blocks.
        sizes: the usual ones; `networks.create` takes others by these names.
        variants: name -> what `create` gets; the shapes in which ImageNet weights are published.
        variant: the usual one.
        names: from such a value to what other packages call the modules: layout ("backbone", which
            is torchvision's and mmsegmentation's, or "timm") -> table, with paths that begin below
            the backbone. Empty where no other package has the backbone.
        published: name of a variant -> address of ImageNet weights.
        fits: from (variant, module, tensors) to whether a weight file, name -> array, can be of
            the variant, a value of `variants`, of this module.
    """

    create: Callable[..., FourStages]
    sizes: Mapping[str, Any]
    variants: Mapping[str, Any]
    variant: str
    names: Callable[[Any], Mapping[str, Names]]
    published: Mapping[str, str] = dataclasses.field(default_factory=dict)
    fits: Callable[[Any, Any, Mapping[str, Any]], bool] = lambda variant, module, tensors: True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Head(Entry):
    """An entry of `HEADS`.

    Attributes:
        create: makes the module from (channels, outputs, *, output_stride, align_corners,
            dropout_rate, dtype, rngs, **sizes), where `channels` are those of the four stages.
            The module maps (features, coarse, dropout_key) to float32 scores (b, h', w', outputs):
            the four stages' features, the auxiliary head's scores or None, a key or None. Its last
            layer is called `classifier`.
        sizes: the usual ones; `networks.create` takes others by these names.
        needs_coarse: whether the module needs the auxiliary head's scores, a first guess.
        multi_grid: output stride -> dilations of the last stage's blocks, where these vary.
        names: layout ("mmsegmentation") -> what it calls the modules of this head, `head...`, and
            of the auxiliary head, `auxiliary_head...`. Empty where no other package has the head.
    """

    create: Callable[..., nnx.Module]
    sizes: Mapping[str, Any]
    needs_coarse: bool
    multi_grid: Mapping[int, Sequence[int]]
    names: Mapping[str, Names]
