"""Which of several hosts holds the others up.

All processes make every step together, so the time of a step is the same in all of them. What
differs is how long each host works by itself, while its devices have nothing to do or the devices
of others wait for it: for input, above all. Each process notes that time at every log line; the
first one writes the notes to `hosts.jsonl`, and names a host that takes much longer than the rest.
"""

import dataclasses
import statistics
import sys
from collections.abc import Mapping
from typing import Any

import jax

GIB = 2**30
# A host is a straggler that takes so many times as long by itself as the median of the others, and
# longer by this share of a step.
TIMES, SHARE = 2.0, 0.2


@dataclasses.dataclass(frozen=True)
class Pace:
    """How a process keeps up, since its last log line.

    Attributes:
      step: of the line.
      step_seconds: of a step, from one to the next.
      own_seconds: of a step, in which the host did not wait for the devices.
      waiting_seconds: of a step, in which the devices waited for the host's input.
      host_gib: the most memory that the process has had.
      device_gib: the most that its first device has had; None where that is not known.
    """

    step: int
    step_seconds: float
    own_seconds: float
    waiting_seconds: float
    host_gib: float
    device_gib: float | None


def _most_memory() -> int:
    """Bytes that this process held at most; 0 on Windows, which does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def pace(step: int, steps: int, seconds: float, blocked: float, waited: float) -> Pace:
    """The pace of this process over `steps` steps up to `step`.

    Args:
      step: the last of them.
      steps: how many.
      seconds: that they took.
      blocked: seconds of these in which the host waited for the devices.
      waited: seconds of these in which the devices waited for input.
    """
    most = _most_memory()
    stats = jax.local_devices()[0].memory_stats() or {}
    peak = stats.get("peak_bytes_in_use")
    return Pace(
        step,
        round(seconds / steps, 6),
        round(max(0.0, seconds - blocked) / steps, 6),
        round(waited / steps, 6),
        round(most / GIB, 3),
        None if peak is None else round(peak / GIB, 3),
    )


class Watch:
    """What the processes noted, in the first one: new lines for `hosts.jsonl`, and warnings."""

    def __init__(self) -> None:
        self._written: dict[int, int] = {}
        self._named: set[int] = set()

    def lines(self, notes: Mapping[int, Mapping[str, Any]]) -> list[dict[str, Any]]:
        """A line for each process that noted something since the last call.

        Args:
          notes: of every process, `Pace` as a dictionary, and its "host".
        """
        new = [index for index, one in notes.items() if one["step"] != self._written.get(index)]
        self._written |= {index: notes[index]["step"] for index in new}
        return [{"process": index, **notes[index]} for index in new]

    def warnings(self, notes: Mapping[int, Mapping[str, Any]]) -> list[str]:
        """A line for each process that has become a straggler.

        >>> quick = {"host": "a", "step_seconds": 1.0, "own_seconds": 0.1, "waiting_seconds": 0.0}
        >>> slow = {**quick, "host": "b", "own_seconds": 0.8, "waiting_seconds": 0.7}
        >>> Watch().warnings({0: quick, 1: slow, 2: quick})[0][:42]
        'process 1 of 3 on b holds the others up: i'
        """
        found = []
        for index, one in notes.items():
            others = [other["own_seconds"] for key, other in notes.items() if key != index]
            if not others:
                continue
            usual, own = statistics.median(others), one["own_seconds"]
            if own <= TIMES * usual or own - usual <= SHARE * one["step_seconds"]:
                self._named.discard(index)
            elif index not in self._named:
                self._named.add(index)
                found.append(
                    f"process {index} of {len(notes)} on {one['host']} holds the others up: it"
                    f" takes {own:.2f} s a step by itself, {one['waiting_seconds']:.2f} s of it"
                    f" waiting for input; the median of the others is {usual:.2f} s"
                )
        return found
