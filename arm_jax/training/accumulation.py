"""The gradients of one large batch, a part of it at a time.

ARM's norms, and the thresholds of OHEM, are over the whole batch, so gradients of its parts cannot
simply be added up. But between the network and the objective stand only the scores, at a quarter
of the resolution, and those of the whole batch fit in memory where its activations do not. So: the
scores of every part, without a gradient; the objective of the whole batch and its gradient at the
scores; the network once more, part by part, to carry that gradient back (as in Gao et al. 2021,
"Scaling deep contrastive learning batch size under memory limited setup"). It costs one more
forward pass, and is exact but for BatchNorm, which sees the parts one by one. It is for GPUs and
TPUs: on CPUs, XLA's convolutions are 30 times slower inside a loop, and without one it merges the
two forward passes and keeps everything.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from arm_jax import networks
from arm_jax.networks.parts import merged
from arm_jax.training.records import Terms
from arm_jax.training.state import Players, Weighting

# Of a weighting (or None), scores and auxiliary scores of the whole batch: a scalar and more.
Objective = Callable[[Weighting | None, jax.Array, jax.Array], tuple[jax.Array, Terms]]


class _Weighting(nnx.Module):
    """The other player alone; None is no module, but may be a part of one."""

    def __init__(self, arm: Weighting | None):
        self.arm = arm


def value_and_grad(
    players: Players,
    images: jax.Array | Mapping[str, jax.Array],
    objective: Objective,
    dropout_key: jax.Array,
    *,
    parts: int,
    devices: int,
) -> tuple[Terms, nnx.State]:
    """What `objective` returns beside its value, and its gradients for both players.

    Args:
      players: BatchNorm's running statistics are updated in place, part by part.
      images: (b, h, w, 3) float32, normalised; or the features of the frozen parts.
      objective: see `Objective`.
      dropout_key: a key of this step's own.
      parts: into how many the batch is split; they and `devices` divide b together.
      devices: over how many the batch is split already, along its first axis.

    Returns:
      The objective's second result; the gradients, in the structure of `nnx.state(players,
      nnx.Param)`.
    """
    graphdef, params, *rest = nnx.split(players.segmenter, nnx.Param, ...)
    (statistics,) = rest
    keys = jax.random.split(dropout_key, parts)
    images = jax.tree.map(lambda x: _split(x, parts, devices), images)

    def network(
        params: nnx.State, statistics: nnx.State, images: Any, key: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array], nnx.State]:
        model = merged(graphdef, params, statistics)
        scores = networks.training(model)(images, auxiliary=True, dropout_key=key)
        return scores, nnx.state(model, nnx.Not(nnx.Param))

    found = jax.lax.map(lambda x: network(params, statistics, *x)[0], (images, keys))
    scores, auxiliary = (_join(x, devices) for x in found)

    (_, terms), (for_arm, for_scores, for_auxiliary) = nnx.value_and_grad(
        lambda weighting, *scores: objective(weighting.arm, *scores),
        argnums=(0, 1, 2),
        has_aux=True,
    )(_Weighting(players.arm), scores, auxiliary)

    def back(carry: tuple[nnx.State, nnx.State], part: Any) -> tuple[Any, None]:
        total, statistics = carry
        images, key, *gradients = part
        _, pull, statistics = jax.vjp(
            lambda params: network(params, statistics, images, key), params, has_aux=True
        )
        (gradient,) = pull(tuple(gradients))
        return (jax.tree.map(jnp.add, total, gradient), statistics), None

    start = (jax.tree.map(jnp.zeros_like, params), statistics)
    parted = [_split(x, parts, devices) for x in (for_scores, for_auxiliary)]
    (for_segmenter, statistics), _ = jax.lax.scan(back, start, (images, keys, *parted))
    nnx.update(players.segmenter, statistics)
    return terms, nnx.merge_state(for_arm, nnx.State({"segmenter": for_segmenter}))


def in_parts(
    function: Callable[[Any], jax.Array], images: Any, *, parts: int, devices: int
) -> jax.Array:
    """`function` of images, or of a tree of their features, to (b, ...), a part after the other.

    Without a gradient.
    """
    if parts == 1:
        return function(images)
    split = jax.tree.map(lambda x: _split(x, parts, devices), images)
    return _join(jax.lax.map(function, split), devices)


def _split(x: jax.Array, parts: int, devices: int) -> jax.Array:
    """(b, ...) to (parts, b / parts, ...), each device's share of a part from what it holds."""
    x = x.reshape(devices, parts, -1, *x.shape[1:])
    return jnp.swapaxes(x, 0, 1).reshape(parts, -1, *x.shape[3:])


def _join(x: jax.Array, devices: int) -> jax.Array:
    """The inverse of `_split`."""
    x = x.reshape(x.shape[0], devices, -1, *x.shape[2:])
    return jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[3:])
