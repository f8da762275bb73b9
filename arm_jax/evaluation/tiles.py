"""From the logits of all passes to labels, a few rows at a time.

Between a pass's logits, at the network's stride, and the original pixels there are only linear
maps of rows and columns (and, where probabilities are averaged, one softmax). So the labels are
computed tile by tile: resample a few rows of every pass, add the passes up, take the argmax. Every
pixel is computed exactly as it would be at once, and full-resolution logits exist for one tile
only, whatever the number of classes. 150 classes at 2000x3000 pixels would take 3.4 GiB.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from arm_jax import arm
from arm_jax.evaluation.protocol import Window
from arm_jax.networks import row_tiles
from arm_jax.networks.resampling import Taps, bilinear, merged
from arm_jax.networks.row_tiles import TILE_BYTES
from arm_jax.softmax import log_softmax

Axes = tuple[Taps, Taps]
# (indices int32, weights float32), each (b, outputs, taps): the taps of a batch along one axis.
Table = tuple[Any, Any]


def axes(
    window: Window,
    samples: tuple[int, int],
    size: tuple[int, int],
    *,
    mirrored: bool,
    align_corners: bool,
) -> Axes:
    """Rows and columns of the way from one pass's logits to one original image.

    Args:
      window: where the network ran.
      samples: height and width of the logits of all windows, side by side.
      size: height and width of the original image.
      mirrored: the network ran on the mirror image.
      align_corners: how to resize.
    """
    rows, columns = (
        _axis(
            window.view[axis],
            window.window[axis],
            starts,
            samples[axis] // len(starts),
            size[axis],
            align_corners,
        )
        for axis, starts in enumerate((window.rows, window.columns))
    )
    return rows, columns.mirrored() if mirrored else columns


@functools.lru_cache(maxsize=256)
def _axis(
    view: int, window: int, starts: tuple[int, ...], samples: int, size: int, align_corners: bool
) -> Taps:
    taps = from_windows(view, starts, window, samples, align_corners)
    return taps if view == size else bilinear(view, size, align_corners).after(taps)


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
    return merged(index.reshape(size, -1), weight.reshape(size, -1))


def combine(
    passes: Sequence[tuple[Any, Sequence[Axes]]],
    size: tuple[int, int],
    *,
    average: str,
    as_labels: bool,
    beside: str = "",
    put: Callable[[Any], Any] = jax.device_put,
    devices: int = 1,
) -> Any:
    """Labels, or mean logits or probabilities, of a batch at full resolution.

    Args:
      passes: for each, float32 logits (b, h', w', c) and the `axes` of each image of the batch.
        Logits that lie in numpy arrays stay on the host, and only the rows that a tile needs go
        to the devices.
      size: (height, width) of the result, at least that of each image; pixels beyond an image are
        meaningless.
      average: "logits" or "probabilities".
      as_labels: return uint8 (b, height, width), else float32 (b, height, width, c).
      beside: "" for the labels alone; "probability" (of the predicted class) or "confidence" (v of
        `arm.confidence`) for a pair with that map, float32 (b, height, width).
      put: puts a host array whose first axis is the batch onto the devices.
      devices: over how many devices `put` splits it.
    """
    height, width = size
    batch, *_, classes = passes[0][0].shape
    row_bytes = 4 * classes * width * -(-batch // devices)
    tiles = row_tiles.count(height, row_bytes, TILE_BYTES)
    tile = -(-height // tiles)
    logits = [one for one, _ in passes]
    rows = [_table([row for row, _ in axes], tile * tiles) for _, axes in passes]
    columns = put([_table([column for _, column in axes], width) for _, axes in passes])
    if len(passes) == 1 and as_labels and isinstance(logits[0], jax.Array):
        found = _labels(logits[0], put(rows[0]), columns[0], tile=tile, beside=beside)
    else:
        found = _one_by_one(logits, rows, columns, tile, average, as_labels, beside, put)
    return jax.tree.map(lambda x: x[:, :height], found)


def _table(taps: Sequence[Taps], outputs: int) -> Table:
    """The taps of a batch, filled up to a common shape."""
    # An even number, so that it does not vary between images of almost equal size.
    number = -(-max(one.index.shape[1] for one in taps) // 2) * 2
    taps = [one.padded(outputs, number) for one in taps]
    index = np.stack([one.index for one in taps])
    return index, np.stack([one.weight for one in taps]).astype(np.float32)


def _resampled(logits: jax.Array, rows: Table, columns: Table) -> jax.Array:
    """(b, h, w, c) -> (b, rows, columns, c), by each image's own tables."""
    (row, row_weight), (column, column_weight) = rows, columns
    take_rows = jax.vmap(functools.partial(jnp.take, axis=0, mode="clip"))
    take_columns = jax.vmap(functools.partial(jnp.take, axis=1, mode="clip"))
    part = functools.reduce(
        jnp.add,
        (
            row_weight[:, :, k, None, None] * take_rows(logits, row[:, :, k])
            for k in range(row.shape[2])
        ),
    )
    return functools.reduce(
        jnp.add,
        (
            column_weight[:, None, :, k, None] * take_columns(part, column[:, :, k])
            for k in range(column.shape[2])
        ),
    )


@functools.partial(jax.jit, static_argnames=("tile", "beside"))
def _labels(logits: jax.Array, rows: Table, columns: Table, *, tile: int, beside: str) -> Any:
    """Labels of one pass, and what is asked for beside them, all tiles in one program."""

    cut = jax.tree.map(lambda table: row_tiles.cut(table, tile), rows)
    return row_tiles.in_turn(
        lambda rows: _judged(_resampled(logits, rows, columns), beside=beside),
        cut,
        height=rows[0].shape[1],
    )


@functools.partial(jax.jit, static_argnames=("beside", "passes", "probabilities"))
def _judged(
    scores: jax.Array, *, beside: str = "", passes: int = 1, probabilities: bool = False
) -> Any:
    """The best class, uint8, and how sure of it the mean is, from the scores' sum over passes."""
    labels = jnp.argmax(scores, axis=-1).astype(jnp.uint8)
    if not beside:
        return labels
    logits = jnp.log(scores / passes) if probabilities else scores / passes
    if beside == "probability":
        return labels, jnp.exp(jnp.max(log_softmax(logits), axis=-1))
    return labels, arm.confidence(logits)


def _one_by_one(
    logits: Sequence[Any],
    rows: Sequence[Table],
    columns: Sequence[Table],
    tile: int,
    average: str,
    as_labels: bool,
    beside: str,
    put: Callable[[Any], Any],
) -> Any:
    """One tile and one pass after the other, each a separate program.

    In one program a scheduler is free to resample all passes before it adds them up.
    """
    outputs = rows[0][0].shape[1]
    parts = []
    for start in range(0, outputs, tile):
        total = None
        for one, (index, weight), column in zip(logits, rows, columns, strict=True):
            row = index[:, start : start + tile], weight[:, start : start + tile]
            if isinstance(one, np.ndarray):
                one, row = _needed(one, index, row, tile)
                one = put(one)
            total = _add(total, one, put(row), column, average=average)
        assert total is not None
        if as_labels:
            averaged = average == "probabilities"
            parts.append(_judged(total, beside=beside, passes=len(logits), probabilities=averaged))
        else:
            parts.append(total / len(logits))
    return jax.tree.map(lambda *tiles: jnp.concatenate(tiles, axis=1), *parts)


@functools.partial(jax.jit, static_argnames="average", donate_argnames="total")
def _add(
    total: jax.Array | None, logits: jax.Array, rows: Table, columns: Table, *, average: str
) -> jax.Array:
    full = _resampled(logits, rows, columns)
    if average == "probabilities":
        full = jax.nn.softmax(full)
    return full if total is None else total + full


def _needed(
    logits: np.ndarray, all_rows: np.ndarray, rows: Table, tile: int
) -> tuple[np.ndarray, Table]:
    """The rows of the logits that a tile's taps use, and the taps' indices among those."""
    # Every tile takes as many rows as the greediest, so that there is one compiled program.
    most = max(
        len(np.unique(image[start : start + tile]))
        for image in all_rows
        for start in range(0, all_rows.shape[1], tile)
    )
    index, weight = rows
    used = [np.unique(image) for image in index]
    part = np.stack([one[np.resize(u, most)] for one, u in zip(logits, used, strict=True)])
    inside = [np.searchsorted(u, image) for u, image in zip(used, index, strict=True)]
    return part, (np.stack(inside).astype(np.int32), weight)
