"""1x1 convolutions in half precision: products of pixels, with a gradient of their own."""

import functools

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def product(x: jax.Array, kernel: jax.Array, dtype: DTypeLike) -> jax.Array:
    """The product of every pixel and a kernel, summed in float32 and rounded to `dtype` once.

    The gradient that arrives is rounded to the dtype of `x` before both products of the backward
    pass. What JAX derives keeps the gradient of float32 scores as it is, and XLA then makes float32
    copies of x and of its gradient on GPUs, the largest maps of the whole step. The gradient of the
    kernel is float32: devices add up what is not yet rounded.

    Args:
        x: (b, h, w, c).
        kernel: (c, n) float32; the product is of its values in the dtype of `x`.
        dtype: that of `x`, or float32 for scores.

    Returns:
        (b, h, w, n) of `dtype`.
    """
    values = jnp.matmul(_flat(x), kernel.astype(x.dtype), preferred_element_type=dtype)
    return values.reshape(*x.shape[:-1], -1)


def _flat(x: jax.Array) -> jax.Array:
    # Over three axes, the gradient of the kernel transposes the map first on CPUs.
    return x.reshape(-1, x.shape[-1])


def _forward(
    x: jax.Array, kernel: jax.Array, dtype: DTypeLike
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return product(x, kernel, dtype), (x, kernel)


def _backward(
    dtype: DTypeLike, kept: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = kept
    gradient = _flat(cotangent.astype(x.dtype))
    of_x = (gradient @ kernel.astype(x.dtype).T).reshape(x.shape)
    of_kernel = jnp.matmul(_flat(x).T, gradient, preferred_element_type=jnp.float32)
    return of_x, of_kernel


product.defvjp(_forward, _backward)
