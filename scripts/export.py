"""A trained network as a file for other programs.

    python scripts/export.py --workdir runs/mine --checkpoint best --output mine.safetensors

What is written follows from the name of the output. NAME.safetensors: every parameter and running
statistic, float32, by this project's names, or with --names mmsegmentation as a state dict that the
same network there loads strictly. NAME.stablehlo: a program with the weights inside, from uint8 RGB
images (any number, height, width, 3) of --size to labels and scores, in the precision of the run or
of --dtype; `arm_jax.weights.export.stablehlo` shows how to run it without this package. NAME.onnx:
the same in float32 for ONNX Runtime and its like, which runs it here before the file gets its name,
on random values and on the run's evaluation images, or on those of --images.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from arm_jax.system import signals

if __name__ == "__main__":
    signals.start()  # before anything takes long to import

import cv2
import numpy as np

from arm_jax.data import bands
from arm_jax.data.scenes import generate
from arm_jax.run import arguments as shared
from arm_jax.run import inputs
from arm_jax.system import command_line, outputs
from arm_jax.system.errors import InputError
from arm_jax.weights import onnx_packages

if TYPE_CHECKING:
    from arm_jax.run.restore import Run

WEIGHTS, STABLEHLO, ONNX = SUFFIXES = (".safetensors", ".stablehlo", ".onnx")
# The options that an output takes.
OPTIONS = {
    WEIGHTS: ("--names",),
    STABLEHLO: ("--size", "--dtype"),
    ONNX: ("--size", "--images"),
}
COMPARED = 2  # evaluation images that an ONNX file is run on


@command_line.answered
def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.Parser(__doc__)
    shared.add_run(parser)
    parser.add_argument("--names", help="arm_jax (default) or mmsegmentation")
    parser.add_argument("--dtype", help="of a program; the run's if none")
    parser.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="of images")
    parser.add_argument(
        "--images", type=Path, nargs="+", metavar="FILE", help="to run an ONNX file on"
    )
    parser.add_argument(
        "--format", choices=[suffix[1:] for suffix in SUFFIXES], help="by the output's ending"
    )
    parser.add_argument(
        "--output", type=Path, required=True, help=f"ends in {', '.join(SUFFIXES[:-1])} or {ONNX}"
    )
    arguments, overrides = command_line.parse(parser, argv)
    output = arguments.output
    if output.suffix not in SUFFIXES:
        raise InputError(f"{output} ends in neither of {', '.join(SUFFIXES[:-1])} and {ONNX}")
    if arguments.format and output.suffix != f".{arguments.format}":
        raise InputError(
            f"--format {arguments.format} does not go with {output}; call it"
            f" {output.with_suffix('.' + arguments.format)}"
        )
    is_program = output.suffix != WEIGHTS
    if is_program and (arguments.size is None or min(arguments.size) < 1):
        raise InputError(f"{output} needs --size HEIGHT WIDTH, what images it is for")
    for option in ("--names", "--size", "--dtype", "--images"):
        if getattr(arguments, option[2:]) and option not in OPTIONS[output.suffix]:
            raise InputError(f"{option} does not go with {output}; leave it out")
    outputs.refuse_foreign_file(output)
    if output.suffix == ONNX:
        onnx_packages.require()
    run = shared.run_of(arguments, overrides)
    from arm_jax.weights import export, onnx_file, weight_names  # JAX with them

    if output.suffix == WEIGHTS:
        names = arguments.names or weight_names.OWN
        export.save_safetensors(run.model, output, names, run.classes)
    elif output.suffix == STABLEHLO:
        model = run.in_precision(arguments.dtype) if arguments.dtype else run.model
        export.save_stablehlo(model, output, tuple(arguments.size))
    else:
        size = tuple(arguments.size)
        images, kind = images_to_compare(run, size, arguments.images)
        model = run.in_precision("float32")
        found = onnx_file.save(model, output, size, images, run.classes)
        print(f"ONNX Runtime and JAX on random values and {kind}: {found}")
    print(f"wrote {output}")
    return 0


def images_to_compare(
    run: "Run", size: tuple[int, int], given: Sequence[Path] | None
) -> tuple[np.ndarray, str]:
    """uint8 (n, *size, 3) images to run a program on, and what they are.

    The given ones, or the run's first evaluation images; generated scenes where these are gone.
    """
    from arm_jax.evaluation.predictions import read_image

    turn = run.experiment.config.data.orientation == "exif"
    if given:
        found = [read_image(path, turn, run.model.bands) for path in given]
        kind = "the images given"
    else:
        try:
            source = inputs.evaluation_source(run.experiment.config, run.classes)
            found = [source[index]["image"] for index in range(min(COMPARED, len(source)))]
            kind = f"{len(found)} evaluation images"
        except InputError as error:
            if run.model.bands.stored:
                print(f"the run's images cannot be read ({error}); random values have to do")
                return np.zeros((0, *size, run.model.bands.number), run.model.bands.dtype), "none"
            print(f"the run's images cannot be read ({error}); scenes are generated instead")
            found = [generate("export", index)[0] for index in range(COMPARED)]
            kind = f"{len(found)} generated scenes"
    return np.stack([bands.whole(cv2.resize(image, size[::-1])) for image in found]), kind


if __name__ == "__main__":
    sys.exit(main())
