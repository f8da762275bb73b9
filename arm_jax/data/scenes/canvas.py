"""The camera, the depth-tested canvas and the noise that generated street scenes are painted with.

World coordinates are metres: x to the right of the camera, y above the ground, z ahead.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

TILE = 256  # side of a noise tile, a power of two so that coordinates wrap by masking
_SUBPIXEL_BITS = 4


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that faces along the street without tilt or roll."""

    focal: float  # pixels
    horizon: float  # row of points at eye level
    center: float  # column of the point that all lines along z run to
    height: float  # of the eye above the ground, metres

    def project(self, x, y, z) -> np.ndarray:
        """World coordinates, numbers or sequences of length n -> (n, 2) pixels (column, row)."""
        scale = self.focal / np.maximum(z, 0.5)
        columns = self.center + scale * np.asarray(x)
        rows = self.horizon + scale * (self.height - np.asarray(y))
        points = np.empty((max(columns.size, rows.size), 2))
        points[:, 0] = columns
        points[:, 1] = rows
        return points


class Canvas:
    """Image, label and depth of a scene in the making."""

    def __init__(self, size: tuple[int, int], camera: Camera):
        self.camera = camera
        self.image = np.zeros((*size, 3), np.uint8)
        self.label = np.zeros(size, np.uint8)
        self.depth = np.full(size, np.inf, np.float32)

    def window(self, points: np.ndarray) -> tuple[slice, slice] | None:
        """The rows and columns that hold all points (n, 2), or None where none is in view."""
        height, width = self.label.shape
        left, top = (int(c) for c in points.min(0) - 1)
        right, bottom = (int(c) for c in points.max(0) + 3)
        rows = slice(max(top, 0), min(bottom, height))
        columns = slice(max(left, 0), min(right, width))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return None
        return rows, columns

    def put(self, window, colors: np.ndarray, mask: np.ndarray, label: int, depth: float) -> None:
        """Show `colors` in the window where `mask` holds and nothing nearer is there already."""
        visible = mask & (self.depth[window] > depth)
        self.image[window][visible] = colors[visible]
        self.label[window][visible] = label
        self.depth[window][visible] = depth

    def polygons(self, parts: list, label: int, depth: float) -> None:
        """Paint an object given as (points (n, 2), RGB) parts, later ones over earlier ones.

        Edges in the image are antialiased against what lies behind; the label is exact.
        """
        points = np.concatenate([points for points, _ in parts])
        window = self.window(points)
        if window is None:
            return
        colors = self.image[window].copy()
        mask = np.zeros(colors.shape[:2], np.uint8)
        corners = self._fixed(points, window)
        first = 0
        for part, color in parts:
            outline = [corners[first : first + len(part)]]
            cv2.fillPoly(colors, outline, color, cv2.LINE_AA, _SUBPIXEL_BITS)
            cv2.fillPoly(mask, outline, 1, cv2.LINE_8, _SUBPIXEL_BITS)
            first += len(part)
        self.put(window, colors, mask > 0, label, depth)

    def _fixed(self, points: np.ndarray, window) -> np.ndarray:
        """Points as OpenCV's fixed-point integers, relative to the window."""
        corners = (points - (window[1].start, window[0].start)) * (1 << _SUBPIXEL_BITS)
        return np.rint(corners).astype(np.int32)

    def shade(self, points: np.ndarray, factor: float, depth: float) -> None:
        """Darken what is seen through a polygon and lies at `depth` or farther: a shadow."""
        window = self.window(points)
        if window is None:
            return
        mask = np.zeros(self.label[window].shape, np.uint8)
        cv2.fillPoly(mask, [self._fixed(points, window)], 1, cv2.LINE_8, _SUBPIXEL_BITS)
        covered = (mask > 0) & (self.depth[window] > depth)
        self.image[window][covered] = (self.image[window][covered] * factor).astype(np.uint8)


@lru_cache
def noise(kind: str) -> np.ndarray:
    """float32 (TILE, TILE) noise in [-1, 1] that repeats without a seam.

    `fine` is grain, `cloud` has all scales down to grain, `leaf` is blotchy with dark gaps.
    """
    rng = np.random.default_rng([7, len(kind), ord(kind[0])])
    blurs: dict[str, list[float]] = {
        "fine": [0.6],
        "cloud": [1, 2, 4, 8, 16, 32],
        "leaf": [0.7, 1.5, 3],
    }
    total = np.zeros((TILE, TILE), np.float32)
    for sigma in blurs[kind]:
        wide = np.tile(rng.standard_normal((TILE, TILE), np.float32), (3, 3))
        octave = cv2.GaussianBlur(wide, (0, 0), sigma)[TILE : 2 * TILE, TILE : 2 * TILE]
        total += octave / octave.std() * sigma**0.5
    total /= np.abs(total).max()
    return np.clip(total * 1.6, -1, 1)


def sample(kind: str, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """The noise at (broadcast) texture coordinates, which may be any numbers."""
    columns = np.floor(across).astype(np.int64) & (TILE - 1)
    rows = np.floor(down).astype(np.int64) & (TILE - 1)
    return noise(kind)[rows, columns]


def stretch(kind: str, shape: tuple[int, int], repeats: float, offset: np.ndarray) -> np.ndarray:
    """A (rows, columns) piece of noise, `repeats` texture elements for each pixel."""
    rows = np.arange(shape[0]) * repeats + offset[0] * TILE
    columns = np.arange(shape[1]) * repeats + offset[1] * TILE
    return sample(kind, columns[None, :], rows[:, None])
