"""A 1x1 convolution to more channels, its BatchNorm, a residual sum and a ReLU, as one product.

Every residual block ends so, and its widest maps are there. What the convolution gives, n = x w, is
linear in x, so all that BatchNorm needs of it follows from moments of the narrow x:

    mean(n) = mean(x) w        var(n) = diag(w^T cov(x) w)

Known before the product, they scale its weights, and n itself is never stored. In the backward
pass, let g be the gradient behind BatchNorm and P = x^T g. Then sum(g n) = diag(P^T w), the
gradient at n is A g + B n + D with one A, B and D a channel, and

    of w = P A + x^T x w B + sum(x) D        of x = g (w A)^T + x (w B w^T) + D w^T

so that nothing reads n there either. Of the wide map's passes over memory 5 of 13 are left, for
products of x with itself: a quarter of the operations of a bottleneck's last convolution, twice.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from arm_jax.networks import batchnorm, platforms

# Of x: the mean (c,) and the mean of x x^T (c, c).
Moments = tuple[jax.Array, jax.Array]
# Gradients of x, kernel, scale and bias.
Gradients = tuple[jax.Array, jax.Array, jax.Array, jax.Array]

# Products of x with itself cost in / out of the convolution's own.
_LEAST_WIDENING = 2


def suits(dtype: jnp.dtype, kernel_shape: tuple[int, ...]) -> bool:
    """Whether `normalized_product` may take the place of a convolution and its BatchNorm.

    In float32, with TF32 products on a GPU, the variance would lose what BatchNorm keeps.
    """
    size, _, ins, outs = kernel_shape
    return size == 1 and outs >= _LEAST_WIDENING * ins and jnp.dtype(dtype).itemsize == 2


@functools.partial(jax.custom_vjp, nondiff_argnums=(6,))
def normalized_product(
    x: jax.Array,
    kernel: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    shift: jax.Array,
    identity: jax.Array | None,
    relu: bool,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """BatchNorm by the batch of a 1x1 convolution, plus `identity`, and a ReLU if there is to be.

    Args:
        x: (b, h, w, c), bfloat16 or float16.
        kernel: (c, n) float32; the product is of its values in the dtype of `x`.
        scale, bias, shift: (n,) float32, as in `BatchNorm`; `shift` is its running mean.
        identity: (b, h, w, n), or None for nothing to be added.
        relu: whether to end in one.

    Returns:
        (b, h, w, n) of the dtype of `x`; the batch's mean and biased variance (n,) of the product,
        which carry no gradient. All forms round to that dtype as much.
    """
    return _forward(x, kernel, scale, bias, shift, identity, relu)[0]


def _forward(x, kernel, scale, bias, shift, identity, relu):
    def form(by_moments, x, kernel, scale, bias, shift, identity):
        # A form keeps one for its gradient, and has the other's place filled; XLA drops that.
        ins, outs = kernel.shape
        product = jnp.zeros((*x.shape[:-1], outs), x.dtype)
        moments = jnp.zeros((ins,), jnp.float32), jnp.zeros((ins, ins), jnp.float32)
        if by_moments:
            y, mean, var, moments = from_moments(x, kernel, scale, bias, identity, relu)
        else:
            y, mean, var, product = one_by_one(x, kernel, scale, bias, shift, identity, relu)
        return y, mean, var, product, moments

    arrays = (x, kernel, scale, bias, shift, identity)
    y, mean, var, *kept = platforms.choose("widening_from_moments", form, *arrays)
    added = None if identity is None else jnp.zeros(())  # There is one: its gradient is due.
    return (y, mean, var), (x, kernel, scale, shift, added, y, mean, var, *kept)


def _backward(relu, kept, cotangents):
    x, kernel, scale, shift, added, y, mean, var, product, moments = kept
    gradient = cotangents[0]
    if relu:
        gradient = jnp.where(y > 0, gradient, jnp.zeros((), y.dtype))

    def form(by_moments, product, moments, *arrays):
        return (
            pull_by_moments(moments, *arrays) if by_moments else pull_one_by_one(product, *arrays)
        )

    arrays = (x, kernel, scale, mean, lax.rsqrt(var + batchnorm.EPSILON), gradient)
    of_x, of_kernel, of_scale, of_bias = platforms.choose(
        "widening_from_moments", form, product, moments, *arrays
    )
    of_identity = None if added is None else gradient
    return of_x, of_kernel, of_scale, of_bias, jnp.zeros_like(shift), of_identity


normalized_product.defvjp(_forward, _backward)


def _flat(x: jax.Array) -> jax.Array:
    return x.reshape(-1, x.shape[-1])


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """A product of small float32 matrices, in float32."""
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def _gram(a: jax.Array, b: jax.Array) -> jax.Array:
    """a^T b over all pixels, float32."""
    return jnp.einsum("pk,pl->kl", _flat(a), _flat(b), preferred_element_type=jnp.float32)


def one_by_one(
    x: jax.Array,
    kernel: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    shift: jax.Array,
    identity: jax.Array | None,
    relu: bool,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """The convolution, then its BatchNorm, the sum and the ReLU.

    Returns:
        As `normalized_product`, and the product.
    """
    product = (_flat(x) @ kernel.astype(x.dtype)).reshape(*x.shape[:-1], -1)
    y, mean, var = batchnorm.normalize(product, scale, bias, shift, False)
    y = y if identity is None else y + identity
    y = jnp.maximum(y, 0) if relu else y
    return y, mean, var, product


def pull_one_by_one(
    product: jax.Array,
    x: jax.Array,
    kernel: jax.Array,
    scale: jax.Array,
    mean: jax.Array,
    inverse: jax.Array,
    gradient: jax.Array,
) -> Gradients:
    """From the product, and the gradient behind BatchNorm."""
    kept = (product, scale, mean, inverse)
    nothing = jnp.zeros_like(mean)
    of_product, of_scale, of_bias, _ = batchnorm.normalize_backward(
        False, kept, (gradient, nothing, nothing)
    )
    weights = kernel.astype(x.dtype)
    of_x, of_kernel = jax.vjp(jnp.matmul, _flat(x), weights)[1](_flat(of_product))
    return of_x.reshape(x.shape), of_kernel.astype(kernel.dtype), of_scale, of_bias


def from_moments(
    x: jax.Array,
    kernel: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    identity: jax.Array | None,
    relu: bool,
) -> tuple[jax.Array, jax.Array, jax.Array, Moments]:
    """BatchNorm's mean and variance first, then everything in one product.

    Returns:
        As `normalized_product`, and the moments of x.
    """
    pixels = x.size // x.shape[-1]
    weights = kernel.astype(x.dtype).astype(jnp.float32)
    average = jnp.mean(_flat(x).astype(jnp.float32), 0)
    squares = _gram(x, x) / pixels
    covariance = squares - average[:, None] * average[None]
    mean = _dot(average, weights)
    var = jnp.maximum(jnp.sum(weights * _dot(covariance, weights), 0), 0.0)
    scaled = (weights * (scale * lax.rsqrt(var + batchnorm.EPSILON))[None]).astype(x.dtype)
    # Of the weights as they were rounded, so that the batch's mean is exactly `bias`.
    offset = (bias - _dot(average, scaled.astype(jnp.float32))).astype(x.dtype)
    # In this order, and of these types, they are one call of cuBLASLt.
    y = _flat(x) @ scaled
    if identity is not None:
        y = y + _flat(identity)
    y = y + offset[None]
    if relu:
        # Or `y > 0` becomes a comparison of the sum, which is then stored as well.
        y = lax.optimization_barrier(jnp.maximum(y, 0))
    return y.reshape(*x.shape[:-1], -1), mean, var, (average, squares)


def pull_by_moments(
    moments: Moments,
    x: jax.Array,
    kernel: jax.Array,
    scale: jax.Array,
    mean: jax.Array,
    inverse: jax.Array,
    gradient: jax.Array,
) -> Gradients:
    """From the moments of x, and the gradient behind BatchNorm."""
    average, squares = moments
    pixels = x.size // x.shape[-1]
    weights = kernel.astype(x.dtype).astype(jnp.float32)
    of_bias = jnp.sum(_flat(gradient).astype(jnp.float32), 0)
    crossed = _gram(x, gradient)
    of_scale = inverse * (jnp.sum(crossed * weights, 0) - mean * of_bias)
    # The gradient at the product n: by_gradient * gradient + by_product * n + constant.
    by_gradient = scale * inverse
    by_product = -by_gradient * inverse * of_scale / pixels
    constant = -by_gradient * of_bias / pixels - by_product * mean
    of_kernel = (
        crossed * by_gradient[None]
        + pixels * _dot(squares, weights) * by_product[None]
        + pixels * average[:, None] * constant[None]
    )
    of_x = _flat(x) @ _dot(weights * by_product[None], weights.T).astype(x.dtype)
    of_x = of_x + _dot(weights, constant).astype(x.dtype)[None]
    of_x = _flat(gradient) @ (weights * by_gradient[None]).T.astype(x.dtype) + of_x
    return of_x.reshape(x.shape), of_kernel, of_scale, of_bias
