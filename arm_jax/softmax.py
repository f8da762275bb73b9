"""The log-softmax of full-resolution scores, in as few passes over them as XLA makes of it."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

# What `jax.checkpoint` may keep of it: two numbers a pixel, which spare two passes over its scores.
KEPT = "softmax_normalizer"


@jax.custom_vjp
def log_softmax(logits: jax.Array) -> jax.Array:
    """`jax.nn.log_softmax` over the last axis, of float32, with its own gradient.

    Its gradient needs the largest logit and the sum of exponentials, which `jax.checkpoint` would
    compute again: they are named `KEPT`, for its policy.
    """
    largest, total = _normalizer(logits)
    return (logits - largest) - jnp.log(total)


def _normalizer(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The largest logit and the sum of exponentials of what they are below it, (..., 1)."""
    # The barriers keep XLA from storing logits less their largest, or their exponentials: to read
    # the logits again is half of that.
    largest = lax.optimization_barrier(jnp.max(logits, -1, keepdims=True))
    total = lax.optimization_barrier(jnp.sum(jnp.exp(logits - largest), -1, keepdims=True))
    return checkpoint_name(largest, KEPT), checkpoint_name(total, KEPT)


def _forward(logits: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    largest, total = _normalizer(logits)
    return (logits - largest) - jnp.log(total), (logits, largest, total)


def _backward(kept: tuple[jax.Array, ...], gradient: jax.Array) -> tuple[jax.Array]:
    logits, largest, total = kept
    share = jnp.sum(gradient, -1, keepdims=True) / total
    return (gradient - share * jnp.exp(logits - largest),)


log_softmax.defvjp(_forward, _backward)
