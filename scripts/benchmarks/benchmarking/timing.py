"""Seconds of things that take turns."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

# A turn repeats its work until it lasts about so long, so that the host's share of a short program
# is hidden behind the device's work as it is in training.
TURN_SECONDS = 1.0
MOST_CALLS = 100


class Turn(NamedTuple):
    """What one call took: seconds by the clock, and seconds of all the process's threads."""

    wall: float
    cpu: float


class Timing(NamedTuple):
    """Of one call over many turns: the median with the quartiles, the least, all in seconds.

    `cpu` is the median of the processor seconds of all threads: the whole work on CPUs, where it
    tells less than the clock about other loads on the machine, and the host's share elsewhere.
    """

    median: float
    lower: float
    upper: float
    least: float
    cpu: float
    turns: int

    @classmethod
    def of(cls, turns: Sequence[Turn]) -> "Timing":
        walls = [turn.wall for turn in turns]
        cpu = statistics.median(turn.cpu for turn in turns)
        return cls(*quartiles(walls), min(walls), cpu, len(turns))


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, lower and upper quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return median, lower, upper


def turn(work: Callable[[], Any], calls: int = 1) -> Turn:
    """What a call takes, over `calls` that follow each other without waiting for the device."""
    start, cpu_start = time.perf_counter(), time.process_time()
    for _ in range(calls):
        result = work()
    jax.block_until_ready(result)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    return Turn(wall / calls, cpu / calls)


def prepared(work: Callable[[], Any]) -> Callable[[], Turn]:
    """The turns of a JAX program; calls it twice, so that it is compiled and warm."""
    turn(work)
    calls = calls_for(turn(work).wall)
    return lambda: turn(work, calls)


def calls_for(seconds: float) -> int:
    """How many calls make a turn."""
    return max(1, min(MOST_CALLS, int(TURN_SECONDS / seconds)))


def by_turns(turns: Mapping[str, Callable[[], Turn]], repeat: int) -> dict[str, list[Turn]]:
    """Let each have its turn, `repeat` times over, so that another load falls on all of them.

    Every second round goes backwards: what follows whom would otherwise be part of the result.

    Args:
        turns: name -> what makes a turn.

    Returns:
        name -> its turns, in order: entries of equal index are of the same round.
    """
    found: dict[str, list[Turn]] = {name: [] for name in turns}
    for number in range(repeat):
        for name in list(turns)[:: 1 if number % 2 == 0 else -1]:
            found[name].append(turns[name]())
    return found


def ratio(over: Sequence[Turn], under: Sequence[Turn]) -> dict[str, float]:
    """Quotients of turns of the same round: median and quartiles by the clock, median of CPU."""
    walls = [a.wall / b.wall for a, b in zip(over, under, strict=True)]
    median, lower, upper = quartiles(walls)
    cpu = statistics.median(a.cpu / b.cpu for a, b in zip(over, under, strict=True))
    return {"median": median, "lower": lower, "upper": upper, "cpu": cpu}
