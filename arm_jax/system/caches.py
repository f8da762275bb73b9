"""Folders of the user's cache, bounded in size: what was not used for longest goes first.

The processes of a run may see one folder, as those of a machine do, or each have its own.
"""

import contextlib
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from arm_jax.system import names, processes
from arm_jax.system.errors import InputError

AUTO = "auto"
GIB = 2**30


@dataclass(frozen=True)
class Entry:
    """What is deleted as a whole.

    Attributes:
      key: what `remove` is given.
      bytes: that deleting it frees.
      used: when it was last used, in any unit.
    """

    key: Any
    bytes: int
    used: float


def folder(setting: str, name: str, title: str = "") -> Path:
    """The folder that a setting names; for "auto", the folder `name` in the user's cache.

    Raises InputError, beginning with `title`, for what is no path of this machine.
    """
    if setting == AUTO:
        return Path(platformdirs.user_cache_dir("arm_jax", appauthor=False)) / name
    return names.local(setting, title).absolute()


def make_room(
    entries: Iterable[Entry], new: int, most: int, remove: Callable[[Any], bool | None]
) -> int:
    """Remove entries, those first that were not used for longest, until the new bytes fit.

    Args:
      entries: that may go; others count as `new`.
      new: bytes that are needed beside them.
      most: bytes that all may have together.
      remove: deletes the entry of a key; False where that one is in use and stays.

    Returns:
      The bytes that then stay, the new ones included; more than `most` where too much is in use.
    """
    found = sorted(entries, key=lambda entry: entry.used)
    total = new + sum(entry.bytes for entry in found)
    for entry in found:
        if total <= most:
            break
        if remove(entry.key) is not False:
            total -= entry.bytes
    return total


def sharers(folder: Path, title: str) -> list[int]:
    """The processes of the run that see this folder as this process does, itself among them.

    Each puts a file there and looks for those of the others; who does not see what the others see
    is taken to be alone. Every process must call this, with the same or another folder.

    Raises InputError, in every process, where one cannot write; it begins with `title`.
    """
    index, number = processes.place()
    if number == 1:
        return [index]
    token = processes.from_first(lambda: uuid.uuid4().hex)
    own, error = folder / f".{token}.{index}", None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        own.touch()
    except OSError as found:
        error = InputError(
            f"{title} = {folder} cannot be written ({found.strerror}); name another folder"
        )
    try:
        for mistake in processes.gathered(error):
            if mistake is not None:
                raise mistake
        seen = [one for one in range(number) if (folder / f".{token}.{one}").exists()]
        views = processes.gathered(seen)  # nobody removes a file before all have looked
    finally:
        with contextlib.suppress(OSError):
            own.unlink()
    return seen if all(views[one] == seen for one in seen) else [index]
