"""The learning rate of the paper (Sec. 4.2), as a function of the step and the run's length T."""

import jax.numpy as jnp
import optax


def boundary(fraction: float, total_steps: int) -> int:
    """The first step (from 0) that lies `fraction` of the way through the run.

    The players are coupled from step `boundary(0.05, T)` on.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"a fraction of the run lies in [0, 1], got {fraction}")
    return round(fraction * total_steps)


def learning_rate(
    total_steps: int,
    base: float = 0.02,
    *,
    warmup: float = 0.05,
    warmup_start: float = 0.01,
    drops: tuple[tuple[float, float], ...] = ((0.6, 0.1), (0.9, 0.01)),
) -> optax.Schedule:
    """Linear warm-up, then constant with drops (Sec. 4.2).

    From base/100 at step 0 linearly to base at 0.05 T, base/10 from 0.6 T, base/100 from 0.9 T.

    Args:
        total_steps: T, > 0.
        base: the learning rate alpha_0.
        warmup: fraction of T in which the rate grows; 0 for none.
        warmup_start: factor on `base` at step 0.
        drops: (fraction of T, factor on `base` from there on), in this order.

    Returns:
        step (int, may be traced; from 0) -> learning rate, float32.
    """
    if total_steps < 1:
        raise ValueError(f"a run has at least one step, got {total_steps}")
    warmup_end = boundary(warmup, total_steps)
    steps = [boundary(fraction, total_steps) for fraction, _ in drops]
    if sorted(steps) != steps:
        raise ValueError(f"the drops of the learning rate are not in order: {drops}")

    def schedule(step):
        factor = jnp.float32(1.0)
        if warmup_end:
            progress = jnp.minimum(jnp.asarray(step, jnp.float32) / warmup_end, 1.0)
            factor = warmup_start + (1.0 - warmup_start) * progress
        for start, (_, after) in zip(steps, drops, strict=True):
            factor = jnp.where(step >= start, after, factor)
        return base * factor

    return schedule
