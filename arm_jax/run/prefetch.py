"""Batches that are on the devices before the step asks for them."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import jax


class Batches(Protocol):
    """An iterator that knows its position, as `data.pipeline.BatchIterator`."""

    def __iter__(self) -> Iterator: ...

    def __next__(self) -> Any: ...

    def get_state(self) -> dict: ...


class Prefetcher:
    """Reads batches in a thread, starts their copy to the devices, and keeps `depth` ready.

    Each batch comes with the position of the input pipeline *after* it, so that a checkpoint
    records what was trained on and not what was merely read ahead.

    Args:
      batches: the pipeline's iterator.
      put: copies one host batch to the devices, e.g. `sharding.shard_batch`; may be asynchronous.
      depth: how many batches wait on the devices; 2 hides reading and copying behind the step.
    """

    def __init__(self, batches: Batches, put: Callable[[Any], Any], *, depth: int = 2):
        self._batches = batches
        self._put = put
        self._queue: queue.Queue = queue.Queue(maxsize=depth)
        self._closed = threading.Event()
        self.waited = 0.0  # seconds in which the devices had nothing to do but wait for input
        self.blocked = 0.0  # seconds in which the host waited for the devices here
        self._thread = threading.Thread(target=self._read, name="prefetch", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for batch in self._batches:
                if not self._offer((self._put(batch), self._batches.get_state())):
                    return
            raise RuntimeError("the input pipeline ended, though it should repeat for ever")
        except BaseException as error:  # handed to the training thread, which raises it
            self._offer(error)

    def _offer(self, item: Any) -> bool:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def next(self, in_flight: Any = ()) -> tuple[Any, dict]:
        """The next batch and the pipeline's position after it.

        Args:
          in_flight: outputs of the last dispatched step. If no batch is ready, the time from their
            completion to the arrival of the batch is what the devices truly waited.
        """
        if self._queue.empty():
            began = time.perf_counter()
            jax.block_until_ready(in_flight)
            start = time.perf_counter()
            self.blocked += start - began
            item = self._queue.get()
            self.waited += time.perf_counter() - start
        else:
            item = self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        """Stop reading. The pipeline may be closed by its owner afterwards."""
        self._closed.set()
        self._thread.join(timeout=30)
