"""How many labels of a trained network change when it computes in half precision.

    python scripts/compare_precision.py --workdir runs/mine --checkpoint best --images 50

Labels images spread over the evaluation split, or all of them, as the run evaluates, twice: with
convolutions in float32 and in --dtype. The parameters are the same float32 ones. Prints the share
of all pixels that get the same label, of the image where it is lowest, and what both score.

Settings are those of the run; overrides as for arm_jax.main are such as --config.data.root=DIR.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from arm_jax.system import signals

if __name__ == "__main__":
    signals.start()  # before anything takes long to import

import jax
import numpy as np

from arm_jax.data import records
from arm_jax.data.sources import Source
from arm_jax.evaluation import inference, metrics
from arm_jax.evaluation.protocol import Protocol
from arm_jax.networks import Segmenter
from arm_jax.run import arguments as shared
from arm_jax.run import inputs
from arm_jax.settings.rows import DTYPES
from arm_jax.system import command_line, terminal
from arm_jax.system.errors import InputError


@dataclass(frozen=True)
class Agreement:
    """What labelling the same images by two networks showed.

    Attributes:
      shares: image -> the share of its pixels with equal labels.
      pixels: how many pixels there were in all images.
      equal: how many of these have equal labels.
      scores: of each network, against the images' own labels.
    """

    shares: dict[str, float]
    pixels: int
    equal: int
    scores: tuple[metrics.Scores, metrics.Scores]


@command_line.answered
def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.Parser(__doc__)
    shared.add_run(parser)
    parser.add_argument("--dtype", default="bfloat16", choices=DTYPES[1:])
    parser.add_argument("--images", type=int, help="how many; all if not given")
    arguments, overrides = command_line.parse(parser, argv)
    if arguments.images is not None and arguments.images < 1:
        raise InputError(f"--images = {arguments.images}; it must be at least 1")
    run = shared.run_of(arguments, overrides)
    exact, half = run.in_precision("float32"), run.in_precision(arguments.dtype)
    source = inputs.evaluation_source(run.experiment.config, run.classes)
    indices = records.spread(len(source), arguments.images or len(source))
    found = compare(exact, half, source, indices, run.experiment.protocol)
    print(summary(found, arguments.dtype))
    return 0


def compare(
    exact: Segmenter,
    half: Segmenter,
    source: Source,
    indices: Sequence[int],
    protocol: Protocol,
) -> Agreement:
    """Label the records of `indices` by both networks."""
    classes = source.classes
    matrices = np.zeros((2, classes.number, classes.number), np.int64)
    count = jax.jit(metrics.confusion_matrix, static_argnums=(2, 3))
    shares, pixels, equal = {}, 0, 0
    for index in terminal.bar("compare", indices):
        record = source[index]
        labels = [inference.predict(model, record["image"], protocol) for model in (exact, half)]
        same = labels[0] == labels[1]
        shares[record["id"]] = float(same.mean())
        pixels += same.size
        equal += int(same.sum())
        for matrix, found in zip(matrices, labels, strict=True):
            matrix += np.asarray(count(found, record["label"], classes.number, classes.ignore))
    both = metrics.scores(matrices[0]), metrics.scores(matrices[1])
    return Agreement(shares, pixels, equal, both)


def summary(found: Agreement, dtype: str) -> str:
    lowest = min(found.shares, key=lambda name: found.shares[name])
    exact, half = (scores.mIoU for scores in found.scores)
    return (
        f"{100 * found.equal / found.pixels:.3f} % of {found.pixels:,} pixels of"
        f" {len(found.shares)} images have the same label in float32 and {dtype};"
        f" lowest {100 * found.shares[lowest]:.3f} %, of {lowest}; mIoU {exact:.2f} in float32,"
        f" {half:.2f} in {dtype}"
    )


if __name__ == "__main__":
    sys.exit(main())
