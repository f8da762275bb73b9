"""What a source of records is. Everything after the data sets knows no more than this."""

from typing import Any, Protocol, runtime_checkable

import numpy as np

from arm_jax.data.labels import Classes


@runtime_checkable
class Source(Protocol):
    """Records in a fixed order. It can be pickled: worker processes get a copy.

    A record is {"image": uint8 (h, w, 3) RGB, "label": uint8 (h, w), "id": str}; the label holds
    class indices and `classes.ignore`. Sizes may differ from record to record. A number outside of
    0..len-1 raises IndexError.

    A source may have more: `inspect(index)`, `encoded(index)` and `image(index)` (see below) where
    these are cheaper than a record, `named(index)`, `fingerprint()`, `about()`, and `trusted =
    True` if its labels need no check.
    """

    classes: Classes

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Any]: ...


def inspect(source: Source, index: int) -> np.ndarray:
    """Pixels of record `index` by label value, int64 (256,); by the source's own way if it has one.

    Raises InputError for a record that cannot be used.
    """
    if hasattr(source, "inspect"):
        return source.inspect(index)
    return np.bincount(source[index]["label"].reshape(-1), minlength=256)


def encoded(source: Source, index: int) -> dict[str, Any]:
    """The record with image and label as files, if the source has such, else as pixels.

    The image is then an `images.ImageFile`, and the label may be an `images.LabelFile`. The image
    has the size of the label.
    """
    return source.encoded(index) if hasattr(source, "encoded") else source[index]


def named(source: Source, index: int) -> tuple[str, str]:
    """The id of record `index`, and where its image lies on the disk, or "" if it is no file.

    By the source's own way if it has one, which decodes nothing.
    """
    return source.named(index) if hasattr(source, "named") else (source[index]["id"], "")


def about(source: Source) -> list[str]:
    """Lines on what the source found its labels to be; none if it looked for nothing."""
    return source.about() if hasattr(source, "about") else []


def image(source: Source, index: int) -> Any:
    """The image of a record alone, as `encoded` has it."""
    return source.image(index) if hasattr(source, "image") else encoded(source, index)["image"]


def fingerprint(source: Source) -> str:
    """A string that changes when the stored data do; "" for a source that cannot detect it."""
    return source.fingerprint() if hasattr(source, "fingerprint") else ""
