"""Arrays to data URIs, within a size."""

import base64
import io
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

# The longer side of an embedded image, in pixels, and what its file may have before it is made
# smaller still. A page with thirty of them can be mailed.
MOST_PIXELS = 640
MOST_BYTES = 120_000


@dataclass(frozen=True)
class Picture:
    """An image that stands in the page itself.

    Attributes:
      uri: `data:image/webp;base64,...`.
      width, height: in pixels, as embedded.
      alt: what a reader who cannot see it is told.
    """

    uri: str
    width: int
    height: int
    alt: str = ""


@dataclass(frozen=True)
class Layer:
    """One of the layers of `parts.layers`.

    Attributes:
      name: beside the slider; layers of one name move together all over the page.
      picture: of the size and the scale of the others.
      over: drawn over the first layer, which shows where the picture is transparent.
    """

    name: str
    picture: Picture
    over: bool = False


def photo(
    pixels: np.ndarray,
    alt: str = "",
    *,
    most_pixels: int = MOST_PIXELS,
    most_bytes: int = MOST_BYTES,
) -> Picture:
    """Embed uint8 (h, w, 3) RGB of a camera or a smooth map, compressed with loss."""
    return _embedded(pixels, alt, most_pixels, most_bytes, cv2.INTER_AREA, {"quality": 82})


def drawing(
    pixels: np.ndarray,
    alt: str = "",
    *,
    most_pixels: int = MOST_PIXELS,
    most_bytes: int = MOST_BYTES,
) -> Picture:
    """Embed uint8 (h, w, 3 or 4) RGB or RGBA of few flat colours, as labels are.

    No new colours appear.
    """
    return _embedded(pixels, alt, most_pixels, most_bytes, cv2.INTER_NEAREST, {"lossless": True})


def _embedded(
    pixels: np.ndarray,
    alt: str,
    most_pixels: int,
    most_bytes: int,
    interpolation: int,
    options: dict,
) -> Picture:
    side = min(most_pixels, max(pixels.shape[:2]))
    while True:
        small = _shrunk(pixels, side, interpolation)
        file = io.BytesIO()
        Image.fromarray(small).save(file, "WEBP", method=3, **options)
        data = file.getvalue()
        if len(data) <= most_bytes or side <= 64:
            break
        # Bytes grow with the area; a little below the estimate, so that few rounds are needed.
        side = max(64, min(int(0.95 * side * (most_bytes / len(data)) ** 0.5), side - 1))
    uri = f"data:image/webp;base64,{base64.b64encode(data).decode()}"
    return Picture(uri, small.shape[1], small.shape[0], alt)


def _shrunk(pixels: np.ndarray, side: int, interpolation: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return np.ascontiguousarray(pixels)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(pixels, size, interpolation=interpolation)
