"""Being asked to stop: SIGTERM, as schedulers and preemptible machines send it."""

import signal
import threading
from types import FrameType

import jax
from jax.experimental import multihost_utils


class Sigterm:
    """Within this context SIGTERM is remembered instead of ending the process.

    With several processes JAX's preemption service agrees on one step at which all of them stop,
    since the signal reaches them at different moments. Outside the main thread (a notebook's
    worker, say) no handler can be installed, and the signal keeps its usual effect.
    """

    def __enter__(self) -> "Sigterm":
        self._received = threading.Event()
        self._installed = (
            jax.process_count() == 1 and threading.current_thread() is threading.main_thread()
        )
        if self._installed:
            self._previous = signal.signal(signal.SIGTERM, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        if self._installed:
            signal.signal(signal.SIGTERM, self._previous)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._received.set()

    def received(self, step: int) -> bool:
        """Whether to stop after `step`; the same answer in every process."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._received.is_set()
