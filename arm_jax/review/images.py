"""Scores of whole images: the soft minimum, swapped files, empty labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

# Rows and columns of the small copies by which labels are compared with other images' predictions.
GRID = (24, 32)
# A label must fit another image's prediction by so much more of its cells than its own, and its own
# by less than that share, before it is taken for swapped.
GAIN = 0.15
FITS = 0.7
# Images whose labels fit worst are compared with all others; the rest fit.
SUSPECTS = 500


def soft_minimum(given: np.ndarray, temperature: float = 0.1) -> float:
    """A soft minimum of the likelihoods of an image's labels: low for an image with a wrong one.

    sum_i q_i softmax_i((1 - q) / T), the image score of Lad and Mueller, arXiv 2307.05080, Sec. 4.

    Args:
      given: float (n,), the network's likelihood of the given class at each labelled pixel.
      temperature: T; 0.1 as there.

    Returns:
      In [0, 1]; 1 where there is no label.
    """
    if not given.size:
        return 1.0
    weights = np.exp((given.min() - given.astype(np.float64)) / temperature)
    return float((weights * given).sum() / weights.sum())


def small(label: np.ndarray) -> np.ndarray:
    """uint8 `GRID`: every cell has the value at its middle."""
    return cv2.resize(label, GRID[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


@dataclass(frozen=True)
class Swapped:
    """An image whose label fits another image better.

    Attributes:
      index: of the image.
      other: of the image that its label fits best.
      own, gain: share of the label's cells that agree with its own image's prediction, and how much
        more of them agree with the other's.
      mutual: the other image's label fits this image better than its own, too.
    """

    index: int
    other: int
    own: float
    gain: float
    mutual: bool


def swapped(labels: Sequence[np.ndarray], predictions: Sequence[np.ndarray], number: int) -> list:
    """Images whose labels belong to others, surest first: list of `Swapped`.

    With A(i, j) the share of the labelled cells of label i that equal prediction j, counting the
    cells of a class by 1 / sqrt(its share among all labels), an image i is listed when A(i, i) is
    under `FITS` and A(i, j) exceeds it by `GAIN` for some j.

    Args:
      labels: as from `small`, one an image; values from `number` on are no label.
      predictions: likewise.
      number: of classes.
    """
    if len(labels) < 2:
        return []
    given = np.stack([label.reshape(-1) for label in labels])
    predicted = np.stack([label.reshape(-1) for label in predictions])
    counts = np.bincount(given.reshape(-1), minlength=256)[:number]
    rarity = np.zeros(256, np.float32)
    rarity[:number] = 1 / np.sqrt(np.maximum(counts, 1) / max(counts.sum(), 1))
    weights = rarity[given]
    weights /= np.maximum(weights.sum(1, keepdims=True), 1e-9)
    own = (weights * (given == predicted)).sum(1)
    own[(given < number).sum(1) == 0] = 1.0
    suspects = np.argsort(own, kind="stable")[:SUSPECTS]
    suspects = suspects[own[suspects] < FITS]

    def fit(index: int) -> np.ndarray:
        return (predicted == given[index]).astype(np.float32) @ weights[index]

    found = []
    for index in map(int, suspects):
        fits = fit(index)
        other = int(fits.argmax())
        gain = float(fits[other] - own[index])
        if gain >= GAIN:
            back = fit(other)
            mutual = float(back[index]) > float(back[other])
            found.append(Swapped(index, other, float(own[index]), gain, mutual))
    return sorted(found, key=lambda one: (not one.mutual, -one.gain))
