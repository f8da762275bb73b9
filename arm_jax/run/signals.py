"""Being asked to stop while training: the same answer in every process of a run."""

import signal

from arm_jax.system import peers
from arm_jax.system.signals import Listener


class Requests:
    """Asks after each step whether to stop.

    A signal reaches one process, or several at different moments: they agree on one step after
    which all of them stop.
    """

    def __init__(self, listener: Listener):
        self._listener = listener

    def received(self, step: int) -> int | None:
        """The number of the signal that stops the run after `step`, or None."""
        if not peers.are_together():
            return self._listener.number
        last = peers.until(step)
        if last is None or step < last:
            return None
        return self._listener.number or signal.SIGTERM
