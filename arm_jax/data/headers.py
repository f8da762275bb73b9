"""What an image file states before its pixels: kind, size, bits, bands and orientation.

Every decoder of this package asks here first. A header is a few bytes that anybody can write: it
is read by hand or by Pillow without decoding, and what it asks for is limited before any decoder
reserves memory.
"""

import contextlib
import io
import mmap
import re
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
from PIL import (  # what can be opened is what was imported
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from arm_jax.system.errors import InputError

# OpenCV and Pillow warn of a damaged file on the terminal, beside the line that explains it.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
warnings.filterwarnings("ignore", module=r"PIL\.")

PNG = b"\x89PNG\r\n\x1a\n"  # what a PNG begins with
# Pixels of the largest image that is decoded: 16,384 x 16,384, 768 MiB in three colours.
MOST_PIXELS = 1 << 28
# No compression yields more pixels of a byte than that of PNG, 1,032 to 1, with a bit a pixel; what
# asks for more than this and a few pixels of a solid colour would only fill the memory.
_PIXELS_PER_BYTE = 8 * 1032
_ANY_FILE = 1 << 24
# Four channels of 64 bits and their alpha take 40; the rest may be profiles, thumbnails and notes.
_BYTES_PER_PIXEL = 64
_ANY_REST = 1 << 26
Image.MAX_IMAGE_PIXELS = MOST_PIXELS  # Pillow warns above it and raises above twice as many
# Pillow also opens files that it hands to other programs, such as PostScript; these are enough.
FORMATS = tuple(
    reader.format
    for reader in (
        PngImagePlugin.PngImageFile,
        JpegImagePlugin.JpegImageFile,
        BmpImagePlugin.BmpImageFile,
        TiffImagePlugin.TiffImageFile,
        WebPImagePlugin.WebPImageFile,
        GifImagePlugin.GifImageFile,
        PpmImagePlugin.PpmImageFile,
    )
)
_TIFF_STARTS = {b"II*\0": ("<", False), b"MM\0*": (">", False)}
_TIFF_STARTS |= {b"II+\0": ("<", True), b"MM\0+": (">", True)}  # BigTIFF
_MOST_TAGS = 1000  # of a TIFF; files have about twenty
_ORIENTATION = 274  # the tag of EXIF and of TIFF
_EXTRA_SAMPLES = 338  # of TIFF: what the bands behind the colours are, 2 for a transparency


@dataclass(frozen=True)
class Header:
    """What the file states.

    Attributes:
      kind: as Pillow calls it: PNG, JPEG, TIFF, ...
      stored: height and width of the stored pixels.
      orientation: 1 to 8, how EXIF asks to turn them; 1 is as they are stored.
      bits: of a sample, where it is known (PNG, TIFF), else 8.
      bands: samples a pixel, where it is known (TIFF), else 0.
      numbers: "unsigned", or what else the samples are (TIFF): "signed" or "float".
      photometric: TIFF's meaning of the samples; 0 is inverted grey, 5 is CMYK. -1 elsewhere.
      lossy: whether neighbouring pixels were mixed when it was saved.
      noted_at: where a TIFF's orientation lies in the file; 0 elsewhere.
      alpha_at: where a TIFF states that its fourth band is a transparency that its colours are not
        multiplied by yet; 0 elsewhere.
      palette: of a PNG, red, green and blue in bytes for each stored number; b"" without one.
    """

    kind: str
    stored: tuple[int, int]
    orientation: int = 1
    bits: int = 8
    bands: int = 0
    numbers: str = "unsigned"
    photometric: int = -1
    lossy: bool = False
    noted_at: int = 0
    alpha_at: int = 0
    palette: bytes = b""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width as viewers show the image."""
        height, width = self.stored
        return (width, height) if self.orientation > 4 else (height, width)

    def unturned(self, data: bytes) -> bytes:
        """The file without a TIFF's orientation, which decoders obey whether told to or not."""
        if self.orientation == 1 or not self.noted_at:
            return data
        return _stating(data, self.noted_at, 1)

    def opaque(self, data: bytes) -> bytes:
        """The file whose fourth band is no transparency: OpenCV multiplies the others by one."""
        return _stating(data, self.alpha_at, 0) if self.alpha_at else data


def _stating(data: bytes, at: int, value: int) -> bytes:
    """A TIFF with another number of 16 bits in its directory."""
    number = struct.pack(_TIFF_STARTS[data[:4]][0] + "H", value)
    return data[:at] + number + data[at + 2 :]


def read(data: bytes, name: str) -> Header:
    """The header of the file `data`, which messages call `name`.

    Raises InputError when it is no image of a known format, has no pixels, or more than
    `MOST_PIXELS`.
    """
    with readable(data, name):
        if data[:8] == PNG and data[12:16] == b"IHDR":
            found = _png(data)
        elif data[:4] in _TIFF_STARTS:
            found = _tiff(data)
        else:
            found = _other(data)
    check_size(*found.stored, data, name)
    return found


def read_large(data: mmap.mmap, name: str) -> Header | None:
    """The header of a TIFF or PNG of any size, mapped into memory; None for another kind of file.

    Raises InputError where it is damaged, or has too few bytes for its pixels.
    """
    is_png = data[:8] == PNG and data[12:16] == b"IHDR"
    if not is_png and data[:4] not in _TIFF_STARTS:
        return None
    with readable(b"a file", name):
        found = _png(data) if is_png else _tiff(data)
    height, width = found.stored
    if height * width > MOST_PIXELS:  # below, the decoders' own limits hold
        check_bytes(height, width, len(data), name)
    return found


def refuse_turned(header: Header, name: str, turn: bool) -> None:
    """Raise InputError for a large image that would have to be turned, if `turn`."""
    if turn and header.orientation > 1:
        raise InputError(
            f"{name}: has the orientation {header.orientation}, and an image of this size is not"
            " turned; save its pixels turned, or set data.orientation = 'stored'"
        )


def check_size(height: int, width: int, data: bytes, name: str) -> None:
    """Raise InputError if a file states no pixels, or more than the limit or its bytes can hold."""
    if height < 1 or width < 1:
        raise InputError(f"{name}: cannot be read, it has no pixels; replace the file")
    if height * width > MOST_PIXELS:
        raise _too_large(data, name, f"{width:,} x {height:,}")
    check_bytes(height, width, len(data), name)
    if len(data) > _ANY_REST + _BYTES_PER_PIXEL * height * width:
        raise InputError(
            f"{name}: has {len(data):,} bytes, far more than its {width:,} x {height:,} pixels"
            " need; replace the file, or save the image anew"
        )


def check_bytes(height: int, width: int, number: int, name: str) -> None:
    """Raise InputError where a file has too few bytes for its pixels, however it is compressed."""
    if height * width > _ANY_FILE + _PIXELS_PER_BYTE * number:
        raise InputError(
            f"{name}: its header asks for {width:,} x {height:,} pixels, and its {number:,}"
            " bytes are too few for them; replace the file"
        )


def _too_large(data: bytes, name: str, size: str) -> InputError:
    size = size if len(size) < 60 else "too many"
    return InputError(
        f"{name}: its header asks for {size} pixels ({len(data):,} bytes of file), and the limit is"
        f" {MOST_PIXELS:,} pixels; cut it into smaller images, or have --mode predict label it"
        " as a TIFF or PNG, which it reads in parts"
    )


@contextlib.contextmanager
def readable(data: bytes, name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an InputError: the file is damaged or no image.

    Decoders raise errors of the system, of struct and zlib, of OpenCV, and many of Python's.
    """
    try:
        yield
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        number = re.search(r"\d+", str(error))
        raise _too_large(data, name, f"{int(number[0]):,}" if number else "too many") from None
    except Exception as error:
        if not data:
            reason = "it is empty"
        elif isinstance(error, Image.UnidentifiedImageError):
            reason = "it is no image in a known format"
        else:
            text = str(error.err) if isinstance(error, cv2.error) else str(error)
            reason = f"it is damaged ({' '.join(text.split()) or type(error).__name__})"
        raise InputError(f"{name}: cannot be read, {reason}; replace the file") from None


def _png(data: bytes | mmap.mmap) -> Header:
    width, height, bits = struct.unpack_from(">IIB", data, 16)
    orientation, palette, place = 1, b"", 8
    # OpenCV reserves what a chunk states for its length, up to 4 GiB.
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        if place + 12 + length > len(data):
            raise ValueError("it is cut off, or a part of it is longer than the file")
        if kind == b"eXIf":
            orientation = _exif_orientation(data[place + 8 : place + 8 + length])
        if kind == b"PLTE" and data[25] == 3:  # else only a proposal for colours
            palette = data[place + 8 : place + 8 + length]
        if kind == b"IEND":
            break
        place += 12 + length
    else:
        raise ValueError("it is cut off")
    return Header("PNG", (height, width), orientation, bits, palette=palette)


def _tiff(data: bytes | mmap.mmap) -> Header:
    """The first directory's few tags that matter; nothing that they point to is trusted."""
    order, big = _TIFF_STARTS[data[:4]]
    (place,) = (
        struct.unpack_from(order + "Q", data, 8)
        if big
        else struct.unpack_from(order + "I", data, 4)
    )
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, place)
    if count > _MOST_TAGS:
        raise ValueError(f"a TIFF of {count} tags")
    place += 8 if big else 2
    tags: dict[int, int] = {}
    noted_at = alpha_at = 0
    for _ in range(count):
        tag, kind, number = struct.unpack_from(order + ("HHQ" if big else "HHI"), data, place)
        if kind in (1, 3, 4, 16):
            form = {1: "B", 3: "H", 4: "I", 16: "Q"}[kind]
            at = place + (12 if big else 8)
            if number * struct.calcsize(form) > (8 if big else 4):
                (at,) = struct.unpack_from(order + ("Q" if big else "I"), data, at)
            (tags[tag],) = struct.unpack_from(order + form, data, at)
            if tag == _ORIENTATION and form == "H":
                noted_at = at
            if (tag, form, number, tags[tag]) == (_EXTRA_SAMPLES, "H", 1, 2):
                alpha_at = at
        place += 20 if big else 12
    orientation = tags.get(_ORIENTATION, 1) if noted_at else 1
    compression = tags.get(259, 1)
    return Header(
        "TIFF",
        (tags[257], tags[256]),
        orientation if 1 <= orientation <= 8 else 1,
        bits=tags.get(258, 1),
        bands=tags.get(277, 1),
        numbers={1: "unsigned", 2: "signed", 3: "float"}.get(tags.get(339, 1), "unknown"),
        photometric=tags.get(262, 1),
        lossy=compression in (6, 7, 34712, 50001),  # JPEG, JPEG 2000, WebP
        noted_at=noted_at,
        alpha_at=alpha_at,
    )


def _other(data: bytes) -> Header:
    with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
        kind, (width, height) = picture.format or "", picture.size
        orientation = _exif_orientation(picture.info.get("exif", b""))
    kind = "JPEG" if kind == "MPO" else kind  # several of them in one file
    lossy = kind == "JPEG" or (kind == "WEBP" and b"VP8 " in data[:4096])
    return Header(kind, (height, width), orientation, lossy=lossy)


def _exif_orientation(block: bytes) -> int:
    """1 to 8; 1 where the block is absent, damaged, or says something else."""
    if not block:
        return 1
    try:
        exif = Image.Exif()
        exif.load(block)
        value = exif.get(_ORIENTATION, 1)
    except Exception:  # a damaged block turns nothing, and viewers show the image all the same
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1
