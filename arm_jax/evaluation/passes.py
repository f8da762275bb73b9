"""A network on images: every scale, flip and window of a protocol, and its logits of them.

The logits stay at the network's own stride, a quarter of the resolution.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from arm_jax.data import bands
from arm_jax.evaluation.protocol import Protocol, Window
from arm_jax.evaluation.tiles import Axes, axes
from arm_jax.networks import Segmenter
from arm_jax.networks import input as inputs
from arm_jax.networks.input import normalize
from arm_jax.system import sharding


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


@dataclass(frozen=True)
class Placed:
    """A network where it is to run; made by `placed`.

    Attributes:
      graphdef, state: the network, from `nnx.split`.
      put: puts a host array whose first axis is the batch onto the devices.
      devices: over how many `put` splits it.
    """

    graphdef: nnx.GraphDef
    state: Any
    put: Callable[[Any], Any] = jax.device_put
    devices: int = 1


def placed(model: Segmenter, mesh: Mesh | None = None) -> Placed:
    """A network in evaluation mode as it lies, or copied to this process's devices of a mesh.

    >>> from arm_jax import networks
    >>> placed(networks.create("deeplabv3plus_resnet10", 3, rngs=nnx.Rngs(0))).devices
    1
    """
    graphdef, state = nnx.split(model)
    if mesh is None:
        return Placed(graphdef, state)
    mesh = sharding.local_mesh(mesh)
    put = functools.partial(sharding.shard_batch, mesh)
    return Placed(graphdef, sharding.local_copy(mesh, state), put, mesh.size)


def passes(
    network: Placed, batch: Sequence[Prepared], protocol: Protocol
) -> list[tuple[Any, list[Axes]]]:
    """Logits of every scale and flip, and how each image of the batch is sampled from them.

    >>> from arm_jax import networks
    >>> model = networks.create("deeplabv3plus_resnet10", 3, output_stride=16, rngs=nnx.Rngs(0))
    >>> how = Protocol(flip=True)
    >>> image = views(np.zeros((32, 48, 3), np.uint8), how)
    >>> [logits.shape for logits, _ in passes(placed(model), [image], how)]
    [(1, 8, 12, 3), (1, 8, 12, 3)]
    """
    made = []
    for scale in range(len(protocol.scales)):
        windows = [image.views[scale][1] for image in batch]
        arrays = [
            np.stack([image.views[scale][0] for image in batch]),
            np.asarray([window.view for window in windows], np.int32),
            np.asarray([window.rows for window in windows], np.int32),
            np.asarray([window.columns for window in windows], np.int32),
        ]
        images, views, rows, columns = (network.put(array) for array in arrays)
        for mirrored in (False, True)[: 1 + protocol.flip]:
            found = logits(
                network.graphdef,
                network.state,
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
            made.append((found, taps))
    return made


@functools.partial(jax.jit, static_argnames=("graphdef", "window", "at_once", "mirrored"))
def logits(
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
        found = model(cuts)[..., : model.num_classes]
        return found.reshape(batch, at_once, *found.shape[1:])

    found = jnp.moveaxis(jax.lax.map(scores, corners), 0, 1)
    height, width, classes = found.shape[-3:]
    found = found.reshape(batch, chunks * at_once, height, width, classes)[:, : m * n]
    found = found.reshape(batch, m, n, height, width, classes)
    return jnp.swapaxes(found, 2, 3).reshape(batch, m * height, n * width, classes)
