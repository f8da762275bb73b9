"""No command writes over a file that it did not write itself.

Every file is written by `files.whole`, which keeps a journal of what it wrote, `.arm_jax.jsonl`, in
the folder that a command has claimed, or beside a single file. A file that stands where another is
to be written is replaced only if the journal lists it and it has not been changed since.

A command that fills a folder claims it first, before it reads anything: the folder must be empty,
or hold a journal in which the same command claimed it before. A run's folder may hold other files
as well, but none by the name of one of the run's own.
"""

import contextlib
import errno
import glob
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from arm_jax.system import journals
from arm_jax.system import names as paths
from arm_jax.system.errors import InputError
from arm_jax.system.journals import JOURNAL, Journal

LOCK = ".arm_jax.lock"
# What file managers leave in a folder that somebody looked into.
_TEMPORARY = ".arm_jax.part."
IGNORED = frozenset({JOURNAL, LOCK, ".DS_Store", "Thumbs.db", "desktop.ini"})


def claim(
    folder: str | Path,
    command: str,
    *,
    names: Iterable[str] | None = None,
    planned: Iterable[str] = (),
    known_by: Iterable[str] = (),
) -> Path:
    """Make `folder` the output of `command`, or find that it is so already.

    Args:
      folder: made where it does not exist.
      command: a name that does not change from one start to the next.
      names: of the entries that the command will write there. Others may lie beside them. None
        for a folder that is the command's alone.
      planned: the files that this start will write, relative to `folder`, if they are known.
      known_by: patterns; a folder with such an entry is taken for the command's, unless another
        command claimed it.

    Returns:
      The folder, "~" expanded.

    Raises:
      InputError: the folder holds something else, or cannot be made or written.
    """
    folder = paths.local(folder)
    reserved = None if names is None else frozenset(names)
    check(folder, command, names=names, known_by=known_by)
    try:
        real = folder.resolve()
        found = journals.of(real)
        real.mkdir(parents=True, exist_ok=True)
        if found.command is None or reserved != found.reserved:
            entry: dict[str, Any] = {"claim": command}
            if reserved is not None:
                entry["names"] = sorted(reserved)
            found.add(entry)
            found.refresh()
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{folder} cannot be written ({reason}); choose another folder") from error
    for name in planned:
        refuse_foreign_file(real / name)
    _remove_leftovers(real, below=names is None)
    return folder


def temporary_name(path: Path) -> Path:
    """Where a file lies until it is whole: beside its place, and with its ending."""
    return path.with_name(f"{_TEMPORARY}{os.getpid()}.{path.name}")


def is_temporary(name: str) -> bool:
    """Whether a file of this name is not whole yet."""
    return name.startswith(_TEMPORARY)


def _remove_leftovers(folder: Path, below: bool, name: str = "*") -> None:
    """Remove unfinished files of processes that were killed; of one `name` if it is given."""
    found = folder.rglob if below else folder.glob
    for path in found(f"{_TEMPORARY}*.{name}"):
        number = path.name[len(_TEMPORARY) :].partition(".")[0]
        if number.isdecimal() and not is_running(int(number)):
            with contextlib.suppress(OSError):
                path.unlink()


def is_running(number: int) -> bool:
    """Whether this machine has a process of this number; True where nobody can tell."""
    if os.name != "posix":  # elsewhere signal 0 would end it
        return True
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def check(
    folder: str | Path,
    command: str,
    *,
    names: Iterable[str] | None = None,
    known_by: Iterable[str] = (),
) -> None:
    """Raise InputError if `claim` would find something else in `folder`; nothing is written."""
    folder = paths.local(folder)
    try:
        real = folder.resolve()
        if real.is_dir() and not os.access(real, os.W_OK):
            raise PermissionError(errno.EACCES, "no permission, or a disk that is only read")
        found = journals.of(real)
        if found.command not in (None, command):
            raise InputError(
                f"{folder} holds the output of {found.command}, not of {command}; choose another"
                " folder"
            )
        if found.command is None and not any(any(real.glob(p)) for p in known_by):
            reserved = None if names is None else frozenset(names)
            _refuse_foreign(folder, real, command, reserved)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{folder} cannot be written ({reason}); choose another folder") from error


def _refuse_foreign(folder: Path, real: Path, command: str, names: frozenset[str] | None) -> None:
    """Raise InputError if a folder that nobody claimed holds what is in the way."""
    if not real.exists():
        return
    for entry in sorted(real.iterdir()):
        if entry.name in IGNORED or is_temporary(entry.name):
            continue
        if names is not None and entry.name not in names:
            continue
        alone = "" if names is not None else ", or an empty one"
        raise InputError(
            f"{folder} holds {entry.name}, which {command} did not write; choose another"
            f" folder{alone}"
        )


def is_output(folder: Path) -> bool:
    """Whether a command has claimed this folder."""
    return (folder / JOURNAL).is_file() and journals.of(folder.resolve()).command is not None


def _owner(path: Path) -> tuple[Journal, str]:
    """The journal that a file belongs to, and its name there: that of the nearest claimed folder
    above it, else the one beside it."""
    parent = path.parent.resolve()
    for above in (parent, *parent.parents):
        if (above / JOURNAL).exists():
            found = journals.of(above)
            if found.command is not None:
                return found, (parent / path.name).relative_to(above).as_posix()
    return journals.of(parent), path.name


def was_changed(path: Path) -> bool:
    """Whether a file that a command wrote holds something else now."""
    with journals.LOCK:
        found, name = _owner(path)
        return path.is_file() and found.lists(name) and not found.holds(name)


def refuse_foreign_file(path: str | Path) -> None:
    """Raise InputError if something stands at `path` that no command wrote, or that was changed.

    For a single file, this comes before the work whose result it will hold.
    """
    path = Path(path)
    if not os.path.lexists(path):
        return
    if path.is_dir() and not path.is_symlink():
        raise InputError(f"{path} is a folder; name the file to write")
    with journals.LOCK:
        found, name = _owner(path)
        if not found.owns(name):
            raise InputError(
                f"{path} is there already and was not written by this program, or was changed"
                " since; choose another name, or move it away"
            )


def is_unchanged(path: Path) -> bool:
    """Whether a command wrote this file, and nobody has changed it since."""
    with journals.LOCK:
        found, name = _owner(path)
        return found.owns(name)


def record(temporary: Path, path: Path) -> None:
    """List a file that is about to be moved from `temporary` to `path`."""
    status = temporary.stat()
    entry = {
        "size": status.st_size,
        "time": status.st_mtime_ns,
        "digest": journals.digest(temporary),
    }
    with journals.LOCK:
        found, name = _owner(path)
        if found.command is None:  # no command that claims the folder will see to it
            _remove_leftovers(path.parent, below=False, name=glob.escape(path.name))
        found.add({"file": name, **entry})
