"""Parts of a backbone that are not trained.

Their weights do not move, and their BatchNorm uses the running statistics, as in evaluation. Since
a part's gradient passes through all parts behind it, only the first ones are worth freezing.
"""

from collections.abc import Collection, Sequence
from typing import Any

import jax
from flax import nnx

from arm_jax.networks.batchnorm import BatchNorm
from arm_jax.networks.parts import PARTS, FourStages
from arm_jax.system.errors import InputError


class Frozen(nnx.Variable[Any]):
    """What would be an `nnx.Param`, if it were trained."""


# What a network has learnt, trained further or not.
WEIGHTS = nnx.Any(nnx.Param, Frozen, nnx.BatchStat)


def freeze(backbone: FourStages, parts: Sequence[str]) -> None:
    """Freeze the first parts of a backbone for good, in place.

    Their parameters become `Frozen` variables, which no gradient is taken of and no optimiser
    knows; their BatchNorm stays in evaluation mode in the view of `networks.training` too.

    Args:
        backbone: of a network; its weights may be loaded before or after.
        parts: the first of `parts.PARTS`, in their order; none leaves all as it is.

    Raises:
        InputError: a part is left out before another, or the backbone has none of that name.

    >>> from arm_jax import networks
    >>> model = networks.create("deeplabv3plus_resnet10", 3, rngs=nnx.Rngs(0))
    >>> freeze(model.backbone, ("stem", "stage1"))
    >>> len(jax.tree.leaves(nnx.state(model.backbone.stem, nnx.Param)))
    0
    """
    there = [name for name in PARTS if name == "stem" or backbone.modules(name)]
    if list(parts) != there[: len(parts)]:
        raise InputError(
            f"model.freeze = {tuple(parts)!r}; it must be the first parts of the backbone, in their"
            f" order and without a gap: {', '.join(there)}"
        )
    backbone.frozen = len(parts)
    for name in parts:
        for _, module in nnx.iter_modules(backbone.modules(name)):
            if isinstance(module, BatchNorm):
                module.frozen = True
            for attribute, value in list(vars(module).items()):
                if isinstance(value, nnx.Param):
                    setattr(module, attribute, Frozen(value[...]))


def read_parts(
    backbone: FourStages, images: jax.Array, stages: Collection[int]
) -> dict[str, jax.Array]:
    """The features of the frozen parts, for `FourStages.__call__` to go on from.

    Args:
        backbone: with at least one frozen part.
        images: (b, h, w, 3), normalised.
        stages: those whose features are read by heads, from 0.

    Returns:
        Name to features (b, h', w', c), of the last frozen part and of those that are read.
    """
    found: dict[str, jax.Array] = {}
    x = images
    for name in PARTS[: backbone.frozen]:
        x = backbone.part(name, x)
        if PARTS.index(name) - 1 in stages or name == PARTS[backbone.frozen - 1]:
            found[name] = x
    return found
