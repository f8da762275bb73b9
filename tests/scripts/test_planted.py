"""The experiment on planted errors: the key, and what is measured with it."""

import numpy as np
import pytest
from components import principal
from planted_data import NOISES, Data, key_of, planted
from planted_rankings import Ranked, corrected, image_precision, measured, rank
from review_regions import region

from arm_jax.data import scenes

SIZE = (96, 128)


@pytest.fixture(scope="module")
def data() -> Data:
    pairs = [scenes.generate("train", index, SIZE) for index in range(40)]
    rgb, labels = (np.stack(part) for part in zip(*pairs, strict=True))
    return Data("scenes", 11, np.zeros((40, 48, 64, 1), np.float16), labels, rgb)


@pytest.mark.parametrize("noise", NOISES)
def test_the_key_names_the_errors_that_were_planted(data, noise, monkeypatch):
    monkeypatch.setattr("planted_data.TRAINING", 40)
    noisy = planted(data, noise, seed=0)
    keys, errors = key_of(data, noisy)
    assert errors > 0 and (noisy == planted(data, noise, seed=0)).all()
    found = np.stack(keys)
    assert set(np.unique(found)) == set(range(-1, errors))
    # What is no error is right, or too small to count.
    wrong = noisy != data.labels
    assert (wrong | (found < 0)).all()
    assert (found[wrong] >= 0).mean() > 0.5
    if noise in ("swapped", "shifted"):
        assert (found >= 0).any((1, 2)).sum() in (2, 3)


def test_average_precision_counts_every_error_once():
    errors = np.array([0, -1, 0, 1, -1, 2])
    ranked = Ranked(np.zeros(6, int), np.arange(6)[::-1], errors, [None] * 6)
    found = measured(ranked, errors=4)
    assert found["ap"] == pytest.approx((1 / 1 + 2 / 3 + 3 / 5) / 4)
    assert found["p@10"] == pytest.approx(4 / 6)
    assert measured(Ranked(np.array([]), np.array([]), np.array([]), []), 3)["ap"] == 0


def test_average_precision_of_images():
    bad = np.array([True, False, True, False])
    assert image_precision(np.array([0.9, 0.8, 0.7, 0.1]), bad) == pytest.approx((1 + 2 / 3) / 2)


def test_a_decision_on_a_group_counts_for_all_of_it():
    one = region(box=(0, 0, 4, 4))
    other = region(box=(0, 0, 4, 4), given=2)
    regions = [one, other, one, one]
    ranked = Ranked(np.zeros(4, int), np.ones(4), np.array([0, -1, 1, -1]), list(regions))
    found = corrected(ranked, 2)
    assert found["one by one"] == {"right": 1, "wrong": 0}
    assert found["groups"] == {"right": 2, "wrong": 1}


def test_the_clean_label_s_own_likelihoods_find_what_was_planted(data, monkeypatch):
    monkeypatch.setattr("planted_data.TRAINING", 40)
    monkeypatch.setattr("planted_rankings.TRAINING", 40)
    noisy = planted(data, "wrong 10 %", seed=0)
    keys, errors = key_of(data, noisy)
    small = np.minimum(data.labels[:, ::2, ::2], 10)
    likely = np.full((*small.shape, 11), 0.01, np.float32)
    np.put_along_axis(likely, small[..., None].astype(np.intp), 0.9, -1)
    ranked, scores, _ = rank(data, noisy, likely, keys)
    bad = np.array([(key >= 0).any() for key in keys])
    assert measured(ranked["review"], errors)["p@50"] > 0.9
    assert measured(ranked["review"], errors)["ap"] > 0.6
    assert image_precision(scores["review"], bad) > 0.9


def test_principal_components_have_a_mean_variance_of_one_and_are_not_correlated():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(40, 50, 6)) * [5, 4, 3, 0.1, 0.1, 0.1] @ rng.normal(size=(6, 6))) + 7
    mean, basis = principal(x, 3)
    found = (x.reshape(-1, 6) - mean) @ basis
    variances = np.cov(found.T)
    assert np.diag(variances).mean() == pytest.approx(1, rel=1e-4)
    assert np.abs(variances - np.diag(np.diag(variances))).max() < 1e-4
    # What three of six components leave out is little of what there was.
    assert np.diag(variances)[0] > np.diag(variances)[1] > np.diag(variances)[2] > 0.01
