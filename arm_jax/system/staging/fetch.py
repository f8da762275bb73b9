"""Files of a store onto the disk, each from where an earlier attempt stopped."""

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from arm_jax.system import signals
from arm_jax.system.errors import InputError
from arm_jax.system.staging import failures
from arm_jax.system.staging.stores import Remote, Store

AT_ONCE = 8  # files
_PROGRESS = 1 << 20  # bytes after which failures are counted anew


class Stopped(Exception):
    """Another file could not be fetched, so this one is not needed."""


class _Damaged(Exception):
    """What arrived is not what the store has."""


def part_name(file: Remote) -> str:
    """Of what there is of a file so far; of another version, another name."""
    digest = hashlib.blake2b(f"{file.name}\0{file.identity}".encode(), digest_size=16)
    return f"{digest.hexdigest()}.part"


def fetch_all(
    store: Store,
    files: Sequence[tuple[Remote, Path]],
    parts: Path,
    *,
    title: str,
    arrived: Callable[[int], None],
) -> None:
    """Fetch several files and where each is to lie, `AT_ONCE` at a time; others as for `fetch`.

    Raises what `fetch` raises for one of them; what there is of the others stays in `parts`.
    """
    stop = threading.Event()

    def bring(one: tuple[Remote, Path]) -> None:
        file, target = one
        if not stop.is_set():
            about = title if title.endswith(file.name) else f"{title}: {file.name}"
            fetch(store, file, target, parts, title=about, arrived=arrived, stop=stop)

    # The largest first, so that none is left over at the end.
    queue = sorted(files, key=lambda one: -(one[0].size or 0))
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        with signals.shielded():
            futures = [pool.submit(bring, one) for one in queue]
        for future in as_completed(futures):
            future.result()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def fetch(
    store: Store,
    file: Remote,
    target: Path,
    parts: Path,
    *,
    title: str,
    arrived: Callable[[int], None] = lambda number: None,
    stop: threading.Event | None = None,
) -> None:
    """Write the file to `target`, whole, checked and with its stamp as its time of change.

    Args:
      store: that found `file`, whose size is known.
      target: in a folder that exists.
      parts: an existing folder of the same disk, for what there is so far.
      title: what messages call the file.
      arrived: called with the number of bytes that came; negative for bytes to fetch again.
      stop: gives up when set.

    Raises:
      InputError: the file is denied, gone, changed or arrives damaged, in all attempts, or the disk
        does not take it.
      Stopped: `stop` was set.
    """
    part = parts / part_name(file)
    failed = 0
    while True:
        before = _size(part)
        try:
            _continue(store, file, part, arrived, stop)
            _verify(file, part)
            break
        except (InputError, Stopped):
            raise
        except Exception as error:
            if isinstance(error, _Damaged):
                arrived(-_size(part))
                part.unlink()
            failures.refuse_lasting(error, title)
            if _size(part) >= before + _PROGRESS:
                failed = 0
            if failed == len(failures.PAUSES):
                raise failures.unreachable(error, title) from error
            failures.wait(failures.PAUSES[failed])
            failed += 1
    os.utime(part, ns=(file.stamp, file.stamp))
    part.replace(target)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _continue(
    store: Store,
    file: Remote,
    part: Path,
    arrived: Callable[[int], None],
    stop: threading.Event | None,
) -> None:
    """Append what is missing."""
    assert file.size is not None
    there = _size(part)
    if there > file.size or (there < file.size and not file.ranges):
        arrived(-there)
        there = 0
    with open(part, "r+b" if part.exists() else "wb") as out:
        out.seek(there)
        out.truncate()
        for piece in store.pieces(file, there):
            there += len(piece)
            if there > file.size:
                raise _Damaged(f"more than {file.size:,} bytes came")
            try:
                out.write(piece)
                out.flush()
            except OSError as error:
                raise InputError(
                    f"{part.parent} cannot be written ({error.strerror or error}); free some space,"
                    " or choose another disk by data.staging_folder"
                ) from error
            arrived(len(piece))
            if stop is not None and stop.is_set():
                raise Stopped
    if there < file.size:
        raise OSError(f"{there:,} bytes came of {file.size:,}")


def _verify(file: Remote, part: Path) -> None:
    if not file.digest:
        return
    kind, digits = file.digest
    with open(part, "rb") as data:
        found = hashlib.file_digest(data, kind).hexdigest()
    if found != digits:
        raise _Damaged(f"its {kind} is {found[:12]}... and should be {digits[:12]}...")
