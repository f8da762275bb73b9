"""A random moment in the life of a command, the same for the same numbers of the generator.

Half of the moments are the number of a change of a file, at which the process kills itself: these
are exact. The others are a time after a line that it prints, in proportion to how long that part
took undisturbed, or soon after a checkpoint begins to be saved.
"""

import random
import time
from collections.abc import Sequence
from pathlib import Path

from tests.campaign.processes import Process


def change(rng: random.Random, changes: int) -> int:
    """Number of the change at which a process is to end."""
    return rng.randrange(1, max(changes, 1) + 1)


def reach(rng: random.Random, process: Process, timeline: Sequence[float], place: Path) -> str:
    """Wait for a random moment, or the end; returns what it is called.

    Args:
      rng: decides.
      process: just started.
      timeline: when each of its lines came in the reference, from the start to the end.
      place: where it saves checkpoints, if it does.
    """
    part = rng.randrange(len(timeline) - 1)
    share, saving = rng.random(), rng.random() < 0.25
    gap = max(timeline[part + 1] - timeline[part], 0.02)
    while process.running() and process.lines() < part:
        time.sleep(0.002)
    if saving and (place / "run" / "checkpoints").is_dir():
        until = time.monotonic() + gap + 2
        while process.running() and time.monotonic() < until:
            if any((place / "run" / "checkpoints").glob("*orbax-checkpoint-tmp*")):
                process.sleep(0.15 * share)
                return "while saving"
            time.sleep(0.001)
        return "after saving"
    process.sleep(gap * share)
    return f"part {part}.{int(10 * share)}"
