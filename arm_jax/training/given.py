"""What is given of a batch, and how far what is known so far lets it be trusted."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from arm_jax import contradictions, targets
from arm_jax.training.teacher import Beliefs


class Distances(NamedTuple):
    """How far a pixel is from what was drawn, (b, h, w) float32, as of `targets.edge_distance`.

    Attributes:
      edges: to the nearest drawn edge.
      margins: to the nearest pixel that nobody labelled.
    """

    edges: jax.Array
    margins: jax.Array


class Given(NamedTuple):
    """A batch's labels, with what is believed of them.

    Attributes:
      drawn: (b, h, w) integers, the labels as they were given.
      believed: (b, h, w) integers, corrected and completed; `drawn` where neither happened.
      inside: (b, h, w) bool, what is no padding.
      weights: (b, h, w) float32 at the edges, 0 where nothing was drawn or a label is dropped;
        None for none.
      scores: (b, h', w', C) float32 of the teacher, where targets are distributions, else None.
      table: (C, C + 1), see `noise`, or None.
      begun: () bool.
      doubted: (b, h, w) bool, what was drawn and may be wrong, where targets are distributions.
    """

    drawn: jax.Array
    believed: jax.Array
    inside: jax.Array
    weights: jax.Array | None = None
    scores: jax.Array | None = None
    table: jax.Array | None = None
    begun: jax.Array | None = None
    doubted: jax.Array | None = None


def teaches(settings: Any) -> bool:
    """Whether the section `targets` asks what the teacher finds in each batch."""
    return settings.correct != "none" or settings.complete != "none"


def limits(beliefs: Beliefs | None, settings: Any) -> contradictions.Limits:
    """How sure the teacher must be, by `targets.near_rule`."""
    found = contradictions.Limits.fixed(settings)
    if settings.near_rule == "fixed":
        return found
    assert beliefs is not None  # a rule needs a teacher
    near, beyond = beliefs.contradicted_near, beliefs.contradicted_beyond
    far, least = beliefs.contradicted_far, settings.correct_above
    return found._replace(
        near=contradictions.near_threshold(near, beyond),
        inside=contradictions.inside_threshold(near, beyond, least),
        far=contradictions.far_threshold(near, far, least),
        complete=contradictions.complete_threshold(near, beyond, settings.complete_above),
        known=contradictions.known_share(near, far, settings.known_above),
    )


def trust(beliefs: Beliefs | None, settings: Any) -> jax.Array | float:
    """() in [0, 1]: how far labels near edges are trusted, by `targets.near_rule`."""
    if beliefs is None or settings.near_rule == "fixed" or not teaches(settings):
        return 1.0
    found = contradictions.edge_trust(beliefs.contradicted_near, beliefs.contradicted_beyond)
    return jnp.where(beliefs.begun, found, 1.0)


def inside(extent: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """(b, h, w) bool: what is no padding, from heights and widths (b, 2)."""
    rows = jnp.arange(shape[1])[None, :, None] < extent[:, 0, None, None]
    return rows & (jnp.arange(shape[2])[None, None, :] < extent[:, 1, None, None])


def distances(labels: jax.Array, seen: jax.Array, drawn: jax.Array, settings: Any) -> Distances:
    """As far as the section `targets` needs them.

    Args:
      labels: (b, h, w) integers.
      seen: (b, h, w) bool, what is no padding.
      drawn: (b, h, w) bool, what has a label.
      settings: the section.
    """
    far = targets.edge_reach(settings.edge_weight, settings.edge_decay)
    alike = settings.edges == "all" or not settings.edge_weight
    reach = far if alike else 1
    if teaches(settings):
        reach = max(reach, contradictions.reach(settings.near))
    edges = targets.edge_distance(labels, seen, reach=reach)
    # The margins are the edges of the map of what is drawn at all.
    margins = edges if alike else targets.edge_distance(drawn, seen, reach=far)
    return Distances(edges, margins)


def edge_weights(
    known: Distances,
    drawn: jax.Array,
    seen: jax.Array,
    beliefs: Beliefs | None,
    settings: Any,
    corrected: jax.Array | None = None,
) -> jax.Array | None:
    """(b, h, w) float32, see `targets.edge_weights`; None where the section asks for none.

    Where labels near edges are not trusted, those closest to an edge count less themselves: as if
    what was drawn were eroded.

    Args:
      known: as from `distances`.
      drawn, seen: as for `distances`.
      beliefs: of the steps before; None without a teacher.
      settings: the section.
      corrected: (b,) bool, the images whose labels may be wrong; the others' edges are trusted.
        None for all.
    """
    if not settings.edge_weight:
        return None
    every = settings.edges == "all"
    trusted = trust(beliefs, settings)
    if corrected is not None:
        trusted = jnp.where(corrected[:, None, None], trusted, 1.0)
    # The margins of an image that nobody labelled are next to no label that could stand for them.
    labelled = jnp.any(drawn, (1, 2), keepdims=True)
    return targets.edge_weights(
        known.edges if every else known.margins,
        drawn,
        strength=settings.edge_weight * trusted,
        decay=settings.edge_decay,
        missing=math.inf if every else jnp.sum(seen & ~drawn & labelled, dtype=jnp.float32),
        counts=jnp.where(known.edges <= contradictions.CLOSEST * settings.near, trusted, 1.0),
    )
