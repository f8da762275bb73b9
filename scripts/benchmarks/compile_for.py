"""Compile a training step or an evaluation for a GPU or TPU that is not here, and report on it.

    .venv-aot/bin/python scripts/benchmarks/compile_for.py configs/cityscapes_coarse.py:arm
    ... --platform cuda --topology 1x1x8 configs/ade20k.py --config.batch_size=32
    ... --platform tpu --topology v5e:2x4 configs/cityscapes_coarse.py --until hlo
    ... --memory 12GiB configs/cityscapes_coarse.py --config.model.remat=True --config.accumulate=4
    ... --evaluate --size 1024 2048 configs/cityscapes_coarse.py

The compiler is the real one, XLA with the CUDA plugin or libtpu; `make aot` installs them in
.venv-aot, and they need no device. The report has the program's memory against the device's, its
operations against the network's own, the bytes that its kernels move and which move most, its
convolutions and collectives, and a roofline: a MODEL of the time, not a measurement.

Topologies: slices x hosts x GPUs of a host (1x1x8), of H100s; or a TPU generation and the shape of
its slice (v5e:1x1, v5e:2x4, v6e:2x4, v5p:2x2x1). `--until hlo` stops when the optimised program and
its memory are known, before code is made for each kernel, which takes longest.

Exit status: 0 it compiles, 1 the compiler fails, 2 something is wrong with the arguments.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from arm_jax.system import signals

if __name__ == "__main__":
    signals.start()  # before anything takes long to import

from aot import child, figures, report, targets

from arm_jax.system import command_line, files, outputs
from arm_jax.system.errors import InputError


@command_line.answered
def main(argv: Sequence[str] | None = None) -> int:
    arguments, overrides = parse(argv)
    folder = Path(tempfile.mkdtemp(prefix="compile_for."))
    try:
        topology = arguments.topology or targets.PLATFORMS[arguments.platform]
        device = targets.device(arguments.platform, topology)
        memory = targets.memory(arguments.memory) if arguments.memory else None
        if arguments.size and min(arguments.size) < 1:
            raise InputError(f"--size {arguments.size[0]} {arguments.size[1]}: both are at least 1")
        if arguments.json:
            outputs.refuse_foreign_file(arguments.json)
        child.require(arguments.platform)
        if arguments.keep:
            folder.rmdir()
            folder = arguments.keep
            if folder.exists() and any(folder.iterdir()):
                raise InputError(f"--keep {folder}: it is not empty; name another folder")
            folder.mkdir(parents=True, exist_ok=True)
        job = child.Job(
            arguments.row,
            tuple(overrides),
            arguments.platform,
            topology,
            arguments.evaluate,
            tuple(arguments.size) if arguments.size else None,
            arguments.classes,
        )
        result = child.run(job, folder.resolve(), arguments.until, arguments.timeout)
        found = figures.of(job, result, device)
        if arguments.json:
            files.write_json(arguments.json, found, indent=1)
    except child.CompileError as error:
        print(f"compile_for.py: {' '.join([arguments.row, *overrides])}: {error}", file=sys.stderr)
        return 1
    finally:
        if folder != arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(report.text(found, memory))
    return 0


def parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """The arguments, and the config values among them."""
    parser = command_line.Parser(__doc__)
    parser.add_argument("row", metavar="configs/x.py:row")
    parser.add_argument("--platform", choices=targets.PLATFORMS, default="cuda")
    parser.add_argument("--topology", help="default 1x1x1 for cuda, v5e:2x4 for tpu")
    parser.add_argument("--evaluate", action="store_true", help="labels of whole images")
    parser.add_argument(
        "--size", type=int, nargs=2, metavar=("H", "W"), help="of these images; default 1024 2048"
    )
    parser.add_argument("--classes", help="a benchmark's name or a number; default the config's")
    parser.add_argument("--memory", help="of a smaller card, such as 12GiB")
    parser.add_argument("--until", choices=child.UNTIL, default="end")
    parser.add_argument("--timeout", type=float, default=7200, help="seconds (default 7200)")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--keep", type=Path, help="folder for the compiler's own files")
    arguments, overrides = command_line.parse(parser, argv)
    if arguments.size and not arguments.evaluate:
        parser.error("--size goes with --evaluate; a training step has --config.augment.crop")
    return arguments, overrides


if __name__ == "__main__":
    raise SystemExit(main())
