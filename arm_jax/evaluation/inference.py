"""From images to labels: whole image, sliding windows, test-time augmentation, bounded memory.

The network's logits stay at its own stride, a quarter of the resolution; `tiles` turns those of all
windows, scales and flips into labels without ever holding full-resolution logits.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from arm_jax import arm
from arm_jax.data import bands
from arm_jax.evaluation.protocol import Protocol, Window
from arm_jax.evaluation.tiles import Axes, axes, combine
from arm_jax.networks import Segmenter
from arm_jax.networks import input as inputs
from arm_jax.networks.input import normalize

# Labels are computed on sizes rounded up and cropped afterwards, which changes no value and lets
# batches of similar size share a compiled program. Mixed sizes are rounded more.
LABEL_MULTIPLE = 32
MIXED_LABEL_MULTIPLE = 128


@dataclass(frozen=True)
class Prepared:
    """One image, ready for the network.

    `views` holds, for each scale, a uint8 image of the padded size and where its windows are.
    """

    size: tuple[int, int]
    views: tuple[tuple[np.ndarray, Window], ...]

    @property
    def group(self) -> tuple:
        """Images with equal groups can share a batch: the network sees them at one size."""
        return tuple(window.shape for _, window in self.views)


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

    >>> from arm_jax import networks
    >>> model = networks.create("deeplabv3plus_resnet10", 3, output_stride=16, rngs=nnx.Rngs(0))
    >>> found = predict(model, np.zeros((32, 48, 3), np.uint8))
    >>> found.shape, found.dtype
    ((32, 48), dtype('uint8'))
    """
    graphdef, state = nnx.split(model)
    prepared = views(image, protocol or Protocol())
    found = labels(graphdef, state, [prepared], protocol or Protocol())
    return np.asarray(found)[0, : prepared.size[0], : prepared.size[1]]


def class_scores(
    model: Segmenter, image: np.ndarray, protocol: Protocol | None = None
) -> np.ndarray:
    """What `predict` takes the argmax of: float32 (h, w, num_classes) at the image's size.

    The mean over all passes of logits or probabilities (`protocol.average`). All classes of all
    pixels at once: large for many classes.

    >>> from arm_jax import networks
    >>> model = networks.create("deeplabv3plus_resnet10", 3, output_stride=16, rngs=nnx.Rngs(0))
    >>> class_scores(model, np.zeros((32, 48, 3), np.uint8)).shape
    (32, 48, 3)
    """
    graphdef, state = nnx.split(model)
    prepared = views(image, protocol or Protocol())
    found = _run(graphdef, state, [prepared], protocol or Protocol(), jax.device_put, 1, False)
    return np.asarray(found)[0, : prepared.size[0], : prepared.size[1]]


def views(image: np.ndarray, protocol: Protocol) -> Prepared:
    """Resize and pad an image on the host, for every scale of the protocol.

    Resizing is bilinear on bytes, without antialiasing (cv2), as in mmsegmentation.

    >>> image = np.zeros((30, 50, 3), np.uint8)
    >>> [view.shape for view, _ in views(image, Protocol(scales=(0.5, 1.0), multiple=8)).views]
    [(16, 32, 3), (32, 56, 3)]
    """
    if image.ndim != 3 or image.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"an image is uint8 (h, w, 3) or uint16 (h, w, bands), not {image.dtype} {image.shape}"
        )
    size = image.shape[:2]
    views = []
    for window in protocol.windows(*size):
        view = image
        if window.view != size:
            view = cv2.resize(image, window.view[::-1], interpolation=cv2.INTER_LINEAR)
            view = bands.whole(view)
        if window.view != window.padded:
            grow = [(0, p - v) for p, v in zip(window.padded, window.view, strict=True)]
            view = np.pad(view, (*grow, (0, 0)))
        views.append((view, window))
    return Prepared(size, tuple(views))


def labels(
    graphdef: nnx.GraphDef,
    state: Any,
    batch: Sequence[Prepared],
    protocol: Protocol,
    put: Callable[[Any], Any] = jax.device_put,
    devices: int = 1,
    beside: str = "",
) -> Any:
    """Labels of a batch of images of one group: uint8 (b, *label_size(batch)).

    Args:
      graphdef, state: the model, from `nnx.split`.
      batch: images prepared by the same protocol, all of one `group`.
      protocol: the one they were prepared by.
      put: puts a host array whose first axis is the batch onto the devices.
      devices: over how many devices `put` splits it.
      beside: "probability" (of the predicted class) or "confidence" (v) for a float32 map of the
        labels' shape as well, as a pair.

    Returns:
      On the devices and perhaps still in the making. Beyond the size of its image, an entry is
      meaningless.

    >>> from arm_jax import networks
    >>> model = networks.create("deeplabv3plus_resnet10", 3, output_stride=16, rngs=nnx.Rngs(0))
    >>> image = views(np.zeros((32, 48, 3), np.uint8), Protocol())
    >>> labels(*nnx.split(model), [image, image], Protocol()).shape[0]
    2
    """
    if len({image.group for image in batch}) != 1:
        raise ValueError("the images of a batch must be of one group")
    return _run(graphdef, state, batch, protocol, put, devices, True, beside)


def probabilities(
    graphdef: nnx.GraphDef,
    state: Any,
    batch: Sequence[Prepared],
    protocol: Protocol,
    put: Callable[[Any], Any] = jax.device_put,
    devices: int = 1,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Labels and confidence v as `labels` gives them, and float16 (b, height, width, classes).

    Arguments as for `labels`. All classes of all pixels of a batch at once: large for many classes.

    >>> from arm_jax import networks
    >>> model = networks.create("deeplabv3plus_resnet10", 3, output_stride=16, rngs=nnx.Rngs(0))
    >>> image = views(np.zeros((32, 48, 3), np.uint8), Protocol())
    >>> found, confidence, likelihoods = probabilities(*nnx.split(model), [image], Protocol())
    >>> likelihoods.dtype, likelihoods.shape == (*found.shape, 3)
    (dtype('float16'), True)
    """
    scores = _run(graphdef, state, batch, protocol, put, devices, False)
    return _described(scores, protocol.average == "probabilities")


@functools.partial(jax.jit, static_argnames="averaged")
def _described(scores: jax.Array, averaged: bool) -> tuple[jax.Array, jax.Array, jax.Array]:
    logits = jnp.log(scores) if averaged else scores
    found = scores if averaged else jax.nn.softmax(scores)
    labels = jnp.argmax(scores, axis=-1).astype(jnp.uint8)
    return labels, arm.confidence(logits), found.astype(jnp.float16)


def small_scores(
    graphdef: nnx.GraphDef,
    state: Any,
    batch: Sequence[Prepared],
    protocol: Protocol,
    longest: int,
    put: Callable[[Any], Any] = jax.device_put,
) -> Iterator[np.ndarray]:
    """`class_scores` of each image of a batch at a size for looking at, one image at a time.

    The network sees the images as for `labels`, by the same compiled program; its scores are taken
    at points as far apart as the pixels of an image whose longer side has at most `longest`.

    Args:
      graphdef, state, batch, protocol, put: as for `labels`.
      longest: pixels of the longer side of a result.

    Yields:
      float32 (h, w, num_classes).

    >>> from arm_jax import networks
    >>> model = networks.create("deeplabv3plus_resnet10", 3, output_stride=16, rngs=nnx.Rngs(0))
    >>> image = views(np.zeros((32, 48, 3), np.uint8), Protocol())
    >>> [x.shape for x in small_scores(*nnx.split(model), [image], Protocol(), longest=24)]
    [(16, 24, 3)]
    """
    sizes = [_fitting(image.size, longest) for image in batch]
    small = [replace(image, size=size) for image, size in zip(batch, sizes, strict=True)]
    passes = [
        (np.asarray(found), taps) for found, taps in _passes(graphdef, state, small, protocol, put)
    ]
    for number, size in enumerate(sizes):
        one = slice(number, number + 1)
        alone = [(found[one], taps[one]) for found, taps in passes]
        yield np.asarray(combine(alone, size, average=protocol.average, as_labels=False))[0]


def _fitting(size: tuple[int, int], longest: int) -> tuple[int, int]:
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _run(
    graphdef: nnx.GraphDef,
    state: Any,
    batch: Sequence[Prepared],
    protocol: Protocol,
    put: Callable[[Any], Any],
    devices: int,
    as_labels: bool,
    beside: str = "",
) -> Any:
    return combine(
        _passes(graphdef, state, batch, protocol, put),
        label_size(batch),
        average=protocol.average,
        as_labels=as_labels,
        beside=beside,
        put=put,
        devices=devices,
    )


def _passes(
    graphdef: nnx.GraphDef,
    state: Any,
    batch: Sequence[Prepared],
    protocol: Protocol,
    put: Callable[[Any], Any],
) -> list[tuple[Any, list[Axes]]]:
    """Logits of every scale and flip, and how each image of the batch is sampled from them."""
    passes = []
    for scale in range(len(protocol.scales)):
        windows = [image.views[scale][1] for image in batch]
        arrays = [
            np.stack([image.views[scale][0] for image in batch]),
            np.asarray([window.view for window in windows], np.int32),
            np.asarray([window.rows for window in windows], np.int32),
            np.asarray([window.columns for window in windows], np.int32),
        ]
        images, views, rows, columns = (put(array) for array in arrays)
        for mirrored in (False, True)[: 1 + protocol.flip]:
            found = _network(
                graphdef,
                state,
                images,
                views,
                rows,
                columns,
                window=windows[0].window,
                at_once=protocol.windows_at_once,
                mirrored=mirrored,
            )
            if protocol.keep_logits_on == "host":
                found = np.asarray(found)
            taps = [
                axes(
                    window,
                    found.shape[1:3],
                    image.size,
                    mirrored=mirrored,
                    align_corners=protocol.align_corners,
                )
                for image, window in zip(batch, windows, strict=True)
            ]
            passes.append((found, taps))
    return passes


@functools.partial(jax.jit, static_argnames=("graphdef", "window", "at_once", "mirrored"))
def _network(
    graphdef: nnx.GraphDef,
    state: Any,
    images: jax.Array,
    views: jax.Array,
    rows: jax.Array,
    columns: jax.Array,
    *,
    window: tuple[int, int],
    at_once: int,
    mirrored: bool,
) -> jax.Array:
    """Logits of all windows of each image, side by side.

    Args:
      graphdef, state: the model.
      images: uint8 (b, h, w, 3), filled up to `views`.
      views: int32 (b, 2), height and width of the part that is image.
      rows: int32 (b, m), where windows begin.
      columns: int32 (b, n).
      window: (height, width) of a window.
      at_once: windows of an image that go through the network together.
      mirrored: run on the mirror image (of the part that is image).

    Returns:
      float32 (b, m * h', n * w', num_classes), with (h', w') the logits' size for one window.
    """
    model = nnx.merge(graphdef, state)
    if mirrored:
        x = jnp.arange(images.shape[2])[None]
        source = jnp.where(x < views[:, 1:], views[:, 1:] - 1 - x, x)
        images = jnp.take_along_axis(images, source[:, None, :, None], axis=2)
    images = normalize(images, views, inputs.of(model))
    batch, m, n = len(images), rows.shape[1], columns.shape[1]
    if m * n == 1:  # All protocols without windows.
        return model(images)[..., : model.num_classes]

    at_once = min(at_once, m * n)
    chunks = -(-m * n // at_once)
    corners = jnp.stack(
        [jnp.repeat(rows, n, axis=1), jnp.tile(columns, (1, m))], axis=-1
    )  # (b, m * n, 2)
    corners = jnp.pad(corners, ((0, 0), (0, chunks * at_once - m * n), (0, 0)))
    corners = jnp.moveaxis(corners.reshape(batch, chunks, at_once, 2), 1, 0)

    def cut(image: jax.Array, corner: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(image, (*corner, 0), (*window, image.shape[-1]))

    def scores(corners: jax.Array) -> jax.Array:
        cuts = jax.vmap(jax.vmap(cut, in_axes=(None, 0)))(images, corners)
        model = nnx.merge(graphdef, state)
        cuts = cuts.reshape(batch * at_once, *cuts.shape[2:])
        logits = model(cuts)[..., : model.num_classes]
        return logits.reshape(batch, at_once, *logits.shape[1:])

    logits = jnp.moveaxis(jax.lax.map(scores, corners), 0, 1)
    height, width, classes = logits.shape[-3:]
    logits = logits.reshape(batch, chunks * at_once, height, width, classes)[:, : m * n]
    logits = logits.reshape(batch, m, n, height, width, classes)
    return jnp.swapaxes(logits, 2, 3).reshape(batch, m * height, n * width, classes)
