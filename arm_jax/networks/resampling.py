"""Linear resampling along one axis, as a short list of taps for each output position.

Bilinear resizing, taking sliding windows back to the image they were cut from, cropping padding
away and mirroring are all linear, and all act on rows and columns separately. So each is a table of
(index, weight) pairs for every output row and one for every output column; a chain of them is again
such a table, and so is the gradient: each input gathers the few outputs that it went into.
`jax.image.resize` antialiases unless told not to, has no align_corners, and multiplies by dense
matrices; differentiating a gather makes a scatter, which is slow.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

# A sum of more is one gather and a reduction: the gradient of an enlargement eight times or more.
MOST_TERMS = 8


def resize(x: jax.Array, size: Sequence[int], align_corners: bool = False) -> jax.Array:
    """Bilinear interpolation without antialiasing, as PyTorch's F.interpolate(mode="bilinear").

    >>> resize(jnp.array([[0.0, 4.0]]).reshape(1, 1, 2, 1), (1, 4)).ravel().tolist()
    [0.0, 1.0, 3.0, 4.0]

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
    return _gathered(x, axis, bilinear(*lengths, align_corners))


def _forward(
    x: jax.Array, axis: int, lengths: tuple[int, int], align_corners: bool
) -> tuple[jax.Array, None]:
    return _resize_axis(x, axis, lengths, align_corners), None


def _backward(
    axis: int, lengths: tuple[int, int], align_corners: bool, _: None, gradient: jax.Array
) -> tuple[jax.Array]:
    return (_gathered(gradient, axis, bilinear(*lengths, align_corners).transposed(lengths[0])),)


_resize_axis.defvjp(_forward, _backward)


@dataclass(frozen=True)
class Taps:
    """output[i] = sum_k weight[i, k] * input[index[i, k]].

    `index` is int32 and `weight` float64, both (outputs, k), in the order of the inputs; unused
    taps have index 0 and weight 0.
    """

    index: np.ndarray
    weight: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    def mirrored(self) -> "Taps":
        """The same, with the output in reverse order."""
        return Taps(self.index[::-1], self.weight[::-1])

    def after(self, inner: "Taps") -> "Taps":
        """`self` applied to the output of `inner`, as one table over `inner`'s input."""
        index = inner.index[self.index].reshape(len(self), -1)
        weight = (self.weight[..., None] * inner.weight[self.index]).reshape(len(self), -1)
        return merged(index, weight)

    def padded(self, outputs: int, taps: int) -> "Taps":
        """Zero outputs and unused taps appended, so that tables of one group have one shape."""
        grow = ((0, outputs - len(self)), (0, taps - self.index.shape[1]))
        return Taps(np.pad(self.index, grow), np.pad(self.weight, grow))

    def matrix(self, inputs: int) -> np.ndarray:
        """The float64 (outputs, inputs) matrix."""
        matrix = np.zeros((len(self), inputs))
        np.add.at(matrix, (np.arange(len(self))[:, None], self.index), self.weight)
        return matrix

    def transposed(self, inputs: int) -> "Taps":
        """From outputs back to `inputs`, by the transposed matrix: the gradient's table."""
        matrix = self.matrix(inputs).T
        index = np.broadcast_to(np.arange(len(self)), matrix.shape)
        return merged(index, matrix)


def bilinear(size: int, outputs: int, align_corners: bool = False) -> Taps:
    """`size` samples stretched or shrunk to `outputs`, without antialiasing.

    Positions and weights are computed in float32, as PyTorch computes them: at large sizes they
    differ by up to 1e-4 from exact ones. So resizing in a network, in inference and in an exported
    program is one arithmetic.
    """
    position = np.arange(outputs, dtype=np.float32)
    if align_corners:
        position = position * (np.float32(size - 1) / np.float32(max(outputs - 1, 1)))
    else:
        step = np.float32(size) / np.float32(outputs)
        position = np.maximum((position + np.float32(0.5)) * step - np.float32(0.5), 0)
    below = np.minimum(position.astype(np.int32), size - 1)
    above = np.minimum(below + 1, size - 1)
    fraction = position - below.astype(np.float32)
    return merged(np.stack([below, above], 1), np.stack([1 - fraction, fraction], 1))


def merged(index: np.ndarray, weight: np.ndarray) -> Taps:
    """One tap for each distinct input, none of weight 0 but to fill up the table."""
    index = np.where(weight != 0, index, -1)  # -1 sorts first and is cut off below
    order = np.argsort(index, axis=1, kind="stable")
    index = np.take_along_axis(index, order, 1)
    weight = np.take_along_axis(weight, order, 1)
    first = np.ones(index.shape, bool)
    first[:, 1:] = index[:, 1:] != index[:, :-1]
    first &= index >= 0
    slot = np.cumsum(first, axis=1) - 1  # -1 for the zero weights at the front
    taps = max(int(slot.max(initial=0)) + 1, 1)
    row = np.broadcast_to(np.arange(len(index))[:, None], index.shape)
    used = index >= 0
    merged_index = np.zeros((len(index), taps), np.int32)
    merged_weight = np.zeros((len(index), taps))
    merged_index[row[used], slot[used]] = index[used]
    np.add.at(merged_weight, (row[used], slot[used]), weight[used])
    return Taps(merged_index, merged_weight)


def _gathered(x: jax.Array, axis: int, taps: Taps) -> jax.Array:
    """`x` resampled along `axis`, float32."""
    weight = taps.weight.astype(np.float32)
    if weight.shape[1] > MOST_TERMS:
        # XLA computes a long sum of gathers anew inside each gather of the other axis's.
        shape = [1] * (x.ndim + 1)
        shape[axis : axis + 2] = weight.shape
        rows = jnp.take(x, taps.index, axis=axis, mode="clip")
        return jnp.sum(rows * weight.reshape(shape), axis=axis + 1)
    shape = [1] * x.ndim
    shape[axis] = len(taps)
    terms = [
        jnp.take(x, taps.index[:, tap], axis=axis, mode="clip") * weight[:, tap].reshape(shape)
        for tap in range(weight.shape[1])
    ]
    return functools.reduce(jnp.add, terms)
