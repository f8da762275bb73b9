"""Depthwise 3x3 convolutions as shifted sums, with a gradient of their own."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from arm_jax.networks import platforms
from arm_jax.networks.depthwise_kernel import TAPS, available, kernel_gradient


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise_3x3(x: jax.Array, kernel: jax.Array, dilation: int) -> jax.Array:
    """A depthwise 3x3 convolution of stride 1, one multiply-add for each tap.

    XLA makes one pass over memory of them, whatever the dilation; its own depthwise convolution
    gets slower as the dilation grows. Taps that see nothing but the padding are left out, which
    is all but the middle one where the dilation exceeds the map. The sum is float32.

    Args:
        x: (b, h, w, c).
        kernel: (3, 3, 1, c).
        dilation: as in PyTorch; the padding is as much.

    Returns:
        (b, h, w, c), of the dtype of `x`.
    """
    # XLA would merge the convolutions of a pyramid, and what leads to x, into one fusion, which
    # took 58 ms of a step of 266 on an H100 (R101, 16 crops of 512x1024, bfloat16).
    x = _apart(x)
    height, width = x.shape[1:3]
    # Padded into a separate array: otherwise XLA computes what leads to x once for every tap.
    above, before = (dilation if dilation < length else 0 for length in (height, width))
    padded = jnp.pad(x, ((0, 0), (above, above), (before, before), (0, 0))).astype(jnp.float32)
    y = jnp.zeros(x.shape, jnp.float32)
    for row, column in _taps(x.shape, dilation):
        top, left = above + row * dilation, before + column * dilation
        weights = kernel[row + 1, column + 1, 0].astype(jnp.float32).reshape(1, 1, 1, -1)
        y += padded[:, top : top + height, left : left + width] * weights
    return _apart(y.astype(x.dtype))


def _forward(
    x: jax.Array, kernel: jax.Array, dilation: int
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return depthwise_3x3(x, kernel, dilation), (x, kernel)


def _backward(
    dilation: int, kept: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    kernel = kept[1]
    x, cotangent = _apart((kept[0], cotangent))
    of_x = depthwise_3x3(cotangent, kernel[::-1, ::-1], dilation)
    if available():
        of_kernel = platforms.choose(
            "depthwise_kernel",
            lambda chosen, x, ct: (kernel_gradient if chosen else _sums)(x, ct, dilation),
            x,
            cotangent,
        )
    else:
        of_kernel = _sums(x, cotangent, dilation)
    return of_x, of_kernel.reshape(kernel.shape).astype(kernel.dtype)


def _sums(x: jax.Array, cotangent: jax.Array, dilation: int) -> jax.Array:
    """What `kernel_gradient` gives, by XLA."""
    # The derived gradient would sum over padded copies of x, which at dilation 24 are ten times
    # its size; the overlap of x and the shifted cotangent is at most as large as x.
    sums = {
        (row, column): jnp.sum(
            _overlap(x, row * dilation, column * dilation)
            * _overlap(cotangent, -row * dilation, -column * dilation),
            (0, 1, 2),
        )
        for row, column in _taps(x.shape, dilation)
    }
    zero = jnp.zeros(x.shape[-1:], jnp.float32)
    return jnp.stack([sums.get(tap, zero) for tap in TAPS])


depthwise_3x3.defvjp(_forward, _backward)


@jax.custom_vjp
def after(x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """x and y as they are, but what is made of x comes after y where XLA would merge the two.

    The depthwise convolutions of a pyramid in one fusion took 6.7 ms on an H100 (3 dilations, 2048
    channels, 16 maps of 64x128 in bfloat16), one by one 0.8 each.
    """
    return _apart((x, y))


def _after_forward(x: jax.Array, y: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
    return after(x, y), None


def _after_backward(
    _: None, cotangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    return cotangents


after.defvjp(_after_forward, _after_backward)


def _apart(arrays: Any) -> Any:
    """The same, as arrays of their own precision on platforms where XLA would keep float32 ones."""
    return platforms.choose(
        "apart_in_depthwise",
        lambda apart, arrays: lax.optimization_barrier(arrays) if apart else arrays,
        arrays,
    )


def _taps(shape: tuple[int, ...], dilation: int) -> list[tuple[int, int]]:
    """The taps, as steps from the middle one, that see a pixel of the map."""
    return [
        (row, column)
        for row in (-1, 0, 1)
        for column in (-1, 0, 1)
        if abs(row) * dilation < shape[1] and abs(column) * dilation < shape[2]
    ]


def _overlap(x: jax.Array, row: int, column: int) -> jax.Array:
    """float32, what is left of x when it is moved up and to the left by these pixels."""
    height, width = x.shape[1:3]
    rows = slice(max(row, 0), height + min(row, 0))
    columns = slice(max(column, 0), width + min(column, 0))
    return x[:, rows, columns].astype(jnp.float32)
