"""Maps of the full resolution a few rows at a time, so that they need bounded memory."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

# Full-resolution scores that exist at one time, per device.
TILE_BYTES = 32 * 2**20


def count(height: int, row_bytes: int, tile_bytes: int = TILE_BYTES) -> int:
    """The number of tiles of equal height to make `height` rows in, `tile_bytes` at a time."""
    return -(-height // max(tile_bytes // row_bytes, 1))


def in_turn(function: Callable[..., Any], *parts: Any, height: int) -> Any:
    """`function` of one tile after the other, in one program.

    Args:
      function: of one element of each of `parts`: a tree of arrays (b, rows, w).
      parts: trees of arrays whose first axis numbers the tiles; `cut` makes such of maps.
      height: rows of the result; the last tile may have more.

    Returns:
      The results one below the other, (b, height, w) each.
    """

    def joined(x: jax.Array) -> jax.Array:
        return jnp.moveaxis(x, 0, 1).reshape(x.shape[1], -1, x.shape[3])[:, :height]

    return jax.tree.map(joined, jax.lax.map(lambda x: function(*x), parts))


def cut(x: jax.Array, rows: int) -> jax.Array:
    """(b, h, w) to (tiles, b, rows, w), filled up with zeros."""
    batch, height, width = x.shape
    grown = jnp.pad(x, ((0, 0), (0, -height % rows), (0, 0)))
    return jnp.moveaxis(grown.reshape(batch, -1, rows, width), 1, 0)
