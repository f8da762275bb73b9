"""Taps equal the dense operators they stand for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from arm_jax.evaluation import protocol, tiles
from arm_jax.networks import resampling, row_tiles


def dense(taps, size):
    return taps.matrix(size)


@pytest.mark.parametrize(("size", "outputs"), [(5, 20), (7, 7), (9, 4), (4, 13), (1, 6), (6, 1)])
def test_bilinear_equals_jax_without_antialiasing(size, outputs):
    # JAX drops samples outside and renormalises, torch repeats the border: the same by half pixels.
    signal = np.random.default_rng(0).normal(size=(size, 1)).astype(np.float32)
    expected = jax.image.resize(jnp.asarray(signal), (outputs, 1), "bilinear", antialias=False)
    ours = dense(resampling.bilinear(size, outputs), size) @ signal
    np.testing.assert_allclose(ours, expected, atol=1e-6)


@pytest.mark.parametrize(("size", "outputs"), [(5, 17), (9, 4), (1, 3), (3, 1)])
def test_aligned_corners_interpolate_between_the_end_samples(size, outputs):
    signal = np.random.default_rng(1).normal(size=size)
    expected = np.interp(np.linspace(0, size - 1, outputs), np.arange(size), signal)
    ours = dense(resampling.bilinear(size, outputs, align_corners=True), size) @ signal
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_bilinear_of_equal_sizes_is_one_tap_of_weight_one():
    taps = resampling.bilinear(6, 6)
    np.testing.assert_array_equal(taps.index, np.arange(6)[:, None])
    np.testing.assert_array_equal(taps.weight, np.ones((6, 1)))


@pytest.mark.parametrize(("size", "outputs"), [(97, 769), (129, 1025), (171, 683), (256, 2048)])
def test_positions_are_those_of_float32(size, outputs):
    """As PyTorch's are. Inference had exact ones before, up to 6.4e-5 apart."""
    exact = np.maximum((np.arange(outputs) + 0.5) * (size / outputs) - 0.5, 0)
    position = dense(resampling.bilinear(size, outputs), size) @ np.arange(size)
    difference = np.abs(position - np.minimum(exact, size - 1)).max()
    assert difference <= (0 if outputs % size == 0 else 6.4e-5)


def test_the_gradient_gathers_by_the_transposed_table():
    taps = resampling.bilinear(5, 13)
    np.testing.assert_array_equal(dense(taps.transposed(5), 13), dense(taps, 5).T)


def test_as_many_tiles_as_memory_asks_for():
    assert row_tiles.count(100, row_bytes=10, tile_bytes=1000) == 1
    assert row_tiles.count(101, row_bytes=10, tile_bytes=1000) == 2
    assert row_tiles.count(7, row_bytes=10, tile_bytes=1) == 7


def test_a_chain_is_the_product_of_its_matrices():
    inner, outer = resampling.bilinear(6, 23), resampling.bilinear(23, 17)
    chain = outer.after(inner)
    np.testing.assert_allclose(
        dense(chain, 6), dense(outer, 23) @ dense(inner, 6), rtol=0, atol=1e-14
    )
    assert chain.index.shape[1] <= 4
    np.testing.assert_allclose(chain.weight.sum(1), 1.0, atol=1e-14)


def test_mirrored_reverses_the_output():
    taps = resampling.bilinear(4, 10)
    np.testing.assert_array_equal(dense(taps.mirrored(), 4), dense(taps, 4)[::-1])


def test_padding_adds_outputs_that_are_zero():
    taps = resampling.bilinear(4, 10)
    padded = taps.padded(16, 5)
    assert padded.index.shape == (16, 5)
    np.testing.assert_array_equal(dense(padded, 4)[:10], dense(taps, 4))
    np.testing.assert_array_equal(dense(padded, 4)[10:], 0)


@pytest.mark.parametrize(
    ("size", "window", "stride", "expected"),
    [
        (1024, 769, 513, (0, 255)),
        (2048, 769, 513, (0, 513, 1026, 1279)),
        (10, 4, 3, (0, 3, 6)),
        (10, 4, 4, (0, 4, 6)),
        (5, 8, 3, (0,)),
        (8, 8, 3, (0,)),
    ],
)
def test_window_starts_follow_mmsegmentation(size, window, stride, expected):
    assert protocol.window_starts(size, window, stride) == expected


@pytest.mark.parametrize(("size", "window", "stride"), [(21, 8, 5), (21, 8, 1), (8, 8, 8)])
def test_windows_are_averaged_where_they_overlap(size, window, stride):
    samples = 3
    starts = protocol.window_starts(size, window, stride)
    taps = tiles.from_windows(size, starts, window, samples)
    resize = dense(resampling.bilinear(samples, window), samples)
    total, count = np.zeros((size, len(starts) * samples)), np.zeros(size)
    for number, start in enumerate(starts):
        total[start : start + window, number * samples : (number + 1) * samples] += resize
        count[start : start + window] += 1
    np.testing.assert_allclose(
        dense(taps, len(starts) * samples), total / count[:, None], atol=1e-14
    )


def test_a_window_beyond_the_axis_loses_its_padding():
    taps = tiles.from_windows(13, (0,), 16, 4)
    np.testing.assert_array_equal(dense(taps, 4), dense(resampling.bilinear(4, 16), 4)[:13])


def test_gaps_between_windows_are_a_programming_error():
    with pytest.raises(ValueError, match="leave gaps"):
        tiles.from_windows(10, (0, 6), 4, 2)
