"""A folder of files or a zip of one, read alike: names, bytes, and a stamp that shows changes."""

import os
import zipfile
import zlib
from functools import cached_property
from pathlib import Path
from typing import Protocol

from arm_jax.errors import InputError


class Tree(Protocol):
    """Files under one root, named by relative paths with forward slashes."""

    def names(self) -> list[str]: ...

    def read(self, name: str) -> bytes: ...

    def stamp(self, name: str) -> tuple[int, int]:
        """Size, and time or checksum of the content."""
        ...

    def path(self, name: str) -> str:
        """What to call the file in a message."""
        ...


class Folder:
    """The files below a folder of the disk, hidden ones left out."""

    def __init__(self, root: str | Path):
        self.root = Path(root)

    def names(self) -> list[str]:
        found = []

        def refuse(error: OSError) -> None:
            raise InputError(
                f"{error.filename}: cannot be read ({error.strerror}); correct its permissions"
            )

        for folder, folders, files in os.walk(self.root, onerror=refuse, followlinks=True):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            relative = Path(folder).relative_to(self.root)
            found += [(relative / name).as_posix() for name in files if not name.startswith(".")]
        return sorted(found)

    def read(self, name: str) -> bytes:
        try:
            return (self.root / name).read_bytes()
        except OSError as error:
            raise InputError(
                f"{self.path(name)}: cannot be read ({error.strerror}); restore the file"
            ) from None

    def stamp(self, name: str) -> tuple[int, int]:
        status = (self.root / name).stat()
        return status.st_size, status.st_mtime_ns

    def path(self, name: str) -> str:
        return str(self.root / name)


class Zip:
    """The files of a zip archive, read in place. Each process opens the archive for itself."""

    def __init__(self, file: str | Path):
        self.file = Path(file)

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.file)
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(f"{self.file}: is no whole zip ({error}); fetch it again") from None

    def __getstate__(self) -> dict:
        return {"file": self.file}

    def names(self) -> list[str]:
        return sorted(
            name
            for name in self._archive.namelist()
            if not name.endswith("/")
            and not name.startswith("__MACOSX")
            and not Path(name).name.startswith(".")
        )

    def read(self, name: str) -> bytes:
        try:
            return self._archive.read(name)
        except (OSError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(
                f"{self.path(name)}: cannot be read ({error}); fetch the zip again"
            ) from None

    def stamp(self, name: str) -> tuple[int, int]:
        entry = self._archive.getinfo(name)
        return entry.file_size, entry.CRC

    def path(self, name: str) -> str:
        return f"{self.file}:{name}"
