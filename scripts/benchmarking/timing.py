"""Seconds of things that take turns."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

# A turn repeats its work until it lasts about so long, so that the host's share of a short program
# is hidden behind the device's work as it is in training.
TURN_SECONDS = 0.3
MOST_CALLS = 100


class Timing(NamedTuple):
    """Seconds of one call: the median over the turns, the quartiles, and the least."""

    median: float
    lower: float
    upper: float
    least: float
    turns: int

    @classmethod
    def of(cls, seconds: list[float]) -> "Timing":
        lower, median, upper = (
            statistics.quantiles(seconds, n=4, method="inclusive")
            if len(seconds) > 1
            else seconds * 3
        )
        return cls(median, lower, upper, min(seconds), len(seconds))

    def text(self) -> str:
        return f"{1e3 * self.median:10.2f} ms  ({1e3 * self.lower:.2f} to {1e3 * self.upper:.2f})"


def once(work: Callable[[], Any]) -> float:
    """Seconds of one call, until the device is done."""
    start = time.perf_counter()
    jax.block_until_ready(work())
    return time.perf_counter() - start


def calls_of(work: Callable[[], Any]) -> int:
    """How many calls make a turn; calls it twice, so that it is compiled and warm."""
    once(work)
    return max(1, min(MOST_CALLS, int(TURN_SECONDS / once(work))))


def turn(work: Callable[[], Any], calls: int) -> float:
    """Seconds of a call, over `calls` that follow each other without waiting."""
    start = time.perf_counter()
    for _ in range(calls):
        result = work()
    jax.block_until_ready(result)
    return (time.perf_counter() - start) / calls


def by_turns(turns: Mapping[str, Callable[[], float]], repeat: int) -> dict[str, list[float]]:
    """Let each have its turn, `repeat` times over, so that another load falls on all of them.

    Every second round goes backwards: what follows whom would otherwise be part of the result.

    Args:
        turns: name -> a turn, which returns its seconds.

    Returns:
        name -> the seconds of each of its turns.
    """
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(repeat):
        for name in list(turns)[:: 1 if number % 2 == 0 else -1]:
            seconds[name].append(turns[name]())
    return seconds


def measure(works: Mapping[str, Callable[[], Any]], repeat: int) -> dict[str, Timing]:
    """Time JAX programs by turns."""
    calls = {name: calls_of(work) for name, work in works.items()}
    turns = {
        name: (lambda work=work, name=name: turn(work, calls[name])) for name, work in works.items()
    }
    return {name: Timing.of(seconds) for name, seconds in by_turns(turns, repeat).items()}


def ratio(over: list[float], under: list[float]) -> Timing:
    """The quotient of what was measured in the same rounds; a `Timing` of plain numbers."""
    return Timing.of([a / b for a, b in zip(over, under, strict=True)])
