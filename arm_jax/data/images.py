"""Bytes of picture files to arrays, and what is said when they cannot be read."""

import io
import zlib

import cv2
import numpy as np
from PIL import Image

from arm_jax.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm")
# Pixels as they are stored: a label knows nothing of the orientation that a camera noted.
_COLOR = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION


def decode_image(data: bytes, name: str, rows: int | None = None) -> np.ndarray:
    """A picture of any kind (grey, palette, CMYK, 16 bits, with alpha) as uint8 (h, w, 3) RGB.

    Args:
      data: the file.
      name: what to call it in a message.
      rows: how many of the upper rows are needed; there may be more in the result. A PNG takes
        time in proportion to the rows that are decoded.

    Raises:
      InputError: it is cut off or no picture.
    """
    if rows is not None:
        data = _upper_rows(data, rows)
    elif data:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _COLOR)
        if image is not None:
            return image
    # OpenCV does not say what is wrong, reads a PNG to the end, and knows fewer formats.
    with _open(data, name) as picture:
        return np.asarray(picture.convert("RGB"))


def _upper_rows(data: bytes, rows: int) -> bytes:
    """An RGB PNG that ends after so many rows, by its header alone; another file as it is."""
    header = data[12:29]  # type, width, height, and depth, colours and three methods, a byte each
    plain = data[:8] == b"\x89PNG\r\n\x1a\n" and header[12:14] + header[16:17] == b"\x08\x02\x00"
    if not plain or rows >= int.from_bytes(header[8:12], "big"):
        return data
    header = header[:8] + rows.to_bytes(4, "big") + header[12:]
    return data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:]


def decode_label(data: bytes, name: str) -> np.ndarray:
    """A picture with one number a pixel (grey or palette) as uint8 (h, w) stored values.

    Raises InputError, which calls the file `name`, for one that is cut off or no picture, one that
    holds colours, and one with values above 255.
    """
    with _open(data, name) as picture:
        mode = picture.mode
        label = np.asarray(picture)
    if label.ndim != 2:
        raise InputError(
            f"{name}: this label is a {mode} picture, that is, colours; save the class index of "
            "each pixel as a grey or palette PNG with one channel"
        )
    if label.dtype != np.uint8:
        if label.min() < 0 or label.max() > 255:
            raise InputError(
                f"{name}: label values from {label.min()} to {label.max()} do not fit a byte; "
                "use class indices below 254 and an ignore value up to 255"
            )
        label = label.astype(np.uint8)
    return label


def _open(data: bytes, name: str) -> Image.Image:
    try:
        picture = Image.open(io.BytesIO(data))
        picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = "it is empty" if not data else str(error).replace("<_io.BytesIO object at ", "<")
        if "cannot identify" in reason:
            reason = "it is no picture in a known format"
        raise InputError(f"{name}: cannot be read, {reason}; replace the file") from None
    return picture


def probe_image(data: bytes, name: str) -> tuple[int, int]:
    """(height, width) by the header; a look at the end finds a PNG or JPEG that is cut off.

    Raises InputError for such a file and for one that is no picture.
    """
    try:
        with Image.open(io.BytesIO(data)) as picture:
            width, height = picture.size
            kind = picture.format
    except (OSError, SyntaxError, ValueError):
        _open(data, name).close()
        raise
    end = {"PNG": b"IEND", "JPEG": b"\xff\xd9"}.get(kind or "", b"")
    if end not in data[-4096:]:
        # Some writers leave rubbish behind the end; only a full look can tell.
        decode_image(data, name)
    return height, width


def suffix(data: bytes) -> str:
    """The usual end of the name of a picture file with this content, such as .png."""
    with _open(data, "picture") as picture:
        return {"JPEG": ".jpg", "TIFF": ".tif"}.get(
            picture.format or "", f".{picture.format}"
        ).lower()


def encode_png(pixels: np.ndarray) -> bytes:
    """uint8 (h, w) or RGB (h, w, 3) as a PNG that is fast to write and to read.

    Labels are stored without the filters that help pictures: that reads six times as fast.
    """
    options = [cv2.IMWRITE_PNG_COMPRESSION, 3]
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    else:
        options += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE]
    done, data = cv2.imencode(".png", pixels, options)
    if not done:
        raise ValueError(f"cannot encode an array of shape {pixels.shape} as PNG")
    return data.tobytes()
