"""Does a run's W suppress confident pixels, as it should, or focus on mislabelled ones?

Numbers for one trained run; scripts/experiments/breakdown.py sweeps the share of wrong labels.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import FrozenConfigDict

from arm_jax import arm, theorem
from arm_jax.data.sources import Source
from arm_jax.evaluation import inference
from arm_jax.networks import Segmenter
from arm_jax.run import inputs, restore
from arm_jax.theorem import Histogram

# Intervals of v. Two classes at even odds have v = -1/(C-1), just below 0.
UNSURE = (-0.125, 0.5)
CONFIDENT = (0.875, 1.0)
CURVE = 101  # points of W(v)
IMAGES = 16  # of the evaluation split, to count wrong labels among confident pixels


@dataclass(frozen=True)
class Measured:
    """What one trained run does with confidence. nan where a run has no such pixels.

    Attributes:
      band_weight_ratio: mean weight of confident pixels over that of unsure ones; 1 for plain loss.
      band_loss_ratio: the same of the loss: what the weights' would be at the optimum for p = 2.
      slope_confident, slope_unsure: dW/dv in the middle of the two intervals, over the mean of W;
        0 for plain loss.
      curve: W(v) over its mean, at `CURVE` points from -1 to 1; empty for plain loss.
      wrong: share of wrong labels among labelled pixels, of the kind that was trained on.
      wrong_confident: the same among those that the network is confident of.
    """

    band_weight_ratio: float
    band_loss_ratio: float
    slope_confident: float
    slope_unsure: float
    curve: list[float]
    wrong: float
    wrong_confident: float


def measure(config: FrozenConfigDict, folder: Path) -> Measured:
    """Measure a finished run: its W, its last histogram, and labels that it can be held against.

    Args:
      config: that trained it, with simulated coarse labels, so that there are fine ones too.
      folder: its working directory.

    Raises:
      InputError: there is no checkpoint, or it is of another network.
    """
    run = restore.load(folder, config=config)
    players, config = run.players, run.experiment.config
    histogram = jax.device_get(run.state.histogram)
    wrong, wrong_confident = wrong_labels(
        run.model,
        inputs.evaluation_source(config, run.classes),
        inputs.evaluation_source(config, run.classes, labelled_as="training"),
    )
    curve: list[float] = []
    slopes = (0.0, 0.0)
    if players.arm is not None:
        centers = theorem.bin_centers(len(histogram.pixels))
        mean = jnp.sum(histogram.pixels * players.arm(centers)) / jnp.sum(histogram.pixels)
        curve = (players.arm(jnp.linspace(-1, 1, CURVE)) / mean).tolist()
        middles = jnp.array([sum(CONFIDENT) / 2, sum(UNSURE) / 2])
        _, rise = jax.jvp(players.arm, (middles,), (jnp.ones(2),))
        slopes = tuple((rise / mean).tolist())
    return Measured(
        band_weight_ratio=band_ratio(histogram, histogram.weight),
        band_loss_ratio=band_ratio(histogram, histogram.loss),
        slope_confident=slopes[0],
        slope_unsure=slopes[1],
        curve=curve,
        wrong=wrong,
        wrong_confident=wrong_confident,
    )


def band_ratio(histogram: Histogram, sums: np.ndarray) -> float:
    """The mean over confident pixels over the mean over unsure ones."""
    centers = np.asarray(theorem.bin_centers(len(histogram.pixels)))
    means = []
    for low, high in (CONFIDENT, UNSURE):
        inside = (centers > low) & (centers < high)
        pixels = float(np.sum(histogram.pixels[inside]))
        means.append(float(np.sum(sums[inside])) / pixels if pixels else math.nan)
    return means[0] / means[1] if means[1] else math.nan


def wrong_labels(model: Segmenter, fine: Source, coarse: Source) -> tuple[float, float]:
    """Share of labels that differ from the fine ones: of all coarse ones, of confident pixels."""
    counts = np.zeros((2, 2), np.int64)  # wrong or not, confident or not
    for index in range(min(IMAGES, len(fine))):
        record, label = fine[index], coarse[index]["label"]
        scores = jnp.asarray(inference.class_scores(model, record["image"]))
        confidence = np.asarray(arm.confidence(scores))
        both = (record["label"] != fine.classes.ignore) & (label != fine.classes.ignore)
        wrong = (record["label"] != label)[both].astype(int)
        np.add.at(counts, (wrong, (confidence > CONFIDENT[0])[both].astype(int)), 1)
    total, confident = counts.sum(), counts[:, 1].sum()
    return (
        float(counts[1].sum() / total) if total else math.nan,
        float(counts[1, 1] / confident) if confident else math.nan,
    )
