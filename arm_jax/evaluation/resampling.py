"""Linear resampling along one axis, as a short list of taps for each output position.

Bilinear resizing, taking sliding windows back to the image they were cut from, cropping padding
away and mirroring are all linear, and all act on rows and columns separately. So each is a table
of (index, weight) pairs per output row and one per output column, and a chain of them is again
such a table. Inference composes the whole chain on the host, once, and applies it on the device
tile by tile: no intermediate image of logits ever exists.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Taps:
    """output[i] = sum_k weight[i, k] * input[index[i, k]].

    `index` is int32 and `weight` float64, both (outputs, k); unused taps have index 0, weight 0.
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
        return _merged(index, weight)

    def padded(self, outputs: int, taps: int) -> "Taps":
        """Zero outputs and unused taps appended, so that tables of one group have one shape."""
        grow = ((0, outputs - len(self)), (0, taps - self.index.shape[1]))
        return Taps(np.pad(self.index, grow), np.pad(self.weight, grow))


def bilinear(size: int, outputs: int, align_corners: bool = False) -> Taps:
    """`size` samples stretched or shrunk to `outputs`, without antialiasing.

    As torch's `F.interpolate(mode="bilinear")`: pixel centres are at half integers and the border
    is repeated, or, with `align_corners`, the first and last samples keep their places.
    """
    if align_corners:
        position = np.arange(outputs) * ((size - 1) / max(outputs - 1, 1))
    else:
        position = np.maximum((np.arange(outputs) + 0.5) * (size / outputs) - 0.5, 0.0)
    below = np.minimum(position.astype(np.int32), size - 1)
    above = np.minimum(below + 1, size - 1)
    fraction = position - below
    return _merged(np.stack([below, above], 1), np.stack([1.0 - fraction, fraction], 1))


def window_starts(size: int, window: int, stride: int) -> tuple[int, ...]:
    """Where sliding windows begin: every `stride`, the last one shifted back inside.

    The rule of mmsegmentation's `slide_inference` (mmseg/models/segmentors/encoder_decoder.py),
    for one axis. An axis shorter than the window has one window, of the size of the axis.
    """
    number = max(size - window + stride - 1, 0) // stride + 1
    return tuple(min(i * stride, max(size - window, 0)) for i in range(number))


def from_windows(
    size: int, starts: Sequence[int], window: int, samples: int, align_corners: bool = False
) -> Taps:
    """The average of overlapping windows, each resized from `samples` to `window` outputs.

    The input holds the windows' samples one after another: len(starts) * samples. Each output
    averages over the windows that cover it, which is the plain average by a count map that
    mmsegmentation takes: on a grid of windows that count is a product of one factor an axis.
    What a window has beyond `size` (padding) is left out.
    """
    inner = bilinear(samples, window, align_corners)
    spans = [(start, min(window, size - start)) for start in starts]
    covers = np.zeros(size, np.int32)
    for start, length in spans:
        covers[start : start + length] += 1
    if not covers.all():
        raise ValueError(f"windows of {window} at {tuple(starts)} leave gaps in {size}")
    taps = inner.index.shape[1]
    index = np.zeros((size, covers.max(), taps), np.int32)
    weight = np.zeros(index.shape)
    filled = np.zeros(size, np.int32)
    for number, (start, length) in enumerate(spans):
        at = np.arange(start, start + length)
        index[at, filled[at]] = inner.index[:length] + number * samples
        weight[at, filled[at]] = inner.weight[:length]
        filled[at] += 1
    weight /= covers[:, None, None]
    return _merged(index.reshape(size, -1), weight.reshape(size, -1))


def _merged(index: np.ndarray, weight: np.ndarray) -> Taps:
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
