"""LabelMe's JSON, one file an image: {"shapes": [{"label", "points", "shape_type"}, ...], ...}.

X-AnyLabeling and AnyLabeling write the same. Lines are 10 pixels wide and points 10 across, as
LabelMe's own export draws them.
"""

import base64
import math
from typing import Any

import numpy as np

from arm_jax.data import images
from arm_jax.data.formats import outlines
from arm_jax.data.formats.contract import Drawing, File, Shape, Shapes, Size

_WIDTH = 10


def _recognises(file: File) -> bool:
    return "shapes" in file.fields


def _read(file: File, size: Size) -> Drawing:
    content = file.json
    stated = content.get("imageHeight"), content.get("imageWidth")
    shapes = [_shape(item, file.path) for item in content["shapes"]]
    return Drawing(shapes, None if None in stated else (int(stated[0]), int(stated[1])))


def _shape(item: Any, path: str) -> Shape:
    label, points = str(item["label"]), item["points"]
    kind = item.get("shape_type") or "polygon"
    if kind in ("polygon", "rotation"):
        return outlines.polygons(label, [points])
    if kind == "rectangle":
        # LabelMe writes two corners, X-AnyLabeling all four.
        return outlines.rectangle(label, [points[0], points[2 if len(points) == 4 else 1]])
    if kind == "circle":
        (x, y), (on_x, on_y) = points
        radius = math.hypot(on_x - x, on_y - y)
        return outlines.ellipse(label, (x, y), (radius, radius))
    if kind in ("line", "linestrip", "point", "points"):
        return outlines.strokes(label, points, _WIDTH)
    if kind == "mask":
        (left, top), _ = points
        data = base64.b64decode(item["mask"], validate=True)
        mask = images.decode_label(data, f"{path}: a mask of {label}")
        return outlines.bits(label, int(top), int(left), np.asarray(mask > 0))
    raise ValueError(f"the shape_type {kind!r} is not known")


LABELME = Shapes(
    title="LabelMe JSON",
    written_by="LabelMe, X-AnyLabeling",
    suffixes=(".json",),
    recognises=_recognises,
    read=_read,
)
