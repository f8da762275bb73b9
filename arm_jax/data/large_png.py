"""PNGs that are larger than memory, read from above to below.

A PNG is one compressed stream of rows, each of which may be stored as its difference to the row
above. So its rows are inflated in order, a strip at a time, and a strip is decoded as a PNG of its
own by the usual decoder. First the filters of its rows are undone, by a stand-in with as many bytes
a pixel whose first row is the last one of the strip above; then the plain bytes get the file's own
header, palette and colour chunks.
"""

import io
import mmap
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from arm_jax.data import headers, images
from arm_jax.system.errors import InputError, first_line

_STRIP_BYTES = 1 << 25  # of plain rows that are decoded at once
_INFLATED = 1 << 20  # bytes that are asked of the stream at once
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the type of colour
# By the bytes of a pixel: bits and type of colour of a PNG with as many.
_STAND_INS = {1: (8, 0), 2: (8, 4), 3: (8, 2), 4: (8, 6), 6: (16, 2), 8: (16, 6)}


class LargePng:
    """A PNG of which parts are read; those further down last. Use it in a `with`.

    Rows above those that were asked for last are forgotten, and read again from the first one where
    they are wanted: ask in order. What is kept is as high as the part that is read.

    Args:
      path: of the file.
      turn: whether images are to be turned by their orientation. One that asks for it is refused.
      channels: as for `images.decode_image`.

    Attributes:
      size: height and width.

    Raises:
      InputError: it is damaged or interlaced.
    """

    def __init__(self, path: Path, *, turn: bool = True, channels: int = 0):
        self._path, self._channels = path, channels
        with open(path, "rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        stated = headers.read_large(self._data, str(path))
        if stated is None or stated.kind != "PNG":
            raise InputError(f"{path}: is no PNG; call the file by its kind")
        headers.refuse_turned(stated, str(path), turn)
        self.size = stated.stored
        depth, color, _, _, interlaced = struct.unpack_from("BBBBB", self._data, 24)
        if interlaced:
            raise InputError(
                f"{path}: is interlaced, and an image of this size is read row by row; save it"
                " without, such as by: vips copy IN OUT.png"
            )
        bits = _CHANNELS.get(color, 1) * depth
        self._pixel = max(1, bits // 8)  # bytes from one to its neighbour, for the filters
        if self._pixel not in _STAND_INS:
            raise InputError(f"{path}: cannot be read, it is damaged; save it anew")
        self._bytes = -(-self.size[1] * bits // 8)  # of a row
        self._start()

    def __enter__(self) -> "LargePng":
        return self

    def __exit__(self, *error: object) -> None:
        self._data.close()

    def _start(self) -> None:
        self._rows = self._filtered()
        self._above = np.zeros(self._bytes, np.uint8)  # the last plain row
        kind, number = (np.uint16, self._channels) if self._channels else (np.uint8, 3)
        self._first, self._kept = 0, np.zeros((0, self.size[1], number), kind)

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """A part that lies inside: uint8 (height, width, 3) RGB, or uint16 (height, width, bands).

        Raises InputError for a damaged part.
        """
        try:
            if top < self._first:
                self._start()
            self._read_on(top, top + height)
        except InputError:
            raise
        except Exception as error:  # damaged files raise errors of many kinds
            raise InputError(
                f"{self._path}: cannot be read ({first_line(error)}); save it anew"
            ) from None
        rows = self._kept[top - self._first : top - self._first + height]
        return np.ascontiguousarray(rows[:, left : left + width])

    def _read_on(self, top: int, bottom: int) -> None:
        """Keep the rows from `top` on, at least up to `bottom`."""
        at = self._first + len(self._kept)
        if at >= bottom:
            return
        strips = [self._kept[max(0, top - self._first) :]]
        while at < bottom:
            number = min(max(1, _STRIP_BYTES // self._bytes), self.size[0] - at)
            strips.append(self._decoded(self._plain(number))[max(0, top - at) :])
            at += number
        self._kept = np.concatenate(strips)
        self._first = at - len(self._kept)

    def _filtered(self) -> Iterator[bytes]:
        """The rows as they are stored, each with its filter before it."""
        length, stream = 1 + self._bytes, zlib.decompressobj()
        found = bytearray()
        for kind, content in self._chunks():
            while kind == b"IDAT" and content:
                found += stream.decompress(content, _INFLATED)
                content = stream.unconsumed_tail
                whole = len(found) // length * length
                rows = bytes(found[:whole])
                del found[:whole]
                for place in range(0, whole, length):
                    yield rows[place : place + length]
        raise ValueError("it is cut off")

    def _chunks(self) -> Iterator[tuple[bytes, bytes]]:
        place, kind = len(headers.PNG), b""
        while kind != b"IEND":
            length, kind = struct.unpack_from(">I4s", self._data, place)
            content = self._data[place + 8 : place + 8 + length]
            (check,) = struct.unpack_from(">I", self._data, place + 8 + length)
            if zlib.crc32(content, zlib.crc32(kind)) != check:
                raise ValueError("a checksum of it is wrong")
            yield kind, content
            place += 12 + length

    def _plain(self, number: int) -> np.ndarray:
        """The next rows without filters, uint8 (number, bytes of a row)."""
        stored = [b"\0" + self._above.tobytes(), *(next(self._rows) for _ in range(number))]
        if any(row[0] > 4 for row in stored):
            raise ValueError("a row has an unknown filter")
        bits, color = _STAND_INS[self._pixel]
        shape = self._bytes // self._pixel, 1 + number
        header = struct.pack(">IIBBBBB", *shape, bits, color, 0, 0, 0)
        file = _png([(b"IHDR", header), (b"IDAT", zlib.compress(b"".join(stored), 0))])
        if bits == 8:
            with Image.open(io.BytesIO(file), formats=("PNG",)) as picture:
                found = np.asarray(picture)
        else:  # which Pillow reads as 8 bits, and OpenCV with blue first
            blue_first = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED)
            if blue_first is None:
                raise ValueError("its rows cannot be decoded")
            parts = [blue_first[..., 2::-1], blue_first[..., 3:]]
            found = np.concatenate(parts, -1).astype(">u2")
        plain = np.ascontiguousarray(found).view(np.uint8).reshape(1 + number, self._bytes)
        self._above = plain[-1].copy()
        return plain[1:]

    def _decoded(self, plain: np.ndarray) -> np.ndarray:
        """Pixels of plain rows, by the file's own header."""
        chunks = []
        for kind, content in self._chunks():
            if kind == b"IDAT":
                break
            if kind == b"IHDR":
                content = content[:4] + struct.pack(">I", len(plain)) + content[8:]
            if kind != b"eXIf":
                chunks.append((kind, content))
        rows = np.pad(plain, ((0, 0), (1, 0)))  # each begins with the filter 0: none
        chunks.append((b"IDAT", zlib.compress(rows.tobytes(), 0)))
        name = str(self._path)
        return images.decode_image(_png(chunks), name, turn=False, channels=self._channels)


def _png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    parts = [headers.PNG]
    for kind, content in [*chunks, (b"IEND", b"")]:
        check = zlib.crc32(content, zlib.crc32(kind))
        parts += [struct.pack(">I", len(content)), kind, content, struct.pack(">I", check)]
    return b"".join(parts)
