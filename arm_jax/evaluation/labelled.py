"""Labelled images for evaluation: read ahead, checked, and grouped into batches of one size."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from arm_jax.data.labels import check
from arm_jax.data.sources import Source
from arm_jax.evaluation import boundary
from arm_jax.evaluation.batching import grouped
from arm_jax.evaluation.passes import Prepared, views
from arm_jax.evaluation.protocol import Protocol
from arm_jax.system import processes
from arm_jax.system.errors import InputError
from arm_jax.system.parallel import ordered

# Images read ahead of the devices, beyond the batch in work.
READ_AHEAD = 8
# Prepared images that may wait for others of their size before a batch goes out half filled.
MOST_WAITING = 64


@dataclass(frozen=True)
class Example:
    """An image, ready for the network, and its uint8 (h, w) labels.

    The first label has all pixels; the second, where it was asked for, those near boundaries.
    `index` is the record's place in the source, `name` its id.
    """

    index: int
    name: str
    image: Prepared
    labels: list[np.ndarray]


def batches(
    source: Source,
    protocol: Protocol,
    size: int,
    *,
    boundary_width: int | None = None,
    threads: int = 4,
) -> Iterator[list[Example]]:
    """This process's share of the records, each once, in batches of one group.

    Args:
      source: labelled records of any size.
      protocol: how the images will go through the network.
      size: of a batch; batches may be smaller where sizes vary, and at the end.
      boundary_width: add the label of the pixels so near to class boundaries.
      threads: that read and prepare images.

    Raises:
      InputError: a label does not fit its image or the classes; the message names the record.
    """
    indices = processes.share(len(source))
    read = functools.partial(_read, source, protocol, boundary_width)
    examples = ordered(read, indices, threads, threads=True, ahead=size + READ_AHEAD)
    most = max(MOST_WAITING, size)
    yield from grouped(examples, lambda example: example.image.group, size, most)


def _read(source: Source, protocol: Protocol, boundary_width: int | None, index: int) -> Example:
    record = source[index]
    image, label, name = record["image"], record["label"], record["id"]
    if label.shape != image.shape[:2]:
        raise InputError(
            f"{name}: the label is {label.shape[1]}x{label.shape[0]} pixels but the image is "
            f"{image.shape[1]}x{image.shape[0]}; labels must have the size of their images"
        )
    check(np.bincount(label.reshape(-1), minlength=256), source.classes, name)
    labels = [label]
    if boundary_width is not None:
        labels.append(boundary.near_boundaries(label, boundary_width, source.classes.ignore))
    return Example(index, name, views(image, protocol), labels)
