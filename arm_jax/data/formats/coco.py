"""COCO's JSON, one file for many images: polygons and run lengths, instances or stuff.

{"images": [{"id", "file_name", "height", "width"}], "categories": [{"id", "name"}],
"annotations": [{"image_id", "category_id", "segmentation"}, ...]}.
"""

from collections import defaultdict
from functools import partial
from typing import Any

from arm_jax.data.formats import outlines, rle
from arm_jax.data.formats.contract import (
    Collected,
    Collection,
    Drawing,
    File,
    Shape,
    Size,
    unique,
)

_PARTS = ("images", "annotations", "categories")


def _recognises(file: File) -> bool:
    return file.fields.issuperset(_PARTS)


def _read(file: File) -> Collected:
    content = file.json
    pairs = [(item["id"], str(item["name"])) for item in content["categories"]]
    names = dict(unique(dict.fromkeys(pairs), "categories with the id"))
    known = dict(unique([(item["id"], 0) for item in content["images"]], "images with the id"))
    found = defaultdict(list)
    for item in content["annotations"]:
        if "segments_info" in item:
            raise ValueError("it is panoptic, which is not read: export instances or stuff")
        found[item["image_id"]].append(item)
    items = content["annotations"]
    boxes = sum(not item.get("segmentation") for item in items)
    if items and boxes == len(items):
        raise ValueError("its annotations are boxes alone; export the data set for segmentation")
    strangers = [key for key in found if key not in known]
    if items and len(strangers) == len(found):
        raise ValueError(f"no image has the image_id of its annotations, as {strangers[0]!r}")
    alike = {str(key) for key in known}
    if text := next((key for key in strangers if str(key) in alike), None):
        raise ValueError(f"the image_id {text!r} and the image's id are a text and a number")
    drawings = dict(
        unique(
            [
                (str(item["file_name"]), partial(_drawing, item, found.get(item["id"], ()), names))
                for item in content["images"]
            ],
            "images with the file_name",
        )
    )
    ordered = tuple(names[key] for key in sorted(names))
    lost = sum(len(found[key]) for key in strangers)
    left_out = [
        f"{number:,} of {len(items):,} annotations are {what}, and label nothing"
        for number, what in (
            (boxes, "boxes without an outline"),
            (lost, "of images that it does not list"),
        )
        if number
    ]
    return Collected(drawings, tuple(dict.fromkeys(ordered)), "; ".join(left_out))


def _drawing(image: Any, items: Any, names: dict[Any, str], size: Size) -> Drawing:
    stated = image.get("height"), image.get("width")
    known = None if None in stated else (int(stated[0]), int(stated[1]))
    shapes = []
    for item in items:
        if item["category_id"] not in names:
            raise ValueError(f"a category {item['category_id']!r} that is not listed")
        shape = _shape(names[item["category_id"]], item.get("segmentation"))
        if shape is not None:
            shapes.append(shape)
    return Drawing(shapes, known)


def _shape(name: str, segmentation: Any) -> Shape | None:
    """None for an annotation without an area, such as a box alone."""
    if not segmentation:
        return None
    if isinstance(segmentation, dict):
        return Shape(name, partial(_runs, segmentation))
    if not all(isinstance(flat, list) and len(flat) % 2 == 0 for flat in segmentation):
        raise ValueError("a segmentation that is no list of lists x, y, x, y, ...")
    # Two points enclose nothing; some tools leave such.
    parts = [[*zip(flat[::2], flat[1::2], strict=True)] for flat in segmentation if len(flat) >= 6]
    return outlines.polygons(name, parts) if parts else None


def _runs(segmentation: Any, size: Size) -> Any:
    return outlines.Cover(0, 0, rle.decode(segmentation, size))


COCO = Collection(
    title="COCO JSON",
    written_by="CVAT, Label Studio, Roboflow, COCO Annotator (COCO)",
    suffixes=(".json",),
    recognises=_recognises,
    read=_read,
)
