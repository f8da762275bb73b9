"""Compile the project's programs for devices that are absent, one after the other, into a table.

    nice -n 15 .venv-aot/bin/python scripts/benchmarks/compiled_table.py runs/compiled.jsonl
    .venv-aot/bin/python scripts/benchmarks/compiled_table.py runs/compiled.jsonl --markdown

One line of JSON a program (aot/cells.py says which and why), written when it is there: a run that
was stopped goes on where it stopped, and another version of JAX adds lines of its own to the same
file. Each program is compiled in a process of its own, most until it is optimised and its memory
is known (XLA's passes and, on TPUs, the check against the device's memory), the first steps to the
end. --markdown prints what the file has; what was not compiled stays empty.
"""

import argparse
import datetime
import importlib.metadata
import json
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from arm_jax.system import signals

if __name__ == "__main__":
    signals.start()  # before anything takes long to import

from aot import cells, child, figures, targets
from aot.cells import Cell

from arm_jax.reporting import markdown as tables
from arm_jax.system import command_line
from arm_jax.system.errors import InputError

KEPT = (
    *("device", "devices", "device_memory", "memory_bytes", "operations", "useful_operations"),
    *("traffic_bytes", "kernels", "packages", "cpu_seconds", "products", "windows", "collectives"),
    "model",
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.Parser(__doc__)
    parser.add_argument("file", type=Path, help="JSON lines; made where it is missing")
    parser.add_argument("--markdown", action="store_true", help="print the tables, compile nothing")
    parser.add_argument("--few", action="store_true", help="fewer cells, for another version")
    parser.add_argument("--only", default="", help="cells whose name contains this")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no cell after this time")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds a cell")
    arguments = parser.parse_args(argv)
    rows = runpy.run_path(str(child.CHECKOUT / "configs" / "base.py"))["ROWS"]
    every, few = cells.listed(rows), cells.few(rows)
    listed = [cell for cell in (few if arguments.few else every) if arguments.only in cell.key]
    try:
        if arguments.markdown:
            print("\n".join(markdown(every, few, read(arguments.file))))
            return 0
        return fill(arguments, listed)
    except InputError as error:
        print(f"compiled_table.py: {error}", file=sys.stderr)
        return 2


def fill(arguments: argparse.Namespace, listed: Sequence[Cell]) -> int:
    """Compile what the file does not have for this version of JAX."""
    for platform in {cell.job.platform for cell in listed}:
        child.require(platform)
    version = importlib.metadata.version("jax")
    done = {one["key"] for one in read(arguments.file) if one["packages"]["jax"] == version}
    todo = [cell for cell in listed if cell.key not in done]
    arguments.file.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    for number, cell in enumerate(todo, start=1):
        now = datetime.datetime.now()
        if time.monotonic() - start > 60 * arguments.minutes:
            print(f"{len(todo) - number + 1} cells are left")
            break
        one = compiled(cell, arguments.timeout) | {"key": cell.key, "until": cell.until}
        one |= {"date": f"{now:%Y-%m-%d}", "checkout": checkout()}
        one.setdefault("packages", {"jax": version})
        with open(arguments.file, "a") as file:
            file.write(json.dumps(one) + "\n")
        print(f"{now:%H:%M} {number}/{len(todo)} {cell.key}: {one['status']}", flush=True)
    return 0


def compiled(cell: Cell, timeout: float) -> dict[str, Any]:
    """The figures of a cell, or the reason why there are none."""
    with tempfile.TemporaryDirectory(prefix="compiled.") as folder:
        try:
            result = child.run(cell.job, Path(folder), cell.until, timeout)
        except (child.CompileError, InputError) as error:
            return {"status": f"fails: {error}"}
    device = targets.device(cell.job.platform, cell.job.topology)
    found = figures.of(cell.job, result, device)
    return {"status": "compiles"} | {name: found[name] for name in KEPT if name in found}


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of the file; [] if there is none. Of a cell that is there twice the last counts."""
    if not path.exists():
        return []
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for line in path.read_text().splitlines():
        one = json.loads(line)
        found[one["packages"]["jax"], one["key"]] = one
    return list(found.values())


def checkout() -> str:
    """The commit that is compiled, "" where git does not tell."""
    command = ["git", "-C", str(child.CHECKOUT), "rev-parse", "--short", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip()


def markdown(
    every: Sequence[Cell], few: Sequence[Cell], found: Iterable[dict[str, Any]]
) -> list[str]:
    """The tables of the file, one for each version of JAX and part of the set.

    A version of which only cells of `few` were compiled has those alone.
    """
    found = list(found)
    lines: list[str] = []
    for version in sorted({one["packages"]["jax"] for one in found}, key=_numbers):
        results = {one["key"]: one for one in found if one["packages"]["jax"] == version}
        listed = few if results.keys() <= {cell.key for cell in few} else every
        names: dict[str, str] = {}
        for one in results.values():
            names |= one["packages"]
        packages = ", ".join(f"{name} {value}" for name, value in names.items())
        dates = sorted({one["date"] for one in results.values()})
        commits = sorted({one["checkout"] for one in results.values()})
        span = " to ".join(dict.fromkeys((dates[0], dates[-1])))
        lines += ["", f"**jax {version}** ({packages}; {span}; checkout {', '.join(commits)}):"]
        for table in dict.fromkeys(cell.table for cell in listed):
            members = [cell for cell in listed if cell.table == table]
            if listed is every or any(cell.key in results for cell in members):
                lines += _table(table, members, results)
    return lines


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]


def _table(title: str, members: Sequence[Cell], results: dict[str, dict[str, Any]]) -> list[str]:
    """Lines by columns."""
    columns = list(dict.fromkeys(cell.column for cell in members))
    known = {(cell.line, cell.column): results.get(cell.key) for cell in members}
    rows = [
        [line, *(_text(known[line, k]) if (line, k) in known else "-" for k in columns)]
        for line in dict.fromkeys(cell.line for cell in members)
    ]
    return ["", tables.table([title, *columns], rows), ""]


def _text(one: dict[str, Any] | None) -> str:
    """A cell: memory, bytes and the model's time; the reason of a failure; "" if not compiled."""
    if one is None:
        return ""
    if one["status"] != "compiles":
        return one["status"].replace("|", "\\|")
    memory = one["memory_bytes"] / targets.GIB
    seconds = one["model"]["seconds"]
    moved = one["traffic_bytes"] / 1e9
    mark = " ¹" if "products" in one else ""
    return f"{_short(memory)} GiB, {_short(moved)} GB, {_short(1e3 * seconds)} ms{mark}"


def _short(number: float) -> str:
    """Three digits, or all of those before the point."""
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


if __name__ == "__main__":
    raise SystemExit(main())
