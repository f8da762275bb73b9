"""Coarse labels: reproducible, as coarse as said, and noisy only where noise is asked for."""

import dataclasses

import numpy as np
import pytest

from arm_jax.data import coarsen, scenes
from arm_jax.data.agreement import Agreement, edge_distance
from arm_jax.data.labels import STREET_SCENES, generic
from arm_jax.system.errors import InputError


@pytest.fixture(scope="module")
def fine():
    return [scenes.generate("train", index, (192, 384))[1] for index in range(12)]


def measure(fine, settings, seed=0):
    total = Agreement(STREET_SCENES)
    for index, label in enumerate(fine):
        total.add(label, make(label, settings, seed, str(index)))
    return total


def make(label, settings, seed=0, name="a"):
    return coarsen.coarsen(label, STREET_SCENES, settings, seed=seed, name=name)


def test_seed_and_name_decide(fine):
    settings = coarsen.PRESETS["medium"]
    first = make(fine[0], settings)
    np.testing.assert_array_equal(first, make(fine[0], settings))
    assert (first != make(fine[0], settings, seed=1)).any()
    assert (first != make(fine[0], settings, name="b")).any()


def test_a_name_that_is_no_text_decides_as_well(fine):
    settings = coarsen.PRESETS["medium"]
    first = make(fine[0], settings, name="\udce91")  # as Linux has files named by other bytes
    np.testing.assert_array_equal(first, make(fine[0], settings, name="\udce91"))
    assert (first != make(fine[0], settings, name="\udce92")).any()


def test_presets_get_coarser_and_noisier(fine):
    mild, medium, hard, city = (
        measure(fine, coarsen.PRESETS[name]) for name in ("mild", "medium", "hard", "cityscapes")
    )
    assert 0.9 > mild.coverage > medium.coverage > hard.coverage > 0.4
    assert mild.agreement > 0.98
    assert mild.agreement > medium.agreement > hard.agreement > 0.88
    assert city.agreement > 0.99
    assert 0.5 < city.coverage < 0.8


def test_the_cityscapes_preset_keeps_off_the_edges(fine):
    """Of one Cityscapes frame with both kinds of label: .27, .50, .72, .85 from 8 px on."""
    labelled = measure(fine, coarsen.PRESETS["cityscapes"]).labelled_by_distance[3:7]
    assert (np.diff(labelled) > 0).all()
    np.testing.assert_allclose(labelled, [0.27, 0.50, 0.72, 0.85], atol=0.08)


def test_flip_changes_classes_and_nothing_else(fine):
    plain = make(fine[1], coarsen.preset("medium"))
    few = make(fine[1], coarsen.preset("medium", 0.1))
    many = make(fine[1], coarsen.preset("medium", 0.5))
    ignore = STREET_SCENES.ignore
    for noisy in (few, many):
        np.testing.assert_array_equal(noisy == ignore, plain == ignore)
    flipped_few, flipped_many = few != plain, many != plain
    assert (few == many)[flipped_few].all()
    assert flipped_many.sum() > flipped_few.sum()
    everything = make(fine[1], coarsen.preset("medium", 1.0))
    assert (everything != plain)[plain != ignore].all()


def test_flipped_share_follows_the_chance(fine):
    settings = dataclasses.replace(coarsen.PRESETS["mild"], smallest=1e-4, thinnest=0.0)
    shares = []
    for chance in (0.1, 0.4):
        flipped = total = 0
        for index, label in enumerate(fine):
            plain = make(label, settings, name=str(index))
            noisy = make(label, dataclasses.replace(settings, wrong_share=chance), name=str(index))
            for value in range(STREET_SCENES.number):
                if (plain == value).any():
                    total += 1
                    flipped += (noisy[plain == value] != value).mean()
        shares.append(flipped / total)
    np.testing.assert_allclose(shares, [0.1, 0.4], atol=0.12)


def test_a_square_is_eroded_by_the_margin_and_its_hole_survives():
    label = np.zeros((200, 200), np.uint8)
    label[40:160, 40:160] = 1
    label[80:120, 80:120] = 0
    settings = coarsen.Coarsening(
        smallest=0,
        thinnest=0,
        omit=0,
        margin=0.03,
        spread=0,
        wobble=0,
        deepest=1,
        tolerance=0.002,
        jitter=0,
        swallow=0,
        expand=0,
    )
    classes = generic(["ground", "square"])
    coarse = coarsen.coarsen(label, classes, settings, seed=0, name="x")
    inside = np.argwhere(coarse == 1)
    np.testing.assert_allclose(inside.min(0), 46, atol=1.1)
    np.testing.assert_allclose(inside.max(0), 153, atol=1.1)
    assert (coarse[80:120, 80:120] != 1).all()
    assert (label[coarse != 255] == coarse[coarse != 255]).all()
    assert coarse[100, 100] == 0 and coarse[0, 0] == 0, "the picture's border is no edge"

    larger = dataclasses.replace(settings, expand=1.0)
    grown = coarsen.coarsen((label == 1).astype(np.uint8), classes, larger, seed=0, name="x")
    np.testing.assert_allclose(np.argwhere(grown == 1).min(0), 34, atol=1.5)

    swallowing = dataclasses.replace(settings, swallow=0.1)
    label[80:120, 80:120] = 255
    swallowed = coarsen.coarsen(label, classes, swallowing, seed=0, name="x")
    assert (swallowed[80:120, 80:120] == 1).all()


def test_minor_components_are_drawn_by_chance_and_closely():
    """Forty poles of 5 x 60 pixels: none is kept without `minor`, about half by 0.5."""
    label = np.zeros((200, 400), np.uint8)
    for left in range(5, 400, 10):
        label[60:120, left : left + 5] = 1
    classes = generic(["ground", "pole"])
    settings = dataclasses.replace(
        coarsen.PRESETS["cityscapes"], thinnest=0.05, omit=0.0, expand=0.0, jitter=0.0, wobble=0.0
    )
    without = dataclasses.replace(settings, minor=0.0)
    assert not (coarsen.coarsen(label, classes, without, seed=0, name="x") == 1).any()
    drawn = coarsen.coarsen(
        label, classes, dataclasses.replace(settings, minor=0.5), seed=0, name="x"
    )
    poles = np.array([(drawn[60:120, left : left + 5] == 1).mean() for left in range(5, 400, 10)])
    assert 0.25 < (poles > 0).mean() < 0.75
    # A tenth of a pole's half width is left out, instead of all of it.
    close = dataclasses.replace(settings, minor=1.0, hug=0.1)
    drawn = coarsen.coarsen(label, classes, close, seed=0, name="x")
    assert ((drawn == 1) & (label == 1)).sum() > 0.9 * (label == 1).sum()
    specks = dataclasses.replace(close, speck=0.01)
    assert not (coarsen.coarsen(label, classes, specks, seed=0, name="x") == 1).any()


def test_ignored_pixels_stay_without_label_unless_swallowed(fine):
    label = fine[2].copy()
    label[:, :100] = 255
    settings = dataclasses.replace(
        coarsen.PRESETS["mild"], expand=0.0, jitter=0.0, swallow=0.0, tolerance=0.0
    )
    coarse = make(label, settings)
    assert (coarse[:, :100] == 255).all()
    assert (coarse[:, 100:] != 255).mean() > 0.5


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_blocks_are_right_inner_and_of_the_asked_share(fine, share):
    settings = coarsen.PRESETS[f"block{100 * share:.0f}"]
    total = measure(fine, settings)
    assert total.coverage == pytest.approx(share, rel=0.01)
    assert total.agreement == 1
    labelled = total.labelled_by_distance
    assert labelled[3] < share < labelled[-2]
    flipped = make(fine[0], dataclasses.replace(settings, wrong_share=1.0))
    plain = make(fine[0], settings)
    np.testing.assert_array_equal(flipped == 255, plain == 255)
    assert (flipped != plain)[plain != 255].all()


def test_a_block_is_the_middle_of_its_square():
    label = np.zeros((40, 40), np.uint8)
    label[10:30, 10:30] = 1
    classes = generic(["ground", "square"])
    coarse = coarsen.coarsen(label, classes, coarsen.Blocks(0.25), seed=0, name="x")
    assert (coarse == 1).sum() == 100
    assert (coarse[15:25, 15:25] == 1).mean() > 0.95
    assert (coarse == 0).sum() == 300 and (coarse[label == 1] != 0).all()


def test_large_labels_are_outlined_at_half_the_size():
    small = scenes.generate("train", 5, (512, 1024))[1]
    large = np.repeat(np.repeat(small, 2, 0), 2, 1)
    settings = coarsen.PRESETS["cityscapes"]
    difference = make(small, settings) != make(large, settings)[::2, ::2]
    assert difference.mean() < 0.01


def test_edge_distance_and_counts():
    label = np.zeros((8, 20), np.uint8)
    label[:, 10:] = 1
    np.testing.assert_allclose(
        edge_distance(label)[4, 5:13], [4.5, 3.5, 2.5, 1.5, 0.5, 0.5, 1.5, 2.5]
    )
    assert np.isinf(edge_distance(np.zeros((3, 3), np.uint8))).all()

    fine = np.zeros((1024, 40), np.uint8)
    fine[:, 20:] = 1
    fine[:, 38:] = 255
    coarse = np.full_like(fine, 255)
    coarse[:, :19] = 0
    coarse[:, 22:24] = 0
    total = Agreement(generic(["a", "b"]))
    total.add(fine, coarse)
    assert total.fine_coverage == pytest.approx(38 / 40)
    assert total.coverage == pytest.approx(21 / 40)
    assert total.agreement == pytest.approx(19 / 21)
    # Four pixels lie within 2 px of the edge in the middle, two of the other; one is labelled.
    assert total.labelled_by_distance[0] == pytest.approx(1 / 6)
    assert total.wrong_by_distance[1] == pytest.approx(2 / 4)
    np.testing.assert_allclose(total.recall, [19 / 20, 0])
    assert "90.48%" in total.table()
    assert "a 0.95, b 0.00" in total.table()


def test_recall_is_shown_beside_the_reference():
    total = Agreement(STREET_SCENES)
    label = np.full((4, 4), STREET_SCENES.names.index("sign"), np.uint8)
    total.add(label, label)
    assert "sign 1.00 (0.30)" in total.table()


def test_bad_settings_are_refused():
    with pytest.raises(InputError, match="rough"):
        coarsen.preset("rough")
    with pytest.raises(InputError, match=r"wrong_share = 1\.5"):
        coarsen.preset("mild", 1.5)
    with pytest.raises(InputError, match="share = 2"):
        coarsen.Blocks(2)
    with pytest.raises(InputError, match="margin = -1"):
        dataclasses.replace(coarsen.PRESETS["mild"], margin=-1)


def test_shares_of_nothing_are_nan_and_no_warning():
    empty = Agreement(STREET_SCENES)
    with np.errstate(all="raise"):
        shares = (empty.fine_coverage, empty.coverage, empty.agreement)
    assert all(np.isnan(share) for share in shares)
