"""The formats in which people draw labels, one file each, and the table of them.

The bytes of a label file enter, with what is known of the data set; a label of class indices
leaves. A format knows neither folders nor other files. `FORMATS` is asked in its order, and the
first format that recognises a file reads it.

contract    what a format is: `Pixels`, `Shapes` or `Collection`
outlines    polygons, ellipses, lines and stored bits to pixels
drawing     all shapes of an image to class indices
keys        class files: names, numbers and colours (labelmap.txt, classes.txt, ...)
"""

from arm_jax.data.formats.cityscapes_style import CITYSCAPES_STYLE
from arm_jax.data.formats.coco import COCO
from arm_jax.data.formats.contract import Format
from arm_jax.data.formats.labelme import LABELME
from arm_jax.data.formats.pixels import COLORED, INDEX, MASK
from arm_jax.data.formats.via import VIA
from arm_jax.data.formats.yolo import YOLO
from arm_jax.system.registry import Registry

FORMATS: Registry[Format] = Registry(
    "label format",
    Format,
    mask=MASK,
    colored=COLORED,
    index=INDEX,
    labelme=LABELME,
    cityscapes=CITYSCAPES_STYLE,
    yolo=YOLO,
    coco=COCO,
    via=VIA,
)
