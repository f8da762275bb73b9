"""Colour jitter on the device: equal to mmsegmentation's, drawn as it draws."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from arm_jax.data import jitter


@pytest.fixture(scope="module")
def golden():
    return np.load(Path(__file__).parents[1] / "goldens" / "augment.npz")


@pytest.fixture(scope="module")
def keys():
    return np.random.default_rng(0).integers(0, 2**32, (4000, 2), dtype=np.uint32)


def test_equals_mmsegmentation(golden):
    brightness, contrast, first, saturation, hue = golden["color"].T
    number = len(hue)
    drawn = jitter.Distortion(
        brightness=jnp.asarray(np.nan_to_num(brightness), jnp.float32),
        contrast=jnp.asarray(np.nan_to_num(contrast, nan=1.0), jnp.float32),
        contrast_first=jnp.asarray(first > 0),
        saturation=jnp.asarray(np.nan_to_num(saturation, nan=1.0), jnp.float32),
        saturate=jnp.asarray(~np.isnan(saturation)),
        hue=jnp.asarray(np.nan_to_num(hue), jnp.int32),
        turn=jnp.asarray(~np.isnan(hue)),
    )
    images = np.repeat(golden["image"][None, :40, :64], number, 0)
    result = np.asarray(jax.jit(jitter.distort)(images, drawn))
    for case in range(number):
        difference = np.abs(result[case] - golden[f"color_{case}"].astype(int))
        # Conversions to hue and back end in floats that are cut to whole numbers.
        assert difference.max() <= 2
        assert (difference > 0).mean() < 0.01
        if np.isnan(golden["color"][case][3:]).all():
            assert difference.max() == 0


def test_each_change_is_on_half_the_time_and_uniform(keys):
    drawn = jax.device_get(jax.jit(jitter.draw)(keys))
    on = {
        "brightness": drawn.brightness != 0,
        "contrast": drawn.contrast != 1,
        "first": drawn.contrast_first,
        "saturation": drawn.saturate,
        "hue": drawn.turn,
    }
    shares = np.array([flags.mean() for flags in on.values()])
    np.testing.assert_allclose(shares, 0.5, atol=0.03)
    together = np.corrcoef(np.array(list(on.values()), float))
    assert np.abs(together - np.eye(5)).max() < 0.06
    for values, low, high in (
        (drawn.brightness[on["brightness"]], -32, 32),
        (drawn.contrast[on["contrast"]], 0.5, 1.5),
        (drawn.saturation[on["saturation"]], 0.5, 1.5),
    ):
        assert low <= values.min() and values.max() <= high
        np.testing.assert_allclose(values.std(), (high - low) / 12**0.5, rtol=0.05)
    assert set(drawn.hue[on["hue"]]) == set(range(-18, 18))
    assert (drawn.saturation[~on["saturation"]] == 1).all() and (drawn.hue[~on["hue"]] == 0).all()


def test_examples_do_not_depend_on_their_neighbours(keys):
    images = np.random.default_rng(1).integers(0, 256, (4, 8, 8, 3)).astype(np.uint8)
    distort = jax.jit(jitter.jitter)
    together = distort(images, keys[:4])
    alone = distort(images[2:3], keys[2:3])
    np.testing.assert_array_equal(together[2], alone[0])
    assert np.abs(np.asarray(together) - images).max() > 5
