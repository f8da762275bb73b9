"""Bilinear resizing of feature maps, equal to PyTorch's `interpolate` in both corner conventions.

`jax.image.resize` smooths when it shrinks unless told not to, has no align_corners, and multiplies
by dense matrices. Here each output row is a weighted sum of the two input rows it lies between,
and, in the gradient, each input row gathers the few output rows that it went into: no dense
matrix, and no scatter, which is the slow part of differentiating a gather.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np


def resize(x: jax.Array, size: Sequence[int], align_corners: bool = False) -> jax.Array:
    """Bilinear interpolation without antialiasing, as PyTorch's F.interpolate(mode="bilinear").

    Args:
        x: (b, h, w, c), any float dtype; the arithmetic is float32.
        size: (height, width) of the result.
        align_corners: False places pixel centres at half-integers and repeats the edge; True maps
            the centres of the corner pixels onto each other.

    Returns:
        (b, height, width, c), of the dtype of `x`.
    """
    if x.shape[1:3] == tuple(size):
        return x
    resized = x.astype(jnp.float32)
    # The shrinking axis first, so that the intermediate map is the smaller one.
    for axis in sorted((1, 2), key=lambda axis: size[axis - 1] / x.shape[axis]):
        lengths = (x.shape[axis], size[axis - 1])
        if lengths[0] != lengths[1]:
            resized = _resize_axis(resized, axis, lengths, align_corners)
    return resized.astype(x.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _resize_axis(
    x: jax.Array, axis: int, lengths: tuple[int, int], align_corners: bool
) -> jax.Array:
    return _gather_rows(x, axis, weights(*lengths, align_corners))


def _forward(
    x: jax.Array, axis: int, lengths: tuple[int, int], align_corners: bool
) -> tuple[jax.Array, None]:
    return _resize_axis(x, axis, lengths, align_corners), None


def _backward(
    axis: int, lengths: tuple[int, int], align_corners: bool, _: None, gradient: jax.Array
) -> tuple[jax.Array]:
    return (_gather_rows(gradient, axis, weights(*lengths, align_corners).T),)


_resize_axis.defvjp(_forward, _backward)


def weights(in_length: int, out_length: int, align_corners: bool) -> np.ndarray:
    """The (out, in) float32 matrix of linear interpolation along one axis, two entries a row."""
    # PyTorch computes the positions in float32 too.
    positions = np.arange(out_length, dtype=np.float32)
    if align_corners:
        step = np.float32(in_length - 1) / np.float32(max(out_length - 1, 1))
        positions = positions * step
    else:
        step = np.float32(in_length) / np.float32(out_length)
        positions = np.maximum((positions + np.float32(0.5)) * step - np.float32(0.5), 0)
    lower = np.minimum(positions.astype(np.int64), in_length - 1)
    upper = np.minimum(lower + 1, in_length - 1)
    fraction = positions - lower.astype(np.float32)
    matrix = np.zeros((out_length, in_length), np.float32)
    rows = np.arange(out_length)
    matrix[rows, lower] += 1 - fraction
    matrix[rows, upper] += fraction
    return matrix


def _gather_rows(x: jax.Array, axis: int, matrix: np.ndarray) -> jax.Array:
    """`matrix` (out, in) times `x` along `axis`, gathering only the entries that are not zero."""
    taps = max(int((matrix != 0).sum(axis=1).max()), 1)
    indices = np.argsort(matrix == 0, axis=1, kind="stable")[:, :taps]
    weights = np.take_along_axis(matrix, indices, axis=1)
    shape = [1] * x.ndim
    shape[axis] = matrix.shape[0]
    terms = [
        jnp.take(x, indices[:, tap], axis=axis, mode="clip") * weights[:, tap].reshape(shape)
        for tap in range(taps)
    ]
    return functools.reduce(jnp.add, terms)
