"""The product that makes scores: float32 out of half precision, its gradient in half precision."""

import jax
import jax.numpy as jnp


@jax.custom_vjp
def score(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Scores of every pixel, summed in float32 and not rounded.

    Their gradient is rounded to the dtype of `x` once, before both products of the backward pass:
    what JAX derives keeps it in float32, and then XLA makes float32 copies of x and of its
    gradient on GPUs, the largest maps of the whole step.

    Args:
        x: (b, h, w, c).
        kernel: (c, n) float32; the product is of its values in the dtype of `x`.

    Returns:
        (b, h, w, n) float32.
    """
    return jnp.einsum(
        "bhwc,cn->bhwn", x, kernel.astype(x.dtype), preferred_element_type=jnp.float32
    )


def _forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return score(x, kernel), (x, kernel)


def _backward(
    kept: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = kept
    cotangent = cotangent.astype(x.dtype)
    of_x = jnp.einsum("bhwn,cn->bhwc", cotangent, kernel.astype(x.dtype))
    of_kernel = jnp.einsum("bhwc,bhwn->cn", x, cotangent, preferred_element_type=jnp.float32)
    return of_x, of_kernel


score.defvjp(_forward, _backward)
