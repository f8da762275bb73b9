"""Fail if the demo's or the grid's step no longer compiles well for an H100. For `.ci/run`.

    .venv-aot/bin/python scripts/benchmarks/compiled_gate.py
    .venv-aot/bin/python scripts/benchmarks/compiled_gate.py --update

Each is compiled in a process of its own, until its program is optimised. It must not abort, no
convolution may have a window larger than 9x9 (cuDNN has no kernel of its own for it), and its
kernels may move at most 2 % more bytes than compiled_gate.json has, which --update writes.
"""

import datetime
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aot import child, figures, roofline, targets

from arm_jax.system import command_line

RECORD = Path(__file__).with_name("compiled_gate.json")
PROGRAMS = ("configs/demo.py", "configs/grid.py")
TOLERANCE = 1.02
# What decides about the bytes; another version has another record.
VERSIONS = ("jax", "jaxlib", "jax-cuda13-plugin")


@command_line.answered
def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.Parser(__doc__)
    parser.add_argument("--update", action="store_true", help="write the record")
    arguments = parser.parse_args(argv)
    child.require("cuda")
    record = {} if arguments.update else json.loads(RECORD.read_text())
    found, faults = {}, []
    for row in PROGRAMS:
        try:
            one = compiled(row)
        except child.CompileError as error:
            faults.append(f"{row}: {error}")
            continue
        found[row] = one
        print(f"{row}: {one['traffic_bytes']:,} bytes, {one['cpu_seconds']:.0f} CPU seconds")
        faults += wide(row, one) + ([] if arguments.update else heavier(row, one, record))
    if arguments.update and not faults:
        write(found)
    for fault in faults:
        print(f"compiled_gate.py: {fault}", file=sys.stderr)
    return 1 if faults else 0


def compiled(row: str) -> dict[str, Any]:
    """The figures of a config's step, compiled for one H100 until its program is optimised."""
    job = child.Job(str(child.CHECKOUT / row))
    with tempfile.TemporaryDirectory(prefix="compiled_gate.") as folder:
        result = child.run(job, Path(folder), "hlo")
    return figures.of(job, result, targets.device("cuda", job.topology))


def wide(row: str, found: Mapping[str, Any]) -> list[str]:
    """The convolutions with too large a window, in words."""
    return [
        f"{row}: {one['convolutions']} x {one['kind']} with window {one['window']}"
        f" ({one['source'] or 'no source'}); none may be larger than"
        f" {roofline.LARGEST_WINDOW}x{roofline.LARGEST_WINDOW}"
        for one in found["windows"]
        if max(one["size"], default=1) > roofline.LARGEST_WINDOW
    ]


def heavier(row: str, found: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    """In words, that a program moves more bytes than the record has, or has no record."""
    remedy = "if that is meant, write the record anew by --update"
    versions = {name: found["packages"].get(name) for name in VERSIONS}
    if versions != record.get("packages"):
        return [
            f"{row}: compiled with {versions}, the record with {record.get('packages')}; {remedy}"
        ]
    before, now = record["traffic_bytes"].get(row, 0), found["traffic_bytes"]
    if now > TOLERANCE * before:
        return [f"{row}: {now:,} bytes where the record has {before:,}; {remedy}"]
    return []


def write(found: Mapping[str, Mapping[str, Any]]) -> None:
    """The record of programs just compiled."""
    packages = next(iter(found.values()))["packages"]
    record = {
        "date": datetime.date.today().isoformat(),
        "packages": {name: packages.get(name) for name in VERSIONS},
        "traffic_bytes": {row: one["traffic_bytes"] for row, one in found.items()},
    }
    RECORD.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
