"""A region of a review, for the tests that need one."""

import dataclasses
from typing import Any

import numpy as np

from arm_jax.review import masks
from arm_jax.review.regions import Region


def region(*, box: tuple[int, int, int, int] = (1, 1, 5, 5), **changes: Any) -> Region:
    """An object that fills its box, with what is changed."""
    height, width = box[3], box[2]
    usual = Region(
        kind="object",
        given=0,
        proposed=1,
        score=0.5,
        margin=0.5,
        evidence=0.5,
        size=0.1,
        reach=0.5,
        area=height * width,
        box=box,
        rings=masks.rings(np.ones((height, width), np.uint8), box),
        color=(100.0, 100.0, 100.0),
        center=(0.5, 0.5),
    )
    return dataclasses.replace(usual, **changes)
