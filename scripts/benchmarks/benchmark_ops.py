"""Single operations by the plain primitive and as the package computes them, each way of each.

    python scripts/benchmarks/benchmark_ops.py --crop 128 256 --batch 2 --precision float32
    python scripts/benchmarks/benchmark_ops.py --crop 512 1024 --batch 8 --only depthwise

Dense, dilated, depthwise and grouped convolutions, resizing, pooling and BatchNorm, forward and
both gradients, at the sizes that they have in the ResNets' networks (benchmarking/operations.py).
The two take turns. "plain / package" above 1: the package's way is faster, by the clock and by
processor seconds, which on a CPU feel other loads less. The difference is the largest one, over the
largest absolute value of the plain result.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arm_jax.system import signals

if __name__ == "__main__":
    signals.start()  # before anything takes long to import

import jax
import jax.numpy as jnp
from benchmarking import operations, report, timing

from arm_jax.settings.rows import DTYPES
from arm_jax.system import command_line, files, host_memory, outputs, terminal
from arm_jax.system.errors import InputError


@command_line.answered
def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.Parser(__doc__)
    parser.add_argument("--crop", type=int, nargs=2, default=(512, 1024), help="height and width")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--precision", default="bfloat16", choices=DTYPES)
    parser.add_argument("--only", default="", help="those whose name has this in it")
    parser.add_argument("--repeat", type=int, default=10, help="turns of each (default 10)")
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args(argv)
    command = command_line.typed("scripts/benchmarks/benchmark_ops.py", argv)
    figures = report.provenance(command)
    if arguments.json:
        outputs.refuse_foreign_file(arguments.json)
    rows = measure(arguments)
    setting = {
        "crop": list(arguments.crop),
        "batch": arguments.batch,
        "precision": arguments.precision,
        "turns": arguments.repeat,
    }
    figures |= {"setting": setting, "rows": rows}
    print("\n".join([*report.origin(figures), "", *table(rows)]))
    if arguments.json:
        files.write_json(arguments.json, figures, indent=2)
    return 0


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each direction of each operation.

    Raises:
        InputError: a number that is not positive, or no such operation.
    """
    for name in ("batch", "repeat"):
        if getattr(arguments, name) < 1:
            raise InputError(f"--{name} {getattr(arguments, name)}: it must be at least 1")
    if min(arguments.crop) < 1:
        raise InputError(f"--crop {arguments.crop[0]} {arguments.crop[1]}: both must be positive")
    every = operations.listed(arguments.crop, arguments.batch)
    chosen = [one for one in every if arguments.only in one.name]
    if not chosen:
        names = "; ".join(one.name for one in every)
        raise InputError(f"--only {arguments.only!r} fits none of: {names}")
    rows = []
    for operation in terminal.bar("measure", chosen, unit="operation"):
        inputs = operations.arrays(operation, arguments.precision)
        for direction, function in operations.directions(operation).items():
            rows.append(
                {"operation": operation.name, "direction": direction}
                | compare(operation, function, inputs, arguments.repeat)
            )
    return rows


def compare(operation: operations.Operation, function: Any, inputs: Any, repeat: int) -> dict:
    """Both ways on the same arrays: times, their quotient, and how far the results are apart."""
    jitted = jax.jit(function, static_argnums=0)
    ways = {"plain": operation.plain, "package": operation.package}
    plain, package = (jitted(way, *inputs).astype(jnp.float32) for way in ways.values())
    scale = jnp.max(jnp.abs(plain))
    works = {
        name: timing.prepared(lambda way=way: jitted(way, *inputs)) for name, way in ways.items()
    }
    found = timing.by_turns(works, repeat)
    times = {name: timing.Timing.of(turns) for name, turns in found.items()}
    figures: dict[str, Any] = {name: time._asdict() for name, time in times.items()}
    figures["plain_over_package"] = timing.ratio(found["plain"], found["package"])
    figures["difference"] = float(jnp.max(jnp.abs(plain - package)) / scale)
    if operation.operations:
        figures["operations_per_second"] = operation.operations / times["package"].median
    return figures


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    head = f"{'operation':28}{'':21}{'plain, ms':>11}{'package, ms':>13}{'plain / package':>18}"
    lines = [head + f"{'by CPU':>10}{'difference':>13}{'GFLOP/s':>11}"]
    for row in rows:
        line = f"{row['operation']:28}{row['direction']:21}"
        line += f"{1e3 * row['plain']['median']:11.3f}{1e3 * row['package']['median']:13.3f}"
        ratio = row["plain_over_package"]
        line += f"{ratio['median']:18.2f}{ratio['cpu']:10.2f}{row['difference']:13.1e}"
        if "operations_per_second" in row:
            line += f"{row['operations_per_second'] / 1e9:11.1f}"
        lines.append(line)
    return lines


if __name__ == "__main__":
    host_memory.keep_freed()
    raise SystemExit(main())
