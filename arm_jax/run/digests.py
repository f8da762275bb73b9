"""What the files of a checkpoint held when they were written.

`digests.json` lists size and BLAKE2b digest of every other file of the checkpoint. It is written
before the checkpoint gets its name, by the thread that saves, from the files just written; so a
checkpoint either has it or is not there. A file that was changed, cut, added or lost since is
named.
"""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from arm_jax.system import outputs

FILE = "digests.json"
# Written again by Orbax after the rest, and not read when the names of the items are given.
IGNORED = frozenset({FILE, "_CHECKPOINT_METADATA", "commit_success.txt"})
THREADS = 4


def write(folder: Path) -> None:
    """Write `digests.json` into `folder`, over all that is there."""
    names = _files(folder)
    with ThreadPoolExecutor(THREADS) as pool:
        found = dict(zip(names, pool.map(lambda name: stamp(folder / name), names), strict=True))
    replace(folder / FILE, json.dumps(found, indent=1))


def replace(path: Path, text: str) -> None:
    """Write a small file of a checkpoint so that it is the old one, none, or whole."""
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


def lists(folder: Path, name: str) -> bool:
    """Whether `digests.json` lists a file; where there is no such list, whether the file exists."""
    try:
        return name in json.loads((folder / FILE).read_bytes())
    except FileNotFoundError:
        return (folder / name).exists()
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def compare(folder: Path, only: tuple[str, ...] | None = None) -> str | None:
    """What differs from `digests.json`, in a few words; None where nothing does or it is missing.

    Args:
      folder: of a checkpoint.
      only: beginnings of the names to compare; None for all.
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
    # Sizes first: what was cut is found without reading the rest.
    for name in names:
        try:
            size = (folder / name).stat().st_size
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
        if size != listed[name][0]:
            return f"{name} has {size:,} bytes of {listed[name][0]:,}"

    def changed(name: str) -> str | None:
        try:
            found = stamp(folder / name)
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
        return None if tuple(found) == listed[name] else f"{name} was changed"

    with ThreadPoolExecutor(THREADS) as pool:
        return next((text for text in pool.map(changed, names) if text), None)


def stamp(path: Path) -> list[Any]:
    """Size and digest of a file."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
        return [file.tell(), digest.hexdigest()]


def _files(folder: Path) -> list[str]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path.relative_to(folder).as_posix() for path in found if path.name not in IGNORED]
