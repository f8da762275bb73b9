"""Bytes of picture files to arrays, and what is said when they cannot be read."""

import io
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from arm_jax.system.errors import InputError

# OpenCV warns of a damaged file on the terminal, beside the line that says what is wrong with it.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm")
# Pixels as they are stored: a label knows nothing of the orientation that a camera noted.
_COLOR = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_PNG = b"\x89PNG\r\n\x1a\n"  # what the file begins with
_MOST_ROWS = 0.9  # share of the rows above which OpenCV decodes all of them as fast


def decode_image(
    data: bytes, name: str, box: tuple[int, int, int, int] | None = None
) -> np.ndarray:
    """A picture of any kind (grey, palette, CMYK, 16 bits, with alpha) as uint8 (h, w, 3) RGB.

    Args:
      data: the file.
      name: what to call it in a message.
      box: top, left, height and width of the part to return; None for all. Of a PNG, what lies
        below it is not decoded.

    Raises:
      InputError: it is cut off or no picture.
    """
    rows = None if box is None else box[0] + box[2]
    shortened = rows is not None and _ends_early(data, rows)
    image = None
    if data and not shortened:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _COLOR)
    if image is None:
        # OpenCV does not say what is wrong, reads a PNG to the end, and knows fewer formats.
        with _open(data, name, rows if shortened else None) as picture:
            image = np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))
    if box is not None:
        image = image[box[0] : box[0] + box[2], box[1] : box[1] + box[3]]
    return image


def _ends_early(data: bytes, rows: int) -> bool:
    """Whether decoding can stop after so many rows, and that is faster than OpenCV is with all.

    So for a PNG of bytes that is not interlaced, unless few rows would be saved.
    """
    # Width, height, and depth, colours and three methods, a byte each.
    depth, interlaced = data[24:25], data[28:29]
    plain = data[:8] == _PNG and depth == b"\x08" and interlaced == b"\x00"
    return plain and rows <= _MOST_ROWS * int.from_bytes(data[20:24], "big")


def decode_label(data: bytes, name: str, rows: int | None = None) -> np.ndarray:
    """A picture with one number a pixel (grey or palette) as uint8 (h, w) stored values.

    `rows` is how many of the upper rows are needed; there may be more. Raises InputError, which
    calls the file `name`, for one that is cut off or no picture, one that holds colours, and one
    with values above 255.
    """
    shortened = rows is not None and _ends_early(data, rows)
    with _open(data, name, rows if shortened else None) as picture:
        mode = picture.mode
        label = np.asarray(picture)
    if label.ndim != 2:
        raise InputError(
            f"{name}: this label is a {mode} picture, that is, colours; save the class index of "
            "each pixel as a grey or palette PNG with one channel"
        )
    if label.dtype.kind == "f" and (label != np.floor(label)).any():
        raise InputError(f"{name}: this label holds fractions; save the class index of each pixel")
    if label.dtype != np.uint8:
        if label.min() < 0 or label.max() > 255:
            raise InputError(
                f"{name}: label values from {label.min()} to {label.max()} do not fit a byte; "
                "use class indices below 254 and an ignore value up to 255"
            )
        label = label.astype(np.uint8)
    return label


class LabelFile:
    """The label in a file, decoded when, and as far down as, it is asked for.

    Args:
      data: the file.
      name: what to call it in a message.
      meaning: stored values to label values; it sees the rows that were decoded.

    Raises InputError, here or later, for what `decode_label` and `meaning` refuse.
    """

    def __init__(
        self,
        data: bytes,
        name: str,
        meaning: Callable[[np.ndarray], np.ndarray] = lambda stored: stored,
    ):
        self.shape = probe_image(data, name)
        self._data, self._name, self._meaning = data, name, meaning
        self._decoded: np.ndarray | None = None

    def upper(self, rows: int) -> np.ndarray:
        """uint8 (at least so many rows, w)."""
        if self._decoded is None or rows > len(self._decoded):
            # Who asks again, for more, may do so often.
            some = rows if self._decoded is None else None
            self._decoded = self._meaning(decode_label(self._data, self._name, some))
        return self._decoded

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        """All of it, so that np.asarray takes a label whether it was decoded or not.

        Checked to its end: what is written to other files must not be damaged.
        """
        verify_image(self._data, self._name)
        return self.upper(self.shape[0])


def _open(data: bytes, name: str, rows: int | None = None) -> Image.Image:
    """The picture, or so many of its upper rows."""
    try:
        picture = Image.open(io.BytesIO(data))
        if rows is not None:
            # Pillow decodes what these two say; see "Writing your own image plugin" in its manual.
            picture._size = (picture.width, rows)
            picture.tile = [t._replace(extents=(0, 0, *picture._size)) for t in picture.tile]
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
    kind: str | None
    try:
        if data[:8] == _PNG and data[12:16] == b"IHDR":  # for speed
            kind, width, height = "PNG", *(int.from_bytes(data[i : i + 4], "big") for i in (16, 20))
        else:
            with Image.open(io.BytesIO(data)) as picture:
                kind, (width, height) = picture.format, picture.size
    except (OSError, SyntaxError, ValueError):
        _open(data, name).close()
        raise
    end = {"PNG": b"IEND", "JPEG": b"\xff\xd9"}.get(kind or "", b"")
    if end not in data[-4096:]:
        # Some writers leave rubbish behind the end; only a full look can tell.
        decode_image(data, name)
    return height, width


def verify_image(data: bytes, name: str) -> tuple[int, int]:
    """(height, width) of a picture that can be decoded to its end.

    A PNG says so by checksums, in a sixth of the time of decoding; other files are decoded. Raises
    InputError for a file that is cut off, damaged, or no picture.
    """
    size = probe_image(data, name)
    if data[:8] != _PNG:
        decode_image(data, name)
        return size
    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.verify()
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{name}: is damaged ({error}); replace the file") from None
    return size


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
