"""When a save in a bucket that failed is made again.

A disk that takes no more stays so, and ends a run at once. A bucket often answers again soon:
training goes on meanwhile, and the state is saved at whatever step it has reached by then.
"""

import threading
import time

from arm_jax.system import buckets, signals
from arm_jax.system.buckets import BucketError, Place

# Seconds from the first failure to the end of the run, and between two requests to the bucket. A
# save fails only after its single requests were made again for minutes by the libraries below.
PATIENCE = 600.0
PAUSE = 5.0


class GivenUp(BucketError):
    """Nothing could be saved for `PATIENCE` seconds; the message is meant for the user as it is."""


class Retries:
    """Follows the failures of one run; made by `Checkpoints`.

    Args:
      folder: of the checkpoints.
    """

    def __init__(self, folder: Place):
        self._folder = folder
        self._since: float | None = None
        self._why = ""
        self._answers = threading.Event()

    def failed(self, step: int | None, error: BaseException) -> None:
        """Take note of a failure, with one line for the first.

        Raises GivenUp when the first was `PATIENCE` seconds ago.
        """
        text = str(error) if isinstance(error, BucketError) else buckets.reason(error)
        self._why = text.removeprefix(f"{self._folder}: ")
        if self._since is None:
            self._since = time.monotonic()
            signals.tell(
                f"{self._folder / str(step)} cannot be saved: {self._why}. Training goes on, and"
                f" saves as soon as that works, for up to {_minutes(PATIENCE)}"
            )
        self.check()
        self._answers.clear()
        threading.Thread(target=self._watch, name="bucket", daemon=True).start()

    def check(self) -> None:
        """Raise GivenUp when nothing could be saved for `PATIENCE` seconds."""
        if self._since is not None and time.monotonic() - self._since > PATIENCE:
            raise GivenUp(
                f"{self._folder}: nothing could be saved for {_minutes(PATIENCE)}: {self._why};"
                " the same command goes on from the last whole checkpoint there"
            )

    def succeeded(self) -> None:
        """Forget the failures."""
        self._since = None

    @property
    def may_try(self) -> bool:
        """Whether the bucket answers by now, so that another try costs no time."""
        return self._answers.is_set()

    def wait(self) -> None:
        """Until the bucket answers. Raises as `check`."""
        while not self._answers.wait(1.0):
            self.check()

    def _watch(self) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            time.sleep(PAUSE)
            try:
                buckets.check(self._folder.address)
            except BucketError:
                continue
            except ValueError:  # the bucket was removed, which saving reports
                pass
            self._answers.set()
            return


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:g} s"
