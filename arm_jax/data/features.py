"""Kept features of images, and training examples that are parts of them.

An entry is a file of float16 maps and a digest. Its name is a digest of the image and of how it was
made, in a folder for each state of the weights. A crop of an image that was not resized at random
is a part of the image's features, so an example needs no pixel.
"""

import contextlib
import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from arm_jax.data import augment
from arm_jax.data.image_files import ImageFile
from arm_jax.data.records import Source, encoded
from arm_jax.system import caches
from arm_jax.system.errors import InputError

SUFFIX = ".features"
LABEL_BYTES = 2**28  # of resized labels that each process keeps in memory
_DIGEST = 16  # bytes
_FORMAT = "1"


@dataclass(frozen=True)
class Map:
    """One of an entry's arrays: image pixels for each of its positions, and its channels."""

    stride: int
    channels: int


@dataclass(frozen=True)
class View:
    """What a network sees of a record: the image at its training size, padded to the canvas.

    Attributes:
      image: uint8 (*canvas, 3); padding at the bottom and right is 0.
      extent: height and width that are no padding.
    """

    image: np.ndarray
    extent: tuple[int, int]


@dataclass(frozen=True)
class Sizes:
    """Sizes of training images, as `augment.base_size` and `augment.crop` set them.

    Attributes:
      base_size: short and long side that images are fitted to; None for their own.
      crop: height and width of an example.
      grid: pixels between the places where a crop may begin: the largest stride of a map.
    """

    base_size: tuple[int, int] | None
    crop: tuple[int, int]
    grid: int

    def of(self, shape: tuple[int, int]) -> tuple[int, int]:
        """(height, width) after the resize."""
        return augment.rescaled((shape[0], shape[1]), 1.0, self.base_size)

    def canvas(self, shape: tuple[int, int]) -> tuple[int, int]:
        """(height, width) that the network sees: at least a crop, whole steps of the grid."""
        height, width = (
            max(crop, -(-side // self.grid) * self.grid)
            for crop, side in zip(self.crop, self.of(shape), strict=True)
        )
        return height, width

    def label(self, record: dict[str, Any]) -> np.ndarray:
        """The label after the resize, uint8 (h, w)."""
        label = np.asarray(record["label"])
        size = self.of(label.shape)
        return augment.nearest(label, size, (0, 0, *size))

    def view(self, image: np.ndarray | ImageFile) -> View:
        """The image after the resize, on its canvas."""
        image = image.part() if isinstance(image, ImageFile) else image
        source = (image.shape[0], image.shape[1])
        size, canvas = self.of(source), self.canvas(source)
        drawn = augment.Drawn(source, size, (0, 0, *size), flip=False)
        unlabelled = np.zeros(size, np.uint8)
        pixels, _, extent = augment.apply(image, unlabelled, drawn, crop=canvas)
        return View(pixels, extent)


def key(image: np.ndarray | ImageFile, sizes: Sizes, mirrored: bool) -> str:
    """The name of an entry: a digest of the image's file, or pixels, and of how it is seen."""
    shape = image.shape[:2]
    seen = (_FORMAT, sizes.of(shape), sizes.canvas(shape), mirrored)
    digest = hashlib.blake2b(repr(seen).encode(), digest_size=_DIGEST)
    if isinstance(image, ImageFile):
        digest.update(f"file {image.is_turned}".encode())
        digest.update(image.data)
    else:
        digest.update(repr(("pixels", image.shape)).encode())
        digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


def entry_bytes(maps: Mapping[str, Map], canvas: tuple[int, int]) -> int:
    """Size of an entry's file."""
    return 2 * sum(math.prod(shape) for shape in _shapes(maps, canvas).values()) + _DIGEST


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an entry whole or not at all; `arrays` by name, float16 (h', w', c).

    Raises InputError where the folder cannot be written, or a feature is too large for float16.
    """
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise InputError(
            "a feature of the frozen parts is too large for float16; set model.feature_cache ="
            " False"
        )
    data = b"".join(arrays[name].astype(np.float16).tobytes() for name in sorted(arrays))
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.write(_digest(data))
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise InputError(
            f"{path} cannot be written ({error.strerror}); free some space, or name another folder"
            " as model.feature_folder"
        ) from error


def is_whole(path: Path, size: int) -> bool:
    """Whether an entry of `size` bytes is there and holds what was written; marks it as used."""
    try:
        if path.stat().st_size != size:
            return False
        data = path.read_bytes()
        os.utime(path)
    except OSError:
        return False
    return _digest(memoryview(data)[:-_DIGEST]) == data[-_DIGEST:]


def make_room(above: Path, kept: set[Path], new: int, most: int) -> None:
    """Delete entries, those first that were not used for longest.

    Args:
      above: the folder of the folders of all weights' entries.
      kept: the entries that are needed.
      new: bytes that are about to be written.
      most: bytes that all entries may have, the new ones included.
    """
    found = [(path, path.stat()) for path in above.glob(f"*/*{SUFFIX}*")]
    needed = sum(status.st_size for path, status in found if path in kept)
    others = [
        caches.Entry(path, status.st_size, status.st_mtime)
        for path, status in found
        if path not in kept
    ]
    caches.make_room(others, new + needed, most, lambda path: path.unlink(missing_ok=True))


def _digest(data: Any) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST).digest()


def _shapes(maps: Mapping[str, Map], canvas: tuple[int, int]) -> dict[str, tuple[int, int, int]]:
    """Name -> (h', w', c), in the order of the file."""
    return {
        name: (canvas[0] // one.stride, canvas[1] // one.stride, one.channels)
        for name, one in sorted(maps.items())
    }


@dataclass(frozen=True)
class Features:
    """The entries of all records of a source.

    Attributes:
      maps: what an entry holds, by name.
      sizes: of the images.
      entries: of each record, the file of the image and that of its mirror image, if it has one.
      canvases: of each record, (height, width) of what the network saw.
    """

    maps: Mapping[str, Map]
    sizes: Sizes
    entries: Sequence[tuple[Path, ...]]
    canvases: Sequence[tuple[int, int]]

    @property
    def bytes_a_pixel(self) -> float:
        """Of an example, by pixels of its crop."""
        return sum(2 * one.channels / one.stride**2 for one in self.maps.values())

    def labels(self, source: Source) -> "Labels":
        """The source's labels alone, resized."""
        return Labels(source, self.sizes)

    def examples(self, **drawing: Any) -> "Examples":
        """Turns such labels into examples; arguments as for `augment.draw`."""
        return Examples(self, **drawing)

    def part(self, index: int, mirrored: bool, corner: tuple[int, int]) -> dict[str, np.ndarray]:
        """The features of a crop: float16 (h', w', c) by name.

        Args:
          index: of the record.
          mirrored: of its mirror image.
          corner: where the crop begins in the image, mirrored or not; multiples of `sizes.grid`.

        Raises InputError where the entry is gone.
        """
        path = self.entries[index][int(mirrored)]
        found, offset = {}, 0
        try:
            for name, shape in _shapes(self.maps, self.canvases[index]).items():
                stride = self.maps[name].stride
                whole = np.memmap(path, np.float16, "r", offset, shape)
                offset += whole.nbytes
                rows, columns = (
                    slice(first // stride, (first + side) // stride)
                    for first, side in zip(corner, self.sizes.crop, strict=True)
                )
                found[name] = np.array(whole[rows, columns])
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path} was removed or cut while a run read it; the same command makes it again"
            ) from error
        return found


class Labels:
    """Numbered records of a source that hold a resized label and no image; some stay in memory."""

    def __init__(self, source: Source, sizes: Sizes):
        self._source, self._sizes = source, sizes
        self._kept: dict[int, np.ndarray] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        label = self._kept.get(index)
        if label is None:
            label = self._sizes.label(encoded(self._source, index))
            if self._bytes + label.nbytes <= LABEL_BYTES:
                self._kept[index] = label
                self._bytes += label.nbytes
        return {"label": label, "index": index}


class Examples:
    """Turns a numbered label into an example; called with the example's own random numbers.

    The numbers are drawn as `pipeline.Augment` draws them, so that a crop as large as the images
    gives the examples of a run without kept features.
    """

    def __init__(self, features: Features, *, crop: tuple[int, int], ignore: int, **drawing: Any):
        self._features, self._crop, self._ignore = features, crop, ignore
        self._drawing = drawing

    def __call__(self, record: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        features, index = self._features, int(record["index"])
        drawn, part = augment.draw(
            rng,
            record["label"],
            crop=self._crop,
            ratio=(1.0, 1.0),
            ignore=self._ignore,
            grid=features.sizes.grid,
            **self._drawing,
        )
        label = np.full(self._crop, self._ignore, np.uint8)
        label[: part.shape[0], : part.shape[1]] = part
        top, left = drawn.box[:2]
        extent = part.shape
        if drawn.flip:  # of the whole canvas, so that crops stay on the grid
            label = np.ascontiguousarray(label[:, ::-1])
            left = features.canvases[index][1] - left - self._crop[1]
            extent = (extent[0], self._crop[1])  # the padding is on the left now
        return {
            "features": features.part(index, drawn.flip, (top, left)),
            "label": label,
            "extent": np.array(extent, np.int32),
            "key": rng.integers(0, 1 << 32, 2, dtype=np.uint32),
            "index": np.int64(index),
        }
