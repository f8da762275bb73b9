"""A labelled split -> one confusion matrix -> numbers."""

import functools
import time
from collections.abc import Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from tqdm import tqdm

from arm_jax.data.labels import Classes
from arm_jax.data.sources import Source
from arm_jax.evaluation import inference, labelled, metrics
from arm_jax.evaluation.batching import delayed
from arm_jax.evaluation.labelled import Example
from arm_jax.evaluation.protocol import Protocol
from arm_jax.networks import Segmenter
from arm_jax.system import processes, sharding
from arm_jax.system.errors import InputError

# Batches that the devices may be behind the host.
IN_FLIGHT = 2


@dataclass(frozen=True)
class Result:
    """What an evaluation found.

    Attributes:
      scores: the figures over all labelled pixels.
      matrix: int64 (C, C), rows = label, columns = prediction.
      images: how many images were counted.
      seconds: how long it took, compilation included.
      protocol: how the images went through the network.
      boundary: the figures over pixels near a class boundary, where they were asked for.
      boundary_width: how near, in pixels.
    """

    scores: metrics.Scores
    matrix: np.ndarray
    images: int
    seconds: float
    protocol: Protocol
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

    Raises:
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
    mesh = sharding.make_mesh(jax.local_devices()[:1]) if mesh is None else mesh
    local_batch = sharding.local_batch_size(batch_size, mesh)
    mesh = processes.local_mesh(mesh)
    graphdef, state = nnx.split(model)
    state = processes.local_copy(mesh, state)
    put = functools.partial(sharding.shard_batch, mesh)

    def counted() -> Iterator[tuple[int, jax.Array]]:
        """The number of images of each batch and its matrices, as soon as they are dispatched."""
        for batch in labelled.batches(
            source, protocol, local_batch, boundary_width=boundary_width, threads=threads
        ):
            full = batch + [batch[0]] * (local_batch - len(batch))
            images = [one.image for one in full]
            found = inference.labels(graphdef, state, images, protocol, put, mesh.size)
            labels = put(_labels(full, len(batch), classes))
            yield (
                len(batch),
                _counted(found, labels, number=classes.number, ignore=classes.ignore),
            )

    matrices = np.zeros((1 + (boundary_width is not None), *2 * (classes.number,)), np.int64)
    error = None
    with tqdm(
        total=len(processes.share(len(source))),
        desc="evaluate",
        unit="image",
        dynamic_ncols=True,
        disable=None if progress and jax.process_index() == 0 else True,
    ) as bar:
        try:
            for images, matrix in delayed(counted(), IN_FLIGHT):
                matrices += np.asarray(matrix)
                bar.update(images)
        except InputError as mistake:
            error = mistake
    matrices = processes.total(matrices, error)
    return Result(
        scores=metrics.scores(matrices[0]),
        matrix=matrices[0],
        images=len(source),
        seconds=time.perf_counter() - start,
        protocol=protocol,
        boundary=metrics.scores(matrices[1]) if boundary_width is not None else None,
        boundary_width=boundary_width,
    )


@functools.partial(jax.jit, static_argnames=("number", "ignore"))
def _counted(prediction: jax.Array, labels: jax.Array, *, number: int, ignore: int) -> jax.Array:
    """int32 (kinds, C, C) from predictions (b, h, w) and labels (b, kinds, h, w)."""
    return jnp.stack(
        [
            metrics.confusion_matrix(prediction, labels[:, kind], number, ignore)
            for kind in range(labels.shape[1])
        ]
    )


def _labels(images: list[Example], counted: int, classes: Classes) -> np.ndarray:
    """Labels (b, kinds, h, w) of a batch; those of the copies after `counted` are all ignored."""
    kinds = len(images[0].labels)
    size = inference.label_size([one.image for one in images])
    labels = np.full((len(images), kinds, *size), classes.ignore, np.uint8)
    for number, image in enumerate(images[:counted]):
        for kind, label in enumerate(image.labels):
            labels[number, kind, : label.shape[0], : label.shape[1]] = label
    return labels
