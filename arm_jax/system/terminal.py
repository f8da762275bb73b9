"""Lines for the person at the terminal."""

import sys

from tqdm import tqdm

from arm_jax.system import processes
from arm_jax.system.errors import named


def say(text: str) -> None:
    """Print a line once, whatever the number of processes, above what `LiveLine`s show."""
    if processes.is_first():
        with tqdm.external_write_mode(file=sys.stdout):
            print(named(text), flush=True)


class LiveLine:
    """The last line of a terminal, which follows a number; nothing where there is no terminal.

    Args:
      name: at its beginning.
      total: where the number ends.
      unit: what is counted.
    """

    def __init__(self, name: str, total: int, unit: str):
        self._name, self._total, self._unit = name, total, unit
        self._bar: tqdm | None = None

    def show(self, number: int) -> None:
        """Show the number; its rate counts from the first call."""
        if self._bar is None:
            self._bar = tqdm(
                desc=self._name,
                total=self._total,
                initial=number,
                unit=self._unit,
                dynamic_ncols=True,
                leave=False,
                disable=hides_bar(),
            )
        self._bar.update(number - self._bar.n)

    def close(self) -> None:
        """Take the line away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def hides_bar(progress: bool = True) -> bool | None:
    """The `disable` of a tqdm bar: shown by the first process, where the output is a terminal."""
    return None if progress and processes.is_first() else True
