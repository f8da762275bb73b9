"""Random resize, crop and flip of one training example on the host, as mmsegmentation does them.

`draw` decides and cuts the label, `apply` does the rest: the numbers drawn are values that a test
can pin. What differs from mmsegmentation 0.x and 1.x (`Resize`, `RandomCrop`, `RandomFlip`, `Pad`)
is the order of work, not the result: the crop is chosen on labels alone, and only the pixels that
it needs are resized.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from arm_jax.data import bands
from arm_jax.data.formats.contract import Label

CROP_TRIES = 10  # boxes that are judged; the eleventh is taken as it is
_WARP_COST = 2.6  # time of a warped pixel over that of a resized one, about

Box = tuple[int, int, int, int]  # top, left, height, width


@dataclass(frozen=True)
class Drawn:
    """The random choices for one example."""

    source: tuple[int, int]  # height, width of the example
    size: tuple[int, int]  # height, width after the resize
    box: Box  # of the crop in the resized image
    flip: bool


def rescaled(
    size: tuple[int, int], factor: float, base_size: tuple[int, int] | None = None
) -> tuple[int, int]:
    """The (height, width) of an image after scaling, its shape kept, as mmcv's `rescale_size`.

    The rounding is that of mmcv/image/geometry.py: the limits are cut to whole numbers, the sides
    rounded half up; nothing gets smaller than one pixel.

    >>> rescaled((256, 384), 1.0, (512, 2048))
    (512, 768)

    Args:
      size: (height, width).
      factor: of the sides that the image is fitted into.
      base_size: short and long side to fit into at a factor of 1; (512, 2048) in the published
        protocol of ADE20K, None for the image's own sides.
    """
    short, long = (max(1, int(side * factor)) for side in sorted(base_size or size))
    scale = min(long / max(size), short / min(size))
    return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))


def draw(
    rng: np.random.Generator,
    label: np.ndarray | Label,
    *,
    crop: tuple[int, int],
    ratio: tuple[float, float] = (0.5, 2.0),
    base_size: tuple[int, int] | None = None,
    category_limit: float = 0.75,
    flip: bool = True,
    ignore: int = 255,
    grid: int = 1,
) -> tuple[Drawn, np.ndarray]:
    """Choose a size, a crop and a flip for the uint8 (h, w) `label`, and cut the crop from it.

    Args:
      rng: the example's own random numbers.
      label: of the example before any change.
      crop: height, width; a smaller resized image is taken whole.
      ratio: the size is multiplied by a factor uniform in this range, one for both axes.
      base_size: short and long side that a factor of 1 means, see `rescaled`; None for the image's
        own.
      category_limit: a crop in which one class has this share of the labelled pixels, or more, or
        that has a single class, is drawn again, up to ten times; 1 accepts every crop.
      flip: whether to flip half of the examples from left to right.
      ignore: the label value that does not count.
      grid: crops begin at multiples of this many pixels.

    Returns:
      The choices; and the label resized and cut to the crop, not flipped yet, which choosing needs.
    """
    source = (label.shape[0], label.shape[1])
    size = rescaled(source, rng.uniform(*ratio), base_size)
    taken = min(crop[0], size[0]), min(crop[1], size[1])

    def box() -> Box:
        top = grid * int(rng.integers((size[0] - taken[0]) // grid + 1))
        left = grid * int(rng.integers((size[1] - taken[1]) // grid + 1))
        return top, left, *taken

    chosen, tries = box(), 0
    part = nearest(label, size, chosen)
    if category_limit < 1 and taken != size:
        while tries < CROP_TRIES and not _is_varied(part, category_limit, ignore):
            chosen, tries = box(), tries + 1
            part = nearest(label, size, chosen)
    return Drawn(source, size, chosen, bool(flip and rng.uniform() < 0.5)), part


def source_box(drawn: Drawn) -> Box:
    """The part of the image that `apply` reads.

    It begins in the upper left corner where resizing all from there on is cheaper than a warp.
    """
    top, left, height, width = drawn.box
    low, high = [], []
    for new, old, first, count in zip(
        drawn.size, drawn.source, drawn.box[:2], drawn.box[2:], strict=True
    ):
        # Pixel centres: the output's x lies at (x + 0.5) scale - 0.5 of the input.
        low.append(max(0, int(np.floor((first + 0.5) * (old / new) - 0.5))))
        last = (first + count - 0.5) * (old / new) - 0.5
        high.append(min(old, int(np.floor(last)) + 2))
    if (top + height) * (left + width) <= _WARP_COST * height * width:
        low = [0, 0]
    return low[0], low[1], high[0] - low[0], high[1] - low[1]


def apply(
    image: np.ndarray,
    label: np.ndarray,
    drawn: Drawn,
    *,
    crop: tuple[int, int],
    ignore: int = 255,
) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Resize, crop, flip, and pad at the bottom and right to `crop`.

    Args:
      image: uint8 (h, w, 3) or uint16 (h, w, bands), or the `source_box` of it.
      label: uint8, the crop, as `draw` returns it.
      drawn: from `draw`.
      crop: height, width of the result.
      ignore: the label of the padding, whose image pixels are 0.

    Returns:
      Image (*crop, bands) of its type, label uint8 crop, and the height and width that are no
      padding.
    """
    part = source_box(drawn)
    if image.shape[:2] == drawn.source:
        image = image[part[0] : part[0] + part[2], part[1] : part[1] + part[3]]
    image = _linear(image, part, drawn)
    if drawn.flip:
        image, label = bands.whole(cv2.flip(image, 1)), cv2.flip(label, 1)
    extent = (label.shape[0], label.shape[1])
    if extent == crop:
        return np.ascontiguousarray(image), label, extent
    padded_image = np.zeros((*crop, image.shape[2]), image.dtype)
    padded_label = np.full(crop, ignore, np.uint8)
    padded_image[: extent[0], : extent[1]] = image
    padded_label[: extent[0], : extent[1]] = label
    return padded_image, padded_label, extent


def _is_varied(label: np.ndarray, limit: float, ignore: int) -> bool:
    """More than one class, and none with a share of `limit` among the labelled pixels."""
    counts = cv2.calcHist([label], [0], None, [256], [0, 256]).reshape(-1)
    counts[ignore] = 0
    return bool(np.count_nonzero(counts) > 1 and counts.max() < limit * counts.sum())


def nearest(label: np.ndarray | Label, size: tuple[int, int], box: Box) -> np.ndarray:
    """cv2.resize(label, size, INTER_NEAREST) cut to the box, without resizing the rest."""
    top, left, height, width = box
    rows = _nearest_index(label.shape[0], size[0], top, height)
    columns = _nearest_index(label.shape[1], size[1], left, width)
    if not isinstance(label, np.ndarray):
        label = label.upper(int(rows[-1]) + 1)
    source = label[rows[0] : rows[-1] + 1]
    if len(source) < height:
        return np.take(source, columns, axis=1, mode="clip")[rows - rows[0]]
    return np.take(label[rows], columns, axis=1, mode="clip")


def _nearest_index(old: int, new: int, first: int, count: int) -> np.ndarray:
    """The input row (or column) that OpenCV takes for each output row of the crop."""
    taken = cv2.resize(
        np.arange(old, dtype=np.float32)[None], (new, 1), interpolation=cv2.INTER_NEAREST
    )
    return taken[0, first : first + count].astype(np.intp)


def _linear(image: np.ndarray, part: Box, drawn: Drawn) -> np.ndarray:
    """cv2.resize(image, drawn.size, INTER_LINEAR) cut to the box, of a part of the image.

    `part` is the `source_box`. From the upper left corner on, a part of an image is resized to the
    same bytes as the whole. Elsewhere a warp differs by one grey level at most with OpenCV 5; 4.x
    interpolates in steps of 1/32 pixel.
    """
    top, left, height, width = drawn.box
    scale = np.array(drawn.source) / drawn.size
    if part[:2] == (0, 0):
        if drawn.size != drawn.source:
            down, across = np.array(drawn.size) / drawn.source
            image = cv2.resize(image, None, fx=across, fy=down, interpolation=cv2.INTER_LINEAR)
            image = bands.whole(image)
        return image[top : top + height, left : left + width]
    offset = (np.array((top, left)) + 0.5) * scale - 0.5 - part[:2]
    found = cv2.warpAffine(
        image,
        np.array([[scale[1], 0, offset[1]], [0, scale[0], offset[0]]]),
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return bands.whole(found)
