"""What a source of records is. Everything after the data sets knows no more than this."""

import hashlib
from typing import Any, Protocol, runtime_checkable

import numpy as np

from arm_jax.data.labels import Classes
from arm_jax.system import alike, processes
from arm_jax.system.errors import InputError

DIGESTED = 8  # records that stand for all in `sample_digest`


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

    The image is then an `ImageFile`, and the label may be a `LabelFile`, see `image_files`. The
    image has the size of the label.
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


def palettes(source: Source) -> list[tuple[str, bytes]]:
    """Of label images whose numbers have colours: file and palette, one of each folder."""
    return source.palettes() if hasattr(source, "palettes") else []


def image(source: Source, index: int) -> Any:
    """The image of a record alone, as `encoded` has it."""
    return source.image(index) if hasattr(source, "image") else encoded(source, index)["image"]


def fingerprint(source: Source) -> str:
    """A string that changes when the stored data do; "" for a source that cannot detect it."""
    return source.fingerprint() if hasattr(source, "fingerprint") else ""


def spread(number: int, most: int) -> list[int]:
    """Indices of a few of `number` records, as far apart as possible.

    >>> spread(9, 3)
    [0, 4, 8]
    """
    return np.linspace(0, number - 1, min(number, most)).astype(int).tolist()


def sample_digest(source: Source) -> str:
    """Of the number of records, and of ids, images and labels of some; copies have the same."""
    found = hashlib.blake2b(f"{len(source)} {source.classes}".encode(), digest_size=8)
    for index in spread(len(source), DIGESTED):
        found.update(named(source, index)[0].encode("utf-8", "surrogateescape"))
        try:
            one = image(source, index)
            found.update(one.tobytes() if isinstance(one, np.ndarray) else one.data)
            found.update(np.asarray(inspect(source, index), np.int64).tobytes())
        except InputError:  # `check` reports what is wrong with it
            found.update(b"unusable")
    return found.hexdigest()


def compare(source: Source, name: str) -> None:
    """Compare the data with those of the other processes; every process must call this.

    Raises InputError in every process, where one has other data; see `alike.compare`.
    """
    if processes.place()[1] > 1:
        alike.compare({f"the digest of the {name} data": sample_digest(source)})
