"""Cityscapes from its own files: fine and coarse labels, in folders or in the zips as they come.

    leftImg8bit/{train,val,test,train_extra}/CITY/CITY_SEQ_FRAME_leftImg8bit.png
    gtFine/{train,val,test}/CITY/CITY_SEQ_FRAME_gtFine_{labelIds.png,polygons.json}
    gtCoarse/{train,val,train_extra}/CITY/CITY_SEQ_FRAME_gtCoarse_{labelIds.png,polygons.json}

No preparation script has to be run: label ids become classes by a table, and where a label PNG is
absent its polygons are drawn.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from arm_jax.data.folders import FileSource, match
from arm_jax.data.labels import CITYSCAPES, CITYSCAPES_TABLE
from arm_jax.data.records import Source
from arm_jax.data.trees import locate
from arm_jax.data.wrappers import JoinedSource
from arm_jax.system.errors import InputError

SPLITS = ("train", "val", "test", "train_extra")
KINDS = {"fine": "gtFine", "coarse": "gtCoarse"}
# In the release this image is black and has a single channel.
BROKEN = ("troisdorf/troisdorf_000000_000073",)

# cityscapesscripts/helpers/labels.py: the place in the list is the id; the licence plate has none.
_NAMES = (
    "unlabeled, ego vehicle, rectification border, out of roi, static, dynamic, ground, road, "
    "sidewalk, parking, rail track, building, wall, fence, guard rail, bridge, tunnel, pole, "
    "polegroup, traffic light, traffic sign, vegetation, terrain, sky, person, rider, car, truck, "
    "bus, caravan, trailer, train, motorcycle, bicycle"
)
IDS = {name: index for index, name in enumerate(_NAMES.split(", "))} | {"license plate": -1}


class CityscapesSource(FileSource):
    """One split with fine or coarse labels; `open_split` makes it."""

    def _stored_label(self, label_name: str) -> np.ndarray:
        if not label_name.endswith(".json"):
            return super()._stored_label(label_name)
        return draw_polygons(self._label_tree.read(label_name), self._label_tree.path(label_name))

    def _label_file(self, label_name: str) -> Any:
        if not label_name.endswith(".json"):
            return super()._label_file(label_name)
        return self._meaning(self._stored_label(label_name), label_name)


def open_split(root: str | Path, split: str, labels: str = "fine") -> Source:
    """The records of a split, or of several joined by +, such as train+val or train+train_extra.

    Args:
      root: the folder that holds leftImg8bit/ and gtFine/ or gtCoarse/, or their zips.
      split: train, val, test (whose public labels are empty) or train_extra (coarse only).
      labels: fine or coarse.

    Raises:
      InputError: for an unknown or absent split, an image without a label.
    """
    parts = split.split("+")
    for part in parts:
        if part not in SPLITS:
            raise InputError(
                f"split {part!r} is none of Cityscapes; choose from {', '.join(SPLITS)}, or join "
                "some by +"
            )
    opened = [_open_one(root, part, KINDS[labels]) for part in parts]
    return opened[0] if len(opened) == 1 else JoinedSource(opened)


def _open_one(root: str | Path, split: str, kind: str) -> CityscapesSource:
    hint = "the official packages are {}, unpacked or not"
    extra = "trainextra" if split == "train_extra" else "trainvaltest"
    image_tree = locate(root, f"leftImg8bit/{split}", hint.format(f"leftImg8bit_{extra}.zip"))
    labels_package = "gtCoarse.zip" if kind == "gtCoarse" else "gtFine_trainvaltest.zip"
    label_tree = locate(root, f"{kind}/{split}", hint.format(labels_package))
    pairs = match(
        image_tree,
        label_tree,
        image_ending="_leftImg8bit",
        label_endings=(f"_{kind}_labelIds.png", f"_{kind}_polygons.json"),
        without=BROKEN,
    )
    return CityscapesSource(image_tree, label_tree, pairs, CITYSCAPES, CITYSCAPES_TABLE)


def draw_polygons(data: bytes, name: str) -> np.ndarray:
    """A polygons JSON as label ids, uint8 (h, w), drawn like cityscapesscripts' json2labelImg.

    Later objects cover earlier ones, the background is 0, `...group` counts as its single object,
    deleted objects and licence plates are left out. Raises InputError for what cannot be drawn.
    """
    try:
        content = json.loads(data)
        canvas = Image.new("L", (int(content["imgWidth"]), int(content["imgHeight"])), 0)
        painter = ImageDraw.Draw(canvas)
        for item in content["objects"]:
            label = item["label"]
            if label not in IDS:
                label = label.removesuffix("group")
            if item.get("deleted") or IDS[label] < 0:
                continue
            painter.polygon([(x, y) for x, y in item["polygon"]], fill=IDS[label])
    except (KeyError, TypeError, ValueError) as error:
        what = f"label {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{name}: its polygons cannot be drawn ({what}); fetch it again") from None
    return np.asarray(canvas)
