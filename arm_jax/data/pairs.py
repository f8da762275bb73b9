"""Records from pairs of an image file and a label, in a file of its own or in one for many images.

Every file is opened through a `Tree`; whatever holds the labels is a `Labels`. `write` makes such
pairs.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from arm_jax.data import colors, headers, images
from arm_jax.data.formats.contract import Label, Size
from arm_jax.data.image_files import ImageFile, LabelFile, file_bytes
from arm_jax.data.labels import Classes, Meaning, Table
from arm_jax.data.trees import Folder, Tree
from arm_jax.system import files, names
from arm_jax.system.errors import InputError

Reader = Callable[[bytes, str], np.ndarray]


class Labels(Protocol):
    """Labels by name.

    Attributes:
      settings: all that decides what a file is read as; its repr enters the fingerprint.
    """

    settings: Any

    def path(self, name: str) -> str:
        """What to call the label in a message."""
        ...

    def stamp(self, name: str) -> tuple[int, ...]:
        """Another one for another content, as of a `Tree`."""
        ...

    def open(self, name: str, size: Size) -> Label | np.ndarray:
        """The label of an image of this size, in class indices, as such or decoded later.

        Raises InputError, here or when it is decoded, for what cannot be used. The label's own
        size may differ.
        """
        ...


class FileLabels:
    """Labels in files of their own: images of numbers, or what `readers` has a function for.

    Args:
      tree: where the files are.
      meaning: of the stored values.
      turn: as for `FileSource`.
      readers: by suffix, functions from the bytes and the name of a file that is no image to its
        stored values, uint8 (h, w).
    """

    def __init__(
        self,
        tree: Tree,
        meaning: Meaning,
        *,
        turn: bool = True,
        readers: Mapping[str, Reader] | None = None,
    ):
        self.settings = (meaning, turn)
        self._tree, self._meaning, self._turn = tree, meaning, turn
        self._readers = dict(readers or {})

    def path(self, name: str) -> str:
        return self._tree.path(name)

    def stamp(self, name: str) -> tuple[int, ...]:
        return self._tree.stamp(name)

    def open(self, name: str, size: Size) -> Label | np.ndarray:
        data, path = self._tree.read(name), self.path(name)
        if reader := self._readers.get(Path(name).suffix):
            return self._meaning(reader(data, path), path)
        return LabelFile(data, path, self._meaning, turn=self._turn)


class FileSource:
    """Records from image files and labels that were matched before.

    Args:
      image_tree: where the images are.
      labels: where the labels are; a `Tree` stands for `FileLabels` of it.
      pairs: (id, image name, label name); the names are those of the two.
      classes: of the labels.
      table: of stored values, for `FileLabels` of a tree; None if they are class indices.
      turn: whether images are turned as the EXIF orientation of each asks.
      readers: for `FileLabels` of a tree.
      channels: as for `images.decode_image`.
    """

    def __init__(
        self,
        image_tree: Tree,
        labels: Labels | Tree,
        pairs: list[tuple[str, str, str]],
        classes: Classes,
        table: Table | None = None,
        *,
        turn: bool = True,
        readers: Mapping[str, Reader] | None = None,
        channels: int = 0,
    ):
        self.classes = classes
        self._channels = channels
        self._image_tree = image_tree
        if not hasattr(labels, "open"):
            meaning = Meaning(classes, table)
            labels = FileLabels(labels, meaning, turn=turn, readers=readers)
        self._labels: Labels = labels  # type: ignore
        self._pairs = pairs
        self._turn = turn

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> dict:
        name, image_name, label_name = self._pairs[index]
        image = self._image_file(image_name).part()
        label = self._label(index, label_name, image.shape[:2])
        return {"image": image, "label": np.asarray(label), "id": name}

    def inspect(self, index: int) -> np.ndarray:
        """Read one pair, the image by `images.verify_image`: int64 (256,) pixels by label value.

        Raises InputError for anything that would keep it from training.
        """
        _, image_name, label_name = self._pairs[index]
        data, path = self._image_tree.read(image_name), self._image_tree.path(image_name)
        size = images.probe_image(data, path, turn=self._turn)
        label = np.asarray(self._label(index, label_name, size))
        images.verify_image(data, path, turn=self._turn, channels=self._channels)
        return np.bincount(label.reshape(-1), minlength=256)

    def encoded(self, index: int) -> dict:
        """The record with the image as `ImageFile`, and the label still to be decoded."""
        name, image_name, label_name = self._pairs[index]
        image = self._image_file(image_name)
        return {"image": image, "label": self._label(index, label_name, image.shape), "id": name}

    def named(self, index: int) -> tuple[str, str]:
        """The id, and where the image lies on the disk; "" in a zip."""
        name, image_name, _ = self._pairs[index]
        on_disk = isinstance(self._image_tree, Folder)
        return name, self._image_tree.path(image_name) if on_disk else ""

    def fingerprint(self) -> str:
        """Changes when a file is added, removed, replaced or edited, or a class table differs."""
        settings: tuple[Any, ...] = (self._labels.settings, self._turn)
        if self._channels:
            settings += (self._channels,)
        digest = hashlib.blake2b(repr(settings).encode(), digest_size=16)
        for name, image_name, label_name in self._pairs:
            stamps = self._image_tree.stamp(image_name), self._labels.stamp(label_name)
            paths = self._image_tree.path(image_name), self._labels.path(label_name)
            digest.update(repr((name, paths, stamps)).encode())
        return digest.hexdigest()

    def _image_file(self, image_name: str) -> ImageFile:
        return ImageFile(
            self._image_tree.read(image_name),
            self._image_tree.path(image_name),
            turn=self._turn,
            channels=self._channels,
        )

    def _label(self, index: int, label_name: str, size: Size) -> Label | np.ndarray:
        """The label, of the image's size."""
        label = self._labels.open(label_name, size)
        self._compare_sizes(index, size, label.shape)
        return label

    def _compare_sizes(self, index: int, image: tuple[int, ...], label: tuple[int, ...]) -> None:
        if tuple(image) != tuple(label):
            _, image_name, label_name = self._pairs[index]
            path = self._image_tree.path(image_name)
            noted = headers.read(self._image_tree.read(image_name), path).orientation
            remedy = "make them the same size"
            if noted > 4 and tuple(image) == tuple(label)[::-1]:
                turned = "turned as" if self._turn else "not turned, though"
                other = "stored" if self._turn else "exif"
                remedy = (
                    f"the image is {turned} its EXIF orientation {noted} tells viewers; turn the"
                    f" label too, or read both the other way by data.orientation = {other!r}"
                )
            raise InputError(
                f"{self._labels.path(label_name)}: is {label[1]}x{label[0]} pixels, but its "
                f"image {path} is {image[1]}x{image[0]}; {remedy}"
            )


def write(
    record: Mapping[str, Any], label: np.ndarray, classes: Classes, out: Path, split: str
) -> None:
    """Write `images/SPLIT/ID.*`, the image as the file that it is, and `labels/SPLIT/ID.png`.

    Args:
      record: as from `records.encoded`.
      label: uint8 (h, w), class indices.
      classes: of the label.
      out: the folder of both.
      split: the subfolder of each.

    Raises InputError where the folders cannot be written.
    """
    data = file_bytes(record["image"])
    name = names.inside(record["id"], "the data set")
    files.write(names.below(out / "images" / split, f"{name}{images.suffix(data)}"), data)
    colors.write_label(names.below(out / "labels" / split, f"{name}.png"), label, classes)
