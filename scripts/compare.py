"""Rows of a table, over several seeds: train what is missing, tabulate mean and spread.

    python scripts/compare.py configs/demo.py:base configs/demo.py:linear configs/demo.py:arm \\
        --seeds 0,1,2,3,4 --workdir runs/compare

Each run has its own subfolder, ROW/seed_N, which `python -m arm_jax.main` can evaluate and draw.
Runs that are complete are read, one that was cut short continues: the same command goes on after
any interruption. Config values for all rows are given as for arm_jax.main, --config.steps=1000.
After every run WORKDIR gets table.md (mean and standard deviation over seeds, and each row's
difference to the first, seed by seed), table.csv (a line a run) and table.json (both); after the
last one compare.html, a page with intervals, paired differences and the same images side by side.
"""

import csv
import io
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arm_jax.system import signals

if __name__ == "__main__":
    signals.start()  # before anything takes long to import

from arm_jax.reporting import markdown as tables
from arm_jax.run import arguments as shared
from arm_jax.run import configs, grid, mirror
from arm_jax.run.grid import Cell, Outcome
from arm_jax.system import command_line, files, host_memory, terminal

if TYPE_CHECKING:
    from jax.sharding import Mesh

METRICS = ("mIoU", "mAcc", "aAcc", "holder_ratio", "loss_ratio")
# Column of the table -> its title and digits. `gain` is explained at `summary`.
COLUMNS = {
    "mIoU": ("mIoU, %", 2),
    "gain": ("mIoU above {first}", 2),
    "mAcc": ("mAcc, %", 2),
    "aAcc": ("aAcc, %", 2),
    "holder_ratio": ("Hölder ratio", 3),
    "loss_ratio": ("weighted / plain loss", 2),
}


@command_line.answered
def main(argv: Sequence[str] | None = None, mesh: "Mesh | None" = None) -> int:
    parser = command_line.Parser(__doc__)
    shared.add_rows(parser, seeds="0,1,2,3,4")
    arguments, overrides = command_line.parse(parser, argv)
    command = command_line.typed("scripts/compare.py", argv)
    outcomes: list[Outcome] = []
    planned = cells(arguments.rows, arguments.seeds, arguments.workdir, overrides)
    grid.claim(arguments.workdir)
    for cell in planned:
        outcomes.append(grid.run(cell, mesh))
        write(arguments.workdir, planned, outcomes, command)
    made = grid.made(outcomes, command)
    from arm_jax.run import comparison  # JAX with it

    drawn = comparison.write(arguments.workdir, planned, outcomes, made, mesh)
    mirror.finish(arguments.workdir)
    terminal.say((arguments.workdir / "table.md").read_text())
    terminal.say(f"report       {drawn}")
    return 0


def cells(
    rows: Sequence[str], seeds: Sequence[int], folder: Path, overrides: Sequence[str]
) -> list[Cell]:
    """All runs, seed by seed, so that an unfinished table already compares all rows."""
    found = []
    for seed in seeds:
        for row, name in zip(rows, grid.names(rows), strict=True):
            config = configs.load(row, [*overrides, f"--config.seed={seed}"])
            found.append(Cell(name, seed, config, grid.folder_of(folder, name, f"seed_{seed}")))
    return found


def write(
    folder: Path, planned: Sequence[Cell], outcomes: Sequence[Outcome], command: Sequence[str]
) -> None:
    """The three tables over the runs made so far, the first of those planned."""
    caption = grid.caption(outcomes, command)
    runs = [
        {"row": cell.row, "seed": cell.seed, **outcome.values, "diverged": outcome.diverged}
        for cell, outcome in zip(planned, outcomes, strict=False)
    ]
    rows = summary(planned, outcomes)
    files.write(folder / "table.md", f"{markdown(rows)}\n\n{caption}\n")
    files.write(folder / "table.csv", as_csv(runs))
    report = {"command": list(command), "caption": caption, "rows": rows, "runs": runs}
    files.write_json(folder / "table.json", report, indent=2)


def summary(planned: Sequence[Cell], outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """One entry a row: how many runs, and of each metric mean and standard deviation (or nan).

    `gain` is the mIoU above that of the first row at the same seed, where network, sample order and
    augmentation are the same: its spread does not hold what both rows share.
    """
    found: dict[str, dict[int, dict[str, float]]] = {cell.row: {} for cell in planned}
    for cell, outcome in zip(planned, outcomes, strict=False):
        found[cell.row][cell.seed] = outcome.values
    first = next(iter(found.values()))
    rows = []
    for name, by_seed in found.items():
        finished = {seed: values for seed, values in by_seed.items() if values}
        entry: dict[str, Any] = {
            "row": name,
            "planned": sum(cell.row == name for cell in planned),
            "finished": len(finished),
            "diverged": len(by_seed) - len(finished),
        }
        for metric in METRICS:
            values = [v[metric] for v in finished.values() if metric in v]
            entry[metric] = grid.mean_and_spread(values)
        entry["gain"] = grid.mean_and_spread(
            [
                values["mIoU"] - first[seed]["mIoU"]
                for seed, values in finished.items()
                if by_seed is not first and first.get(seed)
            ]
        )
        rows.append(entry)
    return rows


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The summary as a table; cells without a measurement are empty."""
    shown = [name for name in COLUMNS if not all(math.isnan(row[name][0]) for row in rows)]
    titles = [COLUMNS[name][0].format(first=rows[0]["row"]) for name in shown]
    lines = []
    for row in rows:
        runs = f"{row['finished']} of {row['planned']}"
        if row["diverged"]:
            runs += f", {row['diverged']} diverged"
        figures = [grid.figure(*row[name], COLUMNS[name][1]) for name in shown]
        lines.append([row["row"], runs, *figures])
    return tables.table(["row", "runs", *titles], lines)


def as_csv(runs: Sequence[dict]) -> str:
    """A line a run."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ["row", "seed", *METRICS, "diverged"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(runs)
    return text.getvalue()


if __name__ == "__main__":
    host_memory.keep_freed()
    sys.exit(main())
