"""Resize, crop and flip: equal to mmsegmentation's for the same numbers, and drawn as it draws."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from arm_jax.data import augment, images
from arm_jax.data.augment import Drawn
from arm_jax.data.image_files import LabelFile

# OpenCV 4 warps in steps of 1/32 pixel, which shows in white noise.
TOLERANCE = 1 if int(cv2.__version__.split(".")[0]) >= 5 else 8


@pytest.fixture(scope="module")
def golden():
    return np.load(Path(__file__).parents[1] / "goldens" / "augment.npz")


@pytest.mark.parametrize("case", range(6))
def test_equals_mmsegmentation(golden, case, monkeypatch):
    ratio, *base, top, left, flip = golden["geometry"][case]
    crop = tuple(int(n) for n in golden["crop"])
    size = augment.rescaled((60, 90), ratio, (int(base[1]), int(base[0])))
    assert size == tuple(golden[f"size_{case}"])
    box = (int(top), int(left), *(min(c, s) for c, s in zip(crop, size, strict=True)))
    for cost in (0, augment._WARP_COST):  # by the warp, and by whichever is cheaper
        monkeypatch.setattr(augment, "_WARP_COST", cost)
        part = augment.nearest(golden["label"], size, box)
        drawn = Drawn((60, 90), size, box, bool(flip))
        image, label, extent = augment.apply(golden["image"], part, drawn, crop=crop)
        assert extent == box[2:]
        np.testing.assert_array_equal(label, golden[f"label_{case}"])
        difference = np.abs(image.astype(int) - golden[f"image_{case}"])
        assert difference.max() <= TOLERANCE


def test_a_crop_equals_resizing_everything():
    rng = np.random.default_rng(1)
    for trial in range(60):
        height, width = (int(n) for n in rng.integers(20, 160, 2))
        image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        label = rng.integers(0, 9, (height, width)).astype(np.uint8)
        crop = tuple(int(n) for n in rng.integers(8, 100, 2))
        drawn, part = augment.draw(np.random.default_rng(trial), label, crop=crop)
        got_image, got_label, extent = augment.apply(image, part, drawn, crop=crop)
        top, left, *inner = drawn.box
        rows, columns = slice(top, top + inner[0]), slice(left, left + inner[1])
        whole = cv2.resize(image, drawn.size[::-1], interpolation=cv2.INTER_LINEAR)[rows, columns]
        nearest = cv2.resize(label, drawn.size[::-1], interpolation=cv2.INTER_NEAREST)[
            rows, columns
        ]
        if drawn.flip:
            whole, nearest = whole[:, ::-1], nearest[:, ::-1]
        np.testing.assert_array_equal(got_label[: extent[0], : extent[1]], nearest)
        difference = np.abs(got_image[: extent[0], : extent[1]].astype(int) - whole)
        assert difference.max() <= TOLERANCE
        assert (got_label[extent[0] :] == 255).all() and (got_label[:, extent[1] :] == 255).all()
        assert not got_image[extent[0] :].any() and not got_image[:, extent[1] :].any()


def test_labels_are_never_mixed():
    label = np.where(np.arange(40) < 20, 0, 200).astype(np.uint8)[None].repeat(30, 0)
    image = np.zeros((30, 40, 3), np.uint8)
    for seed in range(20):
        drawn, part = augment.draw(np.random.default_rng(seed), label, crop=(24, 24))
        _, got, _ = augment.apply(image, part, drawn, crop=(24, 24))
        assert set(np.unique(got)) <= {0, 200, 255}


def draws(label, number=400, **options):
    options = {"crop": (20, 20), **options}
    return [
        augment.draw(np.random.default_rng(seed), label, **options)[0] for seed in range(number)
    ]


def test_sizes_follow_the_ratio():
    heights = np.array([d.size[0] for d in draws(np.zeros((100, 200), np.uint8))])
    assert heights.min() >= 50 and heights.max() <= 200
    np.testing.assert_allclose([heights.mean(), heights.std()], [125, 150 / 12**0.5], rtol=0.06)
    fixed = draws(np.zeros((100, 200), np.uint8), 5, ratio=(1.0, 1.0))
    assert {d.size for d in fixed} == {(100, 200)}


def test_the_base_sets_the_short_side_unless_the_long_one_is_too_long():
    assert augment.rescaled((256, 384), 1.0, (512, 2048)) == (512, 768)
    assert augment.rescaled((100, 1000), 1.0, (512, 2048)) == (205, 2048)
    assert augment.rescaled((384, 256), 0.5, (512, 2048)) == (384, 256)
    assert augment.rescaled((1, 1), 0.5) == (1, 1)


def test_half_are_flipped_and_none_without():
    label = np.zeros((30, 30), np.uint8)
    assert 0.42 < np.mean([d.flip for d in draws(label)]) < 0.58
    assert not any(d.flip for d in draws(label, flip=False))


def test_crops_reach_every_place():
    found = draws(np.zeros((30, 40), np.uint8), ratio=(1.0, 1.0))
    assert {d.box[0] for d in found} == set(range(11))
    assert {d.box[1] for d in found} == set(range(21))
    assert {d.box[2:] for d in found} == {(20, 20)}


def test_crops_of_one_class_are_drawn_again():
    label = np.zeros((60, 60), np.uint8)
    label[:, 50:] = 1
    label[40:] = 255

    def shares(found):
        result = []
        for d in found:
            top, left, height, width = d.box
            counts = np.bincount(
                label[top : top + height, left : left + width].ravel(), minlength=256
            )
            result.append(counts[:255].max() / max(counts[:255].sum(), 1))
        return np.array(result)

    limited = shares(draws(label, ratio=(1.0, 1.0), category_limit=0.75))
    free = shares(draws(label, ratio=(1.0, 1.0), category_limit=1.0))
    share = (free < 0.75).mean()
    assert 0.05 < share < 0.5
    # The eleventh box is taken as it is.
    np.testing.assert_allclose((limited < 0.75).mean(), 1 - (1 - share) ** 11, atol=0.07)


def test_the_limit_counts_labelled_pixels_only():
    half = np.array([[0, 0, 1, 255, 255, 255]], np.uint8)
    assert augment._is_varied(half, 0.75, 255)
    assert not augment._is_varied(half, 0.66, 255)
    assert not augment._is_varied(np.array([[0, 255]], np.uint8), 0.75, 255)
    assert augment._is_varied(np.array([[0, 255, 9]], np.uint8), 0.75, 9)
    assert not augment._is_varied(np.full((4, 4), 255, np.uint8), 0.75, 255)


def test_the_source_box_is_enough_and_not_much_more(monkeypatch):
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (90, 120, 3)).astype(np.uint8)
    label = rng.integers(0, 5, (90, 120)).astype(np.uint8)
    for seed in range(60):
        drawn, cut = augment.draw(np.random.default_rng(seed), label, crop=(40, 50))
        for cost in (0, 2.6, 100):  # by the warp, by whichever is cheaper, by resizing
            monkeypatch.setattr(augment, "_WARP_COST", cost)
            top, left, height, width = augment.source_box(drawn)
            part = image[top : top + height, left : left + width].copy()
            got, _, extent = augment.apply(part, cut, drawn, crop=(40, 50))
            whole, _, _ = augment.apply(image, cut, drawn, crop=(40, 50))
            np.testing.assert_array_equal(got, whole)
            if drawn.flip:
                continue
            # Its last rows and columns are read, and its first ones by the warp.
            for side in (np.s_[-2:], np.s_[:, -2:], np.s_[:2], np.s_[:, :2]):
                if cost != 0 and side in (np.s_[:2], np.s_[:, :2]):
                    continue
                changed = part.copy()
                changed[side] = 255 - changed[side]
                other, _, _ = augment.apply(changed, cut, drawn, crop=(40, 50))
                assert (other[: extent[0], : extent[1]] != got[: extent[0], : extent[1]]).any()


def test_a_part_is_resized_to_the_bytes_of_the_whole(monkeypatch):
    monkeypatch.setattr(augment, "_WARP_COST", 100)
    rng = np.random.default_rng(4)
    image = rng.integers(0, 256, (77, 130, 3)).astype(np.uint8)
    label = rng.integers(0, 5, (77, 130)).astype(np.uint8)
    for seed in range(40):
        drawn, part = augment.draw(np.random.default_rng(seed), label, crop=(40, 50), flip=False)
        got, _, _ = augment.apply(image, part, drawn, crop=(40, 50))
        top, left, height, width = drawn.box
        whole = cv2.resize(image, drawn.size[::-1], interpolation=cv2.INTER_LINEAR)
        whole = whole[top : top + height, left : left + width]
        np.testing.assert_array_equal(got[:height, :width], whole)


def test_a_label_is_decoded_as_far_as_the_crop_needs():
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 5, (90, 120)).astype(np.uint8)
    fewer = 0
    for seed in range(40):
        label = LabelFile(images.encode_png(pixels), "label")
        assert label.shape == (90, 120)
        ways = [np.random.default_rng(seed), np.random.default_rng(seed)]
        drawn, part = augment.draw(ways[0], label, crop=(40, 50))
        other, whole = augment.draw(ways[1], pixels, crop=(40, 50))
        assert drawn == other
        np.testing.assert_array_equal(part, whole)
        fewer += len(label.upper(1)) < 80
        np.testing.assert_array_equal(np.asarray(label), pixels)
    assert fewer > 15
