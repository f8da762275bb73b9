"""A drawing to class indices: every name looked up, every shape laid over those below it."""

from collections import Counter
from collections.abc import Callable

import numpy as np

from arm_jax.data.formats.contract import Drawing, Reading, Size, UnknownNames
from arm_jax.data.labels import UNKNOWN, Meaning, UnknownValues
from arm_jax.system.errors import InputError, first_line

MOST_SHAPES = 1 << 18
MOST_PAINTED = 1 << 34  # pixels, all shapes' together
# A file may hold anything anywhere.
UNEXPECTED = (
    *(LookupError, TypeError, ValueError, AttributeError),
    *(OverflowError, RecursionError, ZeroDivisionError),
)
_LISTED = 8
# How far corners may lie outside of an image whose size the file does not state, as a share of its
# sides: tools let a pen slip over the edge, and an image of another size is something else.
_SLIP = 0.1
_LEAST_SIDE = 16  # pixels, above which all corners within the first pixel are shares of the sides


def readable(path: str, read: Callable, *arguments: object) -> Drawing:
    """What `read` gives. Raises InputError for whatever the content of a file makes it raise."""
    try:
        drawing = read(*arguments)
    except InputError:
        raise
    except UNEXPECTED as error:
        raise broken(path, error) from None
    if len(drawing.shapes) > MOST_SHAPES:
        raise InputError(
            f"{path}: has {len(drawing.shapes):,} shapes, and the limit is {MOST_SHAPES:,}; cut the"
            " image into smaller ones"
        )
    return drawing


def broken(path: str, error: Exception) -> InputError:
    """The error for a file whose content is not what its format asks for."""
    what = f"it lacks {error}" if isinstance(error, KeyError) else first_line(error)
    if isinstance(error, TypeError | AttributeError):
        what = f"it holds something else than its format has there: {what}"
    return InputError(f"{path}: cannot be drawn ({what}); export it again")


class DrawnLabel:
    """A drawing as a label, drawn when it is asked for.

    Args:
      drawing: what to draw.
      size: of the image.
      reading: what names mean, and how shapes overlap.
      path: what to call the file in a message.
    """

    def __init__(self, drawing: Drawing, size: Size, reading: Reading, path: str):
        # A size that the file states is compared with the image's before anything is drawn.
        self.shape = drawing.size or size
        self._drawing, self._reading, self._path = drawing, reading, path
        self._drawn: np.ndarray | None = None

    def upper(self, rows: int) -> np.ndarray:
        """All rows; shapes are not drawn in part."""
        if self._drawn is None:
            self._drawn = draw(self._drawing, self.shape, self._reading, self._path)
        return self._drawn

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        return self.upper(self.shape[0])


def draw(drawing: Drawing, size: Size, reading: Reading, path: str) -> np.ndarray:
    """uint8 (h, w) class indices and the ignore value.

    Raises InputError for unknown names and numbers, for what is no shape, and for shapes that
    would take minutes.
    """
    values = _values(drawing, reading, path)
    _check_corners(drawing, size, path)
    label = np.full(size, reading.undrawn, np.uint8)
    painted = 0
    order = list(range(len(values)))
    try:
        if reading.overlaps == "small":
            areas = []
            for shape in drawing.shapes:
                mask = shape.cover(size).mask
                areas.append(int(mask.sum()))
                painted = _bounded(painted + mask.size, path)
            order = sorted(order, key=lambda k: -areas[k])
        for k in order:
            top, left, mask = drawing.shapes[k].cover(size)
            box = label[top : top + mask.shape[0], left : left + mask.shape[1]]
            # As box[mask] = value, in a fifth of the time.
            box ^= (box ^ np.uint8(values[k])) & -mask.view(np.uint8)
            painted = _bounded(painted + mask.size, path)
    except InputError:
        raise
    except UNEXPECTED as error:
        raise broken(path, error) from None
    return label


def _check_corners(drawing: Drawing, size: Size, path: str) -> None:
    """Raise InputError for outlines in other units than the image's pixels, or of another image.

    They would be cut off at its edges, and little or nothing of them would be drawn.
    """
    found = [shape.corners for shape in drawing.shapes if shape.corners is not None]
    if not found:
        return
    corners = np.concatenate(found)
    (left, top), (right, bottom) = corners.min(0), corners.max(0)
    height, width = size
    within = min(left, top) >= 0 and max(right, bottom) <= 1
    if within and min(size) >= _LEAST_SIDE and len(corners) > 2:
        raise InputError(
            f"{path}: all its corners lie within the first pixel of the {width}x{height} image;"
            " they seem to be shares of its sides: export them in pixels"
        )
    if drawing.size is None:
        beyond = max(-left / width, right / width - 1, -top / height, bottom / height - 1)
        if beyond > _SLIP:
            raise InputError(
                f"{path}: its corners reach from ({left:g}, {top:g}) to ({right:g}, {bottom:g}),"
                f" far outside of the {width}x{height} image; export the label for an image of"
                " this size (YOLO's coordinates are shares of the sides, from 0 to 1)"
            )


def _bounded(painted: int, path: str) -> int:
    if painted > MOST_PAINTED:
        raise InputError(
            f"{path}: its shapes cover {painted:,} pixels, one over the other, and the limit is"
            f" {MOST_PAINTED:,}; remove those that nothing is seen of"
        )
    return painted


def _values(drawing: Drawing, reading: Reading, path: str) -> list[int]:
    """The class index of each shape. Raises InputError with the counts of what is unknown."""
    values, names, numbers = [], Counter[str](), Counter[int]()
    table = reading.meaning.table
    for shape in drawing.shapes:
        if isinstance(shape.label, int):
            value = _number(shape.label, reading.meaning)
        else:
            value = reading.named(shape.label)
            if value is None and shape.otherwise:
                value = reading.named(shape.otherwise)
        if value is None:
            (names if isinstance(shape.label, str) else numbers)[shape.label] += 1  # type: ignore
        values.append(reading.classes.ignore if value is None else value)
    if names:
        unknown = UnknownNames(
            f"{path}: {counted(names)} {'is' if len(names) == 1 else 'are'} none of the classes"
            f" {', '.join(reading.classes.names[:_LISTED])}; correct the file or the class list"
        )
        unknown.names = names
        raise unknown
    if numbers:
        called = dict(reading.meaning.names)
        shown = Counter({f"{k} {called[k]}" if k in called else k: n for k, n in numbers.items()})
        error = UnknownValues(
            f"{path}: the class numbers {counted(shown)} are none of the"
            f" {reading.classes.number} classes; correct the file, the class list or the value map"
        )
        if table is None:
            stored = [s.label for s in drawing.shapes if isinstance(s.label, int)]
            inside = [number for number in stored if 0 <= number < 256]
            error.stored = np.bincount(inside, minlength=256)
        raise error
    return values


def _number(label: int, meaning: Meaning) -> int | None:
    if meaning.table is None:
        return label if 0 <= label < meaning.classes.number else None
    value = meaning.table.values[label] if 0 <= label < 256 else UNKNOWN
    return None if value == UNKNOWN else value


def counted(found: Counter) -> str:
    """'car' (12), 'tree' (3), ...: the most frequent first."""
    shown = ", ".join(f"{name!r} ({number})" for name, number in found.most_common(_LISTED))
    more = len(found) - _LISTED
    return f"{shown} and {more} others" if more > 0 else shown
