"""One writer at a time in a folder: a lock that ends with its process, however that ends.

The lock is the operating system's, as the library filelock takes it, and so does JAX for its cache
of compiled programs. Its file, `.arm_jax.lock`, stays behind and means nothing by itself. What
stands in it, host, process and time, is for the message of whoever comes second.
"""

import contextlib
import datetime
import errno
import json
import math
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import filelock

from arm_jax.system.errors import InputError
from arm_jax.system.outputs import LOCK

# A file system without locks: the run goes on, since most such folders have one user.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
_AT = 1  # where the text begins: Windows lets nobody read the locked byte, which is the first


class Busy(InputError):
    """Another process holds the lock; the message names its host and number."""


@contextlib.contextmanager
def held(folder: str | Path, *, wait: float = 0.0, name: str = LOCK) -> Iterator[bool]:
    """Hold the lock of `folder` for the block.

    Several hosts that share the folder over a network see each other's lock if the file system
    passes `flock` on: NFS 4 and Lustre or CephFS with their usual options do. Those that cannot
    lock at all yield False, and nobody is kept out.

    Args:
      folder: exists.
      wait: seconds to wait for the other before raising; infinity for no limit.
      name: of the lock's file.

    Yields:
      Whether the folder is locked.

    Raises:
      Busy: another process holds it.
      InputError: the lock file cannot be written.
    """
    path = Path(folder) / name
    endless = wait == math.inf
    # Its substitute, a file that is there, would outlive a process that is killed.
    lock = filelock.FileLock(path, timeout=-1 if endless else wait, fallback_to_soft=False)
    locked = True
    try:
        lock.acquire()
    except filelock.Timeout:
        raise Busy(
            f"{path.parent} is in use by {_holder(path)}; wait for it, stop it, or choose another"
            " folder"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise InputError(
                f"{path} cannot be written ({error.strerror}); choose another folder"
            ) from error
        locked = False
    try:
        if locked:
            _sign(path)
        yield locked
    finally:
        if locked:
            lock.release()


def _sign(path: Path) -> None:
    """Name the holder in the file. On a full disk the name is missing, and the lock holds."""
    text = json.dumps(
        {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "since": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
    )
    with contextlib.suppress(OSError), open(path, "r+b") as file:
        file.seek(_AT)
        file.write(text.encode() + b"\n")
        file.truncate()


def _holder(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(_AT)
            found = json.loads(file.read(1 << 16))
        return f"process {found['process']} on {found['host']} since {found['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
