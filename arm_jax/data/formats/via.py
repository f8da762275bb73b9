"""The JSON of the VGG Image Annotator (VIA 1 and 2), one file for many images.

The project, or its exported annotations: {KEY: {"filename", "regions": [{"shape_attributes",
"region_attributes"}, ...]}}. The class is the region's attribute if it has one, or else the one
that is called label, class, name, type or category.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from arm_jax.data.formats import outlines
from arm_jax.data.formats.contract import (
    Collected,
    Collection,
    Drawing,
    File,
    Shape,
    Size,
    unique,
)

_CLASS = ("label", "class", "name", "type", "category")
_WIDTH = 10  # of lines and points, as LabelMe's


def _entries(content: Any) -> Mapping[str, Any]:
    inner = content.get("_via_img_metadata", content)
    return inner if isinstance(inner, dict) else {}


def _recognises(file: File) -> bool:
    if "_via_img_metadata" in file.fields:
        return True
    entries = list(_entries(file.json).values()) if file.fields else []
    return bool(entries) and all(
        isinstance(entry, dict) and {"filename", "regions"} <= entry.keys() for entry in entries
    )


def _read(file: File) -> Collected:
    entries = _entries(file.json).values()
    drawings = [(str(entry["filename"]), partial(_drawing, entry)) for entry in entries]
    return Collected(dict(unique(drawings, "images with the filename")))


def _drawing(entry: Any, size: Size) -> Drawing:
    regions = entry["regions"]
    regions = list(regions.values()) if isinstance(regions, dict) else regions
    return Drawing([_shape(region) for region in regions])


def _shape(region: Any) -> Shape:
    label, place = _label(region["region_attributes"]), region["shape_attributes"]
    kind = place["name"]
    if kind in ("polygon", "polyline"):
        across, down = place["all_points_x"], place["all_points_y"]
        if len(across) != len(down):
            raise ValueError(f"a {kind} has {len(across)} x and {len(down)} y")
        points = list(zip(across, down, strict=True))
        if kind == "polygon":
            return outlines.polygons(label, [points])
        return outlines.strokes(label, points, _WIDTH)
    if kind == "rect":
        left, top = place["x"], place["y"]
        corner = left + place["width"], top + place["height"]
        return outlines.rectangle(label, [(left, top), corner])
    if kind == "point":
        return outlines.strokes(label, [(place["cx"], place["cy"])], _WIDTH)
    if kind == "circle":
        return outlines.ellipse(label, (place["cx"], place["cy"]), (place["r"], place["r"]))
    if kind == "ellipse":
        center, radii = (place["cx"], place["cy"]), (place["rx"], place["ry"])
        return outlines.ellipse(label, center, radii, float(place.get("theta", 0)))
    raise ValueError(f"the shape {kind!r} is not known")


def _label(attributes: Mapping[str, Any]) -> str:
    given = {str(key): value for key, value in attributes.items() if value not in ("", None)}
    if len(given) != 1:
        given = {key: value for key, value in given.items() if key.lower() in _CLASS}
    if len(given) != 1:
        raise ValueError(
            f"a region whose attributes {', '.join(attributes) or '(none)'} do not tell its class"
        )
    (value,) = given.values()
    if isinstance(value, dict):  # of checkboxes, those that are ticked
        ticked = [str(name) for name, on in value.items() if on]
        if len(ticked) != 1:
            raise ValueError(
                f"a region with {', '.join(ticked) or 'nothing'} ticked, where one class is meant"
            )
        value = ticked[0]
    return str(value)


VIA = Collection(
    title="VIA JSON",
    written_by="VGG Image Annotator 1 and 2",
    suffixes=(".json",),
    recognises=_recognises,
    read=_read,
)
