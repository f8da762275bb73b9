"""Batch normalisation over the global batch, in float32, with a hand-written gradient."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

EPSILON = 1e-5


class BatchNorm(nnx.Module):
    """BatchNorm over all axes but the last, in float32; the result has the dtype of the input.

    eps 1e-5; momentum 0.9, which PyTorch calls 0.1. The running variance is the biased one, where
    PyTorch stores the unbiased one: equal within 1e-4 on maps of more than 10,000 positions.
    Created in evaluation mode; `networks.training` makes the view that uses batch statistics, but
    where `frozen` is True.

    Mean and variance come from one pass over the batch (one reduction over the devices), as
    E[(x - r)^2] - E[x - r]^2 with the running mean r, which algebra allows to be any constant:
    without it, float32 cancels where a channel's mean is far from 0.

    Args:
        zero_init: start gamma at 0, so that a residual branch starts as the identity.
        few_values: take a second pass for the variance, for layers that average a few values
            which may be nearly equal.
    """

    frozen = False

    def __init__(
        self,
        channels: int,
        *,
        zero_init: bool = False,
        few_values: bool = False,
        rngs: nnx.Rngs,
    ):
        del rngs  # Nothing here is random; every layer is made alike.
        self.scale = nnx.Param(jnp.full((channels,), 0.0 if zero_init else 1.0, jnp.float32))
        self.bias = nnx.Param(jnp.zeros((channels,), jnp.float32))
        self.mean = nnx.BatchStat(jnp.zeros((channels,), jnp.float32))
        self.var = nnx.BatchStat(jnp.ones((channels,), jnp.float32))
        self.few_values = few_values
        self.use_running_average = True

    def set_view(self, use_running_average: bool | None = None) -> None:
        """Args of `nnx.view`: use_running_average, False to use and track batch statistics."""
        if use_running_average is not None and not self.frozen:
            self.use_running_average = use_running_average

    def __call__(self, x: jax.Array) -> jax.Array:
        scale, bias = self.scale[...], self.bias[...]
        if self.use_running_average:
            return _affine(x, self.mean[...], self.var[...], scale, bias)
        y, mean, var = normalize(x, scale, bias, self.mean[...], self.few_values)
        self.track(mean, var)
        return y

    def track(self, mean: jax.Array, var: jax.Array) -> None:
        """Blend a batch's mean and variance into the running ones."""
        self.mean[...] = 0.9 * self.mean[...] + 0.1 * mean
        self.var[...] = 0.9 * self.var[...] + 0.1 * var


def _row(vector: jax.Array, x: jax.Array) -> jax.Array:
    return vector.reshape((1,) * (x.ndim - 1) + (-1,))


def _affine(
    x: jax.Array, mean: jax.Array, var: jax.Array, scale: jax.Array, bias: jax.Array
) -> jax.Array:
    gain = scale * lax.rsqrt(var + EPSILON)
    y = (x.astype(jnp.float32) - _row(mean, x)) * _row(gain, x) + _row(bias, x)
    return y.astype(x.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def normalize(
    x: jax.Array, scale: jax.Array, bias: jax.Array, shift: jax.Array, few_values: bool
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """BatchNorm by the batch, and the batch's mean and variance, which carry no gradient.

    Differentiated by its own rule, which keeps `x` in its own dtype and nothing else of its size,
    and takes one pass for the sums and one for the result. What JAX derives keeps several float32
    copies, and took 1.4 to 4 times as long on a CPU.
    """
    axes = tuple(range(x.ndim - 1))
    shifted = x.astype(jnp.float32) - _row(shift, x)
    offset = jnp.mean(shifted, axes)
    if few_values:
        var = jnp.var(shifted, axes)
    else:
        # Rounding can leave a constant channel a little below 0.
        var = jnp.maximum(jnp.mean(lax.square(shifted), axes) - lax.square(offset), 0.0)
    mean = shift + offset
    return _affine(x, mean, var, scale, bias), mean, var


def normalize_forward(
    x: jax.Array, scale: jax.Array, bias: jax.Array, shift: jax.Array, few_values: bool
) -> tuple[tuple[jax.Array, jax.Array, jax.Array], tuple[jax.Array, ...]]:
    y, mean, var = normalize(x, scale, bias, shift, few_values)
    return (y, mean, var), (x, scale, mean, lax.rsqrt(var + EPSILON))


def normalize_backward(
    few_values: bool, kept: tuple[jax.Array, ...], gradients: tuple[jax.Array, ...]
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    x, scale, mean, inverse = kept
    axes, number = tuple(range(x.ndim - 1)), x.size // x.shape[-1]
    gradient = gradients[0].astype(jnp.float32)
    standard = (x.astype(jnp.float32) - _row(mean, x)) * _row(inverse, x)
    for_bias = jnp.sum(gradient, axes)
    for_scale = jnp.sum(gradient * standard, axes)
    centred = gradient - _row(for_bias / number, x) - standard * _row(for_scale / number, x)
    for_x = centred * _row(scale * inverse, x)
    return for_x.astype(x.dtype), for_scale, for_bias, jnp.zeros_like(mean)


normalize.defvjp(normalize_forward, normalize_backward)
