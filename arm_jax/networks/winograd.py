"""3x3 convolutions with 4 multiplications for 9 (Winograd's F(2x2, 3x3)), for CPUs."""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from arm_jax.networks import platforms

# A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016, equation 7:
# two outputs of a 3-tap filter are OUTPUT ((KERNEL g) * (INPUT d)), of four values d.
_INPUT = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
_KERNEL = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))
_OUTPUT = ((1, 1, 1, 0), (0, 1, -1, -1))

# Where it was faster than XLA's convolution, by scripts/benchmarks/benchmark_ops.py.
_FEWEST_CHANNELS = 256
_FEWEST_PIXELS = 256
_MOST_PADDING = 1.5


def pays(shape: tuple[int, ...], kernel_shape: tuple[int, ...], dilation: int) -> bool:
    """Whether `convolve_3x3` is worth its transformations for x and kernel of these shapes."""
    _, height, width, channels = shape
    padded = math.prod(_whole_tiles(length, dilation) for length in (height, width))
    return (
        min(channels, kernel_shape[-1]) >= _FEWEST_CHANNELS
        and height * width >= _FEWEST_PIXELS
        and padded <= _MOST_PADDING * height * width
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve_3x3(x: jax.Array, kernel: jax.Array, dilation: int) -> jax.Array:
    """A dense 3x3 convolution of stride 1: by Winograd's method on CPUs where it pays, else XLA's.

    Args:
        x: (b, h, w, c).
        kernel: (3, 3, c, n), of the dtype of `x`.
        dilation: as in PyTorch; the padding is as much.

    Returns:
        (b, h, w, n), of the dtype of `x`. Both methods round as much: they differ by about 1e-6 of
        the largest value in float32.
    """
    if not pays(x.shape, kernel.shape, dilation):
        return plain(x, kernel, dilation)
    return platforms.choose(
        "winograd",
        lambda chosen, x, kernel: (winograd if chosen else plain)(x, kernel, dilation=dilation),
        x,
        kernel,
    )


def _forward(
    x: jax.Array, kernel: jax.Array, dilation: int
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    # The transformed input, of four times the size, is made again rather than kept.
    return convolve_3x3(x, kernel, dilation), (x, kernel)


def _backward(
    dilation: int, kept: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    def pull(way, x, kernel, cotangent):
        return jax.vjp(functools.partial(way, dilation=dilation), x, kernel)[1](cotangent)

    def folded_or_plain(folded, *arrays):
        return pull_folded(dilation, *arrays) if folded else pull(plain, *arrays)

    def otherwise(*arrays):
        if dilation == 1:
            return pull(plain, *arrays)
        return platforms.choose("folded_kernel_gradient", folded_or_plain, *arrays)

    if not pays(kept[0].shape, kept[1].shape, dilation):
        return otherwise(*kept, cotangent)
    return platforms.choose(
        "winograd",
        lambda chosen, *arrays: pull(winograd, *arrays) if chosen else otherwise(*arrays),
        *kept,
        cotangent,
    )


convolve_3x3.defvjp(_forward, _backward)


def pull_folded(
    dilation: int, x: jax.Array, kernel: jax.Array, cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The gradients of `plain`, the kernel's from each phase of the maps as an undilated one.

    A dilated convolution's kernel gradient is itself a convolution with a window as large as the
    map, for which cuDNN has no kernel that fills a card.
    """
    (of_x,) = jax.vjp(lambda x: plain(x, kernel, dilation), x)[1](cotangent)
    phases, of_phases = (_phases(array, dilation) for array in (x, cotangent))
    (of_kernel,) = jax.vjp(lambda kernel: plain(phases, kernel, 1), kernel)[1](of_phases)
    return of_x, of_kernel


def _phases(x: jax.Array, dilation: int) -> jax.Array:
    """(b, h, w, c) to (b * d * d, ceil(h / d), ceil(w / d), c): every d-th pixel of both axes."""
    batch, height, width, channels = x.shape
    x = jnp.pad(x, ((0, 0), (0, -height % dilation), (0, -width % dilation), (0, 0)))
    height, width = (length // dilation for length in x.shape[1:3])
    x = x.reshape(batch, height, dilation, width, dilation, channels)
    return x.transpose(0, 2, 4, 1, 3, 5).reshape(-1, height, width, channels)


def plain(x: jax.Array, kernel: jax.Array, dilation: int, stride: int = 1) -> jax.Array:
    """XLA's convolution, of any size of kernel."""
    padding = dilation * (kernel.shape[0] - 1) // 2
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=((padding, padding), (padding, padding)),
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@functools.partial(jax.jit, static_argnames="dilation")
def winograd(x: jax.Array, kernel: jax.Array, dilation: int) -> jax.Array:
    """Sixteen matrix products of sums and differences; each gives a quarter as many values.

    A tile has four values of each axis, `dilation` apart, and overlaps the next one by half.
    """
    height, width = x.shape[1:3]
    dtype = x.dtype
    below, right = (
        _whole_tiles(length, dilation) - length + dilation for length in (height, width)
    )
    x = jnp.pad(x, ((0, 0), (dilation, below), (dilation, right), (0, 0))).astype(jnp.float32)
    kernel = kernel.astype(jnp.float32)
    rows = []
    for strip, filters in zip(
        _combine(_INPUT, _windows(x, 1, dilation)), _combine(_KERNEL, list(kernel)), strict=True
    ):
        products = [
            (values.reshape(-1, values.shape[-1]) @ weights).reshape(*values.shape[:-1], -1)
            for values, weights in zip(
                _combine(_INPUT, _windows(strip, 3, dilation)),
                _combine(_KERNEL, list(filters)),
                strict=True,
            )
        ]
        rows.append(_interleave(_combine(_OUTPUT, products), 4))
    y = _interleave(_combine(_OUTPUT, rows), 2)
    return y[:, :height, :width].astype(dtype)


def _whole_tiles(length: int, dilation: int) -> int:
    """The length of an axis when it is filled up to tiles of two outputs, `dilation` apart."""
    tile = 2 * dilation
    return tile * -(-length // tile)


def _windows(x: jax.Array, axis: int, dilation: int) -> list[jax.Array]:
    """The first to fourth value of every tile of an axis, which becomes two: tile, and one of
    `dilation`."""
    shape = (*x.shape[:axis], x.shape[axis] // (2 * dilation), 2 * dilation, *x.shape[axis + 1 :])
    # The transpose of lax.split is a concatenation, which is faster than a sum of padded slices.
    halves = lax.split(x.reshape(shape), (dilation, dilation), axis + 1)
    tiles = shape[axis] - 1
    return [
        lax.slice_in_dim(half, first, first + tiles, axis=axis)
        for first in (0, 1)
        for half in halves
    ]


def _interleave(halves: Sequence[jax.Array], axis: int) -> jax.Array:
    """The reverse of the split in two axes, of which `axis` is the second."""
    joined = jnp.concatenate(halves, axis)
    return joined.reshape(*joined.shape[: axis - 1], -1, *joined.shape[axis + 1 :])


def _combine(matrix: Sequence[Sequence[float]], values: Sequence[jax.Array]) -> list[jax.Array]:
    """The product of a small matrix and a vector of arrays, without its zeros."""
    return [
        functools.reduce(
            jnp.add,
            [weight * value for weight, value in zip(row, values, strict=True) if weight],
        )
        for row in matrix
    ]
