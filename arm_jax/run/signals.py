"""Being asked to stop while training: the same answer in every process of a run."""

import os
import signal

import jax
from jax.experimental import multihost_utils

from arm_jax.system.signals import Listener


class Requests:
    """Asks after each step whether to stop.

    With several processes JAX's preemption service agrees on one step at which all of them stop,
    since a signal reaches them at different moments. That service hears SIGTERM by itself; any
    other signal is passed on to it.
    """

    def __init__(self, listener: Listener):
        self._listener = listener
        self._passed_on = False

    def received(self, step: int) -> int | None:
        """The number of the signal that stops the run after `step`, or None."""
        number = self._listener.number
        if jax.process_count() == 1:
            return number
        if number is not None and not self._passed_on:
            self._passed_on = True
            os.kill(os.getpid(), signal.SIGTERM)
        if not multihost_utils.reached_preemption_sync_point(step):
            return None
        return signal.SIGTERM if number is None else number
