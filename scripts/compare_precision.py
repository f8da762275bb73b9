"""How many labels of a trained network change when it computes in half precision.

    python scripts/compare_precision.py --config configs/custom.py --workdir runs/mine \\
        --checkpoint best --images 50 --config.data.root=ROOT

Labels images spread over the evaluation split, or all of them, as the config evaluates, twice: with
convolutions in float32 and in --dtype. The parameters are the same float32 ones. Prints the share
of all pixels that get the same label, of the image where it is lowest, and what both score.

--config takes the same overrides as arm_jax.main, such as --config.data.root=DIR.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict
from tqdm import tqdm

from arm_jax.data.sources import Source
from arm_jax.evaluation import inference, metrics
from arm_jax.evaluation.protocol import Protocol
from arm_jax.experiment import Experiment
from arm_jax.networks import Segmenter
from arm_jax.run.restore import restore
from arm_jax.system import command_line
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


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, help="the config that trained the run")
    parser.add_argument("--workdir", type=Path, required=True, help="the folder of the run")
    parser.add_argument("--checkpoint", default="latest", help="latest, best, or a step")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float16"))
    parser.add_argument("--images", type=int, help="how many; all if not given")
    arguments, overrides = command_line.parse(parser, argv)
    try:
        if arguments.images is not None and arguments.images < 1:
            raise InputError(f"--images = {arguments.images}; it must be at least 1")
        config = command_line.load_config(arguments.config, overrides)
        experiment, players, _ = restore(config, arguments.workdir, arguments.checkpoint)
        exact = in_precision(experiment, players.segmenter, "float32")
        half = in_precision(experiment, players.segmenter, arguments.dtype)
        source = experiment.evaluation_source()
        indices = spread(len(source), arguments.images)
        found = compare(exact, half, source, indices, experiment.protocol())
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(summary(found, arguments.dtype))
    return 0


def spread(length: int, number: int | None) -> list[int]:
    """`number` indices spread over the length, or all there are."""
    number = length if number is None else min(number, length)
    return np.linspace(0, length - 1, number).astype(int).tolist()


def in_precision(experiment: Experiment, model: Segmenter, dtype: str) -> Segmenter:
    """The parameters of a run's network, in one that computes in another dtype."""
    config = ConfigDict(experiment.config)
    config.model.dtype = dtype
    other = Experiment(config)
    other.classes = experiment.classes
    graphdef, _ = nnx.split(nnx.eval_shape(other.create_players).segmenter)
    return nnx.merge(graphdef, nnx.split(model)[1])


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
    for index in tqdm(indices, desc="compare", unit="image", dynamic_ncols=True):
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
