"""Image files that claim what they do not hold, and files that are none."""

import io
import os
import socket
import struct
import zlib

import numpy as np
from PIL import Image


def saved(pixels: np.ndarray, kind: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def png(width: int, height: int, *, bits: int = 8, colors: int = 0, rows: bytes = b"") -> bytes:
    """A PNG with a right checksum for every chunk, whatever it claims."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, bits, colors, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body


def tiff(tags: dict[int, int], order: str = "<") -> bytes:
    """A TIFF of one directory with these tags, each a number of 32 bits."""
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    entries = b"".join(struct.pack(order + "HHII", tag, 4, 1, v) for tag, v in sorted(tags.items()))
    return start + struct.pack(order + "H", len(tags)) + entries + bytes(4)


def huge() -> dict[str, bytes]:
    """One small file of each format whose header asks for more than the limit."""
    jpeg = bytearray(saved(np.zeros((8, 8, 3), np.uint8), "JPEG"))
    size = jpeg.index(b"\xff\xc0") + 5
    jpeg[size : size + 4] = struct.pack(">HH", 65_500, 65_500)
    bmp = bytearray(saved(np.zeros((8, 8, 3), np.uint8), "BMP"))
    bmp[18:26] = struct.pack("<ii", 100_000, 100_000)
    gif = bytearray(saved(np.zeros((8, 8), np.uint8), "GIF"))
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    tags = {256: 100_000, 257: 100_000, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 8}
    return {
        "png": png(60_000, 60_000),
        "jpg": bytes(jpeg),
        "bmp": bytes(bmp),
        "gif": bytes(gif),
        "tif": tiff(tags),
        "tiff": tiff(tags, ">"),
        "ppm": b"P6\n100000 100000\n255\n" + bytes(100),
        "pgm": b"P5 100000 100000 255\n" + bytes(100),
    }


def no_files(folder) -> list[str]:
    """Make what only looks like an image: pipe, socket, device, folder, and links to nowhere."""
    os.mkfifo(folder / "pipe.png")
    here = socket.socket(socket.AF_UNIX)
    here.bind(str(folder / "socket.png"))
    here.close()
    (folder / "device.png").symlink_to("/dev/zero")
    (folder / "itself.png").symlink_to("itself.png")
    (folder / "gone.png").symlink_to("nothing")
    (folder / "folder.png").mkdir()
    return ["device.png", "gone.png", "itself.png", "pipe.png", "socket.png"]
