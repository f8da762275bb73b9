"""Regions of an image: polygons without loss, kinds, terms, the score."""

import cv2
import numpy as np
import pytest

from arm_jax.data.formats import outlines
from arm_jax.review import images, masks, regions

CLASSES = 4
HEIGHT, WIDTH = 100, 160
IMAGE = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)


def sure(predicted: np.ndarray, likelihood: float = 0.91) -> np.ndarray:
    """Likelihoods with this one for the predicted class, the rest shared by the others."""
    found = np.full((*predicted.shape, CLASSES), (1 - likelihood) / (CLASSES - 1), np.float32)
    np.put_along_axis(found, predicted[..., None].astype(np.intp), likelihood, -1)
    return found


def two_halves() -> np.ndarray:
    """Class 0 above, class 1 below."""
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    label[60:] = 1
    return label


def find(label: np.ndarray, predicted: np.ndarray) -> list[regions.Region]:
    return regions.find(sure(predicted), label, IMAGE)


def test_polygons_hold_every_pixel_of_a_region_and_no_other():
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = cv2.GaussianBlur(rng.random((40, 50)).astype(np.float32), (0, 0), 2) > 0.5
        seen = np.zeros(mask.shape, bool)
        for box, part in masks.components(mask, 1):
            whole = np.zeros(mask.shape, bool)
            whole[masks.within(box)] = part > 0
            seen |= whole
            assert (masks.filled(masks.rings(part, box), mask.shape) == whole).all()
        assert (seen == mask).all()


def drawn(polygons, shape) -> np.ndarray:
    """The pixels whose centres are inside, as the readers of label files fill them."""
    found = np.zeros(shape, bool)
    for polygon in polygons:
        top, left, mask = outlines.fill(polygon, shape)
        found[top : top + mask.shape[0], left : left + mask.shape[1]] |= mask
    return found


def test_polygons_for_annotation_tools_have_the_same_pixels_holes_included():
    rng = np.random.default_rng(0)
    for _ in range(10):
        noise = cv2.GaussianBlur(rng.random((40, 50)).astype(np.float32), (0, 0), 2) > 0.5
        for box, part in masks.components(noise, 1):
            mask = np.zeros(noise.shape, bool)
            mask[masks.within(box)] = part > 0
            rings = masks.rings(part, box)
            exact, coarser = masks.simplified(rings, 0), masks.simplified(rings)
            assert len(exact) == len(coarser) == 1
            assert (drawn(exact, mask.shape) == mask).all()
            assert (drawn(coarser, mask.shape) != mask).mean() < 0.05
            assert all(len(polygon) >= 3 for polygon in coarser)


def test_depth_is_counted_from_the_region_s_edge_and_not_from_the_image_s():
    mask = np.ones((10, 30), np.uint8)
    inside = masks.depth(mask, (40, 20, 30, 10), (100, 100))
    assert inside[0, 15] == 1 and inside.max() == pytest.approx(5, abs=0.2)
    at_the_top = masks.depth(mask, (40, 0, 30, 10), (100, 100))
    assert at_the_top[0, 15] == pytest.approx(10, abs=0.2)
    assert (masks.depth(mask, (0, 0, 30, 10), (10, 30)) == 30).all()


def test_an_object_that_a_larger_label_swallowed():
    label, predicted = two_halves(), two_halves()
    predicted[20:40, 50:90] = 2
    (found,) = find(label, predicted)
    assert (found.kind, found.given, found.proposed) == ("object", 0, 2)
    assert (found.area, found.box) == (20 * 40, (50, 20, 40, 20))
    assert found.margin == pytest.approx(0.91 - 0.03, abs=1e-5)
    assert found.size == pytest.approx((800 / 16000) ** 0.5)
    # Twenty rows: the deepest pixels are 10 from the edge, whose width is 1.5.
    assert found.reach == pytest.approx(10 / 11.5, abs=0.01)
    assert found.evidence == pytest.approx(np.log10(0.03) / -3, abs=1e-5)
    assert found.score == pytest.approx(found.evidence * found.reach * found.size**0.5)
    assert found.center == (70 / 160, 30 / 100)
    assert found.color == (90, 90, 90)


def test_a_component_with_a_wrong_class():
    label, predicted = two_halves(), two_halves()
    label[20:40, 50:90] = 2
    (found,) = find(label, predicted)
    assert (found.kind, found.given, found.proposed) == ("component", 2, 0)
    assert found.area == 800


def test_a_label_that_ends_too_early_is_a_part_and_a_thin_band_an_edge():
    label = two_halves()
    predicted = two_halves()
    predicted[40:60, 30:80] = 1
    (found,) = find(label, predicted)
    assert (found.kind, found.given, found.proposed) == ("part", 0, 1)
    predicted = two_halves()
    predicted[59:60] = 1
    (found,) = find(label, predicted)
    assert found.kind == "edge"


def test_a_thin_object_is_no_edge():
    label, predicted = two_halves(), two_halves()
    predicted[10:50, 70:72] = 3
    (found,) = find(label, predicted)
    assert (found.kind, found.proposed) == ("object", 3)


def test_an_object_without_any_label_is_reported_apart_and_last():
    label, predicted = two_halves(), two_halves()
    label[20:40] = 255
    predicted[22:38, 50:90] = 2
    predicted[80:95, 10:40] = 3
    found = find(label, predicted)
    assert [one.kind for one in found] == ["object", "unlabelled"]
    assert found[1].given == CLASSES and found[1].proposed == 2
    assert found[1].margin == pytest.approx(0.91 - 0.03, abs=1e-5)


def test_a_region_is_found_once_though_label_and_prediction_both_have_it():
    label, predicted = two_halves(), two_halves()
    label[20:40, 50:90] = 2
    predicted[20:40, 50:90] = 3
    (found,) = find(label, predicted)
    assert (found.given, found.proposed) == (2, 3)


def test_a_label_that_the_network_agrees_with_has_nothing_to_find():
    assert find(two_halves(), two_halves()) == []


def test_the_larger_of_two_like_regions_comes_first():
    label, predicted = two_halves(), two_halves()
    predicted[10:20, 10:20] = 2
    predicted[10:50, 60:120] = 2
    assert [one.area for one in find(label, predicted)] == [40 * 60, 100]


def test_the_soft_minimum_is_that_of_its_authors(golden):
    for temperature, scores in zip(golden["temperatures"], golden["scores"], strict=True):
        for likelihoods, label, score in zip(
            golden["likelihoods"], golden["labels"], scores, strict=True
        ):
            given = np.take_along_axis(likelihoods, label[..., None].astype(np.intp), -1)
            assert images.soft_minimum(given.ravel(), temperature) == pytest.approx(score, 1e-12)


@pytest.fixture
def golden():
    from pathlib import Path

    with np.load(Path(__file__).parents[1] / "goldens" / "soft_minimum.npz") as arrays:
        yield dict(arrays)


def test_labels_of_other_images_are_found_with_their_owners():
    rng = np.random.default_rng(0)
    true = [images.small(rng.integers(0, 4, (6, 8)).astype(np.uint8)) for _ in range(20)]
    labels = list(true)
    labels[3], labels[11] = labels[11], labels[3]
    labels[7] = np.full_like(labels[7], 255)  # an empty one fits
    found = images.swapped(labels, true, 4)
    assert [(one.index, one.other, one.mutual) for one in found] == [(3, 11, True), (11, 3, True)]
    assert all(one.own + one.gain == pytest.approx(1, abs=1e-6) for one in found)
    assert images.swapped(true, true, 4) == []
