"""Images with a value for every pixel: class indices, colours, and masks of 0 and 255."""

from collections import Counter
from collections.abc import Callable

import numpy as np

from arm_jax.data import images
from arm_jax.data.formats.contract import Color, File, Label, Pixels, Reading
from arm_jax.data.image_files import LabelFile
from arm_jax.system.errors import InputError

_GREY = ("1", "L", "P", "I", "I;16", "I;16B", "F")
_BLACK = (0, 0, 0)  # where nobody painted, unless a class has this colour
_BORDER = (224, 224, 192)  # between the objects of PASCAL VOC
_LISTED = 6
_ALIKE = 8  # difference of a band below which two palettes have the same colour


class ColoredLabel:
    """The label in a file of colours, decoded when it is asked for."""

    def __init__(self, file: File, reading: Reading):
        self.shape = images.probe_image(file.data, file.path, turn=reading.turn)
        self._file, self._reading = file, reading
        self._decoded: np.ndarray | None = None

    def upper(self, rows: int) -> np.ndarray:
        """All rows."""
        if self._decoded is None:
            file, reading = self._file, self._reading
            pixels = images.decode_colors(file.data, file.path, turn=reading.turn)
            if reading.masks:
                self._decoded = reading.meaning(_grey(pixels, file.path), file.path)
            else:
                self._decoded = classified(pixels, reading, file.path)
        return self._decoded

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        images.verify_image(self._file.data, self._file.path)
        return self.upper(self.shape[0])


def classified(pixels: np.ndarray, reading: Reading, path: str) -> np.ndarray:
    """uint8 (h, w, 4) colours, as of `images.decode_colors`, to uint8 (h, w) class indices.

    Transparent is not drawn, and so is black unless it is a class's colour. Raises InputError with
    the shares of the colours that are no class's.
    """
    if not reading.colors:
        common = _common(_packed(pixels))
        raise InputError(
            f"{path}: this label is an image of colours ({common}), and no class's colour is"
            " known; list them as data.colors, put a labelmap.txt beside the folders, or save the"
            " class index of each pixel as a grey or palette PNG with one channel"
        )
    known = {_BLACK: reading.undrawn, _BORDER: reading.classes.ignore} | dict(reading.colors)
    codes = {red << 16 | green << 8 | blue: v for (red, green, blue), v in known.items()}
    keys = np.array(sorted(codes), np.uint32)
    values = np.array([codes[int(key)] for key in keys], np.uint8)
    packed = _packed(pixels)
    place = np.minimum(np.searchsorted(keys, packed), len(keys) - 1)
    label = values[place]
    transparent = pixels[..., 3] == 0
    label[transparent] = reading.undrawn
    unknown = (keys[place] != packed) & ~transparent
    if unknown.any():
        raise InputError(
            f"{path}: the colours {_common(packed[unknown], packed.size)} are no class's; correct"
            " the file or the list of colours"
        )
    return label


def _packed(pixels: np.ndarray) -> np.ndarray:
    red, green, blue = (pixels[..., band].astype(np.uint32) for band in range(3))
    return red << 16 | green << 8 | blue


def _common(packed: np.ndarray, pixels: int | None = None) -> str:
    """The most frequent colours, each with its share of all pixels."""
    values, counts = np.unique(packed, return_counts=True)
    found = Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))
    shown = ", ".join(
        f"({value >> 16},{value >> 8 & 255},{value & 255}) {number / (pixels or packed.size):.2%}"
        for value, number in found.most_common(_LISTED)
    )
    return shown + (f" and {len(found) - _LISTED} others" if len(found) > _LISTED else "")


def _grey(pixels: np.ndarray, path: str) -> np.ndarray:
    """The one channel of three equal ones."""
    if (pixels[..., 0] != pixels[..., 1]).any() or (pixels[..., 0] != pixels[..., 2]).any():
        raise InputError(f"{path}: has colours, and the other labels are masks of 0 and 255")
    return np.ascontiguousarray(pixels[..., 0])


def grey_values(file: File) -> np.ndarray | None:
    """The values that occur in an image of one number a pixel; None if it has colours.

    Raises InputError where it cannot be read.
    """
    if images.mode(file.data, file.path) in _GREY:
        return np.unique(images.decode_label(file.data, file.path))
    pixels = images.decode_colors(file.data, file.path)
    colored = (pixels[..., :2] != pixels[..., 1:3]).any()
    return None if colored else np.unique(pixels[..., 0])


def _is_mask(file: File, reading: Reading) -> bool:
    return reading.masks and file.suffix in images.SUFFIXES


def is_painted(file: File, reading: Reading) -> bool:
    """Whether it can only be colours: by its mode, or as its palette's numbers are no classes'.

    False for an image of one number a pixel that may as well be class indices.
    """
    mode = images.mode(file.data, file.path)
    if mode != "P" or not reading.colors:
        return mode not in _GREY
    colors = dict(reading.colors)
    found = _of_palette(file, reading)
    return any(colors[color] != meant for color, meant in found if color in colors)


def _is_colored(file: File, reading: Reading) -> bool:
    """An image of colours; of palette PNGs those all of whose colours are classes'.

    So are those some of whose colours are, if other numbers stand for these classes: they are
    refused as colours, where class indices would mistake one class for another.
    """
    if file.suffix not in images.SUFFIXES:
        return False
    mode = images.mode(file.data, file.path)
    if mode != "P" or not reading.colors:
        return reading.painted or mode not in _GREY
    if reading.painted:
        return True
    known = {color for color, _ in reading.colors} | {_BLACK}
    found = _of_palette(file, reading)
    return all(color in known for color, _ in found) or is_painted(file, reading)


def _of_palette(file: File, reading: Reading) -> list[tuple[Color, int | None]]:
    """The colours that occur in a palette image, each with the label value of its number.

    None for a number that stands for nothing.
    """
    table, number_of_classes = reading.meaning.table, reading.classes.number
    stored = images.decode_label(file.data, file.path)
    pixels = images.decode_colors(file.data, file.path)
    found: list[tuple[Color, int | None]] = []
    for number in np.unique(stored).tolist():
        red, green, blue, _ = pixels[stored == number][0].tolist()
        meant = number if number < number_of_classes else None
        found.append(((red, green, blue), table.values[number] if table else meant))
    return found


def palette(file: File) -> bytes:
    """Of a PNG with a palette, RGB in bytes for each number; b"" for any other file."""
    return file.header.palette


def _compare_palettes(file: File, reading: Reading) -> None:
    """Raise InputError where a number that is a class has another colour than in another label.

    Programs that reduce colours to a palette number them anew in every file.
    """
    if reading.palette is None or palette(file) == reading.palette[1]:
        return

    def used() -> list[int]:
        return np.unique(images.decode_label(file.data, file.path)).tolist()

    compare_palettes((file.path, palette(file)), reading.palette, reading.classes.number, used)


def compare_palettes(
    mine: tuple[str, bytes], other: tuple[str, bytes], classes: int, used: Callable[[], list[int]]
) -> None:
    """Raise InputError where a number that is a class has another colour in a second palette.

    Args:
      mine, other: file and palette, RGB in bytes.
      classes: how many there are.
      used: function that gives the numbers that matter; called where the palettes differ.
    """
    both = min(len(mine[1]), len(other[1])) // 3
    first, second = (
        np.frombuffer(colors[: 3 * both], np.uint8).reshape(both, 3).astype(int)
        for _, colors in (mine, other)
    )
    differ = np.flatnonzero(np.abs(first - second).max(1, initial=0) > _ALIKE)
    differ = differ[differ < classes]
    if not len(differ):
        return
    for number in np.intersect1d(differ, used()).astype(int).tolist():
        identity = ",".join(f"({k},{k})" for k in range(min(classes, 20)))
        raise InputError(
            f"{mine[0]}: the number {number} has the colour {tuple(first[number].tolist())}, and"
            f" {tuple(second[number].tolist())} in {other[0]}: the palettes number the classes"
            " differently; give the colour of each class as data.colors, or, if the numbers are"
            f" right, say so by data.label_values, as ({identity},...)"
        )


def _is_index(file: File, reading: Reading) -> bool:
    return file.suffix in images.SUFFIXES


def _read_index(file: File, reading: Reading) -> Label:
    _compare_palettes(file, reading)
    return LabelFile(file.data, file.path, reading.meaning, turn=reading.turn)


def _read_mask(file: File, reading: Reading) -> Label:
    mode = images.mode(file.data, file.path)
    return _read_index(file, reading) if mode in _GREY else ColoredLabel(file, reading)


MASK = Pixels(
    title="masks of 0 and 255",
    written_by="image editors, most matting and inspection tools",
    suffixes=images.SUFFIXES,
    recognises=_is_mask,
    read=_read_mask,
)
COLORED = Pixels(
    title="colours",
    written_by="CVAT (Segmentation mask), CamVid, image editors",
    suffixes=images.SUFFIXES,
    recognises=_is_colored,
    read=ColoredLabel,
)
INDEX = Pixels(
    title="class indices",
    written_by="PASCAL VOC, Mapillary, Roboflow (semantic masks), scripts/coarsen.py",
    suffixes=images.SUFFIXES,
    recognises=_is_index,
    read=_read_index,
)
