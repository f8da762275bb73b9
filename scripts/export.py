"""A trained network as a file for other programs.

    python scripts/export.py --workdir runs/mine --checkpoint best --output mine.safetensors

What is written follows from the name of the output. NAME.safetensors: every parameter and running
statistic, float32, by this project's names, or with --names mmsegmentation as a state dict that the
same network there loads strictly. NAME.stablehlo: a program with the weights inside, from uint8 RGB
images (any number, height, width, 3) of --size to labels and scores, in the precision of the run or
of --dtype; `arm_jax.weights.export.stablehlo` tells how to run it without this package.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from arm_jax.system import signals

if __name__ == "__main__":
    signals.start()  # before anything takes long to import

from arm_jax.run import restore
from arm_jax.system import command_line, outputs
from arm_jax.system.errors import InputError
from arm_jax.weights import export, weight_names

SUFFIXES = (".safetensors", ".stablehlo")


@command_line.answered
def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    restore.add_arguments(parser)
    parser.add_argument("--names", help="arm_jax (default) or mmsegmentation")
    parser.add_argument("--dtype", help="of a program; the run's if none")
    parser.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="of images")
    parser.add_argument(
        "--output", type=Path, required=True, help=f"ends in {' or '.join(SUFFIXES)}"
    )
    arguments, overrides = command_line.parse(parser, argv)
    output = arguments.output
    is_program = output.suffix == SUFFIXES[1]
    if output.suffix not in SUFFIXES:
        raise InputError(f"{output} ends in neither of {' and '.join(SUFFIXES)}")
    if is_program and (arguments.size is None or min(arguments.size) < 1):
        raise InputError(f"{output} needs --size HEIGHT WIDTH, what images it is for")
    given = {"--names": arguments.names, "--size": arguments.size, "--dtype": arguments.dtype}
    other = ["--names"] if is_program else ["--size", "--dtype"]
    for option in (option for option in other if given[option]):
        raise InputError(f"{option} does not go with {output}; leave it out")
    outputs.refuse_foreign_file(output)
    run = restore.from_arguments(arguments, overrides)
    model = run.in_precision(arguments.dtype) if arguments.dtype else run.model
    if is_program:
        export.save_stablehlo(model, output, tuple(arguments.size))
    else:
        names = arguments.names or weight_names.OWN
        export.save_safetensors(model, output, names, run.classes)
    print(f"wrote {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
