"""Images that are both trained and evaluated on, under whatever name: scores then mean little."""

import hashlib
import os
from collections import defaultdict
from pathlib import Path

from arm_jax.data.records import Source, named

_END = 1 << 15  # bytes at either end of a file that stand for all of it, with its size
_MOST = 2_000  # files of a source that are opened


def shared(training: Source, evaluation: Source) -> list[str]:
    """The ids of images to evaluate on that are trained on too: the same file, or a copy of it.

    Of images in files of a folder alone; only files whose sizes agree are opened.
    """
    by_size: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for name, path, size in _files(evaluation):
        by_size[size].append((name, path))
    candidates = [(path, size) for _, path, size in _files(training) if size in by_size]
    sizes = dict.fromkeys(size for _, size in candidates)
    trained = {_digest(path) for path, _ in candidates[:_MOST]}
    tested = [entry for size in sizes for entry in by_size[size]][:_MOST]
    return sorted(name for name, path in tested if _digest(path) in trained)


def remark(training: Source, evaluation: Source) -> str:
    """A sentence on them; "" if there are none."""
    found = shared(training, evaluation)
    if not found:
        return ""
    return (
        f"{len(found):,} of the {len(evaluation):,} images to evaluate on are trained on too, as"
        f" {found[0]}: the scores are too good; move each image to one of the splits"
    )


def _files(source: Source) -> list[tuple[str, str, int]]:
    """Id, path and bytes of each image that is a file."""
    if not hasattr(source, "named"):
        return []
    found = []
    for index in range(len(source)):
        name, path = named(source, index)
        try:
            if path:
                found.append((name, path, os.path.getsize(path)))
        except OSError:
            continue  # the check names it
    return found


def _digest(path: str) -> bytes:
    """Of the file's ends and size; of its path if it cannot be read."""
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            ends = file.read(_END)
            file.seek(max(_END, size - _END))
            ends += file.read(_END)
    except OSError:
        return os.fsencode(Path(path))
    return hashlib.blake2b(b"%d " % size + ends, digest_size=16).digest()
