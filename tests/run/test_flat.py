"""Long runs need no more of anything than short ones: memory, threads, file handles, disk."""

import os
import statistics
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import tiny

from arm_jax.run import loop
from arm_jax.run.progress import Progress
from arm_jax.system import sharding
from configs import base

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc"),
]
STEPS = 2000
ALONE = "ARM_JAX_TEST_ALONE"
ROOT = Path(__file__).parents[2]


def used() -> dict[str, int]:
    """What this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "MiB": pages * os.sysconf("SC_PAGE_SIZE") >> 20,
        "threads": len(os.listdir("/proc/self/task")),
        "Python threads": threading.active_count(),
        "handles": len(os.listdir("/proc/self/fd")),
    }


def test_two_thousand_steps_and_five_hundred_evaluated_images_hold_no_more(tmp_path, monkeypatch):
    if ALONE not in os.environ:  # what other tests of this process held may go or grow meanwhile
        command = [sys.executable, "-m", "pytest", "-q", "-m", "long", "-p", "no:cacheprovider"]
        environment = {**os.environ, ALONE: "1"}
        done = subprocess.run(
            [*command, __file__], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        told = [line for line in done.stdout.splitlines() if line.startswith("E  ")]
        assert done.returncode == 0, told or done.stderr[-3000:]
        return
    seen: dict[int, dict[str, int]] = {}
    after_step, after_evaluation = Progress.after_step, Progress.after_evaluation

    def stepped(self, step, window):
        after_step(self, step, window)
        if step % 10 == 0:
            seen[step] = used()

    evaluated = []

    def looked(self, step, result, *others):
        after_evaluation(self, step, result, *others)
        evaluated.append((result.images, used()))

    monkeypatch.setattr(Progress, "after_step", stepped)
    monkeypatch.setattr(Progress, "after_evaluation", looked)
    settings = {
        "steps": STEPS,
        "batch_size": 2,
        "eval_every": STEPS // 4,
        "save_every": 100,
        "log_every": 10,
        "data.eval_images": 125,
        "data.size": (32, 64),
        "augment.crop": (32, 32),
    }
    config = base.get_config("smoke")
    config.update_from_flattened_dict(settings)
    tiny.shrink(monkeypatch)
    mesh = sharding.one_device()
    loop.train(config, tmp_path, mesh=mesh)

    # Everything is compiled, and met once, in the first half.
    earlier = [held for step, held in seen.items() if step <= STEPS // 2]
    later = [held for step, held in seen.items() if step > STEPS // 2]
    growth = max(held["MiB"] for held in later) - max(held["MiB"] for held in earlier)
    assert growth <= 24, seen
    # Those that come and go with a checkpoint being saved are there in few of the samples.
    for name in ("threads", "Python threads", "handles"):
        first, second = (
            statistics.median(held[name] for held in part) for part in (earlier, later)
        )
        assert second - first <= 2, (name, first, second)
    assert sum(images for images, _ in evaluated) == 500
    # After an evaluation nothing is being saved.
    then, now = evaluated[1][1], evaluated[-1][1]
    assert now["MiB"] - then["MiB"] <= 24, evaluated
    for name in ("threads", "Python threads", "handles"):
        assert now[name] - then[name] <= 2, evaluated

    checkpoints = sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir())
    assert len(checkpoints) <= 4 and checkpoints[-1] == STEPS  # the newest three and the best
    events = sum(p.stat().st_size for p in tmp_path.glob("events.*"))
    assert events < 2000 * STEPS / 10
    # Nothing stays behind the run.
    assert not [t for t in threading.enumerate() if t.name in ("prefetch", "signals")]
