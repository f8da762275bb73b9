"""Class files, which define what the numbers or colours of labels stand for.

`READERS` has them by name, in the order in which they are looked for.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from arm_jax.data.formats.contract import BACKGROUND, VOID, Color
from arm_jax.data.formats.drawing import UNEXPECTED
from arm_jax.system.errors import InputError, first_line
from arm_jax.system.files import read_bytes

_MOST_BYTES = 1 << 20
_MOST_NAMES = 1000
_LONGEST = 100  # characters of a name


@dataclass(frozen=True)
class Key:
    """What a class file defines.

    Attributes:
      path: of the file.
      names: of the classes, in its order.
      numbers: what index images store for each.
      colors: of each; () if the file has none.
      unevaluated: names that the data set itself does not count as classes.
      written_for_undrawn: whether its "background" is what the tool puts where nobody drew.
    """

    path: str
    names: tuple[str, ...]
    numbers: tuple[int, ...]
    colors: tuple[Color, ...] = ()
    unevaluated: tuple[str, ...] = ()
    written_for_undrawn: bool = False

    def classes(self, undrawn: str) -> tuple[str, ...]:
        """The names that are classes, if nobody lists others; `undrawn` is data.undrawn."""
        left_out = VOID | (BACKGROUND if self.written_for_undrawn else frozenset())
        return tuple(
            name
            for name in self.names
            if name == undrawn or (name.lower() not in left_out and name not in self.unevaluated)
        )


def find(places: Iterable[Path]) -> Key | None:
    """The first class file in these folders; None if there is none.

    Raises InputError for one that cannot be understood.
    """
    folders = list(dict.fromkeys(places))
    for name, read in READERS.items():
        for folder in folders:
            if (folder / name).is_file() and (key := _read(folder / name, read)):
                return key
    return None


def _read(path: Path, read: Callable[[str], "Key | None"]) -> Key | None:
    data = read_bytes(path, most=_MOST_BYTES)
    try:
        key = read(data.decode("utf-8-sig"))
    except (*UNEXPECTED, yaml.YAMLError) as error:
        raise InputError(
            f"{path}: its classes cannot be understood ({first_line(error)}); correct or remove it"
        ) from None
    if key is None:
        return None
    if not 0 < len(key.names) <= _MOST_NAMES:
        raise InputError(
            f"{path}: names {len(key.names):,} classes; from 1 to {_MOST_NAMES:,} can be used"
        )
    for name in key.names:
        if not name or not name.isprintable() or len(name) > _LONGEST:
            raise InputError(f"{path}: the class name {name[:_LONGEST]!r} cannot be used")
    for values, what in ((key.numbers, "number"), (key.colors, "colour"), (key.names, "name")):
        twice = next((v for v in values if list(values).count(v) > 1), None)
        if twice is not None:
            raise InputError(f"{path}: the {what} {twice!r} is given to two classes; correct it")
    return Key(str(path), *(getattr(key, part) for part in list(Key.__dataclass_fields__)[1:]))


def _rows(text: str) -> list[str]:
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _color(words: Sequence[str]) -> Color:
    red, green, blue = (int(word) for word in words)
    if not all(0 <= band <= 255 for band in (red, green, blue)):
        raise ValueError(f"the colour {red}, {green}, {blue} is not in 0 to 255")
    return red, green, blue


def _key(names: Sequence[str], colors: Sequence[Color] = (), **more: Any) -> Key:
    more = {"numbers": tuple(range(len(names))), **more}
    return Key("", tuple(names), colors=tuple(colors), **more)


def _labelmap(text: str) -> Key:
    """CVAT: name:r,g,b:parts:actions."""
    rows = [line.split(":") for line in _rows(text)]
    colors = [_color(row[1].split(",")) for row in rows]
    return _key([row[0].strip() for row in rows], colors, written_for_undrawn=True)


def _label_colors(text: str) -> Key:
    """CamVid: r g b name."""
    rows = [line.split(None, 3) for line in _rows(text)]
    return _key([row[3] for row in rows], [_color(row[:3]) for row in rows])


def _table(text: str) -> Key:
    """Roboflow: a head "Pixel Value, Class"; others: "name,r,g,b"."""
    head, *lines = [[cell.strip() for cell in line.split(",")] for line in _rows(text)]
    columns = [cell.lower() for cell in head]
    if "pixel value" in columns:
        number, name = columns.index("pixel value"), columns.index("class")
        numbers = tuple(int(line[number]) for line in lines)
        return _key([line[name] for line in lines], numbers=numbers, written_for_undrawn=True)
    name = columns.index("name")
    bands = [columns.index(band) for band in "rgb"]
    colors = [_color([line[k] for k in bands]) for line in lines]
    return _key([line[name] for line in lines], colors)


def _names(text: str) -> Key:
    """A name a line; LabelMe's list begins with __ignore__, which is number -1."""
    names = _rows(text)
    first = -1 if names[0] == "__ignore__" else 0
    numbers = tuple(range(first, first + len(names)))
    if first:
        names, numbers = names[1:], numbers[1:]
    return _key(names, numbers=numbers, written_for_undrawn="_background_" in names)


def _mapillary(text: str) -> Key | None:
    """{"labels": [{"name", "readable", "color", "evaluate"}, ...]}; None for another JSON."""
    content = json.loads(text)
    if not isinstance(content, dict) or "labels" not in content:
        return None
    labels = content["labels"]
    names = [str(label["readable"]) for label in labels]
    unevaluated = tuple(
        name for name, label in zip(names, labels, strict=True) if not label.get("evaluate", True)
    )
    return _key(names, [_color(label["color"]) for label in labels], unevaluated=unevaluated)


def _yaml(text: str) -> Key | None:
    """Ultralytics: names, a list or by number; None for another YAML."""
    content = yaml.safe_load(text)
    if not isinstance(content, dict) or "names" not in content:
        return None
    names = content["names"]
    pairs = sorted(names.items()) if isinstance(names, dict) else list(enumerate(names))
    numbers = tuple(int(number) for number, _ in pairs)
    if not all(isinstance(name, str | int | float) for _, name in pairs):  # or an alias of all
        raise ValueError("a name that is no text")
    return _key([str(name) for _, name in pairs], numbers=numbers)


READERS: dict[str, Callable[[str], Key | None]] = {
    "labelmap.txt": _labelmap,
    "label_colors.txt": _label_colors,
    "_classes.csv": _table,
    "class_dict.csv": _table,
    "classes.txt": _names,
    "labels.txt": _names,
    "data.yaml": _yaml,
    "data.yml": _yaml,
    "config.json": _mapillary,
    "config_v2.0.json": _mapillary,
    "config_v1.2.json": _mapillary,
}
