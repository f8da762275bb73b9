"""YOLO's polygons, one text file an image: a line `CLASS x y x y x y ...` for each object.

Coordinates are shares of the image's width and height; classes are numbers, whose names a
classes.txt or data.yaml gives.
"""

import numpy as np

from arm_jax.data.formats import outlines
from arm_jax.data.formats.contract import Drawing, File, Shapes, Size


def _recognises(file: File) -> bool:
    return file.suffix == ".txt"


def _read(file: File, size: Size) -> Drawing:
    height, width = size
    shapes = []
    for number, line in enumerate(file.text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) == 5:
            raise ValueError(f"line {number} is a box; export the data set for segmentation")
        if len(words) < 7 or len(words) % 2 == 0:
            raise ValueError(f"line {number} is no class and three or more points")
        if not words[0].isdecimal():
            raise ValueError(
                f"line {number} begins with {words[0]!r}, which is no number of a class"
            )
        corners = np.array(words[1:], np.float64).reshape(-1, 2) * (width, height)
        shapes.append(outlines.polygons(int(words[0]), [corners]))
    return Drawing(shapes)


YOLO = Shapes(
    title="YOLO polygons",
    written_by="Ultralytics, Roboflow, Label Studio and CVAT (YOLO segmentation)",
    suffixes=(".txt",),
    recognises=_recognises,
    read=_read,
)
