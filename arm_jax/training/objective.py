"""What one step minimises and maximises: from logits and labels to one scalar (Secs. 3.3 to 3.5).

The rows of the paper's Tables 1, 2, 4 and 5, and what goes beyond them, are settings of the
sections `arm` and `loss`.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict

from arm_jax import arm, losses, networks, theorem
from arm_jax.softmax import log_softmax
from arm_jax.training import beliefs
from arm_jax.training.given import Given
from arm_jax.training.pixel_maps import by_rows, in_tiles
from arm_jax.training.records import Terms
from arm_jax.training.state import Players, Weighting

HIDDEN_BYTES = 128  # of a pixel inside ARM: three layers of four, before and after the swish


@dataclasses.dataclass(frozen=True)
class Method:
    """What a step is to do; constant during a run.

    Attributes:
      config: every setting of the run, from `settings.frozen`.
      ignore: the label of pixels that have none.
      devices: how many there are, over which the batch is split.
      class_weights: factor on the loss of each class, for both players and the auxiliary head, so
        that one still raises what the other lowers; () for none.
    """

    config: FrozenConfigDict
    ignore: int = 255
    devices: int = 1
    class_weights: tuple[float, ...] = ()

    @property
    def bands(self) -> networks.Bands:
        """Of the images."""
        data = self.config.data
        return networks.Bands.of(data.channels, data.mean, data.deviation)


def forward(
    players: Players,
    images: jax.Array | Mapping[str, jax.Array],
    labels: jax.Array,
    method: Method,
    coupled: jax.Array,
    dropout_key: jax.Array,
    given: Given | None = None,
    weighed: jax.Array | None = None,
) -> Terms:
    """The objective of both players on one batch, and the terms that are logged.

    Args:
      players: BatchNorm's running statistics, and ARM's if it observes, are updated in place.
      images: (b, h, w, 3) float32, normalised; or the features of the frozen parts.
      labels: (b, h, w) integers.
      method: the settings.
      coupled: () bool, whether the segmenter feels the weights.
      dropout_key: a key for this step alone.
      given: what is believed of the labels, see `beliefs.look`; None where they are believed.
      weighed: (b,) bool, the images whose pixels ARM weighs; None for all.
    """
    segmenter = networks.training(players.segmenter)
    scores, auxiliary = segmenter(images, auxiliary=True, dropout_key=dropout_key)
    return from_scores(players.arm, scores, auxiliary, labels, method, coupled, given, weighed)


def from_scores(
    weighting: Weighting | None,
    scores: jax.Array,
    auxiliary: jax.Array,
    labels: jax.Array,
    method: Method,
    coupled: jax.Array,
    given: Given | None = None,
    weighed: jax.Array | None = None,
) -> Terms:
    """`forward` from what the network returned.

    Args:
      weighting: ARM, or None; its statistics are updated in place if it observes.
      scores: (b, h', w', classes) float32; behind the classes, the channels that the loss needs.
      auxiliary: (b, h'', w'', classes) float32.
      labels, method, coupled, given, weighed: as for `forward`.
    """
    valid = losses.valid_pixels(labels, method.ignore)
    config, classes = method.config, auxiliary.shape[-1]
    loss = losses.LOSSES[config.loss.kind]

    def pixel_maps(scores: jax.Array, labels: jax.Array) -> dict[str, jax.Array]:
        logits = scores[..., :classes]
        maps = {name: scores[..., classes + i] for i, name in enumerate(loss.channels)}
        maps["log_p"] = losses.log_likelihood(logits, labels, method.ignore)
        if config.arm.input != "s":
            maps["confidence"] = arm.confidence(logits, config.arm.input, config.arm.detach)
        return maps

    def auxiliary_map(scores: jax.Array, labels: jax.Array) -> jax.Array:
        return losses.cross_entropy(scores, labels, method.ignore)

    def soft_maps(scores: jax.Array, labels: dict[str, jax.Array]) -> dict[str, jax.Array]:
        assert given is not None
        student, teacher = scores[..., :-classes], scores[..., -classes:]
        maps = pixel_maps(student, labels["believed"])
        likelihood = log_softmax(student[..., :classes].astype(jnp.float32))
        maps["log_p"] = beliefs.log_likelihood(
            likelihood, teacher, maps["log_p"], labels, given, config.targets
        )
        return maps

    believed = labels if given is None else given.believed
    if given is None or given.scores is None:
        maps = by_rows(pixel_maps, scores, believed, devices=method.devices)
    else:
        both = jnp.concatenate([scores, given.scores], -1)
        seen = {"drawn": labels, "believed": believed, "valid": valid, "doubted": given.doubted}
        maps = by_rows(soft_maps, both, seen, devices=method.devices)
    log_p = maps.pop("log_p")
    found = loss.pixels(log_p, {**maps, "valid": valid}, config.loss)
    counted, played = found.counted, found.counted
    if weighed is not None:
        weighed = jnp.broadcast_to(weighed[:, None, None], counted.shape)
        played = counted & weighed
    weights = None if given is None else given.weights
    # What is left out already is none of the losses that are trimmed.
    counting = played if weights is None else played & (weights > 0)
    signal = _signal(log_p, found, counting, config)
    if weights is not None:
        weigh_edges = functools.partial(jnp.multiply, weights)
        found = found._replace(loss=weigh_edges(found.loss))
        signal = None if signal is None else weigh_edges(signal)
    if method.class_weights:
        by_class = losses.by_class(believed, method.class_weights)
        found = found._replace(loss=by_class * found.loss)
        signal = None if signal is None else by_class * signal
    if config.arm.input == "s":
        log_s = losses.clip_log_s(maps["log_s"])
        confidence = arm.uncertainty_confidence(log_s, detach=config.arm.detach)
    else:
        confidence = maps["confidence"]
    weigh: Callable[[jax.Array], jax.Array] | None = weighting
    if weigh is not None:
        weigh = in_tiles(weigh, bytes_a_pixel=HIDDEN_BYTES, devices=method.devices)
    objective = arm.adversarial_objective(
        weigh,
        confidence,
        found.loss,
        counted,
        coupled=coupled,
        p=config.arm.p,
        detach=config.arm.detach,
        signal=signal,
        groups={"global": 1, "image": labels.shape[0], "device": method.devices}[config.arm.scope],
        average_over=config.loss.average_over,
        match=config.arm.match_loss,
        weighed=weighed,
    )
    # Theorem 3.1 speaks of the loss that ARM climbs. The KL loss itself may be negative.
    climbed = found.loss if signal is None else signal
    shown = objective.weights
    if weighed is not None:  # those that play sum to 1 in the histogram
        shown = shown * (objective.pixels / jnp.maximum(jnp.sum(played, dtype=jnp.int32), 1))
    histogram = theorem.histogram(confidence, climbed, shown, played)
    observe = getattr(weighting, "observe", None)
    if observe is not None:
        observe(histogram)
    # The auxiliary head learns what was drawn, as corrected: what the main one drops too, and
    # without weights at edges. It completes nothing.
    own = labels if given is None else jnp.where(valid, believed, labels)
    aside = by_rows(auxiliary_map, auxiliary, own, devices=method.devices)
    if method.class_weights:
        aside = by_class * aside
    auxiliary_loss = losses.mean_over(aside, valid)
    total = objective.total + config.model.auxiliary_weight * auxiliary_loss
    completion = None
    if given is not None and config.targets.complete != "none":
        missing = given.inside & ~valid
        chosen = missing & (believed != labels)
        told = by_class * -log_p if method.class_weights else -log_p
        # The fewer the teacher is sure of, the less they weigh, and none more than a drawn pixel.
        most = jnp.maximum(jnp.sum(missing), jnp.sum(valid))
        completion = jnp.sum(jnp.where(chosen, told, 0.0)) / jnp.maximum(most, 1)
        total += config.targets.complete_weight * completion
    return Terms(
        total=total,
        loss=objective.main,
        mean_loss=objective.plain,
        auxiliary_loss=auxiliary_loss,
        labelled=jnp.mean(valid, dtype=jnp.float32),
        histogram=histogram,
        completion=completion,
    )


def _signal(
    log_p: jax.Array, found: losses.PixelLoss, played: jax.Array, config: FrozenConfigDict
) -> jax.Array | None:
    """What ARM climbs, where that is not the loss itself, on the pixels that it weighs."""
    if config.arm.signal == "gce":
        return losses.bounded(log_p, config.loss.q)
    if config.arm.signal == "trimmed":
        return losses.trimmed(found.loss, played, config.arm.trimmed_share)
    return found.signal
