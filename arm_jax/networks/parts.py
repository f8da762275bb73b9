"""What a backbone and a head must bring along to be entries of `BACKBONES` and `HEADS`."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from flax import nnx

from arm_jax.networks.names import Names
from arm_jax.system.registry import Entry

# What can be frozen, in the order in which an image passes through.
PARTS = ("stem", "stage1", "stage2", "stage3", "stage4")


class FourStages(nnx.Module):
    """A stem and four stages of blocks; the features of all four are returned.

    A class of this kind sets the attributes; each block maps features (b, h, w, c) to features. A
    last stage without blocks returns the features of the stage before it.

    Attributes:
        stem: images (b, h, w, 3) to features at a quarter of their size.
        stages: four `nnx.List`s of blocks.
        channels: of the features that the four stages return.
        remat: compute what is inside a block again in the backward pass instead of keeping it.
        frozen: how many of `PARTS` are frozen, see `freezing.freeze`.
    """

    frozen = 0

    stem: nnx.Module
    stages: nnx.List
    channels: tuple[int, ...]
    remat: bool

    def __call__(self, images: jax.Array | Mapping[str, jax.Array]) -> tuple[jax.Array, ...]:
        """Images to the four stages' features, (b, h/4, w/4, channels[0]) and on.

        Args:
            images: (b, h, w, 3); or what the frozen parts return of them, by the names of `PARTS`,
                of which only the last frozen part must be there. The features of the others that
                are missing are None then.
        """
        found: list[Any] = []
        x: Any = images
        if isinstance(images, Mapping):
            found = [images.get(name) for name in PARTS[: self.frozen]]
            x = found[-1]
        for name in PARTS[len(found) :]:
            x = self.part(name, x)
            found.append(x)
        return tuple(found[1:])

    def part(self, name: str, x: jax.Array) -> jax.Array:
        """What the part of this name, one of `PARTS`, makes of what the one before it returns."""
        if name == "stem":
            return self.stem(x)
        # Nothing is kept of frozen parts, which no gradient passes through.
        trained = PARTS.index(name) >= self.frozen
        call = nnx.remat(called) if self.remat and trained else called
        for block in self.stages[PARTS.index(name) - 1]:
            x = call(block, x)
        return x

    def modules(self, name: str) -> nnx.Module | nnx.List:
        """The part of this name, one of `PARTS`."""
        return self.stem if name == "stem" else self.stages[PARTS.index(name) - 1]


def merged(graphdef: nnx.GraphDef, *states: nnx.State) -> Any:
    """`nnx.merge`, with variables of the module's own.

    A module that is differentiated, or whose `BatchNorm`s write to it, owns the variables that it
    is merged from; these may belong to the trace around, or be wanted afterwards as they were.
    """
    return nnx.merge(graphdef, *jax.tree.map(lambda x: x, states))


def called(module: Any, *arguments: Any) -> jax.Array:
    """`module(*arguments)`, as a function for `nnx.remat`."""
    return module(*arguments)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Backbone(Entry):
    """An entry of `BACKBONES`.

    Attributes:
        create: makes a `FourStages` from (*, variant, output_stride, multi_grid, remat, dtype,
            rngs, **sizes), where `variant` is a value of `variants`, `output_stride` (8, 16 or 32)
            that of the last stage's features and `multi_grid` None or the dilations of the last
            stage's blocks. `bands`, the channels of the images, is among them if these are not 3.
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
        reads: of which stages the module reads the features, from 0.
        multi_grid: output stride -> dilations of the last stage's blocks, where these vary.
        names: layout ("mmsegmentation") -> what it calls the modules of this head, `head...`, and
            of the auxiliary head, `auxiliary_head...`. Empty where no other package has the head.
    """

    create: Callable[..., nnx.Module]
    sizes: Mapping[str, Any]
    needs_coarse: bool
    multi_grid: Mapping[int, Sequence[int]]
    names: Mapping[str, Names]
    reads: Sequence[int] = (0, 1, 2, 3)
