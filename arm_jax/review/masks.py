"""Regions of an image as polygons, and back without a pixel's difference.

A region is a list of rings, int32 (n, 2) of (column, row) of pixel centres: outlines and holes
alike, filled by the even-odd rule, with the pixels on the outlines inside.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

Rings = tuple[np.ndarray, ...]
Box = tuple[int, int, int, int]  # left, top, width, height


def components(mask: np.ndarray, smallest: int) -> Iterator[tuple[Box, np.ndarray]]:
    """Bounding box and mask within it, uint8 of 0 and 1, of each part that hangs together.

    Args:
      mask: bool (h, w); diagonal neighbours hang together.
      smallest: parts of fewer pixels are left out.
    """
    number, index, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=8, ltype=cv2.CV_32S
    )
    for k in range(1, number):
        left, top, width, height, area = (int(value) for value in stats[k])
        if area >= smallest:
            part = index[top : top + height, left : left + width] == k
            yield (left, top, width, height), part.astype(np.uint8)


def within(box: Box) -> tuple[slice, slice]:
    """The rows and columns of a box."""
    left, top, width, height = box
    return slice(top, top + height), slice(left, left + width)


def depth(mask: np.ndarray, box: Box, shape: tuple[int, int]) -> np.ndarray:
    """float32 like `mask`: how far each of its pixels is from the region's edge; 0 outside.

    A pixel beside the edge has 1. The edge of the image is no edge of the region: what is cut off
    there goes on. A region without any edge is as deep as the image is large.

    Args:
      mask: uint8, of a region in its box.
      box: where that is.
      shape: (h, w) of the image.
    """
    left, top, width, height = box
    borders = (top > 0, top + height < shape[0], left > 0, left + width < shape[1])
    if mask.all() and not any(borders):
        return np.full(mask.shape, max(shape), np.float32)
    around = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    # Turned, each side in its turn is the first row.
    for inside, turns in zip(borders, (0, 2, 3, 1), strict=True):
        if inside:
            np.rot90(around, turns)[0] = 0
    if around.all():
        return np.full(mask.shape, max(shape), np.float32)
    return cv2.distanceTransform(around, cv2.DIST_L2, 5)[1:-1, 1:-1]


def rings(mask: np.ndarray, box: Box) -> Rings:
    """The outlines and holes of a mask in its box, in the image's coordinates."""
    found, _ = cv2.findContours(
        mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(box[0], box[1])
    )
    return tuple(ring[:, 0].astype(np.int32) for ring in found)


def filled(rings: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """bool (h, w): the pixels of a region. What lies beyond the image is cut off."""
    mask = np.zeros(shape, np.uint8)
    if rings:
        cv2.fillPoly(mask, [np.asarray(ring, np.int32)[:, None] for ring in rings], 1)
    return mask.astype(bool)


def simplified(rings: Sequence[np.ndarray], tolerance: float = 1.0) -> list[np.ndarray]:
    """One polygon for each part of a region, as annotation tools have them, float (n, 2).

    Coordinates are (x, y) with the first pixel's centre at (0.5, 0.5); with tolerance 0 exactly the
    region's pixels have their centres inside. Such polygons have no holes: a hole is joined to its
    outline by a cut.

    Args:
      rings: of the region.
      tolerance: vertices are left out within this number of pixels of the line that remains.
    """
    corner = np.min([ring.min(0) for ring in rings], 0)
    width, height = np.max([ring.max(0) for ring in rings], 0) - corner + 1
    mask = filled([ring - corner for ring in rings], (int(height), int(width)))
    # At twice the size an outline lies a quarter of a pixel inside of the region's edge.
    twice = mask.astype(np.uint8).repeat(2, 0).repeat(2, 1)
    found, hierarchy = cv2.findContours(twice, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    polygons = {n: _vertices(ring, 2 * tolerance) for n, ring in enumerate(found)}
    for n, (_, _, _, parent) in enumerate(hierarchy[0]):
        if parent >= 0:
            polygons[parent] = _cut(polygons[parent], polygons.pop(n))
    return [polygon / 2 + 0.25 + corner for polygon in polygons.values()]


def _vertices(ring: np.ndarray, tolerance: float) -> np.ndarray:
    """float (n, 2), at least 3 of them."""
    polygon = cv2.approxPolyDP(ring, tolerance, True)
    return (polygon if len(polygon) > 2 else ring)[:, 0].astype(np.float64)


def _cut(outline: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """One ring around both, along the shortest way between their vertices and back."""
    distances = ((outline[:, None] - hole[None]) ** 2).sum(-1)
    i, j = np.unravel_index(int(distances.argmin()), distances.shape)
    loop = np.concatenate([hole[j:], hole[: j + 1]])
    return np.concatenate([outline[: i + 1], loop, outline[i:]])
