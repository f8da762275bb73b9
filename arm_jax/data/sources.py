"""The seam between data sets and everything else: a length, and records by number.

`open_source` makes any of them from plain arguments. What follows (checks, augmentation, pipeline,
evaluation) knows only the protocol, so that a notebook can hand in a class of its own.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from arm_jax.data import coarsen, prepare, scenes
from arm_jax.data.folders import FileSource, FolderSource
from arm_jax.data.labels import BY_NAME, STREET_SCENES, Classes, Table, generic
from arm_jax.data.prepared import TfdsSource
from arm_jax.errors import InputError

__all__ = [
    "CoarsenedSource",
    "FileSource",
    "FirstSource",
    "FolderSource",
    "ScenesSource",
    "Source",
    "TfdsSource",
    "open_source",
]


@runtime_checkable
class Source(Protocol):
    """Records in a fixed order. It can be pickled: worker processes get a copy.

    A record is {"image": uint8 (h, w, 3) RGB, "label": uint8 (h, w), "id": str}; the label holds
    class indices and `classes.ignore`. Sizes may differ from record to record.
    """

    classes: Classes

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict: ...


class ScenesSource:
    """Street scenes drawn anew at every access, with fine labels; see `arm_jax.data.scenes`."""

    classes = STREET_SCENES
    trusted = True  # nothing that a check could find

    def __init__(self, split: str, number: int, size: tuple[int, int] = (128, 256)):
        self._split, self._number, self._size = split, number, (size[0], size[1])

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, index: int) -> dict:
        index = int(index)
        if not 0 <= index < self._number:
            raise IndexError(f"scene {index} of {self._number}")
        image, label = scenes.generate(self._split, index, self._size)
        return {"image": image, "label": label, "id": f"{self._split}_{index:06d}"}

    def fingerprint(self) -> str:
        """Changes with what is drawn."""
        return f"scenes {self._split} {self._number} {self._size}"


class CoarsenedSource:
    """Another source's records with their labels made coarse, the same at every access."""

    def __init__(self, source: Source, settings: coarsen.Coarsening, seed: int = 0):
        self.classes = source.classes
        self.trusted = getattr(source, "trusted", False)
        self._source, self._settings, self._seed = source, settings, seed

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict:
        record = self._source[index]
        label = coarsen.coarsen(
            record["label"], self.classes, self._settings, seed=self._seed, name=record["id"]
        )
        return {**record, "label": label}

    def inspect(self, index: int) -> np.ndarray:
        """Pixels by value of the label underneath, where the mistakes would be."""
        return inspect(self._source, index)

    def fingerprint(self) -> str:
        """That of the source underneath: coarsening adds no mistakes to find."""
        return fingerprint(self._source)


class FirstSource:
    """The first so many records of another source."""

    def __init__(self, source: Source, number: int):
        self.classes = source.classes
        self.trusted = getattr(source, "trusted", False)
        self._source, self._number = source, min(number, len(source))

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, index: int) -> dict:
        if not 0 <= index < self._number:
            raise IndexError(f"record {index} of {self._number}")
        return self._source[index]

    def inspect(self, index: int) -> np.ndarray:
        """Pixels by label value, int64 (256,)."""
        return inspect(self._source, index)

    def fingerprint(self) -> str:
        """That of the source underneath, and the number."""
        return f"{self._number} of {fingerprint(self._source)}"


def inspect(source: Source, index: int) -> np.ndarray:
    """Pixels of record `index` by label value, int64 (256,); by the source's own way if it has one.

    Raises InputError for a record that cannot be used.
    """
    if hasattr(source, "inspect"):
        return source.inspect(index)
    return np.bincount(source[index]["label"].reshape(-1), minlength=256)


def fingerprint(source: Source) -> str:
    """A string that changes when the stored data do; "" for a source that cannot tell."""
    return source.fingerprint() if hasattr(source, "fingerprint") else ""


def open_source(
    dataset: str,
    *,
    root: str | Path = "",
    split: str = "train",
    labels: str = "fine",
    classes: Sequence[str] = (),
    ignore: int = 255,
    values: Mapping[int, int] | None = None,
    images: int = 0,
    size: tuple[int, int] = (128, 256),
    config: str = "",
    coarsening: str = "",
    flip: float = 0.0,
    seed: int = 0,
) -> Source:
    """The source that a config describes, all arguments plain.

    Args:
      dataset: `folders` (root/images, root/labels), `street_scenes` (prepared under `root` when it
        is not there yet) or `scenes` (the same, drawn while it is read).
      root: the folder of the data.
      split: a split or subfolder; "" takes all of `folders`.
      labels: `fine` or `coarse`, where a data set has both. `scenes` simulates coarse ones by the
        preset `medium`, as the prepared scenes have them.
      classes: class names in index order, or the name of a benchmark whose classes are meant; not
        for data sets that have their own.
      ignore: the label value of pixels without a label, for `folders`.
      values: stored label value -> class index or `ignore`, for `folders`; None where the files
        hold class indices.
      images: use only the first so many; 0 for all. `scenes` draws so many, or 1,000.
      size: height and width of `scenes`.
      config: size and number of prepared `street_scenes`: a name from its builder, "" the first.
      coarsening: simulate coarse labels from the fine ones by this preset of
        `arm_jax.data.coarsen`; "" for none.
      flip: share of simulated coarse components with a wrong class.
      seed: of the simulated coarse labels.

    Raises:
      InputError: for a value that means nothing, and all that the sources raise.
    """
    if labels not in ("fine", "coarse"):
        raise InputError(f"labels = {labels!r}; choose fine or coarse")
    if coarsening:
        labels = "fine"
    source: Any
    if dataset == "folders":
        table = None
        meaning = _classes(classes, ignore)
        if values is not None:
            table = Table.of(dict(values), meaning)
        source = FolderSource(root, split, meaning, table=table)
    elif dataset == "street_scenes":
        source = TfdsSource(prepare.ensure("street_scenes", root, config=config), split, labels)
    elif dataset == "scenes":
        source = ScenesSource(split, images or 1000, size)
        if labels == "coarse" and not coarsening:
            coarsening = "medium"
    else:
        raise InputError(f"dataset {dataset!r} is unknown; choose folders, street_scenes or scenes")
    if 0 < images < len(source):
        source = FirstSource(source, images)
    if coarsening:
        source = CoarsenedSource(source, coarsen.preset(coarsening, flip), seed)
    elif flip:
        raise InputError(
            f"flip = {flip} has no effect without simulated coarse labels; name a preset"
        )
    return source


def _classes(names: Sequence[str], ignore: int) -> Classes:
    """Class names, or the one name of a benchmark, to classes."""
    if len(names) == 1 and names[0] in BY_NAME:
        known = BY_NAME[names[0]]
        return Classes(known.names, known.colors, ignore)
    if not names:
        raise InputError(
            "classes is empty; list the class names in the order of the label values, or name "
            f"one of {', '.join(BY_NAME)}"
        )
    return generic(tuple(names), ignore)
