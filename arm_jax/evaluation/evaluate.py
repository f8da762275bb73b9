"""A labelled split -> one confusion matrix -> numbers."""

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from signal import SIGTERM

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from arm_jax.data.labels import Classes
from arm_jax.data.sources import Source
from arm_jax.evaluation import calibration, inference, labelled, metrics
from arm_jax.evaluation.batching import delayed
from arm_jax.evaluation.by_image import ByImage, Collector
from arm_jax.evaluation.calibration import BINS, NARROW, Calibration
from arm_jax.evaluation.labelled import Example
from arm_jax.evaluation.passes import placed
from arm_jax.evaluation.protocol import Protocol
from arm_jax.networks import Segmenter
from arm_jax.system import processes, sharding, terminal
from arm_jax.system.errors import InputError
from arm_jax.system.signals import Interrupted

# Batches that the devices may be behind the host.
IN_FLIGHT = 2


@dataclass(frozen=True)
class Result:
    """What an evaluation found.

    Attributes:
      scores: the figures over all labelled pixels.
      matrix: int64 (C, C), rows = label, columns = prediction.
      images: how many images were counted.
      by_image: the figures of each of them.
      seconds: how long it took, compilation included.
      protocol: how the images went through the network.
      calibration: whether the predictions are as often right as they claim.
      boundary: the figures over pixels near a class boundary, where they were asked for.
      boundary_width: how near, in pixels.
    """

    scores: metrics.Scores
    matrix: np.ndarray
    images: int
    by_image: ByImage
    seconds: float
    protocol: Protocol
    calibration: Calibration
    boundary: metrics.Scores | None = None
    boundary_width: int | None = None


def evaluate(
    model: Segmenter,
    source: Source,
    *,
    batch_size: int,
    mesh: Mesh | None = None,
    protocol: Protocol | None = None,
    boundary_width: int | None = None,
    threads: int = 4,
    progress: bool = True,
    leave: Callable[[], int | None] | None = None,
) -> Result:
    """Compare predictions with labels over a whole split, at the labels' resolution.

    Every image counts exactly once: batches are filled up with copies whose labels are all
    ignored. The matrix is one of integers, so neither the batch size nor the number of devices or
    processes enters.

    Images are batched with others of the same size. For splits with many different sizes, either
    let `batch_size` be the number of devices, so that no batch is mostly filling, or let
    `protocol.multiple` group similar sizes.

    Args:
      model: as from `networks.create`, in evaluation mode.
      source: labelled records of any size; label values are class indices or `classes.ignore`.
      batch_size: images in work at a time, over all devices of all processes.
      mesh: the devices; by default the first one.
      protocol: how to run the network on an image; by default the whole image, once.
      boundary_width: also score the pixels within this many pixels of a class boundary.
      threads: that read and prepare images.
      progress: show a bar with images per second, where the output is a terminal.
      leave: asked after each batch; the number of a signal for which all processes are to leave.

    Raises:
      Interrupted: in every process, after `leave` returned a number in one of them.
      InputError: the split is empty; a label differs from its image in size, or has values that
        are no class (the message names the record); the devices do not divide the batch.
    """
    start = time.perf_counter()
    protocol = protocol or Protocol()
    classes = source.classes
    if model.num_classes != classes.number:
        raise InputError(
            f"the model has {model.num_classes} classes but the data has {classes.number}; "
            "evaluate it on the classes that it was trained on"
        )
    if len(source) == 0:
        raise InputError("there is no image to evaluate on; check the split's name and folder")
    mesh = sharding.one_device() if mesh is None else mesh
    local_batch = sharding.local_batch_size(batch_size, mesh)
    network = placed(model, mesh)

    def counted() -> Iterator[tuple[list[Example], jax.Array, jax.Array, jax.Array]]:
        """Each batch and what `_counted` counts of it, as soon as that is dispatched."""
        for batch in labelled.batches(
            source, protocol, local_batch, boundary_width=boundary_width, threads=threads
        ):
            full = batch + [batch[0]] * (local_batch - len(batch))
            images = [one.image for one in full]
            found = inference.labels(network, images, protocol, beside="probability")
            labels = network.put(_labels(full, len(batch), classes))
            yield batch, *_counted(*found, labels, number=classes.number, ignore=classes.ignore)

    matrices: np.ndarray = np.zeros(
        (1 + (boundary_width is not None), *2 * (classes.number,)), np.int64
    )
    claims: np.ndarray = np.zeros((2, BINS * NARROW), np.int64)
    collector = Collector(len(source))
    error, left = None, 0
    with terminal.bar("evaluate", total=len(processes.share(len(source))), shown=progress) as bar:
        try:
            for batch, matrix, counts, claim in delayed(counted(), IN_FLIGHT):
                matrices += np.asarray(matrix)
                claims += np.asarray(claim)
                collector.add(batch, np.asarray(counts)[: len(batch)])
                bar.update(len(batch))
                if leave is not None and leave() is not None:
                    left = 1
                    break
        except InputError as mistake:
            error = mistake
    parts = matrices, claims, collector.words, np.array([left])
    total = processes.total(np.concatenate([part.reshape(-1) for part in parts]), error)
    ends = np.cumsum([part.size for part in parts])[:-1]
    matrices, claims, words, (left,) = (
        values.reshape(part.shape)
        for values, part in zip(np.split(total, ends), parts, strict=True)
    )
    if leave is not None and left:
        raise Interrupted(leave() or SIGTERM)
    return Result(
        scores=metrics.scores(matrices[0]),
        matrix=matrices[0],
        images=len(source),
        by_image=Collector.finished(words),
        seconds=time.perf_counter() - start,
        protocol=protocol,
        calibration=Calibration(claims),
        boundary=metrics.scores(matrices[1]) if boundary_width is not None else None,
        boundary_width=boundary_width,
    )


@functools.partial(jax.jit, static_argnames=("number", "ignore"))
def _counted(
    prediction: jax.Array, probability: jax.Array, labels: jax.Array, *, number: int, ignore: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Confusion matrices int32 (kinds, C, C), counts of each image int32 (b, 3, C), and the claims.

    The matrices are sums over the batch; the counts, of the first kind, are those of
    `metrics.of_images`. Predictions are (b, h, w) and labels (b, kinds, h, w).
    """

    def count(prediction: jax.Array, label: jax.Array) -> jax.Array:
        return metrics.confusion_matrix(prediction, label, number, ignore)

    each = jax.vmap(count)(prediction, labels[:, 0])
    kinds = [
        jnp.sum(each, axis=0),
        *(count(prediction, labels[:, kind]) for kind in range(1, labels.shape[1])),
    ]
    right = jnp.diagonal(each, axis1=1, axis2=2)
    counts = jnp.stack([right, jnp.sum(each, axis=2), jnp.sum(each, axis=1)], axis=1)
    claims = calibration.counts(probability, prediction, labels[:, 0], number, ignore)
    return jnp.stack(kinds), counts, claims


def _labels(images: list[Example], counted: int, classes: Classes) -> np.ndarray:
    """Labels (b, kinds, h, w) of a batch; those of the copies after `counted` are all ignored."""
    kinds = len(images[0].labels)
    size = inference.label_size([one.image for one in images])
    labels = np.full((len(images), kinds, *size), classes.ignore, np.uint8)
    for number, image in enumerate(images[:counted]):
        for kind, label in enumerate(image.labels):
            labels[number, kind, : label.shape[0], : label.shape[1]] = label
    return labels
