"""Data sets by their layout: where images and labels lie, and what the stored label values mean.

Each is an entry of `sources.DATASETS`. Files are read in place, from folders or from zips of them.
"""

import dataclasses
import itertools
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from arm_jax.data import trees
from arm_jax.data.labels import Classes, Table
from arm_jax.data.matching import match
from arm_jax.data.pairs import FileSource, Reader
from arm_jax.data.records import Source
from arm_jax.data.trees import Tree, locate
from arm_jax.data.wrappers import JoinedSource
from arm_jax.system.errors import InputError
from arm_jax.system.registry import Entry


@dataclasses.dataclass(frozen=True)
class Options:
    """What a config settles for data sets that do not settle it themselves.

    Attributes:
      classes: class names in index order, or the name of a benchmark whose classes are meant; of
        `folders`, () takes those that a class file or the labels name.
      ignore: the label value of pixels without a label.
      values: pairs of stored label value and class index (or `ignore`); empty where the files hold
        class indices.
      image_folder, label_folder: below the root.
      colors, label_names, undrawn, unlabelled, overlaps: see `folders.FolderSource`.
      orientation: "exif" turns images and labels as their EXIF orientation asks, "stored"
        takes pixels as they lie in the file.
      channels: bands that `folders` reads as they are stored, names or their number; () for RGB.
      images: how many are used, the first ones; 0 for all, or 1,000 of generated scenes.
      size: height and width of generated scenes.
      builder_config: size and number of prepared scenes: a name from the builder, "" the first.
    """

    classes: Sequence[str] = ()
    ignore: int = 255
    values: Mapping[int, int] | Sequence[tuple[int, int]] = ()
    image_folder: str = "images"
    label_folder: str = "labels"
    orientation: str = "exif"
    colors: Sequence[tuple[int, int, int]] = ()
    label_names: Sequence[tuple[str, str]] = ()
    undrawn: str = ""
    unlabelled: str = "refuse"
    overlaps: str = "later"
    channels: int | Sequence[str] = ()
    images: int = 0
    size: tuple[int, int] = (128, 256)
    builder_config: str = ""


class DataSet(Entry):
    """An entry of `sources.DATASETS`, a `Layout` or an `Opener`.

    Attributes:
      needs_root: whether it reads files.
      coarse_preset: the preset of `coarsen` that makes its coarse labels; "" if these are files, or
        there are none.
      prepares: whether opening it may write what it then reads, which takes long.
      title: what people call it.
      unlabelled: splits whose labels are not public; the first is that of the test images.
      hint: what its folder should hold, for the message that there is none.
      origin: how to get that, for the same message.
    """

    needs_root: bool = True
    coarse_preset: str = ""
    prepares: bool = False
    title: str = ""
    hint: str
    origin: str = ""
    unlabelled: tuple[str, ...] = ()

    def kinds(self) -> tuple[str, ...]:
        """The kinds of label: "fine", "coarse", or both; () where a config cannot choose."""
        raise NotImplementedError

    def open(self, root: Path, split: str, kind: str, options: Options) -> Source:
        """The records of a split, or of several joined by +. Raises InputError if it cannot."""
        raise NotImplementedError

    def images(self, root: str | Path, split: str) -> Tree:
        """The image files of one of the `unlabelled` splits."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opener(DataSet):
    """A data set that a function opens: (root, split, kind, options) -> `Source`."""

    labels: tuple[str, ...]
    source: Callable[[Path, str, str, Options], Source]
    needs_root: bool = True
    coarse_preset: str = ""
    hint: str = ""
    origin: str = ""
    prepares: bool = False

    def kinds(self) -> tuple[str, ...]:
        return self.labels

    def open(self, root: Path, split: str, kind: str, options: Options) -> Source:
        return self.source(root, split, kind, options)


@dataclasses.dataclass(frozen=True)
class Files:
    """One arrangement below a root, in patterns: * is a record's id, {split} the split's folder.

    Attributes:
      images: such as "images/{split}/*"; what stands behind the * is followed by a known suffix.
      labels: kind -> patterns with their suffix, such as "labels/{split}/*.png", all in one folder;
        of several labels of an image the first pattern's counts.
      lists: files with a split's ids, each at the beginning of a line, as "lists/{split}.txt".
        Other images are left alone; if the split is "", those without a label are. Without lists
        all images of a folder belong to the split, and must have a label.

    Raises InputError for a pattern of another form.
    """

    images: str
    labels: Mapping[str, Sequence[str]]
    lists: str = ""

    def __post_init__(self) -> None:
        for pattern in (self.images, *itertools.chain(*self.labels.values())):
            if pattern.count("/*") != 1 or pattern.count("*") != 1:
                raise InputError(f"pattern {pattern!r}: write it as FOLDER/*ENDING, * for the id")
        for patterns in self.labels.values():
            if len({pattern.split("*")[0] for pattern in patterns}) > 1:
                raise InputError(f"patterns {', '.join(patterns)}: all must name one folder")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout(DataSet):
    """A data set of image and label files, in folders or in zips of them.

    Attributes:
      title, origin, unlabelled: see `DataSet`.
      classes: of its labels.
      table: from stored label values to classes; None where they are equal.
      files: the arrangements in which it is found: the first whose folder of images is in the
        root, or else the last. All have the same kinds of label.
      splits: name -> folder in the place of {split}; empty where the lists name the splits.
      hint: how the message about a missing folder goes on: what should be where.
      without: ids that are left out.
      readers: suffix of label files that are no images -> function from (bytes, name) to stored
        values, uint8 (h, w).
    """

    title: str
    classes: Classes
    table: Table | None
    files: tuple[Files, ...]
    splits: Mapping[str, str]
    hint: str
    origin: str = ""
    without: tuple[str, ...] = ()
    unlabelled: tuple[str, ...] = ()
    readers: Mapping[str, Reader] = dataclasses.field(default_factory=dict)

    def kinds(self) -> tuple[str, ...]:
        return tuple(self.files[-1].labels)

    def open(
        self, root: str | Path, split: str, kind: str = "fine", options: Options | None = None
    ) -> Source:
        """The records of a split, or of several joined by +, in the order of their ids.

        Raises InputError for an unknown or absent split, and for an image without a label.
        """
        opened = [self._open_one(Path(root).expanduser(), one, kind) for one in split.split("+")]
        return opened[0] if len(opened) == 1 else JoinedSource(opened)

    def images(self, root: str | Path, split: str) -> Tree:
        """The files below a split's folder of images."""
        root = Path(root).expanduser()
        folder, _ = _parts(self._found(root).images, self.splits.get(split, split))
        return locate(root, folder, self.hint)

    def _found(self, root: Path) -> Files:
        """The first arrangement of which a folder is there, or else lies in a zip; or the last."""
        if len(self.files) == 1:
            return self.files[0]
        tops = [
            {files.images.split("/")[0].format(split=folder) for folder in self.splits.values()}
            or {files.images.split("/")[0]}
            for files in self.files
        ]
        for there in (lambda top: (root / top).is_dir(), lambda top: trees.has(root, top)):
            for files, folders in zip(self.files, tops, strict=True):
                if any(map(there, folders)):
                    return files
        return self.files[-1]

    def _open_one(self, root: Path, split: str, kind: str) -> FileSource:
        files = self._found(root)
        listed = self._lists(root, files)
        folders = self.splits or dict.fromkeys(("", *listed), "")
        if split not in folders:
            raise InputError(
                f"split {split!r} is none of {self.title}; choose from "
                f"{', '.join(filter(None, folders))}, or join some by +"
            )
        image_folder, image_ending = _parts(files.images, folders[split])
        labels = [_parts(pattern, folders[split]) for pattern in files.labels[kind]]
        image_tree = locate(root, image_folder, self.hint)
        label_tree = locate(root, labels[0][0], self.hint)
        pairs = match(
            image_tree,
            label_tree,
            image_ending=image_ending,
            label_endings=tuple(ending for _, ending in labels),
            without=self.without,
            only=_ids(*listed[split]) if split in listed else None,
            skip_unlabelled=bool(files.lists) and not split,
        )
        return FileSource(
            image_tree, label_tree, pairs, self.classes, self.table, readers=self.readers
        )

    def _lists(self, root: Path, files: Files) -> dict[str, tuple[Tree, str]]:
        """Split -> the tree and the name of its list."""
        if not files.lists:
            return {}
        folder, _, name = files.lists.rpartition("/")
        start, _, end = name.partition("{split}")
        tree = locate(root, folder, self.hint)
        return {
            there[len(start) : len(there) - len(end)]: (tree, there)
            for there in tree.names()
            if there.startswith(start) and there.endswith(end)
        }


def _parts(pattern: str, split: str) -> tuple[str, str]:
    """The folder and the ending that a pattern of `Files` names for the folder of a split."""
    folder, ending = pattern.replace("{split}", split).split("/*")
    return folder, ending


def _ids(tree: Tree, name: str) -> tuple[str, ...]:
    """The ids that a list names."""
    try:
        lines = tree.read(name).decode().splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{tree.path(name)}: is no text; write one id a line") from None
    ids = tuple(unicodedata.normalize("NFC", line.split()[0]) for line in lines if line.strip())
    if not ids:
        raise InputError(f"{tree.path(name)}: names no image; write one id a line")
    return ids
