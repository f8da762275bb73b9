"""Bytes that arrive, as a bar at a terminal and as a line a minute in a log."""

import threading
import time
from types import TracebackType

from tqdm import tqdm

EVERY = 60.0  # seconds between two lines of a log


class Progress:
    """Counts bytes of several threads, for the time of its context."""

    def __init__(self, title: str, total: int, there: int):
        self._title, self._total, self._there = title, total, there
        self._lock = threading.Lock()
        self._told = self._begun = time.monotonic()
        self._bar = tqdm(
            desc=title, total=total, initial=there, unit="B", unit_scale=True, disable=None
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def arrived(self, number: int) -> None:
        """Count bytes that arrived; negative ones are to come again."""
        with self._lock:
            self._there += number
            self._bar.update(number)
            now = time.monotonic()
            if self._bar.disable and now - self._told >= EVERY:
                self._told = now
                say(f"{self._title}  {size(self._there)} of {size(self._total)}")


def say(text: str) -> None:
    """Print a line of this machine; processes that wait print none."""
    print(text, flush=True)


def size(number: float) -> str:
    """Bytes as people read them.

    >>> size(831), size(5_000_000), size(3 * 2**30)
    ('831 bytes', '4.8 MiB', '3.0 GiB')
    """
    if number < 1024:
        return f"{number:.0f} bytes"
    for unit in ("KiB", "MiB", "GiB"):
        number /= 1024
        if number < 1024 or unit == "GiB":
            break
    return f"{number:,.1f} {unit}"
