"""The learning rate as a function of the step and the run's length T: the paper's, and others."""

from typing import Any

import jax.numpy as jnp
import optax


def boundary(fraction: float, total_steps: int) -> int:
    """The first step (from 0) that lies `fraction` of the way through the run.

    The players are coupled from step `boundary(0.05, T)` on.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"a fraction of the run lies in [0, 1], got {fraction}")
    return round(fraction * total_steps)


KINDS = ("steps", "poly", "cosine")


def learning_rate(
    total_steps: int,
    base: float = 0.02,
    *,
    kind: str = "steps",
    warmup: float = 0.05,
    warmup_start: float = 0.01,
    drops: tuple[tuple[float, float], ...] = ((0.6, 0.1), (0.9, 0.01)),
    power: float = 0.9,
    final: float = 0.0,
) -> optax.Schedule:
    """Linear warm-up, then constant with drops (Sec. 4.2), or a smooth fall.

    From base/100 at step 0 linearly to base at 0.05 T. Then, with x from 0 at the end of the
    warm-up to 1 at step T, which is the first that is not made:

        steps   base/10 from 0.6 T, base/100 from 0.9 T
        poly    base (final + (1 - final) (1 - x)^power)
        cosine  base (final + (1 - final) (1 + cos(pi x)) / 2)

    Args:
        total_steps: T, > 0.
        base: the learning rate alpha_0.
        kind: one of `KINDS`.
        warmup: fraction of T in which the rate grows; 0 for none.
        warmup_start: factor on `base` at step 0.
        drops: of steps: (fraction of T, factor on `base` from there on), in this order.
        power: of poly, > 0.
        final: of poly and cosine: factor on `base` at step T.

    Returns:
        step (int, may be traced; from 0) -> learning rate, float32.
    """
    if total_steps < 1:
        raise ValueError(f"a run has at least one step, got {total_steps}")
    if kind not in KINDS:
        raise ValueError(f"a schedule is one of {', '.join(KINDS)}, got {kind!r}")
    warmup_end = boundary(warmup, total_steps)
    steps = [boundary(fraction, total_steps) for fraction, _ in drops]
    if sorted(steps) != steps:
        raise ValueError(f"the drops of the learning rate are not in order: {drops}")
    left = max(total_steps - warmup_end, 1)
    fall = {
        "poly": optax.polynomial_schedule(1.0, final, power, left),
        "cosine": optax.cosine_decay_schedule(1.0, left, final),
    }.get(kind)

    def schedule(step):
        factor = jnp.float32(1.0)
        if warmup_end:
            progress = jnp.minimum(jnp.asarray(step, jnp.float32) / warmup_end, 1.0)
            factor = warmup_start + (1.0 - warmup_start) * progress
        if fall is not None:
            later = jnp.float32(fall(jnp.asarray(step) - warmup_end))
            return base * jnp.where(step >= warmup_end, later, factor)
        for start, (_, after) in zip(steps, drops, strict=True):
            factor = jnp.where(step >= start, after, factor)
        return base * factor

    return schedule


# By the end of a twentieth of a run; ARM's 53 parameters have a norm of about 3.6 at first. Half of
# it left two classes of cells at a Hölder ratio of 0.977 after a tenth of 1,000 steps.
ARM_PATH = 6.0
PATH_SHARE = 0.05  # of the run: when the players are coupled, at `arm.isolated`
LONGEST_ARM_STEP = 0.3  # longer ones overshoot


def arm_step_lengths(total_steps: int, **fall: Any) -> optax.Schedule:
    """How far ARM moves along its normalised gradient in each step, for `optimizer.create`.

    The size of ARM's gradient says nothing about how far it is from the optimum: on its initial
    plateau it is a hundredth of what it becomes. At a fixed learning rate a short run therefore
    ends where it began, and there is none that suits all lengths, losses and data. Here the way is
    fixed instead: `ARM_PATH` in the first twentieth of a run, before the weights reach the
    segmenter; or in the first 20 steps of a run of less than 400, whose steps would be too long
    otherwise. No warm-up, since a step of a given length needs none.

    Args:
        total_steps: T, > 0.
        fall: how it falls later, `kind`, `drops`, `power` and `final` of `learning_rate`.

    Returns:
        step (from 0) -> length, float32, in the norm of ARM's parameters.
    """
    longest = min(ARM_PATH / (PATH_SHARE * total_steps), LONGEST_ARM_STEP)
    return learning_rate(total_steps, longest, warmup=0.0, **fall)
