"""The regions of one image whose label a network contradicts, and how much each of them counts.

Three kinds of candidates, with a the given class, b the proposed one, p the likelihoods:

    component  a connected component of the label, given a, whose pixels are mostly some b
    object     a component of {prediction is b, label is another class} that no label of b touches:
               what was swallowed by a larger label, or never drawn
    part       such a component that touches a label of b, which ends too early there

and two that are reported apart:

    edge       a part no deeper than the edge's width: an outline drawn coarsely, no mistake
    unlabelled an object in the prediction, most of it without any label

Terms of a region R of A pixels in an image of h x w:

    depth d(x)   of a pixel: its distance to the edge of R; the image's own edge is none
    inside I     {x in R: d(x) > e}, e = max(1.5, 0.01 h); all of R where I has fewer than 2 pixels
    margin m     the mean over I of p_b(x) - p_a(x), a being each pixel's own given class, or the
                 second one where there is no label
    evidence e   log(1 / p) / log(1 / LEAST) of the mean p over I of p_a(x), at least LEAST = 0.001
    size s       sqrt(A / (h w))
    reach r      max d(x) / (max d(x) + e), in (0, 1)

    score = e r sqrt(s) where m > 0, else 0 ,  in [0, 1]

How little the network thinks of the given class tells planted errors from regions that it merely
draws otherwise: there it still leaves the given class a tenth or more (docs/review.md). A region
that is no more than half new beside those of a higher score is dropped.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from arm_jax.review import masks
from arm_jax.review.masks import Box, Rings

MISTAKES = ("component", "object", "part")
APART = ("edge", "unlabelled")

# Of the image's height: how far from an edge people draw their outlines without thought.
EDGE = 0.01
# Of the image's area: smaller regions are not looked for.
SMALLEST = 1e-4
# Likelihoods below this are no stronger evidence.
LEAST = 1e-3
# Of one image, so that a network that has learnt nothing fills no memory.
MOST = 100


@dataclass(frozen=True)
class Region:
    """A region of one image whose label is perhaps wrong.

    Attributes:
      kind: one of `MISTAKES` or `APART`.
      given: the class of the label; the most frequent one in the region, or the number of classes
        where there is no label.
      proposed: the class that the network is sure of.
      score: what regions are sorted by, in [0, 1].
      margin, evidence, size, reach: the terms of the score, see the head of this file.
      area: pixels.
      box: left, top, width and height, in pixels.
      rings: its outlines, see `masks`.
      color: mean of the image's red, green and blue in it, 0 to 255.
      center: column and row of the middle of its box, as fractions of the image.
    """

    kind: str
    given: int
    proposed: int
    score: float
    margin: float
    evidence: float
    size: float
    reach: float
    area: int
    box: Box
    rings: Rings
    color: tuple[float, float, float]
    center: tuple[float, float]


def score(margin: float, evidence: float, size: float, reach: float) -> float:
    """The score of a region from its terms; see the head of this file.

    >>> score(margin=0.3, evidence=0.5, size=0.25, reach=0.4)
    0.1
    """
    return evidence * reach * float(np.sqrt(size)) if margin > 0 else 0.0


def evidence(given: float) -> float:
    """How much a mean likelihood speaks against the class that it is of, in [0, 1].

    >>> round(evidence(0.1), 4), evidence(1.0), evidence(0.0)
    (0.3333, 0.0, 1.0)
    """
    return float(np.log(np.clip(given, LEAST, 1.0)) / np.log(LEAST)) + 0.0


def find(probabilities: np.ndarray, label: np.ndarray, image: np.ndarray) -> list[Region]:
    """The regions of an image whose label is perhaps wrong, highest score first, at most `MOST`.

    Args:
      probabilities: float (h, w, C), summing to 1 over the classes.
      label: uint8 (h, w); values from C on are no label.
      image: uint8 (h, w, 3) RGB.

    Returns:
      Mistakes that cover each other by half only once; then the regions of the kinds `APART`, of
      which those without a label are scored against the second class.
    """
    height, width, number = probabilities.shape
    predicted = probabilities.argmax(-1).astype(np.uint8)
    smallest = max(4, round(SMALLEST * height * width))
    likelihood = np.take_along_axis(probabilities, predicted[..., None].astype(np.intp), -1)[..., 0]
    safe = np.minimum(label, number - 1).astype(np.intp)
    given = np.take_along_axis(probabilities, safe[..., None], -1)[..., 0]

    candidates: list[_Candidate] = []
    for value in _classes(label, number):
        candidates += _contradicted(probabilities, label, given, value, smallest)
    labelled = label < number
    for value in _classes(predicted, number):
        candidates += _predicted(predicted, label, likelihood, given, value, number, smallest)
        unlabelled = (predicted == value) & ~labelled
        if unlabelled.any():
            candidates += _unlabelled(predicted, label, probabilities, value, smallest)
    candidates.sort(key=lambda one: -one.margin * len(one))
    found = [_measured(one, image, label.shape, number, label) for one in candidates[: 4 * MOST]]
    found = [region for region in found if region.score > 0]
    found.sort(key=lambda region: (region.kind in APART, -region.score))
    return list(_distinct(found, label.shape))[:MOST]


@dataclass(frozen=True)
class _Candidate:
    """A region before its depth is known.

    `likely` and `given` are float like `mask`: the likelihoods there of the proposed and of the
    given class.
    """

    kind: str
    proposed: int
    box: Box
    mask: np.ndarray
    likely: np.ndarray
    given: np.ndarray

    @property
    def margin(self) -> float:
        return self.margin_in(self.mask > 0)

    def margin_in(self, pixels: np.ndarray) -> float:
        return float((self.likely - self.given)[pixels].mean())

    def __len__(self) -> int:
        return int(self.mask.sum())


def _classes(label: np.ndarray, number: int) -> list[int]:
    """The classes that occur."""
    return [int(c) for c in np.flatnonzero(np.bincount(label.reshape(-1), minlength=256)[:number])]


def _contradicted(
    probabilities: np.ndarray, label: np.ndarray, given: np.ndarray, value: int, smallest: int
) -> Iterator[_Candidate]:
    """Components of the label whose pixels the network thinks are mostly something else."""
    for box, mask in masks.components(label == value, smallest):
        part = masks.within(box)
        here = mask > 0
        if given[part][here].mean() >= 0.5:
            continue
        mean = probabilities[part][here].mean(0)
        mean[value] = -1.0
        other = int(mean.argmax())
        yield _Candidate(
            "component", other, box, mask, probabilities[part][..., other], given[part]
        )


def _predicted(
    predicted: np.ndarray,
    label: np.ndarray,
    likelihood: np.ndarray,
    given: np.ndarray,
    value: int,
    number: int,
    smallest: int,
) -> Iterator[_Candidate]:
    """Components of the prediction where the label is of another class."""
    wrong = (predicted == value) & (label != value) & (label < number)
    for box, mask in masks.components(wrong, smallest):
        part = masks.within(box)
        kind = "part" if _touches(label, value, box, mask) else "object"
        yield _Candidate(kind, value, box, mask, likelihood[part], given[part])


def _unlabelled(
    predicted: np.ndarray,
    label: np.ndarray,
    probabilities: np.ndarray,
    value: int,
    smallest: int,
) -> Iterator[_Candidate]:
    """Components of the prediction, most of them without a label, none of it of their class."""
    number = probabilities.shape[-1]
    for box, mask in masks.components(predicted == value, smallest):
        part = masks.within(box)
        here = mask > 0
        inside = label[part][here]
        if (inside < number).mean() > 0.5 or (inside == value).any():
            continue
        others = probabilities[part].copy()
        others[..., value] = -1.0
        yield _Candidate(
            "unlabelled", value, box, mask, probabilities[part][..., value], others.max(-1)
        )


def _touches(label: np.ndarray, value: int, box: Box, mask: np.ndarray) -> bool:
    """Whether a pixel labelled `value` is beside the region."""
    left, top, width, height = box
    rows = slice(max(top - 1, 0), top + height + 1)
    columns = slice(max(left - 1, 0), left + width + 1)
    same = label[rows, columns] == value
    if not same.any():
        return False
    grown = np.zeros(same.shape, np.uint8)
    down, across = top - rows.start, left - columns.start
    grown[down : down + height, across : across + width] = mask
    return bool((cv2.dilate(grown, np.ones((3, 3), np.uint8))[same] > 0).any())


def _measured(
    one: _Candidate, image: np.ndarray, shape: tuple[int, int], number: int, label: np.ndarray
) -> Region:
    """The candidate with the terms of its score."""
    height, width = shape
    edge = max(1.5, EDGE * height)
    here, part = one.mask > 0, masks.within(one.box)
    depth = masks.depth(one.mask, one.box, shape)
    inside = here & (depth > edge)
    if inside.sum() < 2:
        inside = here
    deepest = float(depth.max())
    kind = "edge" if one.kind == "part" and deepest <= edge else one.kind
    values = np.minimum(label[part][here], number)
    margin, against = one.margin_in(inside), evidence(float(one.given[inside].mean()))
    area = len(one)
    size, reach = float(np.sqrt(area / (height * width))), deepest / (deepest + edge)
    left, top, across, down = one.box
    red, green, blue = image[part][here].mean(0)
    return Region(
        kind=kind,
        given=int(np.bincount(values).argmax()),
        proposed=one.proposed,
        score=score(margin, against, size, reach),
        margin=margin,
        evidence=against,
        size=size,
        reach=reach,
        area=area,
        box=one.box,
        rings=masks.rings(one.mask, one.box),
        color=(float(red), float(green), float(blue)),
        center=((left + across / 2) / width, (top + down / 2) / height),
    )


def _distinct(found: list[Region], shape: tuple[int, int]) -> Iterator[Region]:
    """Those that are more than half new beside the earlier ones."""
    taken = np.zeros(shape, bool)
    for region in found:
        part = masks.within(region.box)
        moved = [ring - np.array(region.box[:2], np.int32) for ring in region.rings]
        mask = masks.filled(moved, (region.box[3], region.box[2]))
        if taken[part][mask].mean() <= 0.5:
            taken[part] |= mask
            yield region
