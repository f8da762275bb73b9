"""Maps of the full resolution from scores of the network's, a few rows at a time.

What the objective needs of a pixel are one or two numbers, its loss and its confidence. The scores
they come from are C numbers, 608 MiB in float32 for 16 crops of 512x1024 and 19 classes, and a
softmax and its gradient hold several such arrays. Here the scores are resized, and reduced to
maps, one tile of rows after the other, and the backward pass makes each tile again instead of
keeping it. Two passes over the scores are the floor: the weights of the loss need the norms over
the whole batch, so no gradient can be formed before every confidence is known.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from arm_jax.networks import row_tiles
from arm_jax.networks.resampling import bilinear, resize
from arm_jax.networks.row_tiles import TILE_BYTES
from arm_jax.softmax import KEPT


def by_rows(
    function: Callable[[jax.Array, Any], Any],
    scores: jax.Array,
    labels: Any,
    *,
    devices: int = 1,
    tile_bytes: int = TILE_BYTES,
) -> Any:
    """`function(networks.resize(scores, labels' size), labels)`, in bounded memory.

    Equal to that in value and gradient, up to the rounding of float32.

    Args:
      function: of scores (b, r, w, n) float32 and labels (b, r, w), for any number of rows r, pixel
        by pixel: a tree of arrays (b, r, w).
      scores: (b, h', w', n) float32.
      labels: (b, h, w) integers, or a tree of such maps, of any type; h and w are the size of the
        result.
      devices: over how many the batch is split.
      tile_bytes: of full-resolution scores at one time, on each device.
    """
    shape = jax.tree.leaves(labels)[0].shape
    _, height, width = shape
    tiles = _tiles(shape, 4 * scores.shape[-1], devices, tile_bytes)
    if tiles == 1:
        return function(resize(scores, (height, width)), labels)
    rows = -(-height // tiles)
    starts, blocks = _blocks(scores.shape[1], height, rows)

    def tile(start: jax.Array, block: jax.Array, labels: Any) -> Any:
        part = jax.lax.dynamic_slice_in_dim(scores, start, block.shape[1], axis=1)
        # A product with a small matrix: its gradient is one too, where a gather's is a scatter.
        # Image by image, for which no scores are transposed; and XLA's Triton has no tiles for a
        # product of the transposed map where the number of classes is no power of two.
        batch, samples, *rest = part.shape
        each = jnp.broadcast_to(block, (batch, *block.shape))
        flat = part.reshape(batch, samples, -1)
        part = jnp.einsum("brk,bkn->brn", each, flat, precision=jax.lax.Precision.HIGHEST)
        part = part.reshape(batch, rows, *rest)
        return function(resize(part, (rows, width)), labels)

    cut = jax.tree.map(lambda x: row_tiles.cut(x, rows), labels)
    return row_tiles.in_turn(_rematerialized(tile), starts, blocks, cut, height=height)


def in_tiles(
    function: Callable[[jax.Array], jax.Array],
    *,
    bytes_a_pixel: int,
    devices: int = 1,
    tile_bytes: int = TILE_BYTES,
) -> Callable[[jax.Array], jax.Array]:
    """`function` of a map (b, h, w), pixel by pixel to another, in bounded memory.

    Args:
      bytes_a_pixel: what `function` keeps of a pixel for its gradient.
      devices, tile_bytes: as for `by_rows`.
    """

    def tiled(x: jax.Array) -> jax.Array:
        tiles = _tiles(x.shape, bytes_a_pixel, devices, tile_bytes)
        if tiles == 1:
            return function(x)
        height = x.shape[1]
        cut = row_tiles.cut(x, -(-height // tiles))
        return row_tiles.in_turn(_rematerialized(function), cut, height=height)

    return tiled


def _tiles(shape: tuple[int, ...], bytes_a_pixel: int, devices: int, tile_bytes: int) -> int:
    batch, height, width = shape
    return row_tiles.count(height, bytes_a_pixel * width * -(-batch // devices), tile_bytes)


def _rematerialized(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, of whose inside only `KEPT` is, for the gradient."""
    # A loop's iterations cannot be merged, so the recomputation need not be guarded against it.
    policy = jax.checkpoint_policies.save_only_these_names(KEPT)
    return jax.checkpoint(function, prevent_cse=False, policy=policy)


def _blocks(in_length: int, out_length: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows of linear interpolation, cut into tiles: where each begins to read, and by what.

    Returns:
      int32 (tiles,) and float32 (tiles, rows, k): output row t * rows + i is the sum over j of
      blocks[t, i, j] * input[starts[t] + j]. Rows beyond `out_length` are 0.
    """
    matrix = bilinear(in_length, out_length).matrix(in_length).astype(np.float32)
    tiles = -(-out_length // rows)
    matrix = np.pad(matrix, ((0, tiles * rows - out_length), (0, 0)))
    matrix = matrix.reshape(tiles, rows, in_length)
    used = [np.flatnonzero(block.any(axis=0)) for block in matrix]
    reach = max(columns[-1] - columns[0] + 1 for columns in used)
    starts = [min(columns[0], in_length - reach) for columns in used]
    blocks = [block[:, s : s + reach] for block, s in zip(matrix, starts, strict=True)]
    return np.asarray(starts, np.int32), np.stack(blocks)
