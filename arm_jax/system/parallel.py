"""One function over many items on several cores, results in order."""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from arm_jax.system import processes, signals
from arm_jax.system import workers as worker_processes
from arm_jax.system.errors import InputError

MOST = 4  # processes or threads a core

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """The number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    *,
    threads: bool = False,
    ahead: int | None = None,
) -> Iterator[Result]:
    """function(item) for each item, in order, in several processes or threads.

    What `function` raises is raised here, when its turn comes.

    Args:
      function: importable where there are processes, since they are spawned.
      items: read only as far as results are wanted, and `ahead`.
      workers: how many processes or threads; 0 calls `function` in this thread. No more than
        `MOST` a core are begun: they would gain nothing, and might fill the memory.
      threads: take threads, for work that releases Python's lock, as decoding images does.
      ahead: the most results that are ready or being made at a time, so that they do not pile up
        in memory; None for four a worker.
    """
    if workers < 1:
        yield from map(function, items)
        return
    pool: Executor
    workers = min(workers, MOST * cores())
    if threads:
        worker_processes.one_core_each()
        pool = ThreadPoolExecutor(workers)
    else:
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(workers, context, initializer=_begin)
    waiting: deque[Any] = deque()
    most = 4 * workers + 1 if ahead is None else ahead
    try:
        for item in items:
            with signals.shielded():  # a worker may be started here
                waiting.append(pool.submit(function, item))
            if len(waiting) >= most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise InputError(
            f"one of {workers} worker processes was killed, perhaps for want of memory; use fewer"
        ) from None
    except signals.Interrupted:
        for process in multiprocessing.active_children():
            process.terminate()  # nobody waits for what they are at
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def shared_out(function: Callable[[int], Result], number: int) -> Iterator[Result]:
    """function(index) for each index below `number`, in order, in every process of a run.

    The processes share the indices, each by threads; every one must go through all results. What
    `function` raises is raised in all of them, see `processes.merged`.
    """
    mine = ordered(function, processes.share(number), 2 * cores(), threads=True)
    return processes.merged(mine, number)


def _begin() -> None:
    worker_processes.begin()
    worker_processes.one_core_each()
