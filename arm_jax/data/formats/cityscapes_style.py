"""Cityscapes' polygons JSON with classes of one's own, one file an image.

{"imgHeight", "imgWidth", "objects": [{"label", "polygon", "deleted"}, ...]}. A name that ends in
"group" counts as its single object if it is no class itself. Cityscapes itself is read by
`arm_jax.data.cityscapes`, which draws like that data set's own script.
"""

from dataclasses import replace

from arm_jax.data.formats import outlines
from arm_jax.data.formats.contract import Drawing, File, Shapes, Size


def _recognises(file: File) -> bool:
    return "objects" in file.fields and "imgHeight" in file.fields


def _read(file: File, size: Size) -> Drawing:
    content = file.json
    shapes = []
    for item in content["objects"]:
        if not item.get("deleted"):
            label = str(item["label"])
            shape = outlines.polygons(label, [item["polygon"]])
            shapes.append(replace(shape, otherwise=label.removesuffix("group")))
    return Drawing(shapes, (int(content["imgHeight"]), int(content["imgWidth"])))


CITYSCAPES_STYLE = Shapes(
    title="Cityscapes-style JSON",
    written_by="the Cityscapes label tool, CVAT (Cityscapes)",
    suffixes=(".json",),
    recognises=_recognises,
    read=_read,
)
