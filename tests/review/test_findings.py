"""Many images: what is kept, groups, systematic swaps, and a score fitted to decisions."""

import numpy as np
import pytest
from review_regions import region

from arm_jax.data.labels import generic
from arm_jax.review import confusions, findings, groups, refit, regions
from arm_jax.review.findings import Findings
from arm_jax.review.regions import Region

CLASSES = generic(("road", "grass", "car"))


def seen(index: int, name: str, wrong: bool, empty: bool = False) -> findings.Seen:
    """An image of grass on road, where a car was swallowed if `wrong`."""
    label = np.zeros((40, 60), np.uint8)
    label[20:] = 1
    likelihoods = np.full((40, 60, 3), 0.05, np.float32)
    np.put_along_axis(likelihoods, label[..., None].astype(np.intp), 0.9, -1)
    if wrong:
        likelihoods[5:15, 10 : 20 + index] = 0.05, 0.05, 0.9
    if empty:
        label[:] = 255
    return findings.look(index, name, np.zeros((40, 60, 3), np.uint8), label, likelihoods)


def test_the_worst_regions_of_all_images_are_kept_with_one_line_an_image():
    found = Findings(CLASSES, most=3)
    for index in (4, 0, 2, 1, 3):
        found.add(seen(index, f"image {index}", wrong=index != 2))
    items = found.items()
    assert [item.image for item in items] == ["image 4", "image 3", "image 1"]
    assert sorted(found.images) == [0, 1, 2, 3, 4]
    assert found.images[4].worst == items[0].score > items[1].score
    assert found.images[2].worst == 0 and found.images[2].agreement == 1
    assert found.images[2].score == pytest.approx(0.1)  # all labels are 0.9 likely
    assert found.images[4].score == pytest.approx(1 - 0.05 * (1 - items[0].score), abs=0.01)
    assert found.whole_images() == []


def test_keys_are_the_same_in_another_review_and_differ_by_image():
    first, again = (Findings(CLASSES) for _ in range(2))
    for index in (1, 2):
        first.add(seen(index, f"{index}", wrong=True))
    for index in (2, 1):
        again.add(seen(index, f"{index}", wrong=True))
    keys = [[item.key for item in one.items()] for one in (first, again)]
    assert keys[0] == keys[1] and len(set(keys[0])) == 2


def test_an_empty_label_is_reported():
    found = Findings(CLASSES)
    found.add(seen(0, "full", wrong=False))
    found.add(seen(1, "bare", wrong=False, empty=True))
    (item,) = found.whole_images()
    assert (item.image, item.region.kind) == ("bare", "empty")
    assert np.isnan(found.images[1].agreement)


def test_classes_that_are_swapped_throughout_have_shares_both_ways():
    label = np.zeros((60, 90), np.uint8)
    label[:, 30:60] = 1
    label[:, 60:] = 2
    predicted = label.copy()
    predicted[:40, :30] = 1
    predicted[:30, 30:60] = 0
    matrix = confusions.counts(label, predicted, 3)
    pairs = {(one.given, one.predicted): one for one in confusions.systematic(matrix)}
    assert set(pairs) == {(0, 1), (1, 0)}
    assert pairs[0, 1].share == pairs[1, 0].back == pytest.approx(2 / 3)
    assert pairs[1, 0].share == pytest.approx(1 / 2)


def test_a_band_along_an_edge_counts_for_no_confusion():
    label = np.zeros((60, 90), np.uint8)
    label[:, 45:] = 1
    predicted = np.zeros_like(label)
    predicted[:, 44:] = 1
    matrix = confusions.counts(label, predicted, 2)
    assert matrix[0, 1] == 0 and matrix.sum() == 60 * 86


def test_groups_hold_one_kind_of_like_size_place_and_colour():
    usual = region()
    others = [
        region(given=2),
        region(proposed=2),
        region(kind="part"),
        region(size=0.9),
        region(center=(0.5, 0.9)),
        region(color=(220.0, 220.0, 220.0)),
    ]
    assert groups.grouped([usual, *others]) == list(range(7))
    near = region(size=0.11, center=(0.55, 0.52), color=(110.0, 95.0, 100.0))
    assert groups.grouped([usual, others[0], near, usual]) == [0, 1, 0, 0]


def many(number: int, seed: int) -> tuple[list[Region], np.ndarray]:
    """Regions of which objects proposed as class 1 are mistakes, and sure ones more often."""
    rng = np.random.default_rng(seed)
    found = [
        region(proposed=int(rng.integers(1, 3)), margin=float(rng.uniform(0.1, 1)))
        for _ in range(number)
    ]
    chance = [0.1 + 0.8 * (one.proposed == 1) * (one.margin > 0.4) for one in found]
    return found, rng.random(number) < chance


def test_the_fitted_score_sorts_better_than_the_score_did():
    found, wrong = many(400, seed=0)
    decisions = {index: bool(wrong[index]) for index in range(60)}
    scores = refit.refitted(found, decisions)
    rest = np.arange(60, 400)
    best = rest[np.argsort(-scores[rest], kind="stable")][:80]
    before = rest[np.argsort([-found[n].margin for n in rest], kind="stable")][:80]
    assert wrong[best].mean() > wrong[before].mean() + 0.25
    assert ((scores > 0) & (scores < 1)).all()


def test_the_fit_is_at_the_optimum_of_the_penalised_likelihood():
    rng = np.random.default_rng(1)
    design = np.column_stack([np.ones(50), rng.standard_normal((50, 3))])
    accepted = (rng.random(50) < 0.4).astype(float)
    found = refit._fit(design, accepted)
    likelihood = 1 / (1 + np.exp(-design @ found))
    gradient = design.T @ (accepted - likelihood)
    assert gradient[1:] == pytest.approx(refit.RIDGE * found[1:], abs=1e-6)
    assert gradient[0] == pytest.approx(0, abs=1e-4)


def test_too_few_decisions_change_no_order():
    found, _ = many(20, seed=0)
    assert refit.refitted(found, {0: True, 1: True, 2: True, 3: False, 4: False}) is None


def test_what_is_decided_is_left_out_and_the_rest_sorted_by_likelihood():
    found = Findings(CLASSES)
    for index in range(12):
        found.add(seen(index, f"{index}", wrong=True))
    items = found.items()
    rest, fitted = findings.decided(items, {items[0].key: True, "of another review": False})
    assert not fitted and [one.key for one in rest] == [one.key for one in items[1:]]
    made = {items[n].key: n % 2 == 0 for n in range(8)}
    rest, fitted = findings.decided(items, made)
    assert fitted and len(rest) == 4
    scores = [one.score for one in rest]
    assert scores == sorted(scores, reverse=True)
    assert all(item.region.kind in regions.MISTAKES for item in rest)
