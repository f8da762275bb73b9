"""How sure a teacher must be to contradict a label, by where it contradicts what was drawn.

    shares of the drawn pixels that it contradicts, near drawn edges, beyond them, far from them
        --near_, inside_, far_threshold--> how sure it must be --thresholds--> at each pixel
        --edge_trust--> how much labels near edges weigh

A teacher smooths the edges of labels that are right and contradicts them there; where labels are
wrong, it contradicts them elsewhere too. So the shares tell which mistakes the labels have, without
knowing the truth. Plain arrays in and out, as in `targets`.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

# Up to this many times the width of what is near an edge lies what is behind it; then comes far.
BEHIND = 7 / 3


class Limits(NamedTuple):
    """How sure the teacher must be to contradict a label, by the distance to the drawn edge.

    Attributes:
        near: up to `width` pixels from an edge.
        inside: from there up to 7/3 of that.
        far: beyond.
        width: in pixels.
        complete: to give a pixel a class where nobody drew one.
        known: the share of a class's labels that it must find, see `targets.known`.
    """

    near: jax.Array | float
    inside: jax.Array | float
    far: jax.Array | float
    width: float
    complete: jax.Array | float = 1.0
    known: jax.Array | float = 0.0

    @classmethod
    def fixed(cls, settings: Any) -> "Limits":
        """Those of the section `targets`, without a rule."""
        inside = settings.correct_above
        return cls(
            settings.correct_above_near,
            inside,
            inside,
            settings.near,
            settings.complete_above,
            settings.known_above,
        )


def reach(width: float) -> int:
    """How far `targets.edge_distance` must be exact for `thresholds`, in whole pixels."""
    return math.ceil(BEHIND * width) + 1


def thresholds(distance: jax.Array, limits: Limits) -> jax.Array:
    """How sure the teacher must be at each pixel, as `distance`, from its distance to an edge.

    Close to an edge, a contradiction means nothing: on fine labels, a teacher contradicts a tenth
    of the pixels there, and is wrong. Inside of what was drawn it is rare unless labels are wrong.

    >>> d = jnp.array([0.5, 9.0, 20.0])
    >>> print(thresholds(d, Limits(near=0.85, inside=0.6, far=0.9, width=6.0)))
    [0.85 0.6  0.9 ]
    """
    near, inside, far = (jnp.float32(x) for x in (limits.near, limits.inside, limits.far))
    behind = jnp.where(distance <= BEHIND * limits.width, inside, far)
    return jnp.where(distance <= limits.width, near, behind)


# Between these ratios of contradictions, `near_threshold` falls from the first to the second.
RATIOS = (0.18, 0.33)
THRESHOLDS = (0.95, 0.7)
# Farther inside the thresholds fall from this to what is asked for: between the same ratios behind
# what is near, between these far from edges.
SURE = 0.9
FAR_RATIOS = (0.1, 0.3)
# What a threshold for completion becomes between the first ratios: more where labels are wrong.
COMPLETES = (-0.1, 0.05)
# A class is known at this share of what it takes else, between these ratios far from edges.
KNOWN, KNOWN_RATIOS = 0.4, (0.25, 0.5)
# And the differences between which `edge_trust` falls from 1 to 0.
EXCESSES = (0.06, 0.12)
# Up to this share of what is near an edge, labels that are not trusted do not count.
CLOSEST = 0.5
# What counts as a contradiction for these: the teacher gives another class more than this.
CONTRADICTS = 0.6


def near_threshold(near: jax.Array, beyond: jax.Array) -> jax.Array:
    """How sure the teacher must be near a drawn edge, by where it contradicts the labels.

    A teacher smooths the edges of labels that are right, and contradicts them there, but hardly
    farther inside; where labels are wrong it contradicts them farther inside, too. So the ratio of
    the two shares shows which of both contradictions near an edge are, without knowing the truth.
    On CamVid it was 0.10 to 0.19 for labels that are right, of whose contradictions near edges 0 to
    10 % were right, and 0.31 to 0.85 for three kinds of wrong labels, where 53 to 72 % were
    (docs/targets.md).

    Args:
        near: () share of the drawn pixels near an edge that the teacher contradicts, surer than
            `CONTRADICTS`.
        beyond: () the same of those behind them, up to 7/3 of that distance.

    Returns:
        () float32: 0.95 up to a ratio of 0.18, 0.7 from 0.33 on, on a line in between.

    >>> print(near_threshold(jnp.float32(0.12), jnp.float32(0.02)))
    0.95
    >>> print(near_threshold(jnp.float32(0.12), jnp.float32(0.06)))
    0.7
    """
    return _fallen(_ratio(beyond, near), RATIOS, *THRESHOLDS)


def inside_threshold(near: jax.Array, beyond: jax.Array, least: float) -> jax.Array:
    """How sure the teacher must be behind what is near an edge.

    Where labels are right, its contradictions are mistakes there as well, if fewer of them; of a
    class that is rare they are many.

    Args:
        near, beyond: as for `near_threshold`.
        least: the threshold where labels are wrong.

    Returns:
        () float32: 0.9 up to a ratio of 0.18, `least` from 0.33 on, on a line in between; never
        less than `least`.
    """
    return _fallen(_ratio(beyond, near), RATIOS, max(SURE, least), least)


def far_threshold(near: jax.Array, far: jax.Array, least: float) -> jax.Array:
    """How sure the teacher must be far from a drawn edge, by where it contradicts the labels.

    Outlines that are drawn badly make labels wrong near edges, and a whole object of a wrong class
    as often in its middle. Where the teacher contradicts far from edges much less often than near
    them, these few contradictions are mostly its own mistakes.

    Args:
        near: as for `near_threshold`.
        far: () the same share of the drawn pixels farther than 7/3 of that distance.
        least: the threshold where labels are wrong.

    Returns:
        () float32: 0.9 up to a ratio of 0.1, `least` from 0.3 on, on a line in between; never less
        than `least`.

    >>> print(far_threshold(jnp.float32(0.2), jnp.float32(0.01), 0.6))
    0.9
    >>> print(f"{far_threshold(jnp.float32(0.1), jnp.float32(0.05), 0.6):.2f}")
    0.60
    """
    return _fallen(_ratio(far, near), FAR_RATIOS, max(SURE, least), least)


def complete_threshold(near: jax.Array, beyond: jax.Array, usual: float) -> jax.Array:
    """How sure the teacher must be of a pixel that nobody labelled.

    A teacher that learnt wrong labels completes more of what is common than there is of it.

    Args:
        near, beyond: as for `near_threshold`.
        usual: the threshold without a rule.

    Returns:
        () float32: 0.1 less than usual up to a ratio of 0.18, 0.05 more from 0.33 on, on a line in
        between; what is usual where that is above 1, which is never.

    >>> print(f"{complete_threshold(jnp.float32(0.12), jnp.float32(0.02), 0.9):.2f}")
    0.80
    >>> print(f"{complete_threshold(jnp.float32(0.12), jnp.float32(0.06), 0.9):.2f}")
    0.95
    """
    lower, higher = (usual + change if usual <= 1 else usual for change in COMPLETES)
    return _fallen(_ratio(beyond, near), RATIOS, lower, higher)


def known_share(near: jax.Array, far: jax.Array, usual: float) -> jax.Array:
    """The share of a class's labels that the teacher must find to know the class.

    Where whole objects have a wrong class, most of what is drawn as a rare class is none of it: of
    11 classes with a tenth of the objects wrong, 60 to 90 % of five. A teacher that finds few of
    these labels knows the class all the same.

    Args:
        near, far: as for `far_threshold`.
        usual: the share without a rule.

    Returns:
        () float32: the usual share up to a ratio of 0.25, 0.4 times that from 0.5 on, on a line in
        between.

    >>> print(f"{known_share(jnp.float32(0.13), jnp.float32(0.08), 0.5):.2f}")
    0.20
    """
    return _fallen(_ratio(far, near), KNOWN_RATIOS, usual, KNOWN * usual)


def edge_trust(near: jax.Array, beyond: jax.Array) -> jax.Array:
    """How much the labels near drawn edges are to be trusted, by where the teacher contradicts.

    Outlines beside their objects make labels wrong near edges and not behind them. Such labels are
    not to weigh more than others, and those closest to an edge are not to count. What shows them is
    that the teacher contradicts near edges by more than behind them, although it contradicts so
    often behind them that it is no mere smoothing (`near_threshold`). That difference was 0.13 and
    0.16 (two networks) where half of the outlines lie outside of their objects, and 0.03 to 0.06
    with two other kinds of wrong labels.

    Args:
        near, beyond: as for `near_threshold`.

    Returns:
        () float32, a factor on the strength of `edge_weights` and on the weights of the labels
        closest to an edge: 1 up to a difference of 0.06, 0 from 0.12 on, on a line in between; 1
        where the contradictions are smoothing.

    >>> print(edge_trust(jnp.float32(0.28), jnp.float32(0.12)))
    0.0
    >>> print(edge_trust(jnp.float32(0.17), jnp.float32(0.12)))
    1.0
    """
    wrong = _fallen(_ratio(beyond, near), RATIOS, 0.0, 1.0)
    return _fallen(wrong * (near - beyond), EXCESSES, 1.0, 0.0)


def _ratio(share: jax.Array, near: jax.Array) -> jax.Array:
    return share / jnp.maximum(near, 1e-6)


def _fallen(
    ratio: jax.Array, ratios: tuple[float, float], first: float, second: float
) -> jax.Array:
    """`first` up to the first ratio, `second` from the second one on, on a line in between."""
    way = jnp.clip((ratio - ratios[0]) / (ratios[1] - ratios[0]), 0.0, 1.0)
    return jnp.float32(first) + jnp.float32(second - first) * way
