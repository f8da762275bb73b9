"""The journal of what was written in a folder, `.arm_jax.jsonl`, and by which command."""

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

from arm_jax.system.errors import InputError

JOURNAL = ".arm_jax.jsonl"


class Journal:
    """What was written in one folder and below it, and by which command.

    Lines are added, never changed, so that several processes may write and a killed one harms
    nothing. A line comes before its file: a file that is there is always listed.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._path = folder / JOURNAL
        self._forget()

    def _forget(self) -> None:
        self.command: str | None = None
        self.reserved: frozenset[str] | None = None
        self._files: dict[str, set[tuple[int, Any]]] = {}
        self._read = 0  # bytes of the file

    def refresh(self) -> "Journal":
        """Take in what was added since, by this process or another."""
        try:
            size = self._path.stat().st_size
            if size < self._read:
                self._forget()
            if size > self._read:
                with open(self._path, "rb") as file:
                    file.seek(self._read)
                    data = file.read()
                # Another process may be in the middle of its line.
                end = data.rfind(b"\n") + 1
                self._read += end
                for line in data[:end].splitlines():
                    self._take(line)
        except (FileNotFoundError, NotADirectoryError):
            self._forget()
        except OSError as error:
            raise InputError(
                f"{self._path} cannot be read ({error.strerror}); correct its permissions"
            ) from error
        return self

    def _take(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
            if "claim" in entry:
                self.command = str(entry["claim"])
                names = entry.get("names")
                self.reserved = None if names is None else frozenset(map(str, names))
            else:
                stamps = self._files.setdefault(str(entry["file"]), set())
                size = int(entry["size"])
                stamps.update({(size, int(entry["time"])), (size, str(entry["digest"]))})
        except (ValueError, KeyError, TypeError):
            return  # a damaged line vouches for nothing

    def add(self, entry: dict[str, Any]) -> None:
        """Append one line."""
        line = json.dumps(entry).encode() + b"\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            # After a line that a kill or a full disk cut off, this one must not be lost with it.
            if os.fstat(descriptor).st_size and not self._ends_whole():
                line = b"\n" + line
            os.write(descriptor, line)
        finally:
            os.close(descriptor)

    def _ends_whole(self) -> bool:
        with open(self._path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() == b"\n"

    def owns(self, name: str) -> bool:
        """Whether the file `name` was written by the command of this folder, and is unchanged."""
        if self.reserved is not None and name.split("/")[0] in self.reserved:
            return True
        return self.holds(name)

    def lists(self, name: str) -> bool:
        """Whether the file was ever written by a command."""
        return name in self._files

    def holds(self, name: str) -> bool:
        """Whether the file is one that a command wrote, as it wrote it."""
        path = self.folder / name
        stamps = self._files.get(name)
        if not stamps or path.is_symlink() or not path.is_file():
            return False
        status = path.stat()
        if (status.st_size, status.st_mtime_ns) in stamps:
            return True
        return (status.st_size, digest(path)) in stamps


_journals: dict[Path, Journal] = {}
LOCK = threading.RLock()  # of what reads a journal to add to it


def of(folder: Path) -> Journal:
    """The journal of a folder, links resolved, as it is now."""
    with LOCK:
        found = _journals.get(folder)
        if found is None:
            found = _journals[folder] = Journal(folder)
        return found.refresh()


def digest(path: Path) -> str:
    """Of the content of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
