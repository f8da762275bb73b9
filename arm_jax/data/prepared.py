"""Data sets prepared to ArrayRecord by the builders under datasets/, read without TensorFlow.

TensorFlow Datasets finds the records and parses them; the images are decoded here, and only the
ones that are asked for.
"""

import hashlib
import importlib.util
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from arm_jax.data import images
from arm_jax.data.image_files import ImageFile, LabelFile
from arm_jax.data.labels import Classes
from arm_jax.system.errors import InputError


def require_array_record(what: str | Path) -> None:
    """Raise InputError where the package of the file format is absent: it has no Windows wheel."""
    if importlib.util.find_spec("array_record") is None:
        raise InputError(
            f"{what}: prepared data sets need the package array_record, which is not installed and "
            "has no wheel for Windows; use data.dataset = 'folders' or the official files, or WSL"
        )


class TfdsSource:
    """One split of a prepared data set, with its `fine` or its `coarse` labels.

    `folder` is the version's own folder, which holds dataset_info.json. Raises InputError when it
    is no prepared data set, or lacks the split or the kind of label.
    """

    def __init__(self, folder: str | Path, split: str, labels: str = "fine"):
        self._folder, self._split, self._labels = Path(folder), split, labels
        if not (self._folder / "dataset_info.json").is_file():
            raise InputError(
                f"{folder}: is no prepared data set (it has no dataset_info.json); prepare it "
                "with scripts/prepare.py"
            )
        require_array_record(folder)
        info = self._builder.info
        if split not in info.splits:
            raise InputError(
                f"{folder}: has no split {split!r}; choose from {', '.join(info.splits)}"
            )
        kinds = [key for key in info.features if key not in ("image", "id")]
        if labels not in kinds:
            raise InputError(f"{folder}: has no {labels!r} labels; choose from {', '.join(kinds)}")
        meaning = info.metadata
        self.classes = Classes(
            tuple(meaning["names"]),
            tuple((int(r), int(g), int(b)) for r, g, b in meaning["colors"]),
            int(meaning["ignore"]),
        )
        self._length = int(info.splits[split].num_examples)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict:
        record = self.encoded(index)
        return {**record, "image": record["image"].part(), "label": np.asarray(record["label"])}

    def encoded(self, index: int) -> dict:
        """The record with its image and label as files, still to be decoded."""
        name, record = self._record(index)
        title = f"{self._folder} {name}"
        image = ImageFile(record["image"], title)
        return {"image": image, "label": LabelFile(record[self._labels], title), "id": name}

    def inspect(self, index: int) -> np.ndarray:
        """Pixels by label value, int64 (256,). Raises InputError if the record cannot be used."""
        name, record = self._record(index)
        title = f"{self._folder} {name}"
        label = images.decode_label(record[self._labels], title)
        size = images.verify_image(record["image"], title)
        if size != label.shape:
            raise InputError(
                f"{title}: its label is {label.shape[1]}x{label.shape[0]} pixels, but the image is "
                f"{size[1]}x{size[0]}; prepare the data set again"
            )
        return np.bincount(label.reshape(-1), minlength=256)

    def fingerprint(self) -> str:
        """Changes when the data set is prepared anew, or another part of it is read."""
        files = sorted((p.name, *p.stat()[6:9:2]) for p in self._folder.iterdir())
        seen = (files, self._split, self._labels)
        return hashlib.blake2b(repr(seen).encode(), digest_size=16).hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        # Readers hold open files; another process opens its own.
        state = self.__dict__.copy()
        for opened in ("_builder", "_records"):
            state.pop(opened, None)
        return state

    def _record(self, index: int) -> tuple[str, dict[str, bytes]]:
        record = self._records[int(index)]
        return record["id"].decode(), record

    @cached_property
    def _builder(self) -> Any:
        # A slow import, and one that only prepared data sets need.
        import tensorflow_datasets as tfds

        return tfds.builder_from_directory(self._folder)

    @cached_property
    def _records(self) -> Any:
        import tensorflow_datasets as tfds

        encoded = [key for key in self._builder.info.features if key != "id"]
        skip = {key: tfds.decode.SkipDecoding() for key in encoded}
        return self._builder.as_data_source(self._split, decoders=skip)
