"""What a run logs: lines of metrics.jsonl, TensorBoard's event files, trackers; and read again."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from arm_jax import settings
from arm_jax.run import json_lines, trackers, tracking
from arm_jax.system import files, processes, terminal
from arm_jax.training import records
from arm_jax.training.records import EvaluationLine, Line

FILE, HOSTS = "metrics.jsonl", "hosts.jsonl"
NUMBERS = ("step",)  # of each line


class MetricsLog:
    """Writes metrics.jsonl, TensorBoard's event files and to trackers, in the first process only.

    metrics.jsonl holds only what is determined by config and seed, so that an interrupted and
    continued run leaves the same file as an uninterrupted one; rates, images and figures of single
    classes go to TensorBoard and the trackers alone.
    """

    def __init__(self, workdir: Path, *, start_step: int, config: ConfigDict | None = None):
        """Forget what was logged after `start_step`: those steps are about to be made again.

        Args:
          workdir: the run's folder.
          start_step: the last step that is not made again.
          config: the run's, whose `tracker` names the trackers; None for none.
        """
        self._path = workdir / FILE
        self._writes = processes.is_first()
        self._kept: list[dict[str, Any]] = []
        if self._writes:
            self._kept = self._take_over(start_step)
            files.write(self._path, "".join(json.dumps(r) + "\n" for r in self._kept))
            # It takes long to import, and many mistakes are answered before.
            from arm_jax.run.events import Events

            self._trackers: list[tracking.Tracker] = [Events(workdir, purge_step=start_step + 1)]
            if config is not None:
                flat = settings.flat(config)
                self._trackers += trackers.started(config.tracker, workdir, flat)

    def _take_over(self, start_step: int) -> list[dict[str, Any]]:
        """The records up to a step; what is missing or damaged is reported, and kept aside."""
        found, damaged = json_lines.read(self._path, NUMBERS)
        kept = [record for record in found if record["step"] <= start_step]
        if damaged:
            aside = self._path.with_name(f"damaged_{self._path.name}")
            number = 1
            while aside.exists():
                number += 1
                aside = aside.with_name(f"damaged_{number}_{self._path.name}")
            self._path.rename(aside)
            terminal.say(
                f"{self._path}: lines that cannot be read, {damaged} of them, are left out; the"
                f" file as it was is now {aside}"
            )
        if start_step and not kept:
            terminal.say(
                f"{self._path} holds nothing of the first {start_step} steps, which were made"
                " before; the history begins here"
            )
        return kept

    def holds(self, step: int, name: str) -> bool:
        """Whether a record of an earlier start has this value at `step`, in every process."""
        return processes.from_first(
            lambda: any(name in record for record in self._kept if record["step"] == step)
        )

    def evaluations(self) -> list[tuple[int, float]]:
        """Step and mIoU of the evaluations of earlier starts, in every process."""
        return processes.from_first(
            lambda: [(r["step"], r["eval_mIoU"]) for r in self._kept if "eval_mIoU" in r]
        )

    def write(
        self, line: Line, rates: Mapping[str, float], beside: Mapping[str, float] | None = None
    ) -> None:
        """Append a line, which must be reproducible; `rates` need not be.

        What is `beside`, by its name for trackers, is only drawn.

        Raises InputError on a full disk.
        """
        if not self._writes:
            return
        json_lines.append(self._path, records.as_json(line))
        values = {**tracking.grouped(line, rates), **(beside or {})}
        for tracker in self._trackers:
            tracker.write(line.step, values)

    def show(self, step: int, images: Callable[[], Mapping[str, bytes]]) -> None:
        """Draw images, which only the first process makes; every process must call this."""

        def drawn() -> None:
            found = images()
            for tracker in self._trackers:
                tracker.show(step, found)

        processes.once(drawn)

    def write_hosts(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Append how each of several hosts keeps up to hosts.jsonl; no two runs have the same."""
        if self._writes:
            for line in lines:
                json_lines.append(self._path.with_name(HOSTS), line)

    def close(self, finished: bool = True) -> None:
        """Close the files; `finished` tells trackers whether the run made its last step."""
        if self._writes:
            for tracker in self._trackers:
                tracker.close(finished)


def read(workdir: str | Path) -> list[Line]:
    """The lines of metrics.jsonl; those that cannot be read are left out.

    Raises InputError when the file itself cannot be.
    """
    found, _ = json_lines.read(Path(workdir) / FILE, NUMBERS)
    return [line for line in map(records.parsed, found) if line is not None]


def damaged_lines(workdir: str | Path) -> int:
    """How many lines of metrics.jsonl cannot be read. Raises InputError as `read`."""
    return json_lines.read(Path(workdir) / FILE, NUMBERS)[1]


def scores_at(workdir: str | Path, step: int) -> dict[str, float]:
    """mIoU, mAcc and aAcc of the evaluation that training made at a step; {} if it made none."""
    for line in read(workdir):
        if isinstance(line, EvaluationLine) and line.step == step:
            return {"mIoU": line.eval_mIoU, "mAcc": line.eval_mAcc, "aAcc": line.eval_aAcc}
    return {}
