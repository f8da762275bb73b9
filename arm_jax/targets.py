"""Targets past what was drawn: labels corrected, completed, and weighed at their edges.

    labels, teacher --corrected--> labels where somebody drew, of another class where it is sure
    labels, teacher --completed--> labels where nobody drew, where it is sure
    labels --edge_distance--> d --edge_weights--> weights 1 + a exp(-d/b) of the drawn pixels

Plain arrays in and out, as in `arm`: the teacher is a map of likelihoods, whatever made it. Nothing
here has a gradient: what comes of a teacher is a constant. `noise` has the same with an estimate of
which labels are reported for which class.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

# Beyond the distance where a exp(-d/b) falls under this, edge weights stay what they are there.
LEAST_EDGE_TERM = 0.01
# Up to this reach, squared distances along two axes fit 16 bits, and half of the bytes move.
_SHORT_REACH = 127
# Up to this one the sum of two squares fits 32 bits.
_LONG_REACH = 32_000


def edge_distance(labels: jax.Array, inside: jax.Array | None = None, *, reach: int) -> jax.Array:
    """Distance of each pixel's centre to the nearest drawn edge, in pixels of this image.

    An edge lies where neighbours in a row or a column have different labels, of which one may be
    "no label"; pixels on both sides of it are 0.5 away, others half a pixel more than from the
    centre of the nearest of these. The image's border, a crop's border and padding are no edges,
    and edges beyond a crop are not seen. `data.agreement.edge_distance` has the same edges.

    Euclidean, and exact up to `reach`: the least of k^2 plus what is k pixels away, first along
    columns and then along rows (Saito and Toriwaki 1994), in `reach` steps each. There is no table
    or queue, so that it runs on any device.

    Args:
        labels: (b, h, w) integers.
        inside: (b, h, w) bool, what is no padding; None for all.
        reach: the largest distance between centres that is told apart, at least 1.

    Returns:
        (b, h, w) float32 in [0.5, reach + 0.5]; the latter is "there or farther".

    >>> print(edge_distance(jnp.array([[[0, 0, 0, 1, 1, 1]]]), reach=2)[0])
    [[2.5 1.5 0.5 0.5 1.5 2.5]]
    """
    if reach < 1:
        raise ValueError(f"an edge distance needs a reach of at least 1, got {reach}")
    beside = jnp.zeros(labels.shape, bool)
    for axis in (1, 2):
        length = labels.shape[axis]
        first, second = (jax.lax.slice_in_dim(labels, i, length - 1 + i, axis=axis) for i in (0, 1))
        change = first != second
        if inside is not None:
            change &= jax.lax.slice_in_dim(inside, 0, length - 1, axis=axis)
            change &= jax.lax.slice_in_dim(inside, 1, length, axis=axis)
        none = [(0, 0)] * 3
        for sides in ((0, 1), (1, 0)):
            none[axis] = sides
            beside |= jnp.pad(change, none)
    # Nothing in an image is farther away than this.
    within = min(reach, sum(labels.shape[1:]), _LONG_REACH)
    short = within <= _SHORT_REACH
    far = jnp.int16(_SHORT_REACH**2 + 1) if short else jnp.int32(within**2 + 1)
    squared = jnp.where(beside, jnp.zeros_like(far), far)
    squared = _nearest(_nearest(squared, 1, within, far), 2, within, far)
    distance = jnp.minimum(jnp.sqrt(squared.astype(jnp.float32)), float(reach))
    return jnp.where(squared == far, jnp.float32(reach), distance) + 0.5


def _nearest(squared: jax.Array, axis: int, reach: int, far: jax.Array) -> jax.Array:
    """The least of squared[x + k] + k^2 over |k| <= reach, along an axis; at most `far`."""
    length = squared.shape[axis]
    reach = min(reach, max(length - 1, 1))
    sides = [(0, 0)] * squared.ndim
    sides[axis] = (reach, reach)
    padded = jnp.pad(squared, sides, constant_values=far)

    def nearer(k: jax.Array, found: jax.Array) -> jax.Array:
        before, after = (
            jax.lax.dynamic_slice_in_dim(padded, reach + way * k, length, axis) for way in (-1, 1)
        )
        return jnp.minimum(found, jnp.minimum(before, after) + (k * k).astype(far.dtype))

    return jax.lax.fori_loop(1, reach + 1, nearer, squared)


def edge_reach(strength: float, decay: float) -> int:
    """How far `edge_distance` must be exact for `edge_weights`, in whole pixels.

    >>> edge_reach(8.0, 8.0)
    54
    """
    if strength <= LEAST_EDGE_TERM:
        return 1
    return math.ceil(decay * math.log(strength / LEAST_EDGE_TERM))


def edge_weights(
    distance: jax.Array,
    drawn: jax.Array,
    *,
    strength: jax.Array | float,
    decay: float,
    missing: jax.Array | float = math.inf,
    counts: jax.Array | float = 1.0,
) -> jax.Array:
    """Weights 1 + a exp(-d/b) of the drawn pixels, divided by their mean.

    The margin that nobody labelled is made up for by what was labelled next to it. With a mean of
    1, the loss keeps its scale.

    Args:
        distance: (...), d, as from `edge_distance`.
        drawn: (...), bool; the weights of others are 0.
        strength: a >= 0, a number or as (...).
        decay: b > 0, in pixels.
        missing: how many pixels the added weight stands for: it is no more than theirs, by a
            smaller a.
        counts: (...) in [0, 1], a factor on a pixel's weight: 0 for a label that is not believed.

    Returns:
        (...), float32.
    """
    term = jnp.where(drawn, jnp.exp(-distance / decay), 0.0)
    strength = jnp.minimum(strength, missing / jnp.maximum(jnp.sum(term), 1e-6))
    raw = jnp.where(drawn, counts * (1.0 + strength * term), 0.0)
    count = jnp.sum(drawn, dtype=jnp.float32)
    return stop_gradient(raw * (count / jnp.maximum(jnp.sum(raw), 1.0)))


def corrected(
    labels: jax.Array,
    believed: jax.Array,
    certainty: jax.Array,
    threshold: jax.Array | float,
    drawn: jax.Array,
) -> jax.Array:
    """The labels, with another class where the teacher is surer of that than the threshold.

    Args:
        labels: (...) integers.
        believed: (...) integers, the teacher's class.
        certainty: (...) in [0, 1], the likelihood that it gives that class.
        threshold: (...) or a number; above 1 for never.
        drawn: (...) bool; others stay what they are.

    >>> labels, believed = jnp.array([0, 0, 255]), jnp.array([1, 1, 1])
    >>> print(corrected(labels, believed, jnp.array([0.9, 0.5, 0.9]), 0.6, labels != 255))
    [  1   0 255]
    """
    wrong = drawn & (believed != labels) & (certainty > threshold)
    return stop_gradient(jnp.where(wrong, believed.astype(labels.dtype), labels))


def completed(
    labels: jax.Array,
    believed: jax.Array,
    certainty: jax.Array,
    threshold: jax.Array | float,
    missing: jax.Array,
) -> jax.Array:
    """The labels, with the teacher's class where there is none and it is surer than the threshold.

    Args:
        missing: (...) bool, pixels of the image that nobody labelled.
        labels, believed, certainty, threshold: as for `corrected`.
    """
    sure = missing & (certainty > threshold)
    return stop_gradient(jnp.where(sure, believed.astype(labels.dtype), labels))


def without_weights(scores: jax.Array, weights: Sequence[float]) -> jax.Array:
    """The scores of a network that was trained with class weights, as if it had none.

    Minus sum_c w_c q_c log p_c is least where p_c is proportional to w_c q_c: such a network is
    surer of the classes that weigh more than they are likely, by their weight.

    Args:
        scores: (..., C), logits.
        weights: of each class, as `Method.class_weights`; () for none. A class that weighs 0 was
            never trained, and keeps its score.

    >>> p = jax.nn.softmax(without_weights(jnp.log(jnp.array([0.5, 0.5])), (1.0, 4.0)))
    >>> print(p.round(3))
    [0.8 0.2]
    """
    if not weights:
        return scores
    return _divided(scores, jnp.array([weight or 1.0 for weight in weights], scores.dtype))


def adjusted(scores: jax.Array, drawn: jax.Array, exponent: float) -> jax.Array:
    """The scores of a teacher that corrects: likelihoods divided by (share of the class)^exponent.

    What is drawn wrongly is mostly a small thing as part of the large one around it. A teacher that
    learnt such labels gives rare classes less than they are due, so that its corrections to rare
    classes are right more often than those to common ones of the same likelihood. The form is the
    logit adjustment of Menon et al. 2021 (arXiv 2007.07314), there with exponent 1 for classes that
    are to count alike; what it gains here is in docs/targets.md.

    Args:
        scores: (..., C), logits.
        drawn: (C,) drawn pixels of each class, at least 0. A class that nobody drew is not divided.
        exponent: in [0, 1]; 0 for none.

    >>> p = jax.nn.softmax(adjusted(jnp.log(jnp.array([0.6, 0.4])), jnp.array([9.0, 1.0]), 0.5))
    >>> print([f"{one:.3f}" for one in p])
    ['0.333', '0.667']
    """
    if not exponent:
        return scores
    shares = jnp.where(drawn > 0, drawn / jnp.maximum(jnp.sum(drawn), 1.0), 1.0)
    return _divided(scores, shares**exponent)


def _divided(scores: jax.Array, factors: jax.Array) -> jax.Array:
    """The scores (..., C) of which each class's likelihood is divided by its factor (C,)."""
    logs = jnp.log(factors).astype(scores.dtype)
    return scores - logs.reshape((1,) * (scores.ndim - 1) + logs.shape)


def known(found: jax.Array, drawn: jax.Array, share: jax.Array | float) -> jax.Array:
    """(C,) bool: the classes that the teacher knows, and whose labels it may therefore doubt.

    A class is known while the teacher finds at least `share` of the pixels that are drawn as it. A
    teacher that has not learnt a class yet is sure of another one there. Were its labels corrected
    by that, the class would never be learnt; and a class that is being corrected away is soon
    found no longer, so that its labels teach again.

    Args:
        found: (C,) drawn pixels of each class that the teacher finds, at least 0.
        drawn: (C,) all drawn pixels of each class.
        share: in [0, 1]; 0 for all classes.

    >>> print(known(jnp.array([5.0, 1.0, 0.0]), jnp.array([8.0, 8.0, 0.0]), 0.5))
    [ True False False]
    """
    return (jnp.float32(share) <= 0) | ((drawn > 0) & (found >= share * drawn))


def soft_log_likelihood(log_p: jax.Array, target: jax.Array) -> jax.Array:
    """sum_c q_c log p_c: minus the cross entropy against a constant distribution q.

    Args:
        log_p: (..., C), the student's log-softmax.
        target: (..., C), q, no gradient passes through it.
    """
    return jnp.sum(stop_gradient(target) * log_p, -1)


class Rise(NamedTuple):
    """How the share of labels that the teacher agrees with has grown; () float32.

    Attributes:
        fast, slow: running means of the share, over short and long.
        steepest: the largest difference between the two so far.
    """

    fast: jax.Array
    slow: jax.Array
    steepest: jax.Array

    @classmethod
    def start(cls) -> "Rise":
        return cls(*3 * (jnp.float32(0),))


# The teacher begins when the rise has fallen to this share of the steepest one.
FLAT = 0.25


def rising(rise: Rise, agreement: jax.Array, step: jax.Array, steps: int) -> Rise:
    """The curve with one more value: running means over 1 and 3 % of the run.

    Args:
        agreement: () float32, the share of drawn pixels on which the teacher agrees.
        step: () int, from 0.
        steps: T.
    """

    def mean(old: jax.Array, share: float) -> jax.Array:
        rate = jnp.maximum(1.0 / max(share * steps, 1.0), 1.0 / (step + 1.0))
        return old + rate * (agreement - old)

    fast, slow = mean(rise.fast, 0.01), mean(rise.slow, 0.03)
    return Rise(fast, slow, jnp.maximum(rise.steepest, fast - slow))


def flattened(rise: Rise) -> jax.Array:
    """Whether the agreement no longer rises as it did: () bool.

    A network learns what is right in its labels first, and agreement climbs; what comes after the
    bend is learning by heart (Liu et al., ADELE, arXiv 2110.03740, who begin to correct there).
    """
    return (rise.steepest > 0) & (rise.fast - rise.slow < FLAT * rise.steepest)
