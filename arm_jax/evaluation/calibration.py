"""Is a network as often right as it claims? Expected calibration error and its bins.

The claim of a pixel is the probability of the class that is predicted for it (Guo et al. 2017, "On
calibration of modern neural networks"). Over all labelled pixels of a split, by 15 bins of equal
width over [0, 1],

    ECE = sum over bins of (pixels of the bin / all pixels) * |accuracy - mean claim|

Like the confusion matrix it comes from counts alone, so that neither the batch size nor the number
of devices enters: each bin is counted in 100 narrower ones, whose centres give the mean claim to
1/3000.
"""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

BINS = 15
NARROW = 100  # in each bin


def counts(
    probability: jax.Array,
    prediction: jax.Array,
    label: jax.Array,
    num_classes: int,
    ignore: int = 255,
) -> jax.Array:
    """Pixels by whether they are right (0 no, 1 yes) and by claim: int32 (2, BINS * NARROW).

    Args:
      probability: (...) float, of the predicted class, in [0, 1].
      prediction: (...) integers.
      label: (...) integers; pixels labelled `ignore`, or outside the classes, are left out.
      num_classes: how many classes there are.
      ignore: the label of pixels without one.
    """
    counted = (label != ignore) & (label >= 0) & (label < num_classes)
    place = jnp.floor(probability * (BINS * NARROW)).astype(jnp.int32)
    place = jnp.clip(place, 0, BINS * NARROW - 1)
    row = jnp.where(counted, (prediction == label).astype(jnp.int32), 2)  # 2 is dropped
    return jnp.zeros((2, BINS * NARROW), jnp.int32).at[row, place].add(1, mode="drop")


@dataclass(frozen=True)
class Calibration:
    """From `counts`, summed in int64 (2, BINS * NARROW)."""

    counts: np.ndarray

    @functools.cached_property
    def pixels(self) -> np.ndarray:
        """Of each bin, int64 (BINS,)."""
        return self.counts.sum(axis=0).reshape(BINS, NARROW).sum(axis=1)

    @property
    def accuracy(self) -> np.ndarray:
        """Fraction of each bin's pixels that are right, float64 (BINS,); nan where it is empty."""
        return _ratio(self.counts[1].reshape(BINS, NARROW).sum(axis=1), self.pixels)

    @property
    def claim(self) -> np.ndarray:
        """Mean probability of each bin's predictions, float64 (BINS,); nan where it is empty."""
        centres = (np.arange(BINS * NARROW) + 0.5) / (BINS * NARROW)
        sums = (centres * self.counts.sum(axis=0)).reshape(BINS, NARROW).sum(axis=1)
        return _ratio(sums, self.pixels)

    @property
    def error(self) -> float:
        """The expected calibration error in percent; nan without a labelled pixel."""
        total = self.pixels.sum()
        if not total:
            return float("nan")
        gaps = np.abs(self.accuracy - self.claim)
        return float(100.0 * np.nansum(gaps * self.pixels) / total)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the error and the bins that are not empty."""
        bins = [
            {
                "from": number / BINS,
                "to": (number + 1) / BINS,
                "pixels": int(self.pixels[number]),
                "claim": 100.0 * float(self.claim[number]),
                "accuracy": 100.0 * float(self.accuracy[number]),
            }
            for number in np.flatnonzero(self.pixels)
        ]
        return {"ECE": None if np.isnan(self.error) else self.error, "bins": bins}


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
