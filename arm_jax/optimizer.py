"""Two players, one optimiser: down for the segmenter, up for ARM (paper, Sec. 3.3)."""

from typing import Any

import jax
import optax

from arm_jax.system.compilation import computed_once

SEGMENTER = "segmenter"
ARM = "arm"
KINDS = ("sgd", "adamw")
BACKBONE = "backbone"
NO_GRADIENT = 1e-12  # the norm below which a gradient has no direction
ARM_DECAYS = ("decay", "literal", "none")


def by_player(params: Any) -> Any:
    """Label every leaf of `params` by who moves it: "arm" under a top-level `arm`, or "segmenter".

    `params` is any pytree whose top level has names: the `nnx.State` of a module with the
    attributes `segmenter` and `arm`, a dict, a named tuple. `arm` may be absent or empty.
    """

    def label(path: tuple[Any, ...], _: Any) -> str:
        return ARM if _names(path)[:1] == [ARM] else SEGMENTER

    return jax.tree_util.tree_map_with_path(label, params)


def of_backbone(factor: float) -> optax.GradientTransformation:
    """Updates of the segmenter's `backbone` times a factor: its learning rate over the rest's."""

    def one(path: tuple[Any, ...], update: Any) -> Any:
        return factor * update if _names(path) == [SEGMENTER, BACKBONE] else update

    return optax.stateless(lambda updates, _: jax.tree_util.tree_map_with_path(one, updates))


def _names(path: tuple[Any, ...]) -> list[Any]:
    """The first two names on the way to a leaf; None for what has none."""
    return [getattr(key, "key", getattr(key, "name", None)) for key in path[:2]]


def create(
    schedule: optax.Schedule,
    *,
    kind: str = "sgd",
    momentum: float | None = 0.9,
    beta2: float = 0.999,
    weight_decay: float = 1e-4,
    clip_norm: float | None = None,
    backbone_multiplier: float = 1.0,
    arm_multiplier: float = 1.0,
    arm_step_lengths: optax.Schedule | None = None,
    arm_decay: str = "decay",
    labels: Any = by_player,
) -> optax.GradientTransformation:
    """Both players' optimiser on one gradient tree, with a negative learning rate for ARM.

    The paper (Secs. 3.3, 3.5, 4.2) has SGD and multiplies ARM's learning rate by -1. Done
    literally, the flip also turns weight decay into growth by the factor exp(sum of lr *
    weight_decay / (1 - momentum)), which overflows in long runs. The default instead decays ARM
    like everything else, by handing the flipped branch the negative of the decay; it equals
    PyTorch's SGD with `maximize=True`. The paper states neither the momentum (0.9 here, its field's
    custom) nor which parameters decay (all here, as in mmsegmentation).

    With AdamW the sign is flipped after the preconditioner, which divides a gradient by its own
    size and so keeps its sign; the decay is beside it and again the negative of the segmenter's. A
    clipped gradient keeps its direction, and each player's is clipped by its own norm: the
    segmenter's, thousands of times ARM's, would otherwise stop ARM.

    Args:
        schedule: step -> learning rate, positive.
        kind: "sgd" or "adamw", of both players.
        momentum: of both players, beta 1 of adamw; None or 0 for none.
        beta2: of adamw.
        weight_decay: lambda in d = gradient + lambda * parameter, where adamw has the
            preconditioned gradient.
        clip_norm: the largest norm of each player's gradient; None or 0 for no limit. Steps of
            `arm_step_lengths` are not affected.
        backbone_multiplier: the learning rate of the backbone, which is pretrained, over that of
            the rest of the segmenter, which is not; weight decay goes with it.
        arm_multiplier: ARM's learning rate over the segmenter's. 1 is the paper's. Short runs need
            more: on a fixed loss over confidence, 200 steps at 1 leave the weights uniform for half
            of the initialisations, and at 10 for none.
        arm_step_lengths: instead of ARM's learning rate and its momentum, of either kind: each step
            goes this far in the direction of the gradient, up, as `schedules.arm_step_lengths`.
        arm_decay: "decay", "literal" (grows, as the paper's words have it) or "none".
        labels: a tree of "segmenter" and "arm" that is a prefix of the parameters, or a function
            from parameters to one.

    Returns:
        An optax transformation; its `update` needs the parameters.
    """
    if arm_decay not in ARM_DECAYS:
        raise ValueError(f"arm_decay must be one of {', '.join(ARM_DECAYS)}, got {arm_decay!r}")
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    arm_weight_decay = {"decay": -weight_decay, "literal": weight_decay, "none": 0.0}[arm_decay]

    def flipped(step):
        if arm_step_lengths is not None:
            return -arm_step_lengths(step)
        return -arm_multiplier * schedule(step)

    def player(
        decay: float, rate: optax.Schedule, normalized: bool = False
    ) -> optax.GradientTransformation:
        def once(step):
            return computed_once(rate(step))

        if normalized:
            return optax.chain(
                optax.normalize_by_update_norm(eps=NO_GRADIENT),
                optax.add_decayed_weights(decay),
                optax.scale_by_learning_rate(once),
            )
        parts = [optax.clip_by_global_norm(clip_norm)] if clip_norm else []
        if kind == "adamw":
            parts += [
                optax.scale_by_adam(momentum or 0.0, beta2),
                optax.add_decayed_weights(decay),
                optax.scale_by_learning_rate(once),
            ]
        else:
            parts += [optax.add_decayed_weights(decay), optax.sgd(once, momentum or None)]
        return optax.chain(*parts)

    arm = player(arm_weight_decay, flipped, normalized=arm_step_lengths is not None)
    segmenter = player(weight_decay, schedule)
    if backbone_multiplier != 1.0:
        segmenter = optax.chain(segmenter, of_backbone(backbone_multiplier))
    return optax.multi_transform({SEGMENTER: segmenter, ARM: arm}, labels)
