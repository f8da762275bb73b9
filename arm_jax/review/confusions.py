"""Given against predicted, away from edges: which classes are taken for each other throughout."""

from dataclasses import dataclass

import numpy as np

from arm_jax.data.agreement import edge_distance
from arm_jax.review.regions import EDGE

# A class of whose pixels more than this share is predicted as one other class is worth a look.
SHARE = 0.1


def counts(label: np.ndarray, predicted: np.ndarray, number: int) -> np.ndarray:
    """int64 (C, C): pixels by given and by predicted class, beyond the width of an edge from any.

    Args:
      label: uint8 (h, w); values from C on are left out.
      predicted: uint8 (h, w).
      number: C.
    """
    inside = (label < number) & (edge_distance(label) > max(1.5, EDGE * label.shape[0]))
    pairs = label[inside].astype(np.int64) * number + predicted[inside]
    return np.bincount(pairs, minlength=number * number).reshape(number, number)


@dataclass(frozen=True)
class Confusion:
    """A class that is often predicted as another one.

    Attributes:
      given, predicted: the two classes.
      share: of the pixels given `given`, those predicted `predicted`.
      back: of the pixels given `predicted`, those predicted `given`.
    """

    given: int
    predicted: int
    share: float
    back: float


def systematic(matrix: np.ndarray) -> list[Confusion]:
    """Pairs of classes with a share above `SHARE`, the largest first.

    Args:
      matrix: as `counts`, summed over images.

    >>> found = systematic(np.array([[90, 0], [60, 40]]))
    >>> found
    [Confusion(given=1, predicted=0, share=0.6, back=0.0)]
    """
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    found = [
        Confusion(int(a), int(b), float(shares[a, b]), float(shares[b, a]))
        for a, b in zip(*np.nonzero(shares > SHARE), strict=True)
        if a != b
    ]
    return sorted(found, key=lambda one: -one.share)
