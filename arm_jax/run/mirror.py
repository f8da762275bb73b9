"""A run in a bucket: its small files in a folder of this machine, fetched and uploaded whole.

Objects can be neither appended to nor renamed, and libraries that write images, tables and event
files want a file. So all but the checkpoints is read and written in a temporary folder, as that of
any run, and whole files travel: those of a folder are fetched when it is opened, and those that
have changed since are uploaded before each checkpoint gets its name, and when the command ends. A
checkpoint in the bucket therefore finds the lines of metrics.jsonl up to its step there too.
Checkpoints, `checkpoints/` and `damaged/`, are written and read in the bucket by Orbax itself, and
event files of earlier starts are not fetched.

Every process has a folder of its own, and uploads what it wrote there.
"""

import argparse
import atexit
import contextlib
import functools
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from arm_jax.system import addresses, buckets, errors, names, outputs, signals
from arm_jax.system.addresses import Address
from arm_jax.system.buckets import BucketError
from arm_jax.system.errors import InputError

Config = TypeVar("Config")
Result = TypeVar("Result")
Rest = ParamSpec("Rest")

SCHEMES = ("gs",)
REMOTE = frozenset({"checkpoints", "damaged"})  # folders that stay in the bucket
THREADS = 8
PATIENCE = 120.0  # seconds for which the last upload is tried
PAUSE = 5.0  # seconds between two tries
SILENCE = 5.0  # seconds after which somebody who waits is told for what
_PREFIX, _KEPT = "arm_jax-run-", "arm_jax-not-uploaded-"


class Mirror:
    """The folder that stands for an address.

    Args:
      address: of a run, or of a folder of runs.
    """

    def __init__(self, address: Address):
        self.address = address
        self._root = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-")).resolve()
        self.folder = self._root / address.name
        self.folder.mkdir()
        errors.STAND_INS[str(self.folder)] = str(address)
        self._known: dict[str, tuple[int, int]] = {}  # size and time of what the bucket has
        self._fetched: set[tuple[str, bool]] = set()
        self._lock = threading.RLock()

    def fetch(self, name: str, below: bool) -> None:
        """Have the files of a folder here, once; also those below it if asked."""
        if (name, below) in self._fetched:
            return
        where = self.address.below(name) if name else self.address
        found = buckets.listing(where, recursive=below)
        wanted = [f"{name}/{one}" if name else one for one in found]
        with self._lock, ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self._fetch_one, [one for one in wanted if self._is_fetched(one)]))
        self._fetched.add((name, below))

    def _is_fetched(self, name: str) -> bool:
        last = name.rpartition("/")[2]
        return _travels(name) and not last.startswith("events.") and name not in self._known

    def _fetch_one(self, name: str) -> None:
        path = names.below(self.folder, name, str(self.address))
        with contextlib.suppress(FileNotFoundError):  # removed since it was listed
            content = buckets.read(self.address.below(name))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            self._known[name] = _state(path)

    def changed(self) -> tuple[list[str], list[str]]:
        """The files that the bucket does not have as they are, and those that are gone."""
        there: dict[str, tuple[int, int]] = {}
        for path in self.folder.rglob("*"):
            name = path.relative_to(self.folder).as_posix()
            if _travels(name):
                with contextlib.suppress(OSError):
                    if path.is_file():
                        there[name] = _state(path)
        return (
            sorted(name for name in there if there[name] != self._known.get(name)),
            sorted(name for name in self._known if name not in there),
        )

    def push(self) -> None:
        """Upload what has changed, and remove what is gone.

        Raises BucketError. What was uploaded until then is not uploaded again.
        """
        with self._lock:
            changed, gone = self.changed()
            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(self._push_one, changed))
            for name in gone:
                buckets.remove(self.address.below(name))
                del self._known[name]

    def _push_one(self, name: str) -> None:
        path, address = self.folder / name, self.address.below(name)
        try:
            state, content = _state(path), path.read_bytes()
        except OSError:  # replaced or removed at this moment
            return
        if path.name == outputs.JOURNAL:
            _add_lines(address, content)
        else:
            buckets.write(address, content)
        self._known[name] = state

    def keep(self) -> Path:
        """Leave the folder on this machine for good, and return where it is."""
        kept = self._root.with_name(self._root.name.replace(_PREFIX, _KEPT))
        with contextlib.suppress(OSError):
            self._root.rename(kept)
            self._root = kept
        return self._root / self.address.name

    def drop(self) -> None:
        if not self._root.name.startswith(_KEPT):
            shutil.rmtree(self._root, ignore_errors=True)


_mirrors: list[Mirror] = []


def folder_of(given: str | Path, title: str = "--workdir") -> Path:
    """The folder of this machine for what a person gave: that folder, or one that stands for it.

    Args:
      given: a path, in which "~" is expanded, or an address gs://bucket/run.
      title: what holds it, for messages.

    Raises:
      InputError: another kind of address; gcsfs is not installed; there is no such bucket, or it
        does not answer.
    """
    if not addresses.is_address(given):
        return names.local(given, title)
    address = addresses.parse(given, SCHEMES, title)
    if not address.key:
        raise InputError(
            f"{title} {given} is a whole bucket; name a folder in it, as {address}/my-run"
        )
    for one in _mirrors:
        if one.address == address:
            return one.folder
    if not _mirrors:
        _remove_leftovers()
        atexit.register(_drop)
    # What does not answer is asked again for about a minute.
    waits = threading.Timer(SILENCE, signals.tell, [f"{address}: waiting for an answer"])
    waits.daemon = True
    waits.start()
    try:
        buckets.check(address)
    finally:
        waits.cancel()
    _mirrors.append(Mirror(address))
    fetch(_mirrors[-1].folder)
    return _mirrors[-1].folder


def argument(text: str) -> Path:
    """`folder_of` as the type of a script's `--workdir`."""
    try:
        return folder_of(text, "")
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _of(folder: str | Path) -> tuple[Mirror, str] | None:
    """The mirror that a folder is or lies in, and its name from there on."""
    path = Path(folder)
    for one in _mirrors:
        if path == one.folder or one.folder in path.parents:
            name = path.relative_to(one.folder).as_posix()
            return one, "" if name == "." else name
    return None


def place(folder: str | Path) -> Path | buckets.Place:
    """Where a folder of a run really is: itself, or a place in a bucket."""
    found = _of(folder)
    if found is None:
        return Path(folder).absolute()
    mirror, name = found
    return buckets.Place(mirror.address.below(name) if name else mirror.address)


def fetch(folder: str | Path, *, below: bool = False) -> None:
    """Have the files of a folder here, or also those below it. Does nothing for other folders.

    Raises BucketError.
    """
    found = _of(folder)
    if found is not None:
        found[0].fetch(found[1], below)


def push(folder: str | Path) -> None:
    """Upload what this process has changed. Does nothing for other folders.

    Raises BucketError.
    """
    found = _of(folder)
    if found is not None:
        found[0].push()


@contextlib.contextmanager
def opened(given: str | Path, title: str = "--workdir") -> Iterator[Path]:
    """The folder for what a person gave, for the block; what has changed is uploaded at its end.

    Raises InputError as `folder_of`, and where the upload fails for `PATIENCE` seconds: the message
    names the folder with what was not uploaded.
    """
    folder = folder_of(given, title)
    fetch(folder)
    try:
        yield folder
    except BucketError:  # it does not answer, however often it was asked
        raise
    except BaseException:
        with contextlib.suppress(BucketError):
            push(folder)
        raise
    finish(folder)


def finish(folder: str | Path) -> None:
    """`push` at the end of a command: tried for `PATIENCE` seconds.

    Raises InputError as `opened`.
    """
    found = _of(folder)
    if found is not None:
        _push_patiently(found[0])


def uploads(
    mode: Callable[Concatenate[Config, str | Path, Rest], Result],
) -> Callable[Concatenate[Config, str | Path, Rest], Result]:
    """A function of (config, folder, ...) whose folder may be an address, see `opened`."""

    @functools.wraps(mode)
    def wrapped(
        config: Config, folder: str | Path, *rest: Rest.args, **named: Rest.kwargs
    ) -> Result:
        with opened(folder) as here:
            return mode(config, here, *rest, **named)

    return wrapped


def _push_patiently(mirror: Mirror) -> None:
    end, told = time.monotonic() + PATIENCE, False
    while True:
        try:
            mirror.push()
            return
        except BucketError as error:
            if time.monotonic() > end:
                kept = mirror.keep()
                errors.STAND_INS.pop(str(mirror.folder), None)
                raise InputError(
                    f"{error}; what was not uploaded stays in {kept}, to be copied by hand"
                ) from error
            if not told:
                told = True
                signals.tell(f"{error}; trying again for {PATIENCE:g} s")
            time.sleep(PAUSE)


def _travels(name: str) -> bool:
    """Whether a file is held both here and in the bucket."""
    *folders, last = name.split("/")
    return REMOTE.isdisjoint(folders) and last != outputs.LOCK and not outputs.is_temporary(last)


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _add_lines(address: Address, content: bytes) -> None:
    """Write a journal with the lines that another process or command added in the bucket."""
    own = set(content.splitlines())
    while True:
        there = buckets.find(address)
        before: list[bytes] = []
        if there is not None:
            with contextlib.suppress(FileNotFoundError):
                before = buckets.read(address).splitlines()
        others = b"".join(line + b"\n" for line in before if line not in own)
        with contextlib.suppress(buckets.Changed):
            generation = 0 if there is None else there.generation
            buckets.write(address, others + content, generation=generation)
            return


def _remove_leftovers() -> None:
    """Remove the folders of processes that were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        number = path.name[len(_PREFIX) :].partition("-")[0]
        if number.isdecimal() and not outputs.is_running(int(number)):
            shutil.rmtree(path, ignore_errors=True)


def _drop() -> None:
    for one in _mirrors:
        one.drop()
