"""Cityscapes from its own files: fine and coarse labels, in folders or in the zips as they come.

    leftImg8bit/{train,val,test,train_extra}/CITY/CITY_SEQ_FRAME_leftImg8bit.png
    gtFine/{train,val,test}/CITY/CITY_SEQ_FRAME_gtFine_{labelIds.png,polygons.json}
    gtCoarse/{train,val,train_extra}/CITY/CITY_SEQ_FRAME_gtCoarse_{labelIds.png,polygons.json}

No preparation script has to be run: label ids become classes by a table, and where a label PNG is
absent its polygons are drawn.
"""

import json

import numpy as np
from PIL import Image, ImageDraw

from arm_jax.data import headers
from arm_jax.data.labels import CITYSCAPES, CITYSCAPES_TABLE
from arm_jax.data.layouts import Files, Layout
from arm_jax.system.errors import InputError

# cityscapesscripts/helpers/labels.py: the place in the list is the id; the licence plate has none.
_NAMES = (
    "unlabeled, ego vehicle, rectification border, out of roi, static, dynamic, ground, road, "
    "sidewalk, parking, rail track, building, wall, fence, guard rail, bridge, tunnel, pole, "
    "polegroup, traffic light, traffic sign, vegetation, terrain, sky, person, rider, car, truck, "
    "bus, caravan, trailer, train, motorcycle, bicycle"
)
_FARTHEST = 1e6  # pixels from the image's corner to that of a polygon
IDS = {name: index for index, name in enumerate(_NAMES.split(", "))} | {"license plate": -1}


def draw_polygons(data: bytes, name: str) -> np.ndarray:
    """A polygons JSON as label ids, uint8 (h, w), drawn like cityscapesscripts' json2labelImg.

    Later objects cover earlier ones, the background is 0, `...group` counts as its single object,
    deleted objects and licence plates are left out. Raises InputError for what cannot be drawn.
    """
    try:
        content = json.loads(data)
        width, height = int(content["imgWidth"]), int(content["imgHeight"])
        headers.check_size(height, width, data, name)
        canvas = Image.new("L", (width, height), 0)
        painter = ImageDraw.Draw(canvas)
        for item in content["objects"]:
            label = str(item["label"])
            if label not in IDS:
                label = label.removesuffix("group")
            if item.get("deleted") or IDS[label] < 0:
                continue
            painter.polygon(_corners(item["polygon"]), fill=IDS[label])
    except InputError:
        raise
    # A JSON may hold anything anywhere, nested as deeply as one likes.
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as e:
        what = f"label {e}" if isinstance(e, KeyError) else " ".join(str(e).split())[:200]
        raise InputError(f"{name}: its polygons cannot be drawn ({what}); fetch it again") from None
    return np.asarray(canvas)


def _corners(polygon: list) -> list[tuple[float, float]]:
    corners = [(x, y) for x, y in polygon]
    if not all(abs(number) <= _FARTHEST for corner in corners for number in corner):
        raise ValueError("a corner that is far from every image")
    return corners


def _labels(kind: str) -> tuple[str, ...]:
    ending = f"{kind}/{{split}}/*_{kind}_"
    return ending + "labelIds.png", ending + "polygons.json"


LAYOUT = Layout(
    title="Cityscapes",
    classes=CITYSCAPES,
    table=CITYSCAPES_TABLE,
    files=(
        Files(
            images="leftImg8bit/{split}/*_leftImg8bit",
            labels={"fine": _labels("gtFine"), "coarse": _labels("gtCoarse")},
        ),
    ),
    splits={split: split for split in ("train", "val", "test", "train_extra")},
    hint="the official packages are leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip, for "
    "coarse labels also gtCoarse.zip, for train_extra also leftImg8bit_trainextra.zip, unpacked or "
    "not",
    origin="register at www.cityscapes-dataset.com and download them there",
    # In the release this image is black and has a single channel.
    without=("troisdorf/troisdorf_000000_000073",),
    unlabelled=("test",),
    readers={".json": draw_polygons},
)
