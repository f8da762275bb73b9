"""What the teacher makes of a batch's labels, by the section `targets` of the settings."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

from arm_jax import contradictions, noise, schedules, targets
from arm_jax.softmax import log_softmax
from arm_jax.training.given import Distances, Given, distances, edge_weights, inside, limits
from arm_jax.training.pixel_maps import by_rows
from arm_jax.training.teacher import Beliefs

# Before this share of T the teacher's likelihoods show nothing about how labels are reported.
COUNTED_FROM = 0.05
# Of the running shares that are logged, a step.
_DECAY = 0.98


def look(
    beliefs: Beliefs | None,
    scores: jax.Array | None,
    labels: jax.Array,
    extent: jax.Array,
    step: jax.Array,
    config: Any,
    *,
    ignore: int = 255,
    devices: int = 1,
    corrected: jax.Array | None = None,
    completed: jax.Array | None = None,
    known_distances: Distances | None = None,
) -> tuple[Given | None, Beliefs | None]:
    """What is believed of a batch's labels, and the beliefs with this batch in them.

    Args:
      beliefs: None for a run without a teacher.
      scores: (b, h', w', C) float32, the teacher's on the images without colour jitter; None
        without a teacher, and where nothing needs them.
      labels: (b, h, w) integers.
      extent: (b, 2) int32, height and width that are no padding.
      step: () int32, from 0.
      config: the run's.
      ignore: the label of pixels that have none.
      devices: over how many the batch is split.
      corrected: (b,) bool, the images whose labels may be wrong; those of the others are neither
        corrected nor counted among the contradicted, nor in the table of noise. None for all.
      completed: (b,) bool, the images that are completed where nothing was drawn; None for all.
      known_distances: of pixels that are no image together; None to measure them.

    Returns:
      The labels, None where the objective is the usual one; the beliefs, with the teacher as it
      was.
    """
    settings = config.targets
    if scores is None and not settings.edge_weight:
        return None, beliefs
    seen = inside(extent, labels.shape)
    drawn = seen & (labels != ignore)
    known = known_distances or distances(labels, seen, drawn, settings)
    weights = edge_weights(known, drawn, seen, beliefs, settings, corrected)
    given = Given(labels, labels, seen, weights)
    if beliefs is None or scores is None:
        return given, beliefs

    scores = stop_gradient(scores)
    may_be_wrong = seen if corrected is None else seen & corrected[:, None, None]
    doubted = drawn & may_be_wrong
    beliefs = _learned(
        beliefs, scores, labels, known.edges, doubted, drawn, may_be_wrong, step, config
    )
    table = None if beliefs.counts is None else noise.table(beliefs.counts)
    drawn_as = beliefs.drawn
    least = limits(beliefs, settings)
    limit = contradictions.thresholds(known.edges, least)
    never = jnp.float32(jnp.inf)
    learnt = targets.known(beliefs.found, beliefs.drawn, least.known)
    last = learnt.shape[0] - 1
    doubted &= jnp.take(learnt, jnp.minimum(labels.astype(jnp.int32), last))
    always = jnp.where(beliefs.begun & doubted, 0.0, never)
    limit = jnp.where(beliefs.begun & doubted, limit, never)
    sure = jnp.where(beliefs.begun, least.complete, never)
    missing = seen & ~drawn
    if completed is not None:
        missing &= completed[:, None, None]

    def judged(scores: jax.Array, maps: dict[str, jax.Array]) -> jax.Array:
        p = jnp.exp(log_softmax(scores))
        labels, found = maps["labels"], maps["labels"]
        if settings.correct in ("drop", "class", "soft"):
            r = jnp.exp(log_softmax(targets.adjusted(scores, drawn_as, settings.adjust)))
            found = targets.corrected(
                found, jnp.argmax(r, -1), jnp.max(r, -1), maps["limit"], maps["drawn"]
            )
        elif settings.correct == "posterior":
            q = _posterior(p, labels, maps["drawn"], table, settings.sharpness)
            found = targets.corrected(
                found, jnp.argmax(q, -1), jnp.ones(q.shape[:-1]), maps["limit"], maps["drawn"]
            )
        if settings.complete != "none":
            if settings.complete == "posterior":
                p = _posterior(p, labels, maps["drawn"], table, 1.0)
            believed = jnp.argmax(p, -1)
            its = maps["missing"] & jnp.take(learnt, believed)
            found = targets.completed(found, believed, jnp.max(p, -1), sure, its)
        return found

    limit = always if settings.correct == "posterior" else limit
    maps = {"labels": labels, "limit": limit, "drawn": drawn, "missing": missing}
    believed = by_rows(judged, scores, maps, devices=devices)

    def running(old: jax.Array, pixels: jax.Array, of: jax.Array) -> jax.Array:
        number = jnp.sum(of, dtype=jnp.float32)
        now = jnp.sum(pixels & of, dtype=jnp.float32) / jnp.maximum(number, 1.0)
        return jnp.where(number > 0, _DECAY * old + (1.0 - _DECAY) * now, old)

    beliefs = dataclasses.replace(
        beliefs,
        corrected=running(beliefs.corrected, believed != labels, drawn),
        completed=running(beliefs.completed, believed != labels, missing),
    )
    if settings.correct == "drop":
        contradicted = drawn & (believed != labels)
        believed = jnp.where(contradicted, labels, believed)
        counted = drawn.astype(jnp.float32) if weights is None else weights
        weights = jnp.where(contradicted, 0.0, counted)
    soft = settings.correct in ("soft", "posterior") or settings.complete == "soft"
    given = given._replace(
        believed=believed,
        weights=weights,
        scores=scores if soft else None,
        table=table,
        begun=beliefs.begun,
        doubted=doubted if soft else None,
    )
    return given, beliefs


def log_likelihood(
    log_p: jax.Array,
    teacher: jax.Array,
    hard: jax.Array,
    maps: dict[str, jax.Array],
    given: Given,
    settings: Any,
) -> jax.Array:
    """The expected log-likelihood (...) where the target is a distribution, `hard` elsewhere.

    Args:
      log_p: (..., C), the student's.
      teacher: (..., C), the teacher's scores.
      hard: (...), the log-likelihood of the believed labels.
      maps: "drawn", "believed" (...) labels, and bool (...) "valid", where something was drawn, and
        "doubted", where that may be wrong.
      given: for its table and whether the teacher has begun.
      settings: the config's section `targets`.
    """
    p = jnp.exp(log_softmax(stop_gradient(teacher)))
    valid, changed = maps["valid"], maps["drawn"] != maps["believed"]
    if settings.correct == "posterior":
        q = _posterior(p, maps["drawn"], valid, given.table, settings.sharpness)
        q = jnp.where(valid[..., None], q, p)
        assert given.begun is not None
        where = maps["doubted"] & given.begun
    else:
        q, where = p, valid & changed & (settings.correct == "soft")
    if settings.complete == "soft":
        where |= ~valid & changed
    return jnp.where(where, targets.soft_log_likelihood(log_p, q), hard)


def _posterior(
    p: jax.Array, labels: jax.Array, drawn: jax.Array, table: jax.Array | None, sharpness: float
) -> jax.Array:
    assert table is not None  # where a posterior is asked for, `Beliefs.create` makes one
    report = jnp.where(drawn, labels, p.shape[-1]).astype(jnp.int32)
    return noise.posterior(p, report, table, sharpness)


def _learned(
    beliefs: Beliefs,
    scores: jax.Array,
    labels: jax.Array,
    distance: jax.Array,
    doubted: jax.Array,
    drawn: jax.Array,
    may_be_wrong: jax.Array,
    step: jax.Array,
    config: Any,
) -> Beliefs:
    """The beliefs with what a batch shows at the positions of the scores, one pixel for each."""
    settings = config.targets

    def sampled(x: jax.Array) -> jax.Array:
        for axis in (1, 2):
            number, length = scores.shape[axis], x.shape[axis]
            places = jnp.minimum((jnp.arange(number) + 0.5) * (length / number), length - 1)
            x = jnp.take(x, places.astype(jnp.int32), axis=axis)
        return x

    labels, distance, doubted, drawn, may_be_wrong = (
        sampled(x) for x in (labels, distance, doubted, drawn, may_be_wrong)
    )
    p = jnp.exp(log_softmax(scores))
    r = jnp.exp(log_softmax(targets.adjusted(scores, beliefs.drawn, settings.adjust)))
    believed, certainty = jnp.argmax(r, -1), jnp.max(r, -1)

    def share(pixels: jax.Array, of: jax.Array) -> tuple[jax.Array, jax.Array]:
        number = jnp.sum(of, dtype=jnp.float32)
        return jnp.sum(pixels & of, dtype=jnp.float32) / jnp.maximum(number, 1.0), number > 0

    def running(old: jax.Array, above: float, of: jax.Array) -> jax.Array:
        now, some = share((believed != labels) & (certainty > above), of)
        return jnp.where(some, _DECAY * old + (1.0 - _DECAY) * now, old)

    def of_each_class(pixels: jax.Array) -> jax.Array:
        its = jax.nn.one_hot(labels, p.shape[-1], dtype=bool)
        return jnp.sum(its & pixels[..., None], (0, 1, 2), dtype=jnp.float32)

    near = doubted & (distance <= settings.near)
    beyond = doubted & ~near & (distance <= contradictions.BEHIND * settings.near)
    far = doubted & ~near & ~beyond
    agreement, any_drawn = share(believed == labels, drawn)
    rise = targets.rising(beliefs.rise, agreement, step, config.steps)
    rise = jax.tree.map(lambda new, old: jnp.where(any_drawn, new, old), rise, beliefs.rise)
    begun = beliefs.begun | (step >= schedules.boundary(settings.start, config.steps))
    if settings.start_rule == "agreement":
        early = step >= schedules.boundary(COUNTED_FROM, config.steps)
        begun |= early & targets.flattened(rise)
    counts = beliefs.counts
    if counts is not None:
        q = _posterior(p, labels, drawn, noise.table(counts), 1.0)
        report = jnp.where(drawn, labels, p.shape[-1]).astype(jnp.int32)
        new = noise.blended(counts, noise.counted(q, report, may_be_wrong))
        counts = jnp.where(step >= schedules.boundary(COUNTED_FROM, config.steps), new, counts)
    return dataclasses.replace(
        beliefs,
        begun=begun,
        rise=rise,
        counts=counts,
        contradicted=running(beliefs.contradicted, settings.correct_above, doubted & ~near),
        contradicted_near=running(beliefs.contradicted_near, contradictions.CONTRADICTS, near),
        contradicted_beyond=running(
            beliefs.contradicted_beyond, contradictions.CONTRADICTS, beyond
        ),
        contradicted_far=running(beliefs.contradicted_far, contradictions.CONTRADICTS, far),
        drawn=_DECAY * beliefs.drawn + of_each_class(drawn),
        found=_DECAY * beliefs.found + of_each_class(drawn & (believed == labels)),
    )
