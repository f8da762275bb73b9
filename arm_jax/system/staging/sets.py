"""The cache of staged sets: a folder for each address and each state of what lies there.

A set is filled once and never changed: other content at the address is another set. Whoever uses
one holds a lock of the operating system on a file of his own, which ends with the process, so that
no set in use is deleted, and none is kept for a process that was killed.

    <address>-<state>/      manifest.json, the files below data/, unfinished ones below parts/
    <address>-<state>.uses/ a lock for each process that uses it
    .<address>-<state>.lock held while it is filled or deleted
    .room.lock              held while room is made
"""

import contextlib
import datetime
import hashlib
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arm_jax.system import caches, locks, names
from arm_jax.system.errors import InputError
from arm_jax.system.staging.progress import say, size
from arm_jax.system.staging.stores import Remote, shown

MANIFEST = "manifest.json"
_ROOM = ".room.lock"
_SPARE = 64 << 20  # bytes of the disk that are left alone
_held = contextlib.ExitStack()  # what this process uses, to its end


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def _start(address: str) -> str:
    """How the names of all sets of an address begin."""
    address = address.rstrip("/")
    readable = re.sub(r"[^\w.-]+", "_", shown(address).rpartition("/")[2])
    return f"{readable[:40].strip('.')}-{_digest(address)}"


def _noted(address: str) -> str:
    return shown(address).rstrip("/")


@dataclass(frozen=True)
class Set:
    """A staged set, or one to be.

    Attributes:
      folder: its own.
      address: of what it holds.
      name: of the folder or file that stands for the address.
      single: whether that is a file.
    """

    folder: Path
    address: str
    name: str
    single: bool

    @classmethod
    def of(cls, cache: Path, address: str, single: bool, files: Sequence[Remote]) -> "Set":
        state = _digest(repr([(file.name, file.identity) for file in files]))
        name = files[0].name if single else re.sub(r"-[0-9a-f]{12}$", "", _start(address))
        return cls(cache / f"{_start(address)}-{state}", address, name or "data", single)

    @classmethod
    def newest(cls, cache: Path, address: str) -> "Set | None":
        """The set of the address that was whole last; None without one."""
        found = []
        for folder in cache.glob(f"{_start(address)}-*"):
            manifest = read_manifest(folder)
            if manifest.get("whole") and manifest.get("address") == _noted(address):
                with contextlib.suppress(KeyError, TypeError):
                    one = cls(folder, address, str(manifest["name"]), bool(manifest["single"]))
                    if one.missing([(n, s) for n, s, *_ in manifest["files"]]) == []:
                        found.append((str(manifest["since"]), one))
        return max(found, key=lambda one: one[0])[1] if found else None

    @property
    def root(self) -> Path:
        """The folder, or the single file, that stands for the address."""
        return self.folder / "data" / self.name

    @property
    def parts(self) -> Path:
        return self.folder / "parts"

    def path(self, name: str) -> Path:
        """Of one of its files. Raises InputError for a name that leads out of the set."""
        return self._above / names.inside(name, shown(self.address))

    @property
    def _above(self) -> Path:
        return self.root.parent if self.single else self.root

    def make_folders(self, files: Sequence[str]) -> None:
        """The folders of its files. Raises InputError where a link leads out of the set."""
        for folder in sorted({os.path.dirname(name) for name in files}):
            above = names.below(self._above, f"{folder}/x" if folder else "x").parent
            try:
                above.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(
                    f"{above} cannot be made ({error.strerror}); free some space, or choose another"
                    " disk by data.staging_folder"
                ) from error

    def missing(self, files: Sequence[tuple[str, int | None]]) -> list[str]:
        """The names of those files that are not there whole, by their sizes."""
        absent = []
        for name, expected in files:
            try:
                found = os.stat(self.path(name)).st_size
            except OSError:
                found = None
            if found is None or (expected is not None and found != expected):
                absent.append(name)
        return absent

    @property
    def since(self) -> str:
        """The day on which it was staged."""
        return str(read_manifest(self.folder).get("since", ""))[:10]

    def sizes(self) -> dict[str, int]:
        """Name -> bytes, of a set that is whole; {} otherwise."""
        manifest = read_manifest(self.folder)
        return {n: s for n, s, *_ in manifest["files"]} if manifest.get("whole") else {}

    def write_manifest(self, files: Sequence[Remote], *, whole: bool) -> None:
        """Note what the set holds, or will hold."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        contents = {
            "address": _noted(self.address),
            "name": self.name,
            "single": self.single,
            "bytes": sum(file.size or 0 for file in files),
            "whole": whole,
            "since": now,
            "files": [(file.name, file.size, file.identity) for file in files],
        }
        self.parts.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f"{MANIFEST}.part"
        temporary.write_text(json.dumps(contents))
        temporary.replace(self.folder / MANIFEST)

    @contextlib.contextmanager
    def filling(self) -> Iterator[None]:
        """Hold the set, to fill it; others that ask for the same one wait."""
        lock = f".{self.folder.name}.lock"
        cache = self.folder.parent
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locks.held(cache, name=lock))
            except locks.Busy:
                say(f"staging      waits for another process that stages {shown(self.address)}")
                stack.enter_context(locks.held(cache, name=lock, wait=math.inf))
            yield

    def use(self) -> None:
        """Keep the set from being deleted for as long as this process lives."""
        uses = self._uses
        uses.mkdir(parents=True, exist_ok=True)
        _held.enter_context(locks.held(uses, name=f"{os.getpid()}-{secrets.token_hex(4)}.lock"))
        with contextlib.suppress(OSError):
            os.utime(self.folder / MANIFEST)

    @property
    def _uses(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.uses")

    def is_used(self) -> bool:
        """Whether a living process uses the set, or may."""
        for file in self._uses.glob("*.lock"):
            try:
                with locks.held(self._uses, name=file.name) as locked:
                    if not locked:
                        return True  # a disk without locks: nobody knows
            except InputError:
                return True
            file.unlink(missing_ok=True)
        return False

    def delete(self) -> bool:
        """Delete the set, unless it is in use; whether it was deleted."""
        cache = self.folder.parent
        try:
            with locks.held(cache, name=f".{self.folder.name}.lock"):
                if self.is_used():
                    return False
                (self.folder / MANIFEST).unlink(missing_ok=True)
                shutil.rmtree(self.folder, ignore_errors=True)
                shutil.rmtree(self._uses, ignore_errors=True)
        except InputError:
            return False
        say(f"staging      removed {self.folder}, not used for longest")
        return True


def read_manifest(folder: Path) -> dict[str, Any]:
    """What a set noted; {} where there is nothing, or nothing readable."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def make_room(wanted: Set, needed: int, missing: int, gib: float) -> None:
    """Delete other sets, those first that were not used for longest, until a set fits.

    Args:
      wanted: the set, whose manifest is written.
      needed: bytes of it.
      missing: bytes of it that will be written.
      gib: GiB that all sets may have.

    Raises:
      InputError: the set is larger than that by itself, or too much else is in use, or the disk has
        not the space.
    """
    cache, most = wanted.folder.parent, int(gib * caches.GIB)
    title = shown(wanted.address)
    if needed > most:
        raise InputError(
            f"{title}: has {size(needed)}, and data.staging_gib = {gib:g}; raise it, or give the"
            " address of a part"
        )
    with locks.held(cache, name=_ROOM, wait=math.inf):
        entries = []
        for folder in cache.iterdir():
            manifest = read_manifest(folder) if folder != wanted.folder else {}
            if manifest:
                one = Set(folder, str(manifest.get("address", "")), "", False)
                used = (folder / MANIFEST).stat().st_mtime
                entries.append(caches.Entry(one, int(manifest.get("bytes", 0)), used))
        total = caches.make_room(entries, needed, most, lambda one: one.delete())
        if total > most:
            raise InputError(
                f"{title}: has {size(needed)}, and other runs use {size(total - needed)} of"
                f" {cache}; raise data.staging_gib = {gib:g}, or wait for them"
            )
        free = shutil.disk_usage(cache).free
        if free < missing + _SPARE:
            raise InputError(
                f"{title}: {size(missing)} are to be staged, and {cache} has {size(free)} free;"
                " free some space, or choose another disk by data.staging_folder"
            )
