"""What the files of a checkpoint held when they were written.

`digests.json` lists size and BLAKE2b digest of every other file of the checkpoint. It is written
before the checkpoint gets its name, by the thread that saves, from the files just written; so a
checkpoint either has it or is not there. A file that was changed, cut, added or lost since is
named.

In a bucket the digests are the MD5 sums that the service keeps of every object, so that neither
writing nor comparing reads what the objects hold. A checkpoint that was copied from a bucket to a
disk, or the other way, is compared as well, by reading it.
"""

import errno
import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from arm_jax.system import buckets, outputs
from arm_jax.system.buckets import Place

FILE = "digests.json"
# Written again by Orbax after the rest, and not read when the names of the items are given.
IGNORED = frozenset({FILE, "_CHECKPOINT_METADATA", "commit_success.txt"})
THREADS = 4


_MD5 = "md5:"
Folder = Path | Place


def write(folder: Folder) -> None:
    """Write `digests.json` into `folder`, over all that is there."""
    if isinstance(folder, Place):
        found = {
            name: [one.size, _MD5 + one.md5]
            for name, one in folder.files().items()
            if name.rpartition("/")[2] not in IGNORED
        }
    else:
        names = _files(folder)
        with ThreadPoolExecutor(THREADS) as pool:
            stamps = pool.map(lambda name: stamp(folder / name), names)
            found = dict(zip(names, stamps, strict=True))
    replace(folder / FILE, json.dumps(found, indent=1))


def replace(path: Folder, text: str) -> None:
    """Write a small file of a checkpoint so that it is the old one, none, or whole."""
    if isinstance(path, Place):
        buckets.write(path.address, text.encode())
        return
    # In the folder of the run, where the next start removes what a killed one left unfinished.
    temporary = outputs.temporary_name(_workdir(path) / path.name)
    try:
        with open(temporary, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _workdir(path: Path) -> Path:
    """The folder that holds the checkpoints' folder; that of the file itself if there is none."""
    return next((p.parent for p in path.parents if p.name == "checkpoints"), path.parent)


def lists(folder: Folder, name: str) -> bool:
    """Whether `digests.json` lists a file; where there is no such list, whether the file exists."""
    try:
        text = (folder / FILE).read_bytes()
    except FileNotFoundError:
        return (folder / name).exists()
    except OSError:
        return False
    try:
        return name in json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return False


def compare(folder: Folder, only: tuple[str, ...] | None = None) -> str | None:
    """What differs from `digests.json`, in a few words; None where nothing does or it is missing.

    Args:
      folder: of a checkpoint.
      only: beginnings of the names to compare; None for all.

    Raises BucketError where a bucket does not answer, which is no damage.
    """
    try:
        text = (folder / FILE).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{FILE} cannot be read: {error.strerror}"
    try:
        expected = json.loads(text)
        listed = {str(name): (int(size), str(digest)) for name, (size, digest) in expected.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return f"{FILE} is no list of digests"
    names = [name for name in listed if only is None or name.startswith(only)]
    there = folder.files() if isinstance(folder, Place) else None
    # Sizes first: what was cut is found without reading the rest.
    for name in names:
        try:
            size = _size(folder, name, there)
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
        if size != listed[name][0]:
            return f"{name} has {size:,} bytes of {listed[name][0]:,}"

    def changed(name: str) -> str | None:
        expected = listed[name][1]
        if expected == _MD5:  # the service had none
            return None
        try:
            if there is not None and expected.startswith(_MD5):
                found = _MD5 + there[name].md5
            else:
                found = _digest(folder / name, expected)
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
        return None if found == expected else f"{name} was changed"

    with ThreadPoolExecutor(THREADS) as pool:
        return next((text for text in pool.map(changed, names) if text), None)


def _size(folder: Folder, name: str, there: Mapping[str, buckets.Object] | None) -> int:
    if there is None:
        return (folder / name).stat().st_size  # type: ignore[union-attr]
    if name not in there:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return there[name].size


def _digest(path: Folder, expected: str) -> str:
    """Of the content of a file, of the kind of the one expected."""
    kind = hashlib.md5 if expected.startswith(_MD5) else _blake2b
    if isinstance(path, Place):
        found = kind(path.read_bytes()).hexdigest()
    else:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, kind).hexdigest()
    return _MD5 + found if expected.startswith(_MD5) else found


def stamp(path: Path) -> list[Any]:
    """Size and digest of a file."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, _blake2b)
        return [file.tell(), digest.hexdigest()]


def _blake2b(content: bytes = b"") -> Any:
    return hashlib.blake2b(content, digest_size=16)


def _files(folder: Path) -> list[str]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path.relative_to(folder).as_posix() for path in found if path.name not in IGNORED]
