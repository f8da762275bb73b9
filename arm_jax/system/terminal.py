"""Lines for the person at the terminal."""

import sys
from collections.abc import Iterable
from typing import Any

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
            self._bar = bar(
                self._name, total=self._total, unit=self._unit, initial=number, leave=False
            )
        self._bar.update(number - self._bar.n)

    def close(self) -> None:
        """Take the line away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def bar(
    name: str,
    items: Iterable[Any] | None = None,
    *,
    total: int | None = None,
    unit: str = "image",
    shown: bool = True,
    **options: Any,
) -> tqdm:
    """A bar with a rate and the time left: of the first process, where the output is a terminal.

    Args:
      name: at its beginning.
      items: to go through; None where `update` counts them.
      total: how many there are, where `items` has no length.
      unit: what is counted.
      shown: whether there is to be one.
      options: others of `tqdm`.
    """
    hidden = None if shown and processes.is_first() else True
    return tqdm(items, name, total, unit=unit, dynamic_ncols=True, disable=hidden, **options)
