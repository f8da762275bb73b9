"""Two players, one optimiser: SGD down for the segmenter, SGD up for ARM (paper, Sec. 3.3)."""

from typing import Any

import jax
import optax

from arm_jax.system.compilation import computed_once

SEGMENTER = "segmenter"
ARM = "arm"
ARM_DECAYS = ("decay", "literal", "none")


def by_player(params: Any) -> Any:
    """Label every leaf of `params` by who moves it: "arm" under a top-level `arm`, or "segmenter".

    `params` is any pytree whose top level has names: the `nnx.State` of a module with the
    attributes `segmenter` and `arm`, a dict, a named tuple. `arm` may be absent or empty.
    """

    def label(path: tuple[Any, ...], _: Any) -> str:
        name = getattr(path[0], "key", getattr(path[0], "name", None)) if path else None
        return ARM if name == ARM else SEGMENTER

    return jax.tree_util.tree_map_with_path(label, params)


def create(
    schedule: optax.Schedule,
    *,
    momentum: float | None = 0.9,
    weight_decay: float = 1e-4,
    arm_multiplier: float = 1.0,
    arm_decay: str = "decay",
    labels: Any = by_player,
) -> optax.GradientTransformation:
    """SGD on one gradient tree, with a negative learning rate for ARM (Secs. 3.3, 3.5, 4.2).

    The paper multiplies ARM's learning rate by -1. Done literally, the flip also turns weight decay
    into growth by the factor exp(sum of lr * weight_decay / (1 - momentum)), which overflows in
    long runs. The default instead decays ARM like everything else, by handing the flipped branch
    the negative of the decay; it equals PyTorch's SGD with `maximize=True`. The paper states
    neither the momentum (0.9 here, its field's custom) nor which parameters decay (all here, as in
    mmsegmentation).

    Args:
        schedule: step -> learning rate, positive.
        momentum: of both players; None or 0 for none.
        weight_decay: lambda in d = gradient + lambda * parameter.
        arm_multiplier: ARM's learning rate over the segmenter's. 1 is the paper's. Short runs need
            more: on a fixed loss over confidence, 200 steps at 1 leave the weights uniform for half
            of the initialisations, and at 10 for none.
        arm_decay: "decay", "literal" (grows, as the paper's words have it) or "none".
        labels: a tree of "segmenter" and "arm" that is a prefix of the parameters, or a function
            from parameters to one.

    Returns:
        An optax transformation; its `update` needs the parameters.
    """
    if arm_decay not in ARM_DECAYS:
        raise ValueError(f"arm_decay must be one of {', '.join(ARM_DECAYS)}, got {arm_decay!r}")
    arm_weight_decay = {"decay": -weight_decay, "literal": weight_decay, "none": 0.0}[arm_decay]

    def flipped(step):
        return -arm_multiplier * schedule(step)

    def player(decay: float, rate: optax.Schedule) -> optax.GradientTransformation:
        def once(step):
            return computed_once(rate(step))

        return optax.chain(optax.add_decayed_weights(decay), optax.sgd(once, momentum or None))

    players = {SEGMENTER: player(weight_decay, schedule), ARM: player(arm_weight_decay, flipped)}
    return optax.multi_transform(players, labels)
