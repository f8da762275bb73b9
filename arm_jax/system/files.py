"""Files that are written whole or not at all, and read only where they are files."""

import contextlib
import json
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from arm_jax.system import outputs
from arm_jax.system.errors import InputError


@contextlib.contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A path to write to, that becomes `path` when the block ends well.

    The folder is made where it is missing. The temporary file lies beside the final one, ends the
    same way (libraries choose a format by it), and is removed if the block raises. A file that was
    not written in this way is not replaced, see `outputs`.

    Raises:
      InputError: the folder or file cannot be written, or the file is somebody else's.
    """
    path = Path(path)
    temporary = outputs.temporary_name(path)
    try:
        outputs.refuse_foreign_file(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        outputs.record(temporary, path)
        temporary.replace(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror or error}); "
            "free some space or choose another folder"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write(path: str | Path, content: str | bytes, errors: str = "strict") -> None:
    """A small file at once, text as UTF-8. Raises InputError as `whole`.

    `errors` names what becomes of characters that are no valid Unicode, see `str.encode`.
    """
    with whole(path) as temporary:
        temporary.write_bytes(
            content.encode("utf-8", errors) if isinstance(content, str) else content
        )


def write_json(path: str | Path, value: Any, indent: int | None = None) -> None:
    """A value as JSON, null for nan. Raises InputError as `whole`."""
    write(path, json.dumps(plain(value), indent=indent) + "\n")


def plain(value: Any) -> Any:
    """The value with None in the place of nan, which is no JSON.

    >>> plain({"mIoU": float("nan"), "runs": (1, 2.5)})
    {'mIoU': None, 'runs': [1, 2.5]}
    """
    if isinstance(value, dict):
        return {key: plain(x) for key, x in value.items()}
    if isinstance(value, list | tuple):
        return [plain(x) for x in value]
    return None if isinstance(value, float) and math.isnan(value) else value


# Of a file that is read at once: an image, a label, a list. 16-bit colours of the largest image
# are 1.5 GiB.
MOST_BYTES = 1 << 31
_NO_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def read_bytes(path: str | Path, *, most: int = MOST_BYTES) -> bytes:
    """All of a regular file, or one that a link leads to.

    A pipe, socket or device is not opened: reading one may wait for ever, or change it.

    Raises InputError where it is no file, is larger than `most` bytes, or cannot be read.
    """
    try:
        _refuse_others(path, os.stat(path))
        with open(os.open(path, os.O_RDONLY | _NO_WAITING), "rb") as file:
            status = os.fstat(file.fileno())
            _refuse_others(path, status)
            if status.st_size > most:
                raise InputError(
                    f"{path}: has {status.st_size:,} bytes, and the limit is {most:,};"
                    " make it smaller or remove it"
                )
            return file.read(most)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}); restore the file, or correct"
            " its permissions"
        ) from None


def check_regular(path: str | Path) -> None:
    """Raise InputError for what is no file, or cannot be found, before anything opens it."""
    try:
        _refuse_others(path, os.stat(path))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}); restore the file"
        ) from None


def _refuse_others(path: str | Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise InputError(f"{path}: is {kind} and not a file; remove it, or put a file there")
