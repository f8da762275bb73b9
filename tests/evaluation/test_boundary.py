"""Which pixels are near a class boundary."""

import numpy as np
from evaluation_standins import label

from arm_jax.evaluation import boundary


def test_pixels_near_boundaries_by_definition():
    values = label(30, 40, 4, seed=3)
    found = boundary.near_boundaries(values, 3)
    for y in range(30):
        for x in range(40):
            others = {
                values[v, u]
                for v in range(max(y - 3, 0), min(y + 4, 30))
                for u in range(max(x - 3, 0), min(x + 4, 40))
                if (v - y) ** 2 + (u - x) ** 2 <= 9
            } - {255, values[y, x]}
            near = values[y, x] != 255 and len(others) > 0
            assert found[y, x] == (values[y, x] if near else 255)
    assert (found != 255).any()
    assert ((found == 255) & (values != 255)).any()


def test_the_rim_of_an_unlabelled_region_is_no_boundary():
    values = np.zeros((9, 9), np.uint8)
    values[3:6, 3:6] = 255
    assert (boundary.near_boundaries(values, 2) == 255).all()
