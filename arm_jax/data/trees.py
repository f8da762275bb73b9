"""A folder of files or a zip of one, read alike: names, bytes, and a stamp that shows changes."""

import itertools
import os
import tarfile
import zipfile
from functools import cached_property
from pathlib import Path
from typing import Protocol

from arm_jax.system import names
from arm_jax.system.errors import InputError
from arm_jax.system.files import MOST_BYTES, check_regular, read_bytes

# What file servers and archivers keep beside a user's files, under the same names.
_SYSTEM_FOLDERS = ("@eaDir", "__MACOSX")


def _shown(part: str) -> bool:
    """Whether a part of a path is one that a user sees."""
    # ".." leads elsewhere, which whoever opens the file refuses.
    return part == ".." or (not part.startswith(".") and part not in _SYSTEM_FOLDERS)


class Tree(Protocol):
    """Files under one root, named by relative paths with forward slashes."""

    def names(self) -> list[str]: ...

    def read(self, name: str) -> bytes: ...

    def stamp(self, name: str) -> tuple[int, ...]:
        """Size, time, and checksum where there is one; other content has another stamp."""
        ...

    def path(self, name: str) -> str:
        """What to call the file in a message."""
        ...


class Folder:
    """The files below a folder of the disk, hidden ones left out; links are followed.

    A link to a folder that it lies in is not, at whatever depth, the root's own parents included:
    what is there is found without it, or is not below the root.
    """

    def __init__(self, root: str | Path):
        self.root = Path(root)

    def names(self) -> list[str]:
        found = []

        def refuse(error: OSError) -> None:
            raise InputError(
                f"{error.filename}: cannot be read ({error.strerror}); correct its permissions"
            )

        above = {str(self.root): [os.path.realpath(self.root)]}  # of each folder, itself included
        for folder, folders, files in os.walk(self.root, onerror=refuse, followlinks=True):
            chain, kept = above.pop(folder), []
            for name in sorted(filter(_shown, folders)):
                real = os.path.realpath(os.path.join(folder, name))
                if not any(Path(one).is_relative_to(real) for one in chain):
                    kept.append(name)
                    above[os.path.join(folder, name)] = [*chain, real]
            folders[:] = kept
            relative = Path(folder).relative_to(self.root)
            found += [(relative / name).as_posix() for name in files if _shown(name)]
        return sorted(found)

    def read(self, name: str) -> bytes:
        return read_bytes(self.root / name)

    def stamp(self, name: str) -> tuple[int, ...]:
        try:
            status = (self.root / name).stat()
        except OSError as error:
            raise InputError(
                f"{self.path(name)}: cannot be read ({error.strerror}); restore the file"
            ) from None
        return status.st_size, status.st_mtime_ns

    def path(self, name: str) -> str:
        return str(self.root / name)


class Zip:
    """The files of a zip archive below a folder in it, read in place.

    Each process opens the archive for itself.
    """

    def __init__(self, file: str | Path, folder: str = ""):
        self.file = Path(file)
        self._prefix = f"{folder}/" if folder else ""

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        check_regular(self.file)
        try:
            return zipfile.ZipFile(self.file)
        # Damaged, of a version to come, no file: each raises an error of another kind.
        except Exception as error:
            if self.file.is_file() and tarfile.is_tarfile(self.file):
                raise InputError(
                    f"{self.file}: is a tar archive, which cannot be read in place; unpack it"
                ) from None
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{self.file}: is no whole zip ({reason}); fetch it again") from None

    def __getstate__(self) -> dict:
        return {"file": self.file, "_prefix": self._prefix}

    def holds_any(self) -> bool:
        return any(name.startswith(self._prefix) for name in self._archive.namelist())

    def names(self) -> list[str]:
        found = sorted(
            names.inside(name[len(self._prefix) :], str(self.file))
            for name in self._archive.namelist()
            if name.startswith(self._prefix)
            and not name.endswith("/")
            and all(map(_shown, name[len(self._prefix) :].split("/")))
        )
        # Of two entries the last would be read, and a folder that it is unpacked into keeps one.
        if twice := next((one for one, other in itertools.pairwise(found) if one == other), None):
            raise InputError(f"{self.path(twice)}: is in the zip twice; pack it again with one")
        return found

    def read(self, name: str) -> bytes:
        try:
            size = self._archive.getinfo(self._prefix + name).file_size
            if size > MOST_BYTES:
                raise ValueError(f"{size:,} bytes, and the limit is {MOST_BYTES:,}")
            return self._archive.read(self._prefix + name)
        # Encrypted, of an unknown compression, damaged: likewise.
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"{self.path(name)}: cannot be read ({reason}); fetch the zip again, or unpack it"
            ) from None

    def stamp(self, name: str) -> tuple[int, ...]:
        entry = self._archive.getinfo(self._prefix + name)
        # The directory of a zip that was damaged, or fetched anew, may read the same as before.
        return entry.file_size, entry.CRC, self.file.stat().st_mtime_ns

    def path(self, name: str) -> str:
        return f"{self.file}:{self._prefix}{name}"


def locate(root: str | Path, folder: str, hint: str) -> Tree:
    """The files below `folder`, in the folder `root`, in a zip lying there, or in `root`, a zip.

    Raises InputError, which ends in `hint`, where there are none.
    """
    root = Path(root).expanduser()
    if (root / folder).is_dir():
        return Folder(root / folder)
    if not root.exists():
        raise InputError(f"{root}: no such folder or zip; {hint}")
    archives = _archives(root)
    for archive in archives:
        tree = Zip(archive, folder)
        if tree.names():
            return tree
    searched = ", ".join(archive.name for archive in archives)
    raise InputError(
        f"{root}: has no folder {folder}"
        + (f", nor have {searched}" if searched else "")
        + f"; {hint}"
    )


def _archives(root: Path) -> list[Path]:
    return [root] if root.is_file() else sorted(root.glob("*.zip"))


def has(root: Path, folder: str) -> bool:
    """Whether a zip lying in the folder `root`, or `root`, a zip, has files below `folder`."""
    return any(Zip(archive, folder).holds_any() for archive in _archives(root))
