"""Names that come from elsewhere stay below their root: the one place that makes paths of them.

An archive, a list, a JSON file or a prepared data set may hold any name. What is read or written by
such a name goes through here, so that none leads out of the folder that it belongs to.
"""

import contextlib
import os
from pathlib import Path, PureWindowsPath

from arm_jax.system import addresses
from arm_jax.system.errors import InputError

LONGEST = 100  # characters of a name that a message shows


def local(path: str | Path, title: str = "") -> Path:
    """A path that the user gave, "~" expanded.

    Raises InputError, beginning with `title`, for an address such as gs://bucket/run: it would
    become a folder of that name here.
    """
    start = f"{title} {path}".strip()
    if addresses.is_address(path):
        addresses.parse(path, (), title)  # which raises
    if too_long(str(path)):
        raise InputError(f"{start} is longer than a path can be; correct it")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # ~nobody
        raise InputError(f"{start} cannot be found ({error}); give the whole path") from error


def too_long(path: str) -> bool:
    """Whether no file can have this path, in bytes of a part or of all of it."""
    parts = path.encode("utf-8", "surrogatepass").split(b"/")
    return max(map(len, parts)) > 255 or sum(map(len, parts)) + len(parts) > 4096


def _has_bytes(name: str) -> bool:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:  # of a JSON file's "\\ud800"
        return False
    return True


def inside(name: str, title: str) -> str:
    """`name` itself, if it is a relative path that stays below whatever it is relative to.

    Names are judged as every system would read them: "..\\\\a" and "C:a" are refused on Linux too.

    Args:
      name: with forward slashes.
      title: what holds the name, for the message.

    Raises:
      InputError: the name is empty or absolute, has a drive letter, a NUL, or "..".
    """
    windows = PureWindowsPath(name)  # takes both kinds of slashes
    if not windows.parts:
        reason = "is empty"
    elif "\0" in name:
        reason = "holds a NUL"
    elif name.startswith(("/", "\\")) or windows.drive or windows.root:
        reason = "is absolute"
    elif ".." in windows.parts:
        reason = "leads out of its folder"
    elif too_long(name):
        reason = "is longer than a path can be"
    elif not _has_bytes(name):
        reason = "holds half a character"
    else:
        return name
    shown = repr(name if len(name) <= LONGEST else f"{name[:LONGEST]}...")
    raise InputError(f"{title}: the name {shown} {reason}; give its files names without that")


def below(root: str | Path, name: str, title: str = "") -> Path:
    """The path of `name` below the folder `root`, links included.

    Args:
      root: a folder, which need not exist.
      name: see `inside`.
      title: what holds the name, for the message; by default the folder.

    Raises:
      InputError: as `inside`, or a link on the way leads out of `root`.
    """
    path = Path(root) / inside(str(name), title or str(root))
    real = Path(root).resolve()
    try:
        target = path.parent.resolve()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.parent.stat()  # `resolve` of Python 3.13 raises nothing for a loop
    except (OSError, RuntimeError) as error:  # a loop of links
        raise InputError(f"{path}: its folder cannot be found ({error})") from error
    if target != real and real not in target.parents:
        raise InputError(
            f"{path.parent} is a link that leads out of {root}, to {target}; remove the link"
        )
    return path
