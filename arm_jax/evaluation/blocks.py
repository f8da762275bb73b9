"""Labels of images that are larger than memory: block by block, with a margin around each.

Each block of the image is read with what its labels depend on, goes through the network as an image
of its own, and gives the labels of its core.

- With sliding windows (`Protocol.crop`, one scale) a block is read so that its windows are those of
  the whole image. The labels are the same, but for rounding.
- Without, a block has `margin` pixels around it. Its labels differ from those of the whole image
  where the network sees further than that, and by what it takes the mean of: DeepLab's image
  pooling sees a block and not the image. At other scales, a block is also resized by itself, so
  that its pixels lie up to half a pixel beside those of the whole image.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jax.sharding import Mesh

from arm_jax.data import bands, colors
from arm_jax.data.labels import Classes
from arm_jax.data.large import Rows, header, opened
from arm_jax.evaluation import inference
from arm_jax.evaluation.passes import placed, views
from arm_jax.evaluation.protocol import Protocol, window_starts
from arm_jax.networks import Segmenter
from arm_jax.networks import input as inputs
from arm_jax.system import outputs, sharding
from arm_jax.system.errors import InputError
from arm_jax.system.parallel import ordered

LONGEST_OVERLAY = 2048  # pixels of the longer side of an overlay


@dataclass(frozen=True)
class Blocks:
    """How an image is cut.

    Attributes:
      above: pixels that an image must exceed to be cut.
      core: height and width of a block without its margin.
      margin: pixels around it, where there are no sliding windows.
    """

    above: int = 1 << 28
    core: tuple[int, int] = (1024, 1024)
    margin: int = 256


@dataclass(frozen=True)
class Span:
    """Along one axis: the pixels start..stop are read, and first..last of them are kept."""

    start: int
    stop: int
    first: int
    last: int


def spans(size: int, core: int, margin: int, crop: int = 0, stride: int = 0) -> list[Span]:
    """How an axis is cut: the kept parts cover it once, in order.

    Args:
      size: pixels of the axis.
      core: of a block, at most; with windows, rounded up to whole strides.
      margin: on either side, without windows. All blocks are then as long, so that they share a
        compiled program.
      crop, stride: of sliding windows; 0 for none.

    >>> spans(10, 4, 1)
    [Span(start=0, stop=6, first=0, last=4), Span(start=3, stop=9, first=4, last=8), \
Span(start=4, stop=10, first=8, last=10)]
    """
    if crop and size > crop:
        starts = window_starts(size, crop, stride)
        core = -(-core // stride) * stride
        found = []
        for first in range(0, size, core):
            last = min(first + core, size)
            inside = [start for start in starts if start < last and start + crop > first]
            found.append(Span(inside[0], inside[-1] + crop, first, last))
        return found
    length = min(core + 2 * margin, size)
    found = []
    for first in range(0, size, core):
        start = min(max(0, first - margin), size - length)
        found.append(Span(start, start + length, first, min(first + core, size)))
    return found


def is_large(path: Path, cut: Blocks) -> bool:
    """Whether an image is labelled block by block. Raises InputError where it cannot be read."""
    stated = header(path)
    return stated is not None and stated.stored[0] * stated.stored[1] > cut.above


@dataclass(frozen=True)
class Found:
    """What `label` counted: mean v, the share of pixels below the threshold, class indices."""

    confidence: float
    unsure: float
    classes: tuple[int, ...]


def label(
    model: Segmenter,
    path: Path,
    to: dict[str, Path],
    classes: Classes,
    *,
    cut: Blocks,
    protocol: Protocol,
    turn: bool,
    threshold: float,
    mesh: Mesh | None = None,
    on_block: Callable[[int, int], None] = lambda done, number: None,
) -> Found:
    """Label one image in memory that does not depend on its height, and on its width by some rows.

    Args:
      model: in evaluation mode.
      path: of a TIFF or PNG.
      to: where what goes: "labels" and perhaps "confidence" (tiled TIFFs), and "overlays" (JPEG, at
        most `LONGEST_OVERLAY` pixels long).
      classes: of the model.
      cut: see `Blocks`.
      protocol: how the network runs on a block.
      turn, threshold: as for `predict.predict_images`.
      mesh: devices; by default the first one.
      on_block: called after each block, with how many are done, and of how many.

    Raises:
      InputError: the image cannot be read in parts, or the protocol resizes it to a fixed size.
    """
    if protocol.size is not None:
        raise InputError(
            f"{path}: evaluation.size = {protocol.size} fits the whole image to a size, and one of"
            " more than evaluation.block_above pixels is labelled in blocks; use evaluation.size ="
            " ()"
        )
    network = placed(model, sharding.one_device() if mesh is None else mesh)
    own = inputs.of(model)
    channels = own.number if own.stored else 0
    kept: dict[str, Rows] = {}
    with opened(path, turn=turn, channels=channels) as image:
        height, width = image.size
        crop, stride = protocol.crop or (0, 0), protocol.stride or (0, 0)
        down, across = (
            spans(image.size[axis], cut.core[axis], cut.margin, crop[axis], stride[axis])
            for axis in (0, 1)
        )
        step = -(-max(image.size) // LONGEST_OVERLAY)
        seen = np.zeros((-(-height // step), -(-width // step), own.number), own.dtype)
        small = np.zeros(seen.shape[:2], np.uint8)
        total, unsure, present = 0.0, 0, np.zeros(256, bool)

        def read(place: tuple[Span, Span]) -> np.ndarray:
            y, x = place
            return image.read(y.start, x.start, y.stop - y.start, x.stop - x.start)

        places = [(y, x) for y in down for x in across]
        try:
            for kind, dtype in (("labels", np.uint8), ("confidence", np.uint16)):
                if kind in to:
                    # Beside the file, whose own temporary name it must not have.
                    raw = outputs.temporary_name(to[kind].with_suffix(".rows"))
                    kept[kind] = Rows(raw, image.size, dtype)
            parts = ordered(read, places, 1, threads=True, ahead=1)
            strip: dict[str, np.ndarray] = {}
            for done, ((y, x), part) in enumerate(zip(places, parts, strict=True), 1):
                found, v = inference.labels(
                    network, [views(part, protocol)], protocol, beside="confidence"
                )
                inside = (
                    slice(y.first - y.start, y.last - y.start),
                    slice(x.first - x.start, x.last - x.start),
                )
                of_core, v = np.asarray(found)[0][inside], np.asarray(v)[0][inside]
                total += float(v.sum(dtype=np.float64))
                unsure += int((v < threshold).sum())
                present[np.unique(of_core)] = True
                steps = np.rint((v + 1) / 2 * (2**16 - 1)).astype(np.uint16)
                for kind, values in (("labels", of_core), ("confidence", steps)):
                    if kind in kept:
                        if x.first == 0:
                            shape = (y.last - y.first, width)
                            strip[kind] = np.empty(shape, values.dtype)
                        strip[kind][:, x.first : x.last] = values
                        if x.last == width:
                            kept[kind].add(strip[kind])
                # Every `step`-th row and column of the image.
                y0, x0 = -y.first % step, -x.first % step
                thin = of_core[y0::step, x0::step]
                rows = slice(-(-y.first // step), -(-y.first // step) + thin.shape[0])
                columns = slice(-(-x.first // step), -(-x.first // step) + thin.shape[1])
                small[rows, columns] = thin
                seen[rows, columns] = part[inside][y0::step, x0::step]
                on_block(done, len(places))
            kept["labels"].save(to["labels"], classes.palette)
            if "confidence" in kept:
                kept["confidence"].save(to["confidence"])
        finally:
            for one in kept.values():
                one.close()
    colors.write_image(to["overlays"], colors.overlay(bands.shown(seen), small, classes))
    pixels = height * width
    return Found(total / pixels, unsure / pixels, tuple(np.flatnonzero(present).tolist()))


def refuse_maps(maps: Collection[str], path: Path) -> None:
    """Raise InputError for maps that are as large as memory."""
    if "probabilities" in maps:
        raise InputError(
            f"{path}: has more than evaluation.block_above pixels, of all of which the"
            " probabilities are not written; leave out --probabilities, or cut the image"
        )
