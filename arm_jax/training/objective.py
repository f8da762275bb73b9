"""What one step minimises and maximises: from logits and labels to one scalar (Secs. 3.3 to 3.5).

The rows of the paper's Tables 1, 2, 4 and 5, and what goes beyond them, are settings of `Method`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from arm_jax import arm, losses, networks, theorem
from arm_jax.training.pixel_maps import by_rows, in_tiles
from arm_jax.training.state import Players, Weighting
from arm_jax.weightings import ClosedFormArm

LOSSES = ("ce", "gce", "kl", "ohem")
INPUTS = (*arm.CONFIDENCES, "s")
SIGNALS = ("loss", "gce", "trimmed")
SCOPES = ("global", "image", "device")
HIDDEN_BYTES = 128  # of a pixel inside ARM: three layers of four, before and after the swish


@dataclasses.dataclass(frozen=True)
class Method:
    """The settings of a step; constant during a run.

    Attributes:
      total_steps: T of Sec. 4.2.
      isolated: share of T in which the segmenter does not feel the weights yet (Sec. 4.2).
      confidence: what ARM looks at: a kind of `arm.confidence`, or "s", the uncertainty that the
        KL loss predicts (Table 4).
      p: the norm held at 1 while ARM climbs (Sec. 3.4).
      scope: over what the norms are taken: the "global" batch, each "image", or each "device".
      devices: how many there are, over which the batch is split.
      detach: no gradient from the weights into the segmenter (Table 1).
      signal: what ARM climbs: the "loss" itself, its bounded "gce" form, or the loss "trimmed" of
        its largest values; the last two so as not to be led by mislabelled pixels.
      trimmed_share: of the valid pixels, for that signal.
      loss: "ce", "gce", "kl" or "ohem".
      q: of the generalised cross entropy.
      threshold, kept_per_image: of OHEM, see `losses.hard_pixels`.
      average_over: "valid" pixels or "all", see `arm.adversarial_objective`.
      auxiliary_weight: of the auxiliary head's plain mean cross entropy.
      jitter: distort colours.
      ignore: the label of pixels that have none.
      parts: the batch goes through the network in so many parts, see `accumulation`.
      log_every: steps over which metrics are summed.
    """

    total_steps: int
    isolated: float = 0.05
    confidence: str = "var"
    p: float = 2.0
    scope: str = "global"
    devices: int = 1
    detach: bool = True
    signal: str = "loss"
    trimmed_share: float = 0.05
    loss: str = "ce"
    q: float = 0.1
    threshold: float = 0.7
    kept_per_image: int = 50_000
    average_over: str = "valid"
    auxiliary_weight: float = 0.4
    jitter: bool = True
    ignore: int = 255
    parts: int = 1
    log_every: int = 50


def forward(
    players: Players,
    images: jax.Array,
    labels: jax.Array,
    method: Method,
    coupled: jax.Array,
    dropout_key: jax.Array,
) -> dict[str, Any]:
    """The objective of both players on one batch, and what the log wants to know of it.

    Args:
      players: BatchNorm's running statistics, and those of a `ClosedFormArm`, are updated in place.
      images: (b, h, w, 3) float32, normalised.
      labels: (b, h, w) integers.
      method: the settings.
      coupled: () bool, whether the segmenter feels the weights.
      dropout_key: a key of this step's own.

    Returns:
      "total", the scalar to differentiate for both players at once; "loss", "mean_loss",
      "auxiliary_loss", "labelled" (share of labelled pixels), "histogram".
    """
    segmenter = networks.training(players.segmenter)
    scores, auxiliary = segmenter(images, auxiliary=True, dropout_key=dropout_key)
    return from_scores(players.arm, scores, auxiliary, labels, method, coupled)


def from_scores(
    weighting: Weighting | None,
    scores: jax.Array,
    auxiliary: jax.Array,
    labels: jax.Array,
    method: Method,
    coupled: jax.Array,
) -> dict[str, Any]:
    """`forward` from what the network returned.

    Args:
      weighting: ARM, or None; the statistics of a `ClosedFormArm` are updated in place.
      scores: (b, h', w', classes) float32; with the KL loss, log s behind the classes.
      auxiliary: (b, h'', w'', classes) float32.
      labels, method, coupled: as for `forward`.
    """
    valid = losses.valid_pixels(labels, method.ignore)
    classes = auxiliary.shape[-1]

    def look(scores: jax.Array, labels: jax.Array) -> dict[str, jax.Array]:
        logits = scores[..., :classes]
        maps = {"log_p": losses.log_likelihood(logits, labels, method.ignore)}
        if method.loss == "kl":
            maps["log_s"] = scores[..., classes]
        if method.confidence != "s":
            maps["confidence"] = arm.confidence(logits, method.confidence, method.detach)
        return maps

    def look_aside(scores: jax.Array, labels: jax.Array) -> jax.Array:
        return losses.cross_entropy(scores, labels, method.ignore)

    maps = by_rows(look, scores, labels, devices=method.devices)
    pixel_loss, signal, counted = _pixel_loss(maps, valid, method)
    if method.confidence == "s":
        log_s = losses.clip_log_s(maps["log_s"])
        confidence = arm.uncertainty_confidence(log_s, detach=method.detach)
    else:
        confidence = maps["confidence"]
    weigh: Callable[[jax.Array], jax.Array] | None = weighting
    if weigh is not None:
        weigh = in_tiles(weigh, bytes_a_pixel=HIDDEN_BYTES, devices=method.devices)
    objective = arm.adversarial_objective(
        weigh,
        confidence,
        pixel_loss,
        counted,
        coupled=coupled,
        p=method.p,
        detach=method.detach,
        signal=signal,
        groups={"global": 1, "image": labels.shape[0], "device": method.devices}[method.scope],
        average_over=method.average_over,
    )
    # Theorem 3.1 speaks of the loss that ARM climbs. The KL loss itself may be negative.
    climbed = pixel_loss if signal is None else signal
    histogram = theorem.histogram(confidence, climbed, objective.weights, counted)
    if isinstance(weighting, ClosedFormArm):
        weighting.observe(histogram)
    aside = by_rows(look_aside, auxiliary, labels, devices=method.devices)
    auxiliary_loss = losses.mean_over(aside, valid)
    return {
        "total": objective.total + method.auxiliary_weight * auxiliary_loss,
        "loss": objective.main,
        "mean_loss": objective.plain,
        "auxiliary_loss": auxiliary_loss,
        "labelled": jnp.mean(valid, dtype=jnp.float32),
        "histogram": histogram,
    }


def _pixel_loss(
    maps: dict[str, jax.Array], valid: jax.Array, method: Method
) -> tuple[jax.Array, jax.Array | None, jax.Array]:
    """The segmenter's loss of each pixel, what ARM climbs if not that, and which pixels count."""
    log_p = maps["log_p"]
    if method.loss == "kl":
        loss = losses.tempered(-log_p, maps["log_s"])
        return loss, losses.kl_signal(loss), valid
    if method.loss == "gce":
        return losses.bounded(log_p, method.q), None, valid
    if method.loss == "ohem":
        kept = method.kept_per_image * valid.shape[0]
        return -log_p, None, losses.hard_pixels(jnp.exp(log_p), valid, method.threshold, kept)
    signal = None
    if method.signal == "gce":
        signal = losses.bounded(log_p, method.q)
    elif method.signal == "trimmed":
        signal = losses.trimmed(-log_p, valid, method.trimmed_share)
    return -log_p, signal, valid
