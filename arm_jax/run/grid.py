"""Many runs of one experiment: rows of a table times seeds, each in its own folder.

What is complete is read from its folder, what was cut short continues, and the table is rewritten
after every run, so that a grid can be stopped at any time and started again.
"""

import math
import os
import platform
import shlex
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ml_collections import FrozenConfigDict

from arm_jax.run import configs, metrics_log, mirror, patience, starts
from arm_jax.run import folder as run_folder
from arm_jax.system import outputs, terminal
from arm_jax.system.errors import Diverged, InputError
from arm_jax.training.records import StepLine

if TYPE_CHECKING:
    from jax.sharding import Mesh

# The files that grids write beside their runs.
TABLES = (
    "table.md",
    "table.csv",
    "table.json",
    "compare.html",
    "breakdown.md",
    "breakdown.json",
    "breakdown.png",
    "results.jsonl",
)


@dataclass(frozen=True)
class Cell:
    """One run of a grid.

    Attributes:
      row: the name that tables show.
      seed: of weights, sample order, augmentation and simulated labels.
      config: complete.
      folder: its working directory.
    """

    row: str
    seed: int
    config: FrozenConfigDict
    folder: Path


@dataclass(frozen=True)
class Outcome:
    """What a table shows of a finished run, from the files it left.

    Attributes:
      values: mIoU, mAcc, aAcc in percent, and the final holder_ratio and loss_ratio where the run
        has an ARM. Empty for a run that diverged.
      diverged: why there are none, or "".
      devices: what the run was started on, each kind once.
      days: when it was started, as YYYY-MM-DD (UTC), each day once.
    """

    values: dict[str, float]
    diverged: str
    devices: tuple[str, ...]
    days: tuple[str, ...]


def names(rows: Sequence[str]) -> list[str]:
    """What tables and folders call `configs/x.py:row`: "row"; "x:row" if files differ.

    Raises InputError when a row is given twice.
    """
    parts = [(Path(row.partition(":")[0]).stem, row.partition(":")[2]) for row in rows]
    one_file = len({stem for stem, _ in parts}) == 1
    found = [(row or stem) if one_file else f"{stem}:{row}" for stem, row in parts]
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise InputError(f"row {twice[0]!r} is given twice; leave one of them out")
    return found


def folder_of(above: Path, name: str, *parts: str) -> Path:
    """Where the runs of a row are, whatever characters its name has."""
    return above.joinpath(name.replace(":", "-").replace(",", "+"), *parts)


def run(cell: Cell, mesh: "Mesh | None" = None) -> Outcome:
    """Train a cell unless it is complete, and read what it left.

    A run that diverges is an outcome. Everything else that `loop.train` raises goes through, so
    that SIGTERM stops the grid after saving.

    Raises:
      InputError: also when the folder holds a run of another config.
    """
    mirror.fetch(cell.folder)
    if run_folder.is_run(cell.folder):
        configs.continued(cell.folder, cell.config, may_grow=False)
    if not is_complete(cell):
        from arm_jax.run import loop  # JAX with it

        terminal.say(f"--- {cell.row}, seed {cell.seed}: {cell.folder}")
        try:
            loop.train(cell.config, cell.folder, mesh=mesh)
        except Diverged as error:
            terminal.say(f"{cell.row}, seed {cell.seed} diverged: {error}")
            return _outcome(cell, {}, str(error))
    return _outcome(cell, _results(cell), "")


def is_complete(cell: Cell) -> bool:
    """Whether the cell has been trained to its end."""
    saved = mirror.place(cell.folder) / "checkpoints" / str(_last_step(cell))
    return saved.is_dir() and bool(_results(cell))


def _results(cell: Cell) -> dict[str, float]:
    """The last figures of metrics.jsonl, which only training writes; {} if it has no last step."""
    last = _last_step(cell)
    scores = metrics_log.scores_at(cell.folder, last)
    if not scores:
        return {}
    for line in metrics_log.read(cell.folder):
        if isinstance(line, StepLine) and line.step <= last:
            ratios = {"holder_ratio": line.holder_ratio, "loss_ratio": line.loss_ratio}
            scores |= {name: value for name, value in ratios.items() if value is not None}
    return scores


def _last_step(cell: Cell) -> int:
    return patience.last_step(cell.folder, cell.config.patience, cell.config.steps)


def _outcome(cell: Cell, values: dict[str, float], diverged: str) -> Outcome:
    found = starts.read(cell.folder)
    return Outcome(
        values,
        diverged,
        devices=tuple(sorted({str(start.get("devices", "?")) for start in found})),
        days=tuple(sorted({str(start.get("time", "?"))[:10] for start in found})),
    )


def mean_and_spread(values: Iterable[float]) -> tuple[float, float]:
    """Mean and sample standard deviation; nan where there are too few values for them."""
    values = list(values)
    mean = statistics.fmean(values) if values else math.nan
    return mean, statistics.stdev(values) if len(values) > 1 else math.nan


def figure(mean: float, spread: float, digits: int = 2) -> str:
    """As in "71.94 ± 0.31"; the mean alone for a single value, "" for none."""
    if math.isnan(mean):
        return ""
    return f"{mean:.{digits}f}" + ("" if math.isnan(spread) else f" ± {spread:.{digits}f}")


def caption(outcomes: Sequence[Outcome], command: Sequence[str]) -> str:
    """How to make the numbers again, under a table: command, dates, hardware."""
    facts = dict(made(outcomes, command))
    return "\n".join(
        [
            f"Command: `{facts['command']}`  ",
            f"Runs of {facts['runs of']}, on {facts['devices']}."
            f" Tabulated on {facts['tabulated on']}.",
        ]
    )


def made(outcomes: Sequence[Outcome], command: Sequence[str]) -> list[tuple[str, str]]:
    """How to make the numbers again, as pairs of a word and a text."""
    days = sorted({day for outcome in outcomes for day in outcome.days})
    devices = sorted({device for outcome in outcomes for device in outcome.devices})
    days, devices = days or ["an unknown day"], devices or ["an unknown device"]
    versions = starts.versions()
    return [
        ("command", shlex.join(command)),
        ("runs of", " to ".join(dict.fromkeys((days[0], days[-1])))),
        ("devices", ", ".join(devices)),
        (
            "tabulated on",
            f"a machine with {os.cpu_count()} cores ({platform.machine()}),"
            f" Python {versions['python']}, jax {versions['packages']['jax']},"
            f" checkout {versions['git'] or 'unknown'}",
        ),
    ]


def claim(folder: Path) -> None:
    """Make `folder` that of a grid. Raises InputError if a file of its tables' names is there."""
    outputs.claim(folder, "a grid of runs", names=TABLES)
