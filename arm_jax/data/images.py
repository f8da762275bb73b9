"""Bytes of image files to arrays, and what is reported when they cannot be read.

Every function asks `headers` first, so that no decoder reserves memory for what a file only claims.
An image that a camera noted as turned (EXIF) is read as viewers show it, unless `turn` is False;
the same holds for a label.
"""

import io

import cv2
import numpy as np
from PIL import Image

from arm_jax.data import bands, headers, jpegs
from arm_jax.data.headers import Header
from arm_jax.system.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm")
# How the values of `data.orientation` are called: as EXIF asks, or as pixels are stored.
ORIENTATIONS = ("exif", "stored")
_COLOR = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_STORED = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
_MOST_ROWS = 0.9  # share of the rows above which OpenCV decodes all of them as fast
# Quarter turns against the clock, after a flip from left to right where there is one, by the
# number in EXIF. 2, 4, 5 and 7 are mirrored.
_TURNS = {1: (0, 0), 2: (1, 0), 3: (0, 2), 4: (1, 2), 5: (1, 1), 6: (0, 3), 7: (1, 3), 8: (0, 1)}


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(h, w, ...) stored pixels as viewers show them; 1 to 8 as EXIF counts orientations."""
    mirrored, quarters = _TURNS[orientation]
    if mirrored:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(np.rot90(pixels, quarters)) if orientation > 1 else pixels


def decode_image(
    data: bytes,
    name: str,
    box: tuple[int, int, int, int] | None = None,
    *,
    turn: bool = True,
    channels: int = 0,
) -> np.ndarray:
    """An image of any kind (grey, palette, CMYK, 16 bits, with alpha) as uint8 (h, w, 3) RGB.

    Of 16 bits the upper 8 are taken, and of a TIFF with four bands the first three.

    With `channels`, the stored numbers of that many bands instead, uint16 (h, w, channels): see
    `bands.decode`.

    Args:
      data: the file.
      name: what to call it in a message.
      box: top, left, height and width of the part to return; None for all. Of a PNG, what lies
        below it is not decoded.
      turn: whether to turn the image as its EXIF orientation asks.
      channels: how many bands to read as they are stored; 0 for RGB in bytes.

    Raises:
      InputError: it is cut off, too large, no image, or a TIFF of other numbers or bands.
    """
    header = headers.read(data, name)
    orientation = header.orientation if turn else 1
    if channels:
        return _cut(turned(bands.decode(data, name, channels), orientation), box)
    rows = None if box is None or orientation > 1 else box[0] + box[2]
    shortened = rows is not None and _ends_early(data, header, rows)
    image = None
    data = header.unturned(data)
    with headers.readable(data, name):
        if not shortened:
            image = _by_opencv(data, name, header)
        if image is None:
            # OpenCV does not report what is wrong, reads a PNG to the end, and knows fewer formats.
            with _open(data, rows if shortened else None) as picture:
                image = np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))
    return _cut(turned(image, orientation), box)


def _cut(image: np.ndarray, box: tuple[int, int, int, int] | None) -> np.ndarray:
    if box is None:
        return image
    return image[box[0] : box[0] + box[2], box[1] : box[1] + box[3]]


def _by_opencv(data: bytes, name: str, header: Header) -> np.ndarray | None:
    """All of an image; None where OpenCV cannot read it."""
    encoded = np.frombuffer(data, np.uint8)
    if header.kind != "TIFF":
        return cv2.imdecode(encoded, _COLOR)
    if header.numbers != "unsigned" or header.bits > 16:
        raise InputError(
            f"{name}: holds {header.numbers} numbers of {header.bits} bits, whose range is not"
            " known; save the image with 8 or 16 bits a band"
        )
    if header.bands > 4:
        raise InputError(
            f"{name}: has {header.bands} bands, and the network sees three; set data.channels ="
            f" {header.bands} for all of them, or save those that are red, green and blue"
        )
    if header.bands < 4 or header.photometric == 5:
        return cv2.imdecode(encoded, _COLOR)
    # OpenCV would multiply the colours by the fourth band, which need not be a transparency.
    image = cv2.imdecode(np.frombuffer(header.opaque(data), np.uint8), _STORED)
    if image is None or image.ndim != 3 or image.shape[2] < 3:
        return None
    if image.dtype == np.uint16:
        image = (image // 256).astype(np.uint8)
    return np.ascontiguousarray(image[..., 2::-1])


def _ends_early(data: bytes, header: Header, rows: int) -> bool:
    """Whether decoding can stop after this many rows, and that is faster than OpenCV with all.

    So for a PNG of bytes that is not interlaced, unless few rows would be saved.
    """
    plain = header.kind == "PNG" and header.bits == 8 and data[28:29] == b"\x00"
    return plain and rows <= _MOST_ROWS * header.stored[0]


def decode_label(
    data: bytes, name: str, rows: int | None = None, *, turn: bool = True
) -> np.ndarray:
    """An image with one number a pixel (grey or palette) as uint8 (h, w) stored values.

    Numbers are those in the file, also where it has fewer than 8 bits a pixel and viewers show
    brighter ones. `rows` is how many of the upper rows are needed; there may be more.

    Raises InputError, which calls the file `name`, for one that is cut off or no image, one that
    was saved with losses (JPEG) or holds colours, and one with values above 255.
    """
    header = headers.read(data, name)
    _refuse_as_label(data, name, header)
    orientation = header.orientation if turn else 1
    shortened = rows is not None and orientation == 1 and _ends_early(data, header, rows)
    data = header.unturned(data)
    with headers.readable(data, name), _open(data, rows if shortened else None) as picture:
        mode = picture.mode
        label = np.asarray(picture)
    if label.ndim != 2:
        raise InputError(
            f"{name}: this label is a {mode} image, that is, colours; save the class index of "
            "each pixel as a grey or palette PNG with one channel"
        )
    if mode == "L" and header.bits in (2, 4):
        # Pillow stretches grey levels to a byte; the stored number is meant.
        label = label // (255 // (2**header.bits - 1))
    if label.dtype.kind == "f" and not (label == np.floor(label)).all():
        raise InputError(f"{name}: this label holds fractions; save the class index of each pixel")
    if label.dtype != np.uint8:
        if label.min() < 0 or label.max() > 255:
            raise InputError(
                f"{name}: label values from {label.min()} to {label.max()} do not fit a byte; "
                "use class indices below 254 and an ignore value up to 255"
            )
        label = label.astype(np.uint8)
    return turned(label, orientation)


def decode_colors(data: bytes, name: str, *, turn: bool = True) -> np.ndarray:
    """A label that is painted in colours, as uint8 (h, w, 4): RGB, and 0 where it is transparent.

    Raises InputError, which calls the file `name`, as `decode_label` for what is no such image.
    """
    header = headers.read(data, name)
    _refuse_as_label(data, name, header)
    if header.bits > 8:
        raise InputError(f"{name}: has colours of {header.bits} bits; save the label with 8")
    data = header.unturned(data)
    with headers.readable(data, name), _open(data) as picture:
        pixels = np.asarray(picture.convert("RGBA"))
    return turned(pixels, header.orientation if turn else 1)


def mode(data: bytes, name: str) -> str:
    """Pillow's name for what an image has a pixel: "L", "P", "RGB", ...; from the header."""
    headers.read(data, name)
    with headers.readable(data, name), Image.open(io.BytesIO(data), formats=headers.FORMATS) as p:
        return p.mode


def _refuse_as_label(data: bytes, name: str, header: Header) -> None:
    """Refuse files whose numbers are not those that were saved, however they look."""
    if header.lossy:
        raise InputError(
            f"{name}: this label is a {header.kind} image with losses, which change class indices"
            " along every edge; save labels as PNG, from the original and not from this file"
        )
    inverted = header.photometric == 0 or data[:2] in (b"P1", b"P4")
    if inverted or (header.kind == "PPM" and _largest(data) not in (255, 65535)):
        raise InputError(
            f"{name}: this label is a {header.kind} image whose grey levels are inverted or"
            " stretched; save the class index of each pixel as a grey or palette PNG"
        )


def _largest(data: bytes) -> int:
    """The largest grey level that a PGM states; 0 if it states none."""
    words: list[bytes] = []
    for line in data[:4096].splitlines():
        words += line.partition(b"#")[0].split()
    return int(words[3]) if len(words) > 3 and words[3].isdigit() else 0


def _open(data: bytes, rows: int | None = None) -> Image.Image:
    """The image, or its first `rows` rows, decoded by Pillow."""
    picture = Image.open(io.BytesIO(data), formats=headers.FORMATS)
    if rows is not None:
        # Pillow decodes what these two say; see "Writing your own image plugin" in its manual.
        picture._size = (picture.width, rows)
        picture.tile = [t._replace(extents=(0, 0, *picture._size)) for t in picture.tile]
    picture.load()
    return picture


def probe_image(data: bytes, name: str, *, turn: bool = True) -> tuple[int, int]:
    """(height, width) by the header; the last bytes show a PNG or JPEG that is cut off.

    Raises InputError for such a file and for one that is no image.
    """
    header = headers.read(data, name)
    if header.kind == "JPEG" and b"\xff\xd9" not in data[-4096:]:
        # Some writers leave rubbish behind the end; only decoding all of it can show that.
        decode_image(data, name)
    return header.size if turn else header.stored


def verify_image(
    data: bytes, name: str, *, turn: bool = True, channels: int = 0
) -> tuple[int, int]:
    """(height, width) of an image that can be decoded to its end, as `decode_image` would.

    A PNG has checksums, verified in a sixth of the time of decoding; other files are decoded.
    Raises InputError for a file that is cut off, damaged, or no image.
    """
    size = probe_image(data, name, turn=turn)
    refuse_damaged(data, name)
    if data[:8] != headers.PNG or channels:
        decode_image(data, name, channels=channels)
        return size
    with headers.readable(data, name), Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
        picture.verify()
    return size


def refuse_damaged(data: bytes, name: str) -> None:
    """Raise InputError for a JPEG that decoding would make something else of, see `jpegs`."""
    if headers.read(data, name).kind == "JPEG" and (what := jpegs.damage(data)):
        raise InputError(f"{name}: is damaged ({what}); fetch it again, or remove it")


def suffix(data: bytes) -> str:
    """The usual end of the name of an image file with this content, one of `SUFFIXES`."""
    kind = headers.read(data, "image").kind
    return {"JPEG": ".jpg", "TIFF": ".tif"}.get(kind, f".{kind.lower()}")


def encode_png(pixels: np.ndarray) -> bytes:
    """uint8 (h, w) or RGB (h, w, 3) as a PNG that is fast to write and to read.

    Labels are stored without the filters that help photographs: that reads six times as fast.
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
