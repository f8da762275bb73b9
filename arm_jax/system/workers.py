"""Processes that work for another one: they leave Ctrl-C to it, and end when it does."""

import multiprocessing
import os
import signal
import threading


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


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
