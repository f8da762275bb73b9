"""The evidence: rows on several kinds of labels, paired by seed, until the time is up.

    python scripts/experiments/evidence.py configs/camvid_head.py --root /data/camvid \\
        --seeds 0,1,2,3,4,5,6,7,8,9 --workdir runs/evidence

Trains every row on every kind of labels with every seed, each run in KIND/ROW/seed_N of --workdir,
and measures it on the whole test split. The same command goes on after any interruption, and trains
only what is missing; --minutes stops it between two runs; several of it at once share the runs.
After every run WORKDIR gets results.jsonl, a line a run, and table.md: by the rule of
scripts/experiments/RULE.md, the rows, and the claims of the paper. Config values for all runs are
given as for arm_jax.main, --config.model.pretrained=FILE. --known takes the runs of an earlier
results.jsonl for made, as those in scripts/experiments/results; --table only writes the table.
"""

import argparse
import contextlib
import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from arm_jax.system import signals

if __name__ == "__main__":
    signals.start()  # before anything takes long to import

import claims
import measure
import pairs
from jax.sharding import Mesh

from arm_jax import settings
from arm_jax.reporting import markdown
from arm_jax.run import arguments as shared
from arm_jax.run import configs, grid
from arm_jax.run.grid import Cell
from arm_jax.system import command_line, files, host_memory, locks, terminal
from arm_jax.system.errors import InputError

# Kinds of labels, all made from the fine ones; the last is what they are measured against.
KINDS: dict[str, dict[str, Any]] = {
    "cityscapes": {"data.coarsen": "cityscapes"},
    "hard": {"data.coarsen": "hard"},
    "sloppy": {"data.coarsen": "sloppy"},
    "flip10": {"data.coarsen": "cityscapes", "data.wrong_share": 0.1},
    "fine": {"data.coarsen": "", "data.train_labels": "fine"},
}
FINE, BASE = "fine", "base"
# `matched`: steps as long as the base model's.
ROWS = ("base", "linear", "arm", "linear,matched", "arm,matched", "recipe", "recipe_arm")
# The training's own evaluation only shows that the run is sound: the test split is measured after.
SOUND = {"data.eval_images": 8, "keep": 1}
RESULTS, TABLE = "results.jsonl", "table.md"


@dataclass(frozen=True)
class Planned:
    """A run to make: a kind of labels, and the cell of a grid."""

    kind: str
    cell: Cell

    @property
    def key(self) -> tuple[str, str, int]:
        return self.kind, self.cell.row, self.cell.seed


@command_line.answered
def main(argv: Sequence[str] | None = None, mesh: Mesh | None = None) -> int:
    return finish(argv, __doc__, "evidence", lambda run: made(run, mesh))


def finish(
    argv: Sequence[str] | None,
    text: str | None,
    script: str,
    make: Callable[[Planned], dict[str, Any]],
    defaults: Mapping[str, Any] = MappingProxyType({}),
) -> int:
    """Make what the command line asks for and is not there yet, and print the table.

    Args:
      argv: of the command line.
      text: for --help.
      script: its name in this folder.
      make: a line of results.jsonl from a run.
      defaults: settings of all runs where the command line names no other value.
    """
    parser = command_line.Parser(text)
    parser.add_argument("config", help="the bench: a file of configs/, without a row")
    parser.add_argument("--rows", default=";".join(ROWS), help="rows, separated by ;")
    parser.add_argument(
        "--claims",
        type=shared.integers,
        default=[],
        help="add the rows of these tables of the paper, as in 1,2,4,5",
    )
    parser.add_argument("--kinds", default=",".join(KINDS), help="kinds of labels")
    parser.add_argument(
        "--seeds", type=shared.integers, default=list(range(10)), help="as in 0,1,2"
    )
    parser.add_argument("--root", default="", help="folder of the data; the config's by default")
    parser.add_argument("--workdir", type=Path, required=True, help="one subfolder a run")
    parser.add_argument(
        "--known", type=Path, help="results.jsonl of earlier runs, which are not made again"
    )
    parser.add_argument("--minutes", type=float, help="begin no run after so long")
    parser.add_argument("--table", action="store_true", help="train nothing")
    arguments, overrides = command_line.parse(parser, argv)
    named = {override.partition("=")[0] for override in overrides}
    added = {f"--config.{key}": value for key, value in defaults.items()}
    overrides += [f"{key}={value}" for key, value in added.items() if key not in named]
    command = command_line.typed(f"scripts/experiments/{script}.py", argv)
    folder, start = arguments.workdir, time.monotonic()
    runs = list(plan(arguments, overrides))
    config = runs[0].cell.config
    bench = f"{script}.py {Path(arguments.config).name} on {config.data.dataset}"
    if arguments.known and not arguments.known.is_file():
        raise InputError(f"--known {arguments.known} is no file; give a results.jsonl")
    known = _of_bench(arguments.known, bench, config.steps) if arguments.known else {}
    grid.claim(folder)
    add(folder, known | _of_bench(folder / RESULTS, bench, config.steps), command)
    for run in runs:
        late = arguments.minutes and time.monotonic() - start > 60 * arguments.minutes
        if run.key in read(folder / RESULTS) or arguments.table or late:
            continue
        terminal.say(f"=== {run.kind} labels, {run.cell.row}, seed {run.cell.seed}")
        try:
            with _alone(run):
                if run.key not in read(folder / RESULTS):
                    add(folder, {run.key: {"bench": bench, **make(run)}}, command)
        except locks.Busy as error:
            terminal.say(f"left to another process: {error}")
    print((folder / TABLE).read_text())
    return 0


def plan(arguments: argparse.Namespace, overrides: Sequence[str]) -> Iterator[Planned]:
    """All runs, seed by seed, so that an unfinished table already compares all rows."""
    kinds = arguments.kinds.split(",")
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise InputError(f"--kinds has {unknown[0]!r}; choose from {', '.join(KINDS)}")
    rows = [BASE, *arguments.rows.split(";"), *claims.rows_of(arguments.claims)]
    rows = list(dict.fromkeys(rows))
    root = [f"--config.data.root={arguments.root}"] if arguments.root else []
    for seed in arguments.seeds:
        for kind in kinds:
            for row in rows:
                config = configs.load(f"{arguments.config}:{row}", [*root, *overrides])
                config = settings.frozen(config, {**SOUND, **KINDS[kind], "seed": seed})
                where = grid.folder_of(arguments.workdir, row, f"seed_{seed}")
                where = arguments.workdir / kind / where.relative_to(arguments.workdir)
                yield Planned(kind, Cell(row, seed, config, where))


def made(run: Planned, mesh: Mesh | None = None) -> dict[str, Any]:
    """Train and measure a run: its line of results.jsonl."""
    cpu = time.process_time()
    outcome = grid.run(run.cell, mesh)
    found: dict[str, Any] = {
        "kind": run.kind,
        "row": run.cell.row,
        "seed": run.cell.seed,
        "steps": run.cell.config.steps,
        "diverged": outcome.diverged,
    }
    if not outcome.diverged:
        found |= dataclasses.asdict(measure.measure(run.cell.folder))
        found |= {name: value for name, value in outcome.values.items() if name.endswith("_ratio")}
    found["cpu_seconds"] = round(time.process_time() - cpu)
    return found | {"devices": list(outcome.devices), "days": list(outcome.days)}


def read(path: Path) -> dict[tuple[str, str, int], dict[str, Any]]:
    """The lines of a results.jsonl by kind, row and seed; {} where there is none."""
    if not path.exists():
        return {}
    found = {}
    try:
        for line in path.read_text().splitlines():
            one = json.loads(line)
            found[one["kind"], one["row"], one["seed"]] = one
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} holds a line that is no result ({error}); remove it") from None
    return found


def _of_bench(path: Path, bench: str, steps: int) -> dict[tuple[str, str, int], dict[str, Any]]:
    """`read`, refusing the runs of another bench."""
    found = read(path)
    for one in found.values():
        its, its_steps = one.get("bench", bench), one.get("steps", steps)
        if (its, its_steps) != (bench, steps):
            raise InputError(
                f"{path} has runs of {its} with {its_steps} steps, and these are of {bench} with"
                f" {steps}; give another folder or file"
            )
    return found


def _alone(run: Planned) -> contextlib.AbstractContextManager[bool]:
    """For one process at a time, which trains a run and measures it."""
    above = run.cell.folder.parent
    above.mkdir(parents=True, exist_ok=True)
    return locks.held(above, name=f".{run.cell.folder.name}.lock")


def add(
    folder: Path, found: Mapping[tuple[str, str, int], dict[str, Any]], command: Sequence[str]
) -> None:
    """Both files over the runs made so far, by whatever process, and these."""
    with locks.held(folder, wait=math.inf):
        write(folder, read(folder / RESULTS) | found, command)


def write(
    folder: Path, results: dict[tuple[str, str, int], dict[str, Any]], command: Sequence[str]
) -> None:
    """See `add`."""
    lines = (json.dumps(files.plain(one)) + "\n" for one in results.values())
    files.write(folder / RESULTS, "".join(lines))
    files.write(folder / TABLE, report(list(results.values()), command))


def report(results: Sequence[dict[str, Any]], command: Sequence[str]) -> str:
    """The rows of each kind of labels, the claims, and how to make the numbers again."""
    parts = [rows_table(results)]
    for kind in dict.fromkeys(one["kind"] for one in results):
        parts += [f"Claims of the paper, on {kind} labels:", claims_table(results, kind)]
    outcomes = [grid.Outcome({}, "", tuple(one["devices"]), tuple(one["days"])) for one in results]
    return "\n\n".join([*parts, grid.caption(outcomes, command)]) + "\n"


def claims_table(results: Sequence[dict[str, Any]], kind: str) -> str:
    """What the runs on a kind of labels say of the claims."""
    found = {
        row: claims.Runs(values(results, kind, row), diverged(results, kind, row))
        for row in dict.fromkeys(one["row"] for one in results)
    }
    return claims.table(found)


def rows_table(results: Sequence[dict[str, Any]]) -> str:
    """A line for each kind of labels and row."""
    heads = ["labels", "row", "runs", "mIoU, %", "above base (95 %)", "p", "gap closed"]
    heads += ["band mIoU", "mAcc", "aAcc", "ECE"]
    lines = []
    fine = values(results, FINE, BASE)
    kinds, usual = list(KINDS), list(dict.fromkeys((*ROWS, *claims.ROWS)))

    def place(one: tuple[str, str]) -> tuple[int, int, str]:
        kind, row = one
        return kinds.index(kind), usual.index(row) if row in usual else len(usual), row

    for kind, row in sorted({(one["kind"], one["row"]) for one in results}, key=place):
        ours, base = values(results, kind, row), values(results, kind, BASE)
        found = pairs.difference(ours, base)
        share = math.nan if kind == FINE else pairs.share_of_gap(ours, base, fine)
        lost = diverged(results, kind, row)
        own = row == BASE
        cells = [
            kind,
            f"`{row}`",
            f"{len(ours) + lost}" + (f", {lost} diverged" if lost else ""),
            spread(ours.values()),
            "" if own else claims.interval(found),
            "" if own or math.isnan(found.p) else f"{found.p:.3f}",
            "" if own or math.isnan(share) else f"{100 * share:.0f} %",
            *(
                spread(values(results, kind, row, name).values(), 1)
                for name in ("band", "mAcc", "aAcc", "ece")
            ),
        ]
        lines.append(cells)
    return markdown.table(heads, lines)


def values(
    results: Sequence[dict[str, Any]], kind: str, row: str, metric: str = "mIoU"
) -> dict[int, float]:
    """A figure by seed, of the runs that finished."""
    return {
        one["seed"]: one[metric]
        for one in results
        if (one["kind"], one["row"]) == (kind, row) and one.get(metric) is not None
    }


def diverged(results: Sequence[dict[str, Any]], kind: str, row: str) -> int:
    """How many runs have no figure."""
    same = [one for one in results if (one["kind"], one["row"]) == (kind, row)]
    return sum(bool(one["diverged"]) for one in same)


def spread(found: Any, digits: int = 2) -> str:
    """Mean and standard deviation over seeds."""
    return grid.figure(*grid.mean_and_spread(found), digits)


if __name__ == "__main__":
    host_memory.keep_freed()
    sys.exit(main())
