"""One writer at a time in a folder: a lock that ends with its process, however that ends.

The lock is the operating system's (`flock` on POSIX, `msvcrt` on Windows), on the file
`.arm_jax.lock`, which stays behind and means nothing by itself. What stands in it, host, process
and time, is for the message of whoever comes second.
"""

import contextlib
import datetime
import errno
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from arm_jax.system.errors import InputError
from arm_jax.system.outputs import LOCK

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
    import msvcrt

# A file system without locks: the run goes on, since most such folders have one user.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
_AT = 1 << 20  # the byte that Windows locks, far behind the text, which others may read


class Busy(InputError):
    """Another process holds the lock; the message names its host and number."""


@contextlib.contextmanager
def held(folder: str | Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold the lock of `folder` for the block.

    Several hosts that share the folder over a network see each other's lock if the file system
    passes `flock` on: NFS 4 and Lustre or CephFS with their usual options do. Those that cannot
    lock at all yield False, and nobody is kept out.

    Args:
      folder: exists.
      wait: until the other is done, instead of raising.

    Yields:
      Whether the folder is locked.

    Raises:
      Busy: another process holds it.
      InputError: the lock file cannot be written.
    """
    path = Path(folder) / LOCK
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}); choose another folder"
        ) from error
    try:
        locked = _acquire(descriptor, path, wait)
        if locked:
            _sign(descriptor)
        yield locked
    finally:
        os.close(descriptor)  # which releases it


def _acquire(descriptor: int, path: Path, wait: bool) -> bool:
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        else:
            os.lseek(descriptor, _AT, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise Busy(
            f"{path.parent} is in use by {_holder(path)}; wait for it, stop it, or choose another"
            " folder"
        ) from None
    return True


def _sign(descriptor: int) -> None:
    """Say in the file who holds it. On a full disk it stays unsaid, and the lock holds."""
    text = json.dumps(
        {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "since": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
    )
    with contextlib.suppress(OSError):
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, text.encode() + b"\n")


def _holder(path: Path) -> str:
    try:
        found = json.loads(path.read_text())
        return f"process {found['process']} on {found['host']} since {found['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
