"""Images of any number of bands, with the numbers as they are stored: `data.channels`.

OpenCV reads the usual files of grey levels and colours. A TIFF of other bands, or of one of the
many kinds that OpenCV does not know, is read by tifffile, which is installed by
`pip install "arm_jax[tiff]"`.
"""

import io
from collections.abc import Sequence
from types import ModuleType

import cv2
import numpy as np

from arm_jax.data import headers
from arm_jax.data.headers import Header
from arm_jax.system.errors import InputError, first_line

# TIFFs that OpenCV reads as they are: its meaning of the bands (grey, RGB, YCbCr), and how many.
_USUAL = ((1, 1), (2, 3), (2, 4), (6, 3))
_STORED = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION


def decode(data: bytes, name: str, number: int) -> np.ndarray:
    """uint16 (h, w, number): the stored numbers of 8 or 16 bits, not turned by any orientation.

    Bands are in the order of the file; of a colour image that is red, green, blue, and alpha.

    Args:
      data: the file.
      name: what to call it in a message.
      number: how many bands it must have.

    Raises:
      InputError: it has another number of bands, or numbers that are not whole ones of 8 or 16
        bits; or it is cut off or no image.
    """
    header = headers.read(data, name)
    if header.numbers != "unsigned" or header.bits > 16:
        raise InputError(
            f"{name}: holds {header.numbers} numbers of {header.bits} bits; save the image with"
            " whole numbers of 8 or 16 bits a band"
        )
    if header.bands and header.bands != number:
        raise other_number(name, header.bands, number)
    pixels = _decoded(header.opaque(header.unturned(data)), name, header)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] != number:
        raise other_number(name, pixels.shape[2], number)
    return pixels.astype(np.uint16)


def other_number(name: str, there: int, wanted: int) -> InputError:
    """The error for an image of another number of bands."""
    return InputError(
        f"{name}: has {there} band{'s' if there > 1 else ''}, and the run reads {wanted}"
        f" (data.channels); save the image with {wanted}, or correct data.channels in a new run"
    )


def _decoded(data: bytes, name: str, header: Header) -> np.ndarray:
    """uint8 or uint16 (h, w) or (h, w, bands)."""
    with headers.readable(data, name):
        if header.kind != "TIFF" or (header.photometric, header.bands) in _USUAL:
            found = cv2.imdecode(np.frombuffer(data, np.uint8), _STORED)
            if found is not None and found.dtype in (np.uint8, np.uint16):
                if found.ndim == 3 and found.shape[2] >= 3:  # blue, green, red, and alpha
                    found = np.concatenate([found[..., 2::-1], found[..., 3:]], axis=2)
                return found
        if header.kind != "TIFF":
            raise ValueError("it is damaged, or of a kind that is not known")
    return _by_tifffile(data, name)


def _by_tifffile(data: bytes, name: str) -> np.ndarray:
    tifffile = reader(name)
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages[0]
            found = page.asarray()
            # A file may hold its bands one behind the other.
            separate = page.planarconfig == 2 and page.samplesperpixel > 1
    except Exception as error:  # damaged files raise errors of many kinds
        raise InputError(f"{name}: cannot be read ({first_line(error)}); save it anew") from None
    if separate:
        found = np.moveaxis(found, 0, -1)
    if found.dtype not in (np.uint8, np.uint16) or found.ndim not in (2, 3):
        raise InputError(
            f"{name}: holds {found.dtype} {found.shape}; save it as one image with whole numbers"
            " of 8 or 16 bits a band"
        )
    return found


def reader(name: str) -> ModuleType:
    """The package tifffile. Raises InputError, about the file `name`, where it is not there."""
    try:
        import tifffile
    except ImportError:
        raise InputError(
            f'{name}: such a TIFF is read by tifffile; pip install "arm_jax[tiff]", or save it'
            " as grey levels or colours with usual compression"
        ) from None
    return tifffile


def number(channels: int | Sequence[str]) -> int:
    """How many the setting `data.channels` asks for; 0 for RGB in bytes."""
    return channels if isinstance(channels, int) else len(channels)


def shown(image: np.ndarray) -> np.ndarray:
    """Pixels to show, uint8 (h, w, 3), of an image with any bands; one of bytes is itself.

    Others show their first three bands, or the first alone in grey, each stretched so that a
    fiftieth of its pixels is black and a fiftieth white.
    """
    if image.dtype == np.uint8 and image.shape[2:] == (3,):
        return image
    chosen = image[..., :3] if image.shape[2] >= 3 else image[..., :1].repeat(3, axis=2)
    low, high = np.percentile(chosen[::4, ::4], (2, 98), axis=(0, 1))
    stretched = (chosen - low) * (255 / np.maximum(high - low, 1))
    return np.rint(np.clip(stretched, 0, 255)).astype(np.uint8)


def whole(image: np.ndarray) -> np.ndarray:
    """(h, w, bands) where OpenCV has left out an axis of length 1."""
    return image[..., None] if image.ndim == 2 else image
