"""Outlines to pixels, exactly: a pixel belongs to a shape if its centre does.

The pixel in column c and row r is the square from (c, r) to (c + 1, r + 1), so that its centre is
(c + 0.5, r + 0.5), as annotation tools and COCO count. A centre on a left or upper edge is inside,
one on a right or lower edge is not: shapes that share an edge share no pixel and leave none out.
Where an outline crosses itself, what is enclosed twice is outside (even-odd).

`cv2.fillPoly`, Pillow and cityscapesscripts also fill every pixel that the outline touches, half a
pixel more on each side. That would make the later of two neighbours cover the earlier one's edge.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np

from arm_jax.data.formats.contract import Cover, Shape, Size

FARTHEST = 1e6  # pixels from the image's corner to that of an outline
MOST_POINTS = 1 << 20  # of a shape
_AT_ONCE = 1 << 22  # crossings of an outline and a row that are computed together
_MOST_CROSSINGS = 1 << 27


def polygons(label: str | int, outlines: Iterable[Any]) -> Shape:
    """The shape that several outlines cover together; each (n, 2) of x and y, at least 3 points.

    Raises ValueError for what is no outline, has too many points, or a corner that is no number or
    far from every image.
    """
    corners = [_points(outline, 3) for outline in outlines]
    if not corners:
        raise ValueError("a shape without an outline")
    return Shape(label, partial(_polygons, corners), corners=np.concatenate(corners))


def rectangle(label: str | int, corners: Any) -> Shape:
    """Two opposite corners, (2, 2) of x and y."""
    (left, top), (right, bottom) = _points(corners, 2)[:2]
    return polygons(label, [[(left, top), (right, top), (right, bottom), (left, bottom)]])


def ellipse(label: str | int, center: Any, radii: Any, angle: float = 0.0) -> Shape:
    """`radii` along the two axes, the first turned clockwise by `angle` in radians."""
    (middle,), (axes,) = _points([center], 1), _points([radii], 1)
    if not (axes > 0).all() or not np.isfinite(angle):
        raise ValueError("an ellipse without an area")
    return Shape(label, partial(_ellipse, middle, axes, float(angle)), corners=middle[None])


def strokes(label: str | int, points: Any, width: int) -> Shape:
    """A line through points, or a dot if there is one, `width` pixels wide."""
    corners = _points(points, 1)
    return Shape(label, partial(_strokes, corners, width), corners=corners)


def bits(label: str | int, top: int, left: int, mask: np.ndarray) -> Shape:
    """Pixels that are stored as such, bool (h, w); what is outside of the image is cut off."""
    return Shape(label, partial(_bits, top, left, mask))


def fill(outline: np.ndarray, size: Size) -> Cover:
    """The pixels of one outline, float (n, 2) of x and y, in an image of this size."""
    height, width = size
    top = int(np.clip(np.ceil(outline[:, 1].min() - 0.5), 0, height))
    bottom = int(np.clip(np.ceil(outline[:, 1].max() - 0.5), top, height))
    left = int(np.clip(np.ceil(outline[:, 0].min() - 0.5), 0, width))
    right = int(np.clip(np.ceil(outline[:, 0].max() - 0.5), left, width))
    # Each row's pixels are inside after an odd number of crossings.
    crossed = np.zeros((bottom - top, right - left + 1), np.uint8)
    upper, lower = outline, np.roll(outline, -1, 0)
    # From the upper end always: an edge of two neighbours is rounded once.
    swap = upper[:, 1] > lower[:, 1]
    upper, lower = np.where(swap[:, None], lower, upper), np.where(swap[:, None], upper, lower)
    first = np.clip(np.ceil(upper[:, 1] - 0.5), top, bottom).astype(np.int64)
    last = np.clip(np.ceil(lower[:, 1] - 0.5), top, bottom).astype(np.int64)
    ends = np.cumsum(last - first)
    if ends[-1] > _MOST_CROSSINGS:
        raise ValueError(f"an outline that crosses {int(ends[-1]):,} rows")
    edge = 0
    while edge < len(ends):
        done = ends[edge - 1] if edge else 0
        until = max(int(np.searchsorted(ends, done + _AT_ONCE, side="right")), edge + 1)
        part = slice(edge, until)
        rows = (last - first)[part]
        which = np.repeat(np.arange(edge, until), rows)
        row = np.arange(len(which)) - np.repeat(ends[part] - rows - done, rows) + first[which]
        slope = (lower - upper)[which]
        x = upper[which, 0] + (row + 0.5 - upper[which, 1]) * (slope[:, 0] / slope[:, 1])
        column = np.clip(np.ceil(x - 0.5), left, right).astype(np.int64)
        np.bitwise_xor.at(crossed, (row - top, column - left), 1)
        edge = until
    inside = np.bitwise_xor.accumulate(crossed, axis=1)[:, :-1]
    return Cover(top, left, inside.view(bool))


def join(covers: Sequence[Cover]) -> Cover:
    """What any of several covers."""
    if len(covers) == 1:
        return covers[0]
    covers = [cover for cover in covers if cover.mask.size] or list(covers[:1])
    top, left = min(c.top for c in covers), min(c.left for c in covers)
    bottom = max(c.top + c.mask.shape[0] for c in covers)
    right = max(c.left + c.mask.shape[1] for c in covers)
    mask = np.zeros((bottom - top, right - left), bool)
    for y, x, one in covers:
        mask[y - top : y - top + one.shape[0], x - left : x - left + one.shape[1]] |= one
    return Cover(top, left, mask)


def _polygons(outlines: Sequence[np.ndarray], size: Size) -> Cover:
    return join([fill(outline, size) for outline in outlines])


def _ellipse(middle: np.ndarray, axes: np.ndarray, angle: float, size: Size) -> Cover:
    reach = float(axes.max())
    top, bottom = _span(middle[1], reach, size[0])
    left, right = _span(middle[0], reach, size[1])
    x = np.arange(left, right) + 0.5 - middle[0]
    y = (np.arange(top, bottom) + 0.5 - middle[1])[:, None]
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    return Cover(top, left, (along / axes[0]) ** 2 + (across / axes[1]) ** 2 < 1)


def _strokes(points: np.ndarray, width: int, size: Size) -> Cover:
    mask = np.zeros(size, np.uint8)
    whole = np.round(points - 0.5).astype(np.int32)
    if len(whole) == 1:
        cv2.circle(mask, whole[0].tolist(), width // 2, 1, -1)
    else:
        cv2.polylines(mask, [whole], False, 1, width)
    return Cover(0, 0, mask.astype(bool))


def _bits(top: int, left: int, mask: np.ndarray, size: Size) -> Cover:
    above, before = max(-top, 0), max(-left, 0)
    top, left = max(top, 0), max(left, 0)
    return Cover(
        top, left, mask[above:, before:][: max(size[0] - top, 0), : max(size[1] - left, 0)]
    )


def _span(middle: float, reach: float, end: int) -> tuple[int, int]:
    first = int(np.clip(np.floor(middle - reach), 0, end))
    return first, int(np.clip(np.ceil(middle + reach), first, end))


def _points(values: Any, least: int) -> np.ndarray:
    """float64 (n, 2). Raises ValueError for what is not at least that many points."""
    if len(values) > MOST_POINTS:
        raise ValueError(f"an outline of {len(values):,} points; the limit is {MOST_POINTS:,}")
    points = np.asarray(values, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < least:
        raise ValueError(f"an outline that is not a list of {least} or more points x, y")
    if not (np.abs(points) <= FARTHEST).all():  # so for what is no number
        raise ValueError("a corner that is no number, or far from every image")
    return points
