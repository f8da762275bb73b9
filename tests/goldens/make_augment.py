"""Makes augment.npz: mmsegmentation's training transforms with pinned random numbers.

    pip install torch==2.13.0 mmengine mmcv-lite==2.1.0 ftfy regex "setuptools<81"
    pip install --no-deps mmsegmentation==1.2.2
    python tests/goldens/make_augment.py

Made with mmsegmentation 1.2.2, mmcv-lite 2.1.0, OpenCV 5.0.0 and numpy 2. Images here are RGB;
mmsegmentation is given BGR, as it loads them.
"""

import sys
import types
from pathlib import Path
from unittest import mock

import numpy as np


class _Absent(types.ModuleType):
    """Stands in for the compiled operators, which mmcv-lite has none of and these have no use."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


for _name in ("mmcv.ops", "mmcv.ops.point_sample", "mmcv.ops.carafe"):
    sys.modules[_name] = _Absent(_name)
import mmcv  # noqa: E402

mmcv.ops = sys.modules["mmcv.ops"]
from mmcv.transforms import Pad, RandomFlip, RandomResize  # noqa: E402
from mmseg.datasets.transforms import PhotoMetricDistortion, RandomCrop  # noqa: E402
from mmseg.datasets.transforms import transforms as mmseg_transforms  # noqa: E402

CROP = (32, 48)
# Ratio of the resize, base of the scale (long, short), top and left of the crop, flip.
GEOMETRY = [
    (0.5, (90, 60), 0, 0, False),
    (0.734, (90, 60), 5, 7, True),
    (1.0, (90, 60), 28, 42, False),
    (1.377, (90, 60), 40, 60, True),
    (2.0, (90, 60), 77, 120, False),
    (1.9, (150, 31), 20, 30, True),
]
# Brightness, contrast, contrast first, saturation, hue; None is off.
COLOR = [
    (12.7, None, 0, None, None),
    (-31.5, 1.43, 1, None, None),
    (None, 0.52, 0, None, None),
    (None, None, 0, 1.37, None),
    (None, None, 1, None, -18),
    (9.2, 1.21, 1, 0.61, 17),
    (-20.4, 0.77, 0, 1.5, -7),
    (None, None, 0, None, None),
]


class Scripted:
    """numpy.random's randint and uniform with the numbers of a list."""

    def __init__(self, numbers):
        self._numbers = iter(numbers)

    def randint(self, *_):
        return next(self._numbers)

    def uniform(self, *_):
        return next(self._numbers)


def geometry(image, label, ratio, base, top, left, flip):
    results = {"img": image[..., ::-1].copy(), "gt_seg_map": label, "seg_fields": ["gt_seg_map"]}
    resize = RandomResize(scale=base, ratio_range=(0.5, 2.0), keep_ratio=True)
    with mock.patch("numpy.random.random_sample", lambda: (ratio - 0.5) / 1.5):
        results = resize(results)
    size = results["img"].shape[:2]
    crop = RandomCrop(CROP)
    crop.crop_bbox = lambda _: (top, top + CROP[0], left, left + CROP[1])
    results = crop(results)
    results = RandomFlip(prob=1.0 if flip else 0.0)(results)
    results = Pad(size=CROP[::-1], pad_val={"img": 0, "seg": 255})(results)
    return size, results["img"][..., ::-1], results["gt_seg_map"]


def color(image, brightness, contrast, first, saturation, hue):
    def step(value):
        return [0] if value is None else [1, value]

    numbers = [*step(brightness), first]
    numbers += step(contrast) if first else []
    numbers += step(saturation) + step(hue)
    numbers += [] if first else step(contrast)
    with mock.patch.object(mmseg_transforms, "random", Scripted(numbers)):
        results = PhotoMetricDistortion().transform({"img": image[..., ::-1].copy()})
    return results["img"][..., ::-1]


def main():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (60, 90, 3)).astype(np.uint8)
    label = rng.integers(0, 5, (12, 18)).astype(np.uint8).repeat(5, 0).repeat(5, 1)
    label[rng.random(label.shape) < 0.1] = 255
    arrays = {
        "image": image,
        "label": label,
        "crop": np.array(CROP),
        "geometry": np.array([(r, *b, t, le, f) for r, b, t, le, f in GEOMETRY]),
        "color": np.array([[np.nan if x is None else x for x in case] for case in COLOR]),
    }
    for i, case in enumerate(GEOMETRY):
        size, arrays[f"image_{i}"], arrays[f"label_{i}"] = geometry(image, label, *case)
        arrays[f"size_{i}"] = np.array(size)
        print(case, size)
    for i, case in enumerate(COLOR):
        arrays[f"color_{i}"] = color(image[:40, :64], *case)
    np.savez_compressed(Path(__file__).with_name("augment.npz"), **arrays)


if __name__ == "__main__":
    main()
