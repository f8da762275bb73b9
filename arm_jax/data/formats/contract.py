"""What a format of label files is: how a file is recognised, and how it becomes class indices.

Three kinds, of which every entry of `formats.FORMATS` is one: `Pixels` store something for every
pixel, `Shapes` outline the objects in one image, `Collection` those in many images.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from arm_jax.data import headers
from arm_jax.data.headers import Header
from arm_jax.data.labels import Classes, Meaning
from arm_jax.system.errors import InputError, first_line
from arm_jax.system.registry import Entry

K = TypeVar("K")
V = TypeVar("V")
Color = tuple[int, int, int]  # RGB, 0 to 255
Size = tuple[int, int]  # height, width

OVERLAPS = ("later", "small")
# What tools call pixels that mean nothing. A class of the same name is that class.
VOID = frozenset(
    """__ignore__,ignore,ignored,void,unlabeled,unlabelled,dontcare,out of roi,ego vehicle,
rectification border""".replace("\n", "").split(",")
)
# What they call pixels where nobody drew.
BACKGROUND = frozenset(["_background_", "background"])
MOST_JSON = 1 << 30  # bytes


class File:
    """The content of one label file, parsed when it is asked for.

    Args:
      data: the bytes.
      path: what to call the file in a message.
      suffix: of its name, in small letters, as ".json".
    """

    def __init__(self, data: bytes, path: str, suffix: str):
        self.data, self.path, self.suffix = data, path, suffix

    @cached_property
    def header(self) -> Header:
        """Of an image. Raises InputError for what is none."""
        return headers.read(self.data, self.path)

    @cached_property
    def text(self) -> str:
        """Raises InputError for what is no UTF-8."""
        try:
            return self.data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise InputError(f"{self.path}: is no text (UTF-8); save it as such") from None

    @cached_property
    def json(self) -> Any:
        """Raises InputError for what is no JSON, is nested too deeply, or is too large."""
        if len(self.data) > MOST_JSON:
            raise InputError(
                f"{self.path}: has {len(self.data):,} bytes, and the limit of a JSON is"
                f" {MOST_JSON:,}; split it"
            )
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{self.path}: is no whole JSON ({first_line(error)}); export it again"
            ) from None

    @cached_property
    def fields(self) -> frozenset[str]:
        """Of the object that a JSON is; empty for other files."""
        if self.suffix != ".json" or not isinstance(self.json, dict):
            return frozenset()
        return frozenset(self.json)


class Cover(NamedTuple):
    """The pixels of a shape: bool (h, w) `mask`, whose first is (top, left) of the image."""

    top: int
    left: int
    mask: np.ndarray


@dataclass(frozen=True)
class Shape:
    """One object that somebody drew.

    Attributes:
      label: its class's name, or the class's number in the file.
      cover: function from the image's size to the shape's pixels.
      otherwise: the name of a class that is meant where `label` is none.
      corners: float (n, 2), x and y of what was marked; None for stored pixels.
    """

    label: str | int
    cover: Callable[[Size], Cover]
    otherwise: str = ""
    corners: np.ndarray | None = None


@dataclass(frozen=True)
class Drawing:
    """The shapes in an image, in the file's order, and the image's size if the file states it."""

    shapes: Sequence[Shape]
    size: Size | None = None


@dataclass(frozen=True)
class Reading:
    """What settles how label files become class indices.

    Attributes:
      classes: of the result.
      meaning: of the numbers of index images, and of numbered classes of shapes.
      colors: pairs of colour and class index (or `classes.ignore`); () if none are known.
      renamed: pairs of a name in the files and a class name; "" leaves the name out.
      undrawn: what pixels get where nobody drew: a class index or `classes.ignore`.
      overlaps: one of `OVERLAPS`: later shapes cover earlier ones, or small ones large ones.
      turn: whether images and index images are turned as their EXIF orientation asks.
      masks: the label images hold 0 and 255 alone, the two classes.
      painted: the label images are colours, also those that are stored as grey or by a palette.
      palette: name and palette, RGB in bytes, of an index image that all others must agree with.
    """

    classes: Classes
    meaning: Meaning
    colors: tuple[tuple[Color, int], ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    undrawn: int = 255
    overlaps: str = "later"
    turn: bool = True
    masks: bool = False
    painted: bool = False
    palette: tuple[str, bytes] | None = None

    def named(self, name: str) -> int | None:
        """The class index of a name in a file, the ignore value, or None for an unknown name."""
        for there, meant in self.renamed:
            if name == there:
                if not meant:
                    return self.classes.ignore
                name = meant
                break
        if name in self.classes.names:
            return self.classes.names.index(name)
        if name.lower() in VOID:
            return self.classes.ignore
        return self.undrawn if name.lower() in BACKGROUND else None


class UnknownNames(InputError):
    """A label names classes that there are not.

    Attributes:
      names: how many shapes have each.
    """

    names: Counter[str] | None = None


class Label(Protocol):
    """A label read when, and as far down as, it is asked for; see `image_files.LabelFile`."""

    shape: Size

    def upper(self, rows: int) -> np.ndarray: ...

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray: ...


@dataclass(frozen=True, kw_only=True)
class Format(Entry):
    """What all formats have.

    Attributes:
      title: what the format is called.
      written_by: the tools that write it.
      suffixes: of its files.

    Every kind has `recognises`, which is whether a file with one of the suffixes is of this
    format; formats are asked in the table's order.
    """

    title: str
    written_by: str
    suffixes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Pixels(Format):
    """A file with something for every pixel.

    Attributes:
      recognises: as of every format; by what is known of the data set, too.
      read: the label in it. Raises InputError for a file that cannot be read, or has values that
        stand for nothing, here or when it is decoded.
    """

    recognises: Callable[[File, Reading], bool]
    read: Callable[[File, Reading], Label]


@dataclass(frozen=True, kw_only=True)
class Shapes(Format):
    """A file with the outlines of the objects in one image.

    Attributes:
      read: what is drawn in it, for an image of the given size. May raise whatever an unexpected
        content leads to; it is reported as an InputError.
    """

    recognises: Callable[[File], bool]
    read: Callable[[File, Size], Drawing]


@dataclass(frozen=True)
class Collected:
    """What one file has for many images.

    Attributes:
      drawings: name of an image -> function that makes its drawing, which may raise as
        `Shapes.read` does.
      names: of the classes, in order; () if the file lists none.
      left_out: what is in the file and labels no pixel, in words; "" for nothing.
    """

    drawings: Mapping[str, Callable[[Size], Drawing]]
    names: tuple[str, ...] = ()
    left_out: str = ""


def unique(pairs: Iterable[tuple[K, V]], what: str) -> list[tuple[K, V]]:
    """The pairs. Raises ValueError where two have the same key, of which a dict keeps the last."""
    found = list(pairs)
    counts = Counter(key for key, _ in found)
    twice = next((key for key, number in counts.items() if number > 1), None)
    if twice is not None:
        raise ValueError(f"it has {counts[twice]} {what} {twice!r}; each may be there once")
    return found


@dataclass(frozen=True, kw_only=True)
class Collection(Format):
    """A file with the outlines of the objects in many images.

    Attributes:
      read: what it has, by image. May raise as `Shapes.read`.
    """

    recognises: Callable[[File], bool]
    read: Callable[[File], Collected]
