"""Pairs of image and label files: the source for a person's own two folders.

    root/images/[split/][anything/]name.jpg      root/labels/[split/][anything/]name.png

Labels are images with one number a pixel. An image and its label have the same path but for the
suffix of the file; letters with accents may be written in one character or in two (NFC, NFD).
"""

import hashlib
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from arm_jax.data import headers, images
from arm_jax.data.labels import Classes, Meaning, Table
from arm_jax.data.trees import Folder, Tree
from arm_jax.system.errors import InputError

Reader = Callable[[bytes, str], np.ndarray]


class FileSource:
    """Records from image and label files that were matched before.

    `pairs` holds (id, image name, label name); the names are those of the two trees. Images and
    labels are turned as the EXIF orientation of each tells viewers, unless `turn` is False.
    `readers` holds, by suffix, functions from the bytes and the name of a label file that is no
    image to its stored values, uint8 (h, w).
    """

    def __init__(
        self,
        image_tree: Tree,
        label_tree: Tree,
        pairs: list[tuple[str, str, str]],
        classes: Classes,
        table: Table | None = None,
        *,
        turn: bool = True,
        readers: Mapping[str, Reader] | None = None,
    ):
        self.classes = classes
        self._image_tree, self._label_tree = image_tree, label_tree
        self._pairs = pairs
        self._meaning = Meaning(classes, table)
        self._turn = turn
        self._readers = dict(readers or {})

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> dict:
        name, image_name, label_name = self._pairs[index]
        image = self._image_file(image_name).part()
        stored = self._stored_label(label_name)
        self._compare_sizes(index, image.shape[:2], stored.shape)
        return {"image": image, "label": self._understood(stored, label_name), "id": name}

    def inspect(self, index: int) -> np.ndarray:
        """Read one pair, the image by `images.verify_image`: int64 (256,) pixels by label value.

        Raises InputError for anything that would keep it from training.
        """
        _, image_name, label_name = self._pairs[index]
        stored = self._stored_label(label_name)
        size = images.verify_image(
            self._image_tree.read(image_name), self._image_tree.path(image_name), turn=self._turn
        )
        self._compare_sizes(index, size, stored.shape)
        label = self._understood(stored, label_name)
        return np.bincount(label.reshape(-1), minlength=256)

    def encoded(self, index: int) -> dict:
        """The record with the image as `images.ImageFile`, and the label still to be decoded."""
        name, image_name, label_name = self._pairs[index]
        image = self._image_file(image_name)
        label = self._label_file(label_name)
        self._compare_sizes(index, image.shape, label.shape)
        return {"image": image, "label": label, "id": name}

    def fingerprint(self) -> str:
        """Changes when a file is added, removed, replaced or edited, or a class table differs."""
        settings = (self._meaning, self._turn)
        digest = hashlib.blake2b(repr(settings).encode(), digest_size=16)
        for name, image_name, label_name in self._pairs:
            stamps = self._image_tree.stamp(image_name), self._label_tree.stamp(label_name)
            paths = self._image_tree.path(image_name), self._label_tree.path(label_name)
            digest.update(repr((name, paths, stamps)).encode())
        return digest.hexdigest()

    def _image_file(self, image_name: str) -> images.ImageFile:
        return images.ImageFile(
            self._image_tree.read(image_name), self._image_tree.path(image_name), turn=self._turn
        )

    def _stored_label(self, label_name: str) -> np.ndarray:
        data, path = self._label_tree.read(label_name), self._label_tree.path(label_name)
        reader = self._readers.get(Path(label_name).suffix)
        if reader is not None:
            return reader(data, path)
        images.verify_image(data, path)  # a damaged label may be decoded to wrong classes
        return images.decode_label(data, path, turn=self._turn)

    def _label_file(self, label_name: str) -> Any:
        """A label as `images.LabelFile` or array."""
        if Path(label_name).suffix in self._readers:
            return self._understood(self._stored_label(label_name), label_name)
        return images.LabelFile(
            self._label_tree.read(label_name),
            self._label_tree.path(label_name),
            self._meaning,
            turn=self._turn,
        )

    def _understood(self, stored: np.ndarray, label_name: str) -> np.ndarray:
        return self._meaning(stored, self._label_tree.path(label_name))

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
                f"{self._label_tree.path(label_name)}: is {label[1]}x{label[0]} pixels, but its "
                f"image {path} is {image[1]}x{image[0]}; {remedy}"
            )


class FolderSource(FileSource):
    """Two folders of a person's own, see the head of this file.

    `split` names a subfolder of both; "" takes all there is. `table` gives stored label values
    their meaning; without one they are class indices. `orientation` is one of
    `images.ORIENTATIONS`. Raises InputError when a folder is missing or empty and when images have
    no label.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        classes: Classes,
        *,
        table: Table | None = None,
        image_folder: str = "images",
        label_folder: str = "labels",
        orientation: str = "exif",
    ):
        if orientation not in images.ORIENTATIONS:
            raise InputError(
                f"data.orientation = {orientation!r}; choose from {', '.join(images.ORIENTATIONS)}"
            )
        root = Path(root).expanduser()
        image_tree = Folder(_split_folder(root / image_folder, split))
        label_tree = Folder(_split_folder(root / label_folder, split))
        pairs = match(image_tree, label_tree)
        turn = orientation == "exif"
        super().__init__(image_tree, label_tree, pairs, classes, table, turn=turn)


def _split_folder(folder: Path, split: str) -> Path:
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder; the data root must hold images/ and labels/, or the "
            "folders that data.image_folder and data.label_folder name"
        )
    if split and not (folder / split).is_dir():
        there = sorted(path.name for path in folder.iterdir() if path.is_dir())
        found = f"it has {', '.join(there)}" if there else "it has no subfolders"
        raise InputError(
            f"{folder / split}: no such folder; {found}: name one of these as the split, or '' "
            "for all files"
        )
    return folder / split


def match(
    image_tree: Tree,
    label_tree: Tree,
    *,
    image_ending: str = "",
    label_endings: tuple[str, ...] = images.SUFFIXES,
    without: tuple[str, ...] = (),
    only: tuple[str, ...] | None = None,
    skip_unlabelled: bool = False,
) -> list[tuple[str, str, str]]:
    """(id, image name, label name) of all images, sorted by id.

    Args:
      image_tree: where the images are.
      label_tree: where the labels are.
      image_ending: the end of an image's name before the suffix; other images are left alone.
      label_endings: how the label's name goes on after the id, the preferred one first.
      without: ids that are left out.
      only: the ids to take, if not all that are there.
      skip_unlabelled: leave images without a label alone.

    An id is the path without ending and suffix, in composed characters (NFC). Labels without an
    image are left alone. Raises InputError when there is no image, one of `only` is missing, an
    image has no label, or two images share an id.
    """
    image_names = _by_id(image_tree, tuple(image_ending + suffix for suffix in images.SUFFIXES))
    label_names = _by_id(label_tree, label_endings, prefer=True)
    for identity in without:
        image_names.pop(identity, None)
    for identity in only or ():
        if identity not in image_names:
            raise InputError(
                f"{image_tree.path(identity + image_ending)}: no such image, though the list of "
                "the split names it; add it or correct the list"
            )
    if only is not None:
        image_names = {identity: image_names[identity] for identity in only}
    if skip_unlabelled:
        image_names = {key: name for key, name in image_names.items() if key in label_names}
    if not image_names:
        raise InputError(
            f"{image_tree.path('')}: holds no images *{image_ending} "
            f"({', '.join(images.SUFFIXES)}); point at a folder that does"
        )
    missing = [identity for identity in image_names if identity not in label_names]
    if missing:
        expected = label_tree.path(missing[0] + label_endings[0])
        many = f" (nor have {len(missing) - 1} others)" if len(missing) > 1 else ""
        raise InputError(
            f"{image_tree.path(image_names[missing[0]])}: has no label {expected}{many}; add it "
            "or remove the image"
        )
    return [(key, image_names[key], label_names[key]) for key in sorted(image_names)]


def _by_id(tree: Tree, endings: tuple[str, ...], prefer: bool = False) -> dict[str, str]:
    """Names of the files with one of the endings (in any case), by what is left without it.

    Two files of one id are an error, unless `prefer` takes the one with the earlier ending.
    """
    found: dict[str, tuple[int, str]] = {}
    for name in tree.names():
        lower = name.lower()
        for rank, ending in enumerate(endings):
            if lower.endswith(ending.lower()):
                identity = unicodedata.normalize("NFC", name[: len(name) - len(ending)])
                other = found.get(identity)
                if other and not prefer:
                    raise InputError(
                        f"{tree.path(name)}: has the same name as {tree.path(other[1])}; "
                        "rename one of them"
                    )
                if not other or rank < other[0]:
                    found[identity] = rank, name
                break
    return {identity: name for identity, (_, name) in found.items()}
