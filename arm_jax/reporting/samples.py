"""Images of a split with their labels, and what a trained network finds in them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from arm_jax import arm
from arm_jax.data import bands
from arm_jax.data.sources import Source
from arm_jax.evaluation import boundary, inference
from arm_jax.evaluation.batching import grouped
from arm_jax.evaluation.passes import placed, views
from arm_jax.evaluation.protocol import Protocol
from arm_jax.system import sharding
from arm_jax.training.state import Players

# The longer side of what is drawn, in pixels.
LONGEST = 640


@dataclass(frozen=True)
class Sample:
    """An image and what is known about it, all of one size (h, w). None is not known.

    Attributes:
      image: uint8 (h, w, 3) RGB.
      label: uint8 (h, w), the fine label.
      coarse: uint8 (h, w), the label that was trained on.
      prediction: uint8 (h, w).
      weight: float (h, w), relative weights, whose mean over the labelled pixels of a batch is 1;
        nan where there is none.
      confidence: float (h, w) in [-1, 1].
      near: bool (h, w), labelled pixels near another class.
      name: shown at it.
    """

    image: np.ndarray
    label: np.ndarray | None = None
    coarse: np.ndarray | None = None
    prediction: np.ndarray | None = None
    weight: np.ndarray | None = None
    confidence: np.ndarray | None = None
    near: np.ndarray | None = None
    name: str = ""


@dataclass(frozen=True)
class Eye:
    """What judges images, and how.

    Attributes:
      players: as trained.
      protocol: how an image goes through the network.
      kind: what ARM sees, see `arm.confidence`.
      p: ARM's norm.
      batch_size: of the evaluation, whose compiled program is used again.
      mesh: its devices.
      boundary_width: how near a class boundary pixels are `near`.
    """

    players: Players
    protocol: Protocol
    kind: str
    p: float
    batch_size: int
    mesh: Mesh
    boundary_width: int


def draw(eye: Eye, fine: Source, coarse: Source | None, chosen: Sequence[int]) -> list[Sample]:
    """The chosen images of a split, at a size to be shown.

    The weights are those that ARM would give an image alone: relative to their mean over the
    pixels that have a label to train on, nan elsewhere. An ARM that sees the KL loss's s has no
    weight map here, since inference keeps the scores of the classes only.

    Args:
      eye: the network.
      fine: labelled images.
      coarse: the same images with the kind of label that was trained on, if there are such.
      chosen: indices of both.
    """
    mesh = sharding.local_mesh(eye.mesh)
    graphdef, state = nnx.split(eye.players)
    eye = replace(eye, players=nnx.merge(graphdef, sharding.local_copy(mesh, state)))
    records = [fine[index] for index in chosen]
    found = {}
    for place, scores in _scores(eye, [record["image"] for record in records]):
        other = None if coarse is None else coarse[chosen[place]]["label"]
        found[place] = _sample(eye, records[place], other, scores)
    return [found[place] for place in range(len(chosen))]


def _scores(eye: Eye, images: Sequence[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """The place of every image and its class scores (h, w, C), one at a time."""
    size = sharding.local_batch_size(eye.batch_size, eye.mesh)
    network = placed(eye.players.segmenter, eye.mesh)
    prepared = [views(image, eye.protocol) for image in images]
    places = range(len(prepared))
    for same in grouped(places, lambda place: prepared[place].group, size, len(prepared)):
        batch = [prepared[place] for place in same]
        batch += [batch[0]] * (size - len(batch))  # to the shape of the evaluation's own
        found = inference.small_scores(network, batch, eye.protocol, LONGEST)
        yield from zip(same, found, strict=False)


def _sample(eye: Eye, record: dict, coarse: np.ndarray | None, scores: np.ndarray) -> Sample:
    size = scores.shape[:2]
    label = record["label"]
    near = boundary.near_boundaries(label, eye.boundary_width) < eye.players.segmenter.num_classes
    if eye.protocol.average == "probabilities":
        scores = np.log(np.maximum(scores, 1e-30))
    trained_on = _small(label if coarse is None else coarse, size)
    confidence = weight = None
    if eye.kind in arm.CONFIDENCES:
        seen = arm.confidence(jnp.asarray(scores), kind=eye.kind)
        confidence = np.asarray(seen)
        valid = trained_on < eye.players.segmenter.num_classes
        if eye.players.arm is not None:
            weights = np.asarray(arm.normalize(eye.players.arm(seen), jnp.asarray(valid), p=eye.p))
            weight = np.where(valid, weights * valid.sum(), np.nan)
    height, width = size
    image = bands.shown(record["image"])
    if image.shape[:2] != size:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return Sample(
        image=image,
        label=_small(label, size),
        coarse=None if coarse is None else trained_on,
        prediction=scores.argmax(-1).astype(np.uint8),
        weight=weight,
        confidence=confidence,
        near=_small(near, size),
        name=record["id"],
    )


def _small(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The values at the centres of `size` pixels, where the scores are taken as well."""
    rows, columns = (
        ((np.arange(small) + 0.5) * large / small).astype(int)
        for small, large in zip(size, values.shape, strict=True)
    )
    return values[rows[:, None], columns]
