"""The histogram over confidence and what is read from it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from arm_jax import arm, theorem
from arm_jax.system import sharding
from arm_jax.theorem import Histogram


def random_maps(shape=(4, 30, 40), seed=0):
    keys = jax.random.split(jax.random.key(seed), 4)
    v = jax.random.uniform(keys[0], shape, minval=-1, maxval=1)
    v = v.at[0, 0, 0].set(1.0).at[0, 5, 5].set(-1.0)  # both ends belong to a bin
    loss = jax.random.exponential(keys[1], shape)
    valid = jax.random.bernoulli(keys[2], 0.7, shape).at[0, 0, 0].set(True).at[0, 5, 5].set(True)
    weights = arm.normalize(jax.random.uniform(keys[3], shape), valid)
    return v, loss, weights, valid


def made(mean_loss, mean_weight, pixels=None):
    """The histogram of bins with the given means."""
    mean_loss, mean_weight = np.asarray(mean_loss, float), np.asarray(mean_weight, float)
    pixels = np.ones_like(mean_loss) if pixels is None else np.asarray(pixels, float)
    return Histogram(pixels, pixels * mean_loss, pixels * mean_weight)


@pytest.mark.parametrize("stride", [1, 5])
def test_histogram_equals_numpys(stride):
    v, loss, weights, valid = random_maps()
    h = jax.jit(lambda *maps: theorem.histogram(*maps, bins=16, stride=stride))(
        v, loss, weights, valid
    )
    inside = np.asarray(valid[:, ::stride, ::stride])
    thin = [np.asarray(x[:, ::stride, ::stride])[inside] for x in (v, loss, weights)]
    for got, factor in zip(h, (None, thin[1], thin[2] * int(valid.sum())), strict=True):
        expected, _ = np.histogram(thin[0], bins=16, range=(-1, 1), weights=factor)
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    assert h.pixels.sum() == inside.sum()
    if stride == 1:
        np.testing.assert_allclose(h.weight.sum() / h.pixels.sum(), 1, rtol=1e-5)


def test_histogram_of_one_dimension_and_of_no_pixels():
    v, loss, weights, valid = (x[0, 0] for x in random_maps())
    h = theorem.histogram(v, loss, weights, valid, bins=4, stride=3)
    assert h.pixels.sum() == valid[::3].sum()
    none = theorem.histogram(v, loss, 0 * weights, jnp.zeros_like(valid), bins=4)
    assert all(np.all(x == 0) for x in none)
    for number in (theorem.holder_ratio(none), theorem.loss_ratio(none) - 1):
        assert number == 0
    assert np.all(theorem.closed_form(none) == 0)


def test_histogram_is_global_over_devices():
    maps = random_maps((8, 30, 40))
    count = jax.jit(lambda *maps: theorem.histogram(*maps))
    mesh = sharding.make_mesh()
    many = count(*jax.device_put(maps, sharding.by_batch(mesh)))
    for one, other in zip(count(*maps), many, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    assert many.pixels.sharding.is_fully_replicated


def test_blend_fades_but_keeps_means():
    h = made([1.0, 2.0], [0.5, 1.5])
    history = theorem.empty(2)
    for _ in range(3):
        history = theorem.blend(history, h, decay=0.5)
    np.testing.assert_allclose(history.pixels, [1.75, 1.75])
    np.testing.assert_allclose(theorem.mean_loss(history), [1, 2])
    np.testing.assert_allclose(theorem.mean_weight(history), [0.5, 1.5])


def test_bin_centers():
    np.testing.assert_allclose(theorem.bin_centers(4), [-0.75, -0.25, 0.25, 0.75])


@pytest.mark.parametrize("p", [1.5, 2.0, 3.0])
def test_closed_form_is_the_maximum(p):
    """Hölder ratio 1, exactly there; the counts only enter the scale (Eq. 12)."""
    loss, pixels = [1.2, 0.6, 0.1], [1, 5, 50]
    best = theorem.closed_form(made(loss, [1, 1, 1], pixels), p)
    np.testing.assert_allclose(best / best[0], (np.array(loss) / 1.2) ** (1 / (p - 1)), rtol=1e-5)
    np.testing.assert_allclose(np.average(best, weights=pixels), 1, rtol=1e-6)
    np.testing.assert_allclose(theorem.holder_ratio(made(loss, 7 * best, pixels), p), 1, rtol=1e-6)
    for factor in 1 + 2 * np.eye(3):  # one bin weighs three times too much
        assert theorem.holder_ratio(made(loss, best * factor, pixels), p) < 0.999
    np.testing.assert_allclose(theorem.progress(made(loss, best, pixels), p), 1, rtol=1e-5)
    assert abs(theorem.progress(made(loss, [2, 2, 2], pixels), p)) < 1e-5


def test_holder_ratio_is_its_definition():
    rng = np.random.default_rng(0)
    n, loss, w = rng.uniform(1, 9, 6), rng.uniform(0, 2, 6), rng.uniform(0, 1, 6)
    for p, q in ((2, 2), (3, 1.5), (1.5, 3)):
        expected = np.sum(n * w * loss) / (
            np.sum(n * w**p) ** (1 / p) * np.sum(n * loss**q) ** (1 / q)
        )
        np.testing.assert_allclose(theorem.holder_ratio(made(loss, w, n), p), expected, rtol=1e-5)


def test_norm_one_puts_everything_on_the_hardest_bin():
    h = made([1.2, 0.6, 0.1], [10, 0, 0], [1, 5, 4])
    np.testing.assert_allclose(theorem.closed_form(h, 1), [10, 0, 0])
    np.testing.assert_allclose(theorem.holder_ratio(h, 1), 1, rtol=1e-6)


def test_loss_ratio():
    h = made([1.0, 0.2], [1.8, 0.2], [10, 10])
    np.testing.assert_allclose(theorem.loss_ratio(h), (1.8 + 0.04) / 1.2, rtol=1e-6)
    # At the optimum of p = 2 it is 1 + CV^2 of the loss.
    best = made([1.0, 0.2], theorem.closed_form(h, 2), [10, 10])
    np.testing.assert_allclose(theorem.loss_ratio(best), 1 + (0.4 / 0.6) ** 2, rtol=1e-5)
    # It agrees with the objective where the weight is a function of the bin.
    v = jnp.repeat(jnp.array([-0.5, 0.5]), 50)
    loss = jax.random.uniform(jax.random.key(0), (100,))
    o = arm.adversarial_objective(arm.LinearArm(), v, loss, jnp.ones(100, bool))
    h = theorem.histogram(v, loss, o.weights, jnp.ones(100, bool), bins=2, stride=1)
    np.testing.assert_allclose(theorem.loss_ratio(h), o.ratio, rtol=1e-5)


def test_warns_of_weights_that_stayed_uniform():
    v = np.asarray(theorem.bin_centers(64))
    loss = 0.03 + 1.6 * (1 - v) / 2
    pixels = np.exp(4 * v)
    uniform = made(loss, np.ones(64), pixels)
    assert theorem.stayed_uniform(uniform)
    linear = made(loss, 0.5 - 0.5 * v, pixels)
    assert not theorem.stayed_uniform(linear)
    focusing = made(loss, 0.5 + 0.5 * v, pixels)
    assert theorem.progress(focusing) < 0
    # A loss that does not depend on confidence wants uniform weights: nothing to warn about.
    flat = made(np.full(64, 0.7), np.ones(64), pixels)
    assert not theorem.stayed_uniform(flat)
    np.testing.assert_allclose(theorem.holder_ratio(flat), 1, rtol=1e-6)
