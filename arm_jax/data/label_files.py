"""The label files of a person's own data, by name: each in a file, all in one, or not there."""

from pathlib import Path
from typing import Any

import numpy as np

from arm_jax.data.formats import recognise
from arm_jax.data.formats.contract import File, Label, Reading, Size
from arm_jax.data.formats.drawing import DrawnLabel, readable
from arm_jax.data.many import Many
from arm_jax.data.trees import Folder, Tree
from arm_jax.system.errors import InputError


class FormatLabels:
    """Labels of any format, each in a file of its own."""

    def __init__(self, tree: Tree, reading: Reading):
        self._tree, self.settings = tree, reading

    def path(self, name: str) -> str:
        return self._tree.path(name)

    def stamp(self, name: str) -> tuple[int, ...]:
        return self._tree.stamp(name)

    def _file(self, name: str) -> File:
        return File(self._tree.read(name), self.path(name), Path(name).suffix.lower())

    def open(self, name: str, size: Size) -> Label:
        return recognise.opened(self._file(name), size, self.settings)

    def title(self, name: str) -> str:
        """The format's; "unreadable" for a file that is of none."""
        try:
            return recognise.recognised(self._file(name), self.settings).title
        except InputError:
            return "unreadable"


class NoLabels:
    """No labelled pixel, by whatever name."""

    TITLE = "none"

    def __init__(self, ignore: int):
        self.settings, self._ignore = ("none", ignore), ignore

    def path(self, name: str) -> str:
        return "no label"

    def stamp(self, name: str) -> tuple[int, ...]:
        return ()

    def open(self, name: str, size: Size) -> np.ndarray:
        return np.full(size, self._ignore, np.uint8)

    def title(self, name: str) -> str:
        return self.TITLE


class OrNone:
    """Labels, of which one of no name has no labelled pixel."""

    TITLE = NoLabels.TITLE

    def __init__(self, labels: Any, ignore: int):
        self._labels, self._none = labels, NoLabels(ignore)
        self.settings = (labels.settings, "or none")

    def _of(self, name: str) -> Any:
        return self._labels if name else self._none

    def path(self, name: str) -> str:
        return self._of(name).path(name)

    def stamp(self, name: str) -> tuple[int, ...]:
        return self._of(name).stamp(name)

    def open(self, name: str, size: Size) -> Label | np.ndarray:
        return self._of(name).open(name, size)

    def title(self, name: str) -> str:
        return self._of(name).title(name)


class CollectionLabels:
    """Labels that lie together in one file."""

    def __init__(self, many: Many, reading: Reading):
        self._many, self.settings = many, reading
        self._tree = Folder(many.path.parent)

    def path(self, name: str) -> str:
        return f"{self._many.path}: {name}"

    def stamp(self, name: str) -> tuple[int, ...]:
        return self._tree.stamp(self._many.path.name)

    def open(self, name: str, size: Size) -> Label:
        path = self.path(name)
        drawing = readable(path, self._many.content.drawings[name], size)
        return DrawnLabel(drawing, size, self.settings, path)

    def title(self, name: str) -> str:
        return self._many.format.title
