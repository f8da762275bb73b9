"""A trained network as a file for other programs.

    python scripts/export.py --config configs/custom.py --workdir runs/mine --checkpoint best \\
        --output mine.safetensors

What is written follows from the name of the output. NAME.safetensors: every parameter and running
statistic, float32, by this project's names, or with --names mmsegmentation as a state dict that the
same network there loads strictly. NAME.stablehlo: a program with the weights inside, from uint8 RGB
images (any number, height, width, 3) of --size to labels and scores, in the precision of the
config; `arm_jax.weights.export.stablehlo` tells how to run it without this package.

--config takes the same overrides as arm_jax.main, such as --config.model.dtype=float32.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from arm_jax.run.restore import restore
from arm_jax.system import command_line
from arm_jax.system.errors import InputError
from arm_jax.weights import export, weight_names

SUFFIXES = (".safetensors", ".stablehlo")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, help="the config that trained the run")
    parser.add_argument("--workdir", type=Path, required=True, help="the folder of the run")
    parser.add_argument("--checkpoint", default="latest", help="latest, best, or a step")
    parser.add_argument("--names", help="arm_jax (default) or mmsegmentation")
    parser.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="of images")
    parser.add_argument(
        "--output", type=Path, required=True, help=f"ends in {' or '.join(SUFFIXES)}"
    )
    arguments, overrides = command_line.parse(parser, argv)
    output = arguments.output
    try:
        is_program = output.suffix == SUFFIXES[1]
        if output.suffix not in SUFFIXES:
            raise InputError(f"{output} ends in neither of {' and '.join(SUFFIXES)}")
        if is_program and (arguments.size is None or min(arguments.size) < 1):
            raise InputError(f"{output} needs --size HEIGHT WIDTH, what images it is for")
        if arguments.names if is_program else arguments.size:
            option = "--names" if arguments.names else "--size"
            raise InputError(f"{option} does not go with {output}; leave it out")
        config = command_line.load_config(arguments.config, overrides)
        _, players, _ = restore(config, arguments.workdir, arguments.checkpoint)
        if is_program:
            export.save_stablehlo(players.segmenter, output, tuple(arguments.size))
        else:
            names = arguments.names or weight_names.OWN
            export.save_safetensors(players.segmenter, output, names)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
