"""Outlines to pixels: exact small examples, and agreement with the definition."""

import json
from pathlib import Path

import numpy as np
import pytest

from arm_jax.data.formats import outlines, rle

GOLDEN = Path(__file__).parents[1] / "goldens" / "rle.json"


def drawn(shape, size):
    top, left, mask = shape.cover(size)
    canvas = np.zeros(size, int)
    canvas[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return canvas


def test_a_pixel_is_inside_if_its_centre_is():
    triangle = outlines.polygons("x", [[(0, 0), (4, 0), (0, 4)]])
    expected = [[1, 1, 1, 0, 0], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
    np.testing.assert_array_equal(drawn(triangle, (4, 5)), expected)
    # A centre on the left or upper edge is inside, on the right or lower one it is not.
    half = outlines.polygons("x", [[(0.5, 0.5), (2.5, 0.5), (2.5, 2.5), (0.5, 2.5)]])
    np.testing.assert_array_equal(drawn(half, (4, 4))[:3, :3], [[1, 1, 0], [1, 1, 0], [0, 0, 0]])
    crossing = outlines.polygons("x", [[(0, 0), (4, 0), (0, 4), (4, 4)]])
    assert drawn(crossing, (4, 4)).sum(1).tolist() == [3, 1, 1, 3]
    two = outlines.polygons(
        "x", [[(0, 0), (2, 0), (2, 2), (0, 2)], [(1, 1), (3, 1), (3, 3), (1, 3)]]
    )
    assert drawn(two, (4, 4)).sum() == 7


def test_neighbours_share_no_pixel_and_leave_none_out():
    rng = np.random.default_rng(0)
    for _ in range(50):
        size = (19, 23)
        middle = rng.uniform(0, 20, 2)
        corners = [(0, 0), (23, 0), (23, 19), (0, 19)]
        parts = [
            outlines.polygons("x", [[corners[k], corners[(k + 1) % 4], middle]]) for k in range(4)
        ]
        whole = sum(drawn(part, size) for part in parts)
        if 0 < middle[1] < 19:
            assert (whole == 1).all()


def test_an_outline_outside_of_the_image_is_cut_off():
    large = outlines.polygons("x", [[(-900, -900), (900, -900), (900, 900), (-900, 900)]])
    assert drawn(large, (5, 7)).all()
    away = outlines.polygons("x", [[(-9, -9), (-2, -9), (-2, -2)]])
    assert drawn(away, (5, 7)).sum() == 0
    assert drawn(outlines.bits("x", -1, 5, np.ones((3, 4), bool)), (5, 7)).sum() == 4


def test_round_shapes_and_strokes():
    size = (21, 21)
    y, x = np.mgrid[:21, :21] + 0.5
    circle = drawn(outlines.ellipse("x", (10, 11), (6, 6)), size)
    np.testing.assert_array_equal(circle, (x - 10) ** 2 + (y - 11) ** 2 < 36)
    flat = drawn(outlines.ellipse("x", (10.5, 10.5), (8, 3)), size)
    turned = drawn(outlines.ellipse("x", (10.5, 10.5), (8, 3), np.pi / 2), size)
    np.testing.assert_array_equal(turned, flat.T)
    line = drawn(outlines.strokes("x", [(0, 10), (21, 10)], 4), size)
    assert 4 <= line[:, 10].sum() <= 5
    assert drawn(outlines.strokes("x", [(10, 10)], 4), size)[10, 10] == 1


def test_what_would_take_minutes_is_refused():
    zigzag = np.array([(k % 7, (k % 2) * 10_000) for k in range(60_000)], float)
    with pytest.raises(ValueError, match="crosses 600,000,000"):
        outlines.fill(zigzag, (10_000, 10))


def test_run_lengths_are_those_of_pycocotools():
    for case in json.loads(GOLDEN.read_text()):
        size = tuple(case["rle"]["size"])
        rows = [list(map(int, row)) for row in case["pixels"]]
        np.testing.assert_array_equal(rle.decode(case["rle"], size), np.array(rows, bool))
