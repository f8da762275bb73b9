"""Images that are larger than memory, read a part at a time, and TIFFs that are written so.

TIFFs are read by tifffile, PNGs by `large_png`. A TIFF holds tiles or strips that are compressed
each for itself, or rows that lie one behind the other; of both, any part can be read without the
rest. JPEG has one stream for all pixels.
"""

import contextlib
import math
import mmap
import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from arm_jax.data import bands, headers
from arm_jax.data.headers import Header
from arm_jax.data.large_png import LargePng
from arm_jax.system import files
from arm_jax.system.errors import InputError, first_line

TILE = 512  # rows and columns of a tile that is written
_SEGMENT_PIXELS = 1 << 26  # of a tile or strip that is decoded at once
_CACHE_BYTES = 1 << 26  # of decoded tiles that wait for the next part
_REMEDY = (
    "save it with tiles, such as by: gdal_translate -co TILED=YES -co COMPRESS=DEFLATE IN OUT.tif,"
    " or vips copy IN OUT.tif[tile,compression=deflate,bigtiff]"
)


def header(path: Path) -> Header | None:
    """What a TIFF or PNG states; None for a file of another kind.

    Raises InputError where it cannot be read, or has too few bytes for its pixels.
    """
    if path.suffix.lower() not in (".tif", ".tiff", ".png"):
        return None
    files.check_regular(path)
    try:
        with open(path, "rb") as file:
            if not os.fstat(file.fileno()).st_size:
                return None
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return headers.read_large(data, str(path))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}); correct its permissions"
        ) from None


def opened(path: Path, *, turn: bool = True, channels: int = 0) -> "LargeTiff | LargePng":
    """An image of which parts are read in order, for a `with`; arguments as for `LargeTiff`."""
    stated = header(path)
    if stated is not None and stated.kind == "PNG":
        return LargePng(path, turn=turn, channels=channels)
    return LargeTiff(path, turn=turn, channels=channels)


class LargeTiff:
    """A TIFF of which parts are read; close it, or use it in a `with`.

    Args:
      path: of a TIFF.
      turn: whether images are to be turned by their orientation. One that asks for it is refused.
      channels: as for `images.decode_image`.

    Attributes:
      size: height and width.

    Raises:
      InputError: tifffile is not installed, or the file cannot be read in parts.
    """

    def __init__(self, path: Path, *, turn: bool = True, channels: int = 0):
        tifffile = bands.reader(str(path))
        stated = header(path)
        if stated is None or stated.kind != "TIFF":
            raise InputError(f"{path}: is no TIFF; {_REMEDY}")
        headers.refuse_turned(stated, str(path), turn)
        self._path, self._channels = path, channels
        self._cache: OrderedDict[int, np.ndarray] = OrderedDict()
        try:
            self._file = tifffile.TiffFile(path)
            self._page: Any = self._file.pages[0]
            self.size = (int(self._page.imagelength), int(self._page.imagewidth))
            self._dtype = np.dtype(self._page.dtype)
        except Exception as error:  # damaged files raise errors of many kinds
            raise self._damaged(error) from None
        page = self._page
        self._number = int(page.samplesperpixel)
        self._separate = page.planarconfig == 2 and self._number > 1
        self._check()
        self._rows_lie = (
            bool(page.compression == 1 and page.predictor == 1 and page.is_contiguous)
            and not page.is_tiled
        )
        self._tile = (
            (page.tilelength, page.tilewidth)
            if page.is_tiled
            else (min(page.rowsperstrip, self.size[0]), self.size[1])
        )
        if not self._rows_lie and self._tile[0] * self._tile[1] > _SEGMENT_PIXELS:
            kind = "tiles" if page.is_tiled else "strips"
            raise InputError(
                f"{path}: its {kind} have {self._tile[1]:,} x {self._tile[0]:,} pixels, which are"
                f" compressed as one; {_REMEDY}"
            )

    def __enter__(self) -> "LargeTiff":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def _check(self) -> None:
        page, path = self._page, self._path
        if self._dtype not in (np.uint8, np.uint16) or page.imagedepth != 1:
            raise InputError(
                f"{path}: holds {self._dtype} numbers; save it with whole numbers of 8 or 16 bits"
            )
        if self._channels and self._number != self._channels:
            raise bands.other_number(str(path), self._number, self._channels)
        if not self._channels and self._number > 4:
            raise InputError(
                f"{path}: has {self._number} bands, and the network sees three; train with"
                f" data.channels = {self._number}, or save those that are red, green and blue"
            )
        # Colours as brightness and two differences are decoded with a JPEG alone.
        known = (0, 1, 2, 6) if int(page.compression) in (6, 7) else (0, 1, 2)
        if not self._channels and int(page.photometric) not in known:
            raise InputError(f"{path}: is neither grey nor RGB; save it as RGB")

    def _damaged(self, error: Exception) -> InputError:
        return InputError(f"{self._path}: cannot be read ({first_line(error)}); save it anew")

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """A part that lies inside: uint8 (height, width, 3) RGB, or uint16 (height, width, bands).

        Raises InputError for a damaged part.
        """
        try:
            if self._rows_lie:
                found = self._rows(top, left, height, width)
            else:
                found = self._segments(top, left, height, width)
        except InputError:
            raise
        except Exception as error:
            raise self._damaged(error) from None
        return self._meant(found)

    def _meant(self, stored: np.ndarray) -> np.ndarray:
        if self._channels:
            return stored.astype(np.uint16)
        if stored.dtype == np.uint16:  # as `images.decode_image`, where OpenCV rounds colours
            down = np.rint(stored / np.float32(257)) if self._number == 3 else stored >> 8
            stored = down.astype(np.uint8)
        if self._number < 3:
            stored = stored[..., :1].repeat(3, axis=2)
            return 255 - stored if int(self._page.photometric) == 0 else stored
        return np.ascontiguousarray(stored[..., :3])

    def _rows(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """Of pixels that lie one behind the other."""
        planes, each = (self._number, 1) if self._separate else (1, self._number)
        dtype = self._dtype.newbyteorder(self._file.byteorder)
        pixel = each * dtype.itemsize
        found = np.empty((height, width, self._number), self._dtype)
        handle, start = self._file.filehandle, self._page.dataoffsets[0]
        for plane in range(planes):
            for row in range(height):
                place = (plane * self.size[0] + top + row) * self.size[1] + left
                handle.seek(start + place * pixel)
                data = handle.read(width * pixel)
                if len(data) < width * pixel:
                    raise ValueError("it is cut off")
                values = np.frombuffer(data, dtype).reshape(width, each)
                found[row, :, plane : plane + each] = values
        return found

    def _segments(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        found = np.zeros((height, width, self._number), self._dtype)
        high, wide = self._tile
        across, down = -(-self.size[1] // wide), -(-self.size[0] // high)
        planes, each = (self._number, 1) if self._separate else (1, self._number)
        for plane in range(planes):
            for r in range(top // high, -(-(top + height) // high)):
                for c in range(left // wide, -(-(left + width) // wide)):
                    tile = self._decoded((plane * down + r) * across + c)
                    y0, x0 = max(top, r * high), max(left, c * wide)
                    y1 = min(top + height, r * high + tile.shape[0])
                    x1 = min(left + width, c * wide + tile.shape[1])
                    found[y0 - top : y1 - top, x0 - left : x1 - left, plane : plane + each] = tile[
                        y0 - r * high : y1 - r * high, x0 - c * wide : x1 - c * wide
                    ]
        return found

    def _decoded(self, index: int) -> np.ndarray:
        """A tile or strip, (h, w, samples)."""
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        page, handle = self._page, self._file.filehandle
        handle.seek(page.dataoffsets[index])
        data = handle.read(page.databytecounts[index])
        if len(data) < page.databytecounts[index]:
            raise ValueError("it is cut off")
        # One that a sparse file leaves out has no bytes, and none but its background.
        decoded, _, shape = page.decode(data or None, index, jpegtables=page.jpegtables)
        tile = np.full(shape[1:], page.nodata, self._dtype) if decoded is None else decoded[0]
        self._cache[index] = tile
        while sum(kept.nbytes for kept in self._cache.values()) > _CACHE_BYTES:
            self._cache.popitem(last=False)
        return tile


class Rows:
    """A map that is written from above to below, and becomes a tiled TIFF at the end.

    Until then its numbers lie in `path`, a file without any header.
    """

    def __init__(self, path: Path, size: tuple[int, int], dtype: Any):
        self.size, self._dtype, self._path = size, np.dtype(dtype), path
        with self._written():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "w+b")  # noqa: SIM115

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f"{self._path.parent}: cannot be written ({error.strerror or error}); free some"
                f" space, {math.prod(self.size) * self._dtype.itemsize:,} bytes for this map, or"
                " choose another folder"
            ) from error

    def add(self, rows: np.ndarray) -> None:
        """The next rows, (any number, width). Raises InputError where there is no space."""
        with self._written():
            self._file.write(np.ascontiguousarray(rows, self._dtype).data)

    def save(self, target: Path, palette: np.ndarray | None = None) -> None:
        """Write the TIFF, whole or not at all, with the colours uint8 (256, 3) of its values."""
        tifffile = bands.reader(str(target))
        colors = {}
        if palette is not None:
            table = np.ascontiguousarray(palette.T.astype(np.uint16) * 257)
            colors = {"photometric": "palette", "colormap": table}
        with files.whole(target) as temporary:
            tifffile.imwrite(
                temporary,
                self._tiles(),
                shape=self.size,
                dtype=self._dtype,
                tile=(TILE, TILE),
                compression="zlib",
                bigtiff=math.prod(self.size) * self._dtype.itemsize > 1 << 31,
                metadata=None,
                **({"photometric": "minisblack"} | colors),
            )

    def _tiles(self) -> Iterator[np.ndarray]:
        height, width = self.size
        self._file.seek(0)
        for top in range(0, height, TILE):
            number = min(TILE, height - top)
            data = self._file.read(number * width * self._dtype.itemsize)
            rows = np.frombuffer(data, self._dtype).reshape(number, width)
            for left in range(0, width, TILE):
                part = rows[:, left : left + TILE]
                grow = [(0, TILE - length) for length in part.shape]
                yield np.pad(part, grow)

    def close(self) -> None:
        """Remove the numbers."""
        self._file.close()
        self._path.unlink(missing_ok=True)
