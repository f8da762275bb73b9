"""The way in: an address becomes a path of this machine."""

import contextlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from arm_jax.system import addresses, caches, names, parallel
from arm_jax.system.errors import InputError
from arm_jax.system.staging import failures, fetch, sets, stores
from arm_jax.system.staging.progress import Progress, say, size
from arm_jax.system.staging.stores import Remote, Store, shown


@dataclass(frozen=True)
class Cache:
    """Where staged files are kept: `data.staging_folder` and `data.staging_gib`."""

    folder: str = caches.AUTO
    gib: float = 100.0


_found: dict[str, tuple[Store, bool, list[Remote]]] = {}  # by `look`, for `local`
_staged: dict[str, Path] = {}  # by this process, which so sees one state of them


def local(
    path: str | Path, title: str = "", cache: Cache | None = None, *, single: bool = False
) -> Path:
    """A path as the user gave it, or where the files of an address lie on this machine.

    An address is staged first: its files are brought into the cache, unless they are there. All
    processes of a machine share it; the first one stages, and the others wait. What was staged
    serves without a network.

    Args:
      path: a path, or the address of a folder or a file: gs://, s3:// or https://.
      title: of the setting, for messages.
      cache: where to, unless this process has the files already; None for the user's cache.
      single: only one file is wanted, and a folder is refused before it is staged.

    Raises:
      InputError: no such path or kind of address; a file that is denied, absent, unreachable or
        damaged; too little space; a cache folder that cannot be written.
    """
    if not addresses.is_address(path):
        return names.local(path, title)
    address = str(path)
    if address not in _staged:
        _staged[address] = _stage(address, title, cache or Cache(), single)
    if single and not _staged[address].is_file():
        raise InputError(f"{title} {shown(address)}: {failures.FOLDER}; correct the address")
    return _staged[address]


def check(address: str, title: str = "", *, single: bool = False) -> None:
    """Raise InputError for an address that nobody could stage; nothing is fetched."""
    if address not in _staged:
        with contextlib.suppress(failures.Unreachable):  # it may be staged already
            _found[address] = stores.find(address, title, single=single)


def _stage(address: str, title: str, cache: Cache, only: bool) -> Path:
    folder = caches.folder(cache.folder, "staged", "data.staging_folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"data.staging_folder = {folder} cannot be made ({error.strerror}); choose another"
        ) from error
    try:
        found = _found.pop(address, None) or stores.find(address, title, single=only)
        store, single, files = found
    except failures.Unreachable as error:
        last = sets.Set.newest(folder, address)
        if last is None:
            raise
        with last.filling():
            last.use()
            say(f"warning: {error}; uses what was staged on {last.since}")
            return last.root
    wanted = sets.Set.of(folder, address, single, files)
    with wanted.filling():
        wanted.use()
        known = wanted.sizes()
        absent = set(wanted.missing([(file.name, known.get(file.name)) for file in files]))
        if not known or absent:
            _fill(store, files, wanted, absent, cache)
    return wanted.root


def _fill(
    store: Store, files: Sequence[Remote], wanted: sets.Set, absent: set[str], cache: Cache
) -> None:
    """Fetch what is absent."""
    title = shown(wanted.address)

    def sized(file: Remote) -> Remote:
        return failures.attempt(lambda: store.sized(file), f"{title}: {file.name}")

    files = list(parallel.ordered(sized, files, fetch.AT_ONCE, threads=True))
    sizes = {file.name: file.size or 0 for file in files}
    absent |= set(wanted.missing(list(sizes.items())))
    is_new = not sets.read_manifest(wanted.folder)
    try:
        wanted.make_folders(list(sizes))
        wanted.write_manifest(files, whole=False)
        _link_unchanged(wanted, [file for file in files if file.name in absent])
        absent &= set(wanted.missing(list(sizes.items())))
        there = sum(
            min(_size(wanted.parts / fetch.part_name(file)), sizes[file.name])
            for file in files
            if file.name in absent
        )
        needed = sum(sizes.values())
        missing = sum(sizes[name] for name in absent) - there
        sets.make_room(wanted, needed, missing, cache.gib)
    except BaseException:
        if is_new:
            shutil.rmtree(wanted.folder, ignore_errors=True)
        raise
    here = f", {size(needed - missing)} of them here" if missing < needed else ""
    say(f"staging      {title}: {_number(files)} of {size(needed)}{here}, into {wanted.folder}")
    queue = [(file, wanted.path(file.name)) for file in files if file.name in absent]
    with Progress("staging", needed, needed - missing) as progress:
        fetch.fetch_all(store, queue, wanted.parts, title=title, arrived=progress.arrived)
    wanted.write_manifest(files, whole=True)
    shutil.rmtree(wanted.parts, ignore_errors=True)


def _link_unchanged(wanted: sets.Set, files: Sequence[Remote]) -> None:
    """Take the files that an earlier state of the address has as well, without fetching them."""
    before = sets.Set.newest(wanted.folder.parent, wanted.address)
    if before is None or before.folder == wanted.folder:
        return
    noted = {name: identity for name, _, identity in sets.read_manifest(before.folder)["files"]}
    for file in files:
        target = wanted.path(file.name)
        if noted.get(file.name) == file.identity and not target.exists():
            try:
                os.link(before.path(file.name), target)
            except OSError:
                return  # a disk without links


def _number(files: Sequence[Remote]) -> str:
    return "1 file" if len(files) == 1 else f"{len(files):,} files"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
