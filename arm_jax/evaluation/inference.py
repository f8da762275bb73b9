"""From images to labels: whole image, sliding windows, test-time augmentation, bounded memory.

`passes` has the network's logits of all windows, scales and flips, at its own stride; `tiles` turns
them into labels without ever holding full-resolution logits.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from arm_jax import arm
from arm_jax.evaluation.passes import Placed, Prepared, passes, placed, views
from arm_jax.evaluation.protocol import Protocol
from arm_jax.evaluation.tiles import combine
from arm_jax.networks import Segmenter

# Labels are computed on sizes rounded up and cropped afterwards, which changes no value and lets
# batches of similar size share a compiled program. Mixed sizes are rounded more.
LABEL_MULTIPLE = 32
MIXED_LABEL_MULTIPLE = 128


def label_size(batch: Sequence[Prepared]) -> tuple[int, int]:
    """(height, width) of the array that holds the labels of a batch.

    >>> label_size([views(np.zeros((30, 50, 3), np.uint8), Protocol())])
    (32, 64)
    """
    sizes = {image.size for image in batch}
    multiple = LABEL_MULTIPLE if len(sizes) == 1 else MIXED_LABEL_MULTIPLE
    height, width = (max(size[axis] for size in sizes) for axis in (0, 1))
    return -(-height // multiple) * multiple, -(-width // multiple) * multiple


def predict(model: Segmenter, image: np.ndarray, protocol: Protocol | None = None) -> np.ndarray:
    """Class of every pixel.

    Args:
      model: as from `networks.create`, in evaluation mode. Only its first `model.num_classes`
        output channels take part.
      image: uint8 (h, w, 3) RGB of any size, or as the network's `bands` have it.
      protocol: how to run the network on it; by default the whole image, once.

    Returns:
      uint8 (h, w).

    >>> from flax import nnx
    >>> from arm_jax import networks
    >>> model = networks.create("deeplabv3plus_resnet10", 3, output_stride=16, rngs=nnx.Rngs(0))
    >>> found = predict(model, np.zeros((32, 48, 3), np.uint8))
    >>> found.shape, found.dtype
    ((32, 48), dtype('uint8'))
    """
    prepared = views(image, protocol or Protocol())
    found = labels(placed(model), [prepared], protocol or Protocol())
    return np.asarray(found)[0, : prepared.size[0], : prepared.size[1]]


def class_scores(
    model: Segmenter, image: np.ndarray, protocol: Protocol | None = None
) -> np.ndarray:
    """What `predict` takes the argmax of: float32 (h, w, num_classes) at the image's size.

    The mean over all passes of logits or probabilities (`protocol.average`). All classes of all
    pixels at once: large for many classes.

    >>> from flax import nnx
    >>> from arm_jax import networks
    >>> model = networks.create("deeplabv3plus_resnet10", 3, output_stride=16, rngs=nnx.Rngs(0))
    >>> class_scores(model, np.zeros((32, 48, 3), np.uint8)).shape
    (32, 48, 3)
    """
    prepared = views(image, protocol or Protocol())
    found = _run(placed(model), [prepared], protocol or Protocol(), as_labels=False)
    return np.asarray(found)[0, : prepared.size[0], : prepared.size[1]]


def labels(network: Placed, batch: Sequence[Prepared], protocol: Protocol, beside: str = "") -> Any:
    """Labels of a batch of images of one group: uint8 (b, *label_size(batch)).

    Args:
      network: where it is to run, see `passes.placed`.
      batch: images prepared by the same protocol, all of one `group`.
      protocol: the one they were prepared by.
      beside: "probability" (of the predicted class) or "confidence" (v) for a float32 map of the
        labels' shape as well, as a pair.

    Returns:
      On the devices and perhaps still in the making. Beyond the size of its image, an entry is
      meaningless.

    >>> from flax import nnx
    >>> from arm_jax import networks
    >>> model = networks.create("deeplabv3plus_resnet10", 3, output_stride=16, rngs=nnx.Rngs(0))
    >>> image = views(np.zeros((32, 48, 3), np.uint8), Protocol())
    >>> labels(placed(model), [image, image], Protocol()).shape[0]
    2
    """
    if len({image.group for image in batch}) != 1:
        raise ValueError("the images of a batch must be of one group")
    return _run(network, batch, protocol, as_labels=True, beside=beside)


def probabilities(
    network: Placed, batch: Sequence[Prepared], protocol: Protocol
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Labels and confidence v as `labels` gives them, and float16 (b, height, width, classes).

    Arguments as for `labels`. All classes of all pixels of a batch at once: large for many classes.

    >>> from flax import nnx
    >>> from arm_jax import networks
    >>> model = networks.create("deeplabv3plus_resnet10", 3, output_stride=16, rngs=nnx.Rngs(0))
    >>> image = views(np.zeros((32, 48, 3), np.uint8), Protocol())
    >>> found, confidence, likelihoods = probabilities(placed(model), [image], Protocol())
    >>> likelihoods.dtype, likelihoods.shape == (*found.shape, 3)
    (dtype('float16'), True)
    """
    scores = _run(network, batch, protocol, as_labels=False)
    return _described(scores, protocol.average == "probabilities")


@functools.partial(jax.jit, static_argnames="averaged")
def _described(scores: jax.Array, averaged: bool) -> tuple[jax.Array, jax.Array, jax.Array]:
    logits = jnp.log(scores) if averaged else scores
    found = scores if averaged else jax.nn.softmax(scores)
    labels = jnp.argmax(scores, axis=-1).astype(jnp.uint8)
    return labels, arm.confidence(logits), found.astype(jnp.float16)


def small_scores(
    network: Placed, batch: Sequence[Prepared], protocol: Protocol, longest: int
) -> Iterator[np.ndarray]:
    """`class_scores` of each image of a batch at a size to be shown, one image at a time.

    The network sees the images as for `labels`, by the same compiled program; its scores are taken
    at points as far apart as the pixels of an image whose longer side has at most `longest`.

    Args:
      network, batch, protocol: as for `labels`.
      longest: pixels of the longer side of a result.

    Yields:
      float32 (h, w, num_classes).

    >>> from flax import nnx
    >>> from arm_jax import networks
    >>> model = networks.create("deeplabv3plus_resnet10", 3, output_stride=16, rngs=nnx.Rngs(0))
    >>> image = views(np.zeros((32, 48, 3), np.uint8), Protocol())
    >>> [x.shape for x in small_scores(placed(model), [image], Protocol(), longest=24)]
    [(16, 24, 3)]
    """
    sizes = [_fitting(image.size, longest) for image in batch]
    small = [replace(image, size=size) for image, size in zip(batch, sizes, strict=True)]
    made = [(np.asarray(found), taps) for found, taps in passes(network, small, protocol)]
    for number, size in enumerate(sizes):
        one = slice(number, number + 1)
        alone = [(found[one], taps[one]) for found, taps in made]
        yield np.asarray(combine(alone, size, average=protocol.average, as_labels=False))[0]


def _fitting(size: tuple[int, int], longest: int) -> tuple[int, int]:
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _run(
    network: Placed,
    batch: Sequence[Prepared],
    protocol: Protocol,
    *,
    as_labels: bool,
    beside: str = "",
) -> Any:
    return combine(
        passes(network, batch, protocol),
        label_size(batch),
        average=protocol.average,
        as_labels=as_labels,
        beside=beside,
        put=network.put,
        devices=network.devices,
    )
