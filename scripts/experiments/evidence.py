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
import hashlib
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
import evidence_tables
import measure
from evidence_tables import BASE, KINDS, ROWS
from jax.sharding import Mesh

from arm_jax import settings
from arm_jax.run import arguments as shared
from arm_jax.run import configs, grid
from arm_jax.run.grid import Cell
from arm_jax.system import command_line, files, host_memory, locks, terminal
from arm_jax.system.errors import InputError

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

    @property
    def settings(self) -> str:
        """A digest of what decides the figures but the seed, and not of where files lie."""
        flat = settings.flat(self.cell.config)
        kept = {
            key: value
            for key, value in flat.items()
            if settings.BY_KEY[key].decides != settings.NOTHING
            and key not in ("seed", "model.pretrained")
        }
        return hashlib.blake2b(repr(sorted(kept.items())).encode(), digest_size=6).hexdigest()


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
    known = {}
    for path in filter(None, (arguments.known, folder / RESULTS)):
        known |= _of_bench(path, bench, runs)
    grid.claim(folder)
    add(folder, known, command)
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
        "settings": run.settings,
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


def _of_bench(
    path: Path, bench: str, runs: Sequence[Planned]
) -> dict[tuple[str, str, int], dict[str, Any]]:
    """`read`, refusing the runs of another bench, and those of a row that had other settings.

    Lines of before 2026-11-27 do not say which settings they had.
    """
    found, steps = read(path), runs[0].cell.config.steps
    for one in found.values():
        its, its_steps = one.get("bench", bench), one.get("steps", steps)
        if (its, its_steps) != (bench, steps):
            raise InputError(
                f"{path} has runs of {its} with {its_steps} steps, and these are of {bench} with"
                f" {steps}; give another folder or file"
            )
    for run in runs:
        one = found.get(run.key, {})
        if one.get("settings", run.settings) != run.settings:
            raise InputError(
                f"{path} has {run.cell.row} on {run.kind} labels, seed {run.cell.seed}, of other"
                " settings than it has now; give another folder or file"
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
    files.write(folder / TABLE, evidence_tables.report(list(results.values()), command))


if __name__ == "__main__":
    host_memory.keep_freed()
    sys.exit(main())
