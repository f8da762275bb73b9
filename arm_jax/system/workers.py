"""Processes that work for another one: they leave Ctrl-C to it, and end when it does."""

import multiprocessing
import os
import shutil
import signal
import threading
from pathlib import Path

from arm_jax.system.errors import InputError


def begin() -> None:
    """Called first in a worker that `multiprocessing` has spawned.

    A process that is killed cannot stop its workers, and one that waits for work on a queue would
    wait for ever.
    """
    for name in ("SIGINT", "SIGHUP"):
        number = getattr(signal, name, None)
        # Only the main thread may, and elsewhere `signals.shielded` has seen to it.
        if number is not None and threading.current_thread() is threading.main_thread():
            signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()


def one_core_each() -> None:
    """Keep OpenCV, in this process, from spreading one call over all cores.

    Examples are made several at once already. With threads of its own for each of them, OpenCV's
    wait for one another: on a machine of 16 cores an example then cost 120 ms of processor time
    that costs 20 ms on two (simulated labels of CamVid, 4 threads, 2026-11-26).
    """
    import cv2

    cv2.setNumThreads(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def check_shared_memory(number: int, batch_bytes: int, folder: str | Path = "/dev/shm") -> None:
    """Refuse workers whose batches the machine's shared memory cannot hold.

    A worker that writes beyond it is killed by the system (SIGBUS, exit code -7), without a word.

    Args:
      number: of workers.
      batch_bytes: of a batch; each worker holds a finished one and makes another.
      folder: where the shared memory is mounted; nothing is checked where it does not exist.

    Raises:
      InputError: there is too little; the message names how much is needed.
    """
    if not Path(folder).is_dir():
        return
    free, needed = shutil.disk_usage(folder).free, (2 * number + 1) * batch_bytes
    if free < needed:
        raise InputError(
            f"input.workers = {number} needs {needed >> 20:,} MB of shared memory, and {folder} has"
            f" {free >> 20:,} MB free; set --config.input.workers=0, or start the container with"
            " more (docker run --shm-size=8g)"
        )
