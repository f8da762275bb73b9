"""Losses of single pixels against float64 references, and which pixels OHEM keeps."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from arm_jax import losses
from arm_jax.system import sharding

GOLDEN = Path(__file__).parent / "goldens" / "ohem.npz"


def random_batch(classes=7, shape=(3, 4, 5), scale=4.0, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    logits = (scale * rng.standard_normal((*shape, classes))).astype(dtype)
    labels = rng.integers(0, classes, shape).astype(np.uint8)
    labels[rng.random(shape) < 0.3] = 255
    return logits, labels


def reference_log_p(logits, labels):
    """log p of the label in float64, and where there is one."""
    z = logits.astype(np.float64)
    log_p = z - z.max(-1, keepdims=True)
    log_p = log_p - np.log(np.exp(log_p).sum(-1, keepdims=True))
    valid = labels != 255
    picked = np.take_along_axis(log_p, np.where(valid, labels, 0)[..., None].astype(int), -1)
    return picked[..., 0], valid


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_cross_entropy(dtype):
    logits, labels = random_batch(dtype=dtype)
    log_p, valid = reference_log_p(logits, labels)
    loss = losses.cross_entropy(jnp.asarray(logits), jnp.asarray(labels))
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, np.where(valid, -log_p, 0), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(losses.valid_pixels(jnp.asarray(labels)), valid)
    mean = losses.mean_over(loss, jnp.asarray(valid))
    np.testing.assert_allclose(mean, -log_p[valid].mean(), rtol=1e-6)


def test_gradient_of_cross_entropy():
    logits, labels = random_batch()
    gradient = jax.jit(jax.grad(lambda z: losses.cross_entropy(z, labels).sum()))(
        jnp.asarray(logits)
    )
    one_hot = (labels[..., None] == np.arange(7)).astype(float)
    expected = (jax.nn.softmax(logits) - one_hot) * (labels != 255)[..., None]
    np.testing.assert_allclose(gradient, expected, atol=1e-6)
    assert np.all(gradient[labels == 255] == 0)


def test_another_ignore_value_may_be_a_class_index():
    logits, labels = random_batch()
    labels = np.where(labels == 255, 0, labels)
    loss = losses.cross_entropy(logits, labels, ignore=0)
    assert np.all((loss == 0) == (labels == 0))


def test_cross_entropy_of_extreme_logits():
    logits = jnp.array([[1e4, -1e4], [-1e4, 1e4]])
    loss, gradient = jax.vmap(jax.value_and_grad(lambda z: losses.cross_entropy(z, jnp.array(0))))(
        logits
    )
    np.testing.assert_allclose(loss, [0, 2e4])
    np.testing.assert_allclose(gradient, [[0, 0], [-1, 1]])


@pytest.mark.parametrize("q", [0.01, 0.1, 0.7, 1.0])
def test_generalized_cross_entropy(q):
    logits, labels = random_batch()
    log_p, valid = reference_log_p(logits, labels)
    loss = losses.generalized_cross_entropy(logits, labels, q)
    expected = np.where(valid, (1 - np.exp(log_p) ** q) / q, 0)
    np.testing.assert_allclose(loss, expected, rtol=2e-5, atol=1e-6)
    assert np.all((loss >= 0) & (loss <= 1 / q))
    # Its gradient is p^q times that of cross entropy.
    gradient = jax.jit(jax.grad(lambda z: losses.generalized_cross_entropy(z, labels, q).sum()))(
        logits
    )
    of_ce = jax.jit(jax.grad(lambda z: losses.cross_entropy(z, labels).sum()))(logits)
    factor = np.where(valid, np.exp(q * log_p), 0)[..., None]
    np.testing.assert_allclose(gradient, factor * of_ce, atol=2e-6)


def test_generalized_cross_entropy_at_its_limits():
    logits, labels = random_batch()
    of_ce = losses.cross_entropy(logits, labels)
    np.testing.assert_array_equal(losses.generalized_cross_entropy(logits, labels, 0.0), of_ce)
    np.testing.assert_allclose(
        losses.generalized_cross_entropy(logits, labels, 1e-5), of_ce, rtol=1e-3, atol=1e-6
    )
    hopeless = jnp.array([-1e4, 1e4])
    value, gradient = jax.jit(
        jax.value_and_grad(lambda z: losses.generalized_cross_entropy(z, jnp.array(0), 0.1))
    )(hopeless)
    assert value == 10
    assert np.all(np.isfinite(gradient))
    with pytest.raises(ValueError, match="0 <= q <= 1"):
        losses.generalized_cross_entropy(logits, labels, 1.5)


def test_kl():
    logits, labels = random_batch()
    log_s = np.random.default_rng(1).normal(scale=4, size=labels.shape).astype(np.float32)
    assert (np.abs(log_s) > 5).any()
    log_p, valid = reference_log_p(logits, labels)
    a = np.clip(log_s.astype(np.float64), -5, 5)
    expected = np.where(valid, np.exp(-a) * -log_p + a / 2, 0)
    loss = losses.kl(logits, log_s, labels)
    np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=1e-5)
    signal = losses.kl_signal(loss)
    assert np.all(signal >= 0)
    np.testing.assert_allclose(signal, loss + 2.5)
    np.testing.assert_array_equal(losses.clip_log_s(log_s), np.clip(log_s, -5, 5))


def test_gradients_of_kl_inside_the_limits():
    logits, labels = random_batch()
    log_s = np.random.default_rng(1).normal(size=labels.shape).astype(np.float32)
    log_p, valid = reference_log_p(logits, labels)
    for_logits, for_log_s = jax.jit(
        jax.grad(lambda z, a: losses.kl(z, a, labels).sum(), argnums=(0, 1))
    )(logits, log_s)
    expected = np.where(valid, 0.5 - np.exp(-log_s) * -log_p, 0)
    np.testing.assert_allclose(for_log_s, expected, rtol=1e-5, atol=1e-6)
    of_ce = jax.jit(jax.grad(lambda z: losses.cross_entropy(z, labels).sum()))(logits)
    np.testing.assert_allclose(for_logits, np.exp(-log_s)[..., None] * of_ce, rtol=1e-4, atol=1e-6)


def test_kl_outside_its_limits_can_only_come_back():
    certain, wrong = jnp.array([20.0, 0.0]), jnp.array([-20.0, 0.0])

    def slope(logits, log_s):
        return jax.jit(jax.grad(lambda a: losses.kl(logits, a, jnp.array(0))))(log_s)

    assert slope(certain, -6.0) == 0  # descent would lower log s further
    assert slope(wrong, -6.0) < -100  # descent raises it
    assert slope(wrong * 1e3, 6.0) == 0
    np.testing.assert_allclose(slope(certain, 6.0), 0.5, atol=1e-6)


def test_kl_signal_grows_with_uncertainty_at_the_optimal_s():
    """Where s = 2 CE, the signal rises with s, so ARM suppresses what KL itself favours."""
    ce = np.array([0.01, 0.1, 0.5, 2.0, 6.0])
    logits = np.stack([np.log(np.exp(-ce)), np.log1p(-np.exp(-ce))], -1).astype(np.float32)
    loss = losses.kl(logits, np.log(2 * ce).astype(np.float32), np.zeros(5, np.uint8))
    np.testing.assert_allclose(loss, 0.5 + 0.5 * np.log(2 * ce), atol=1e-4)
    assert np.any(loss < 0)
    assert np.all(losses.kl_signal(loss) > 0)
    assert np.all(np.diff(losses.kl_signal(loss)) > 0)


def reference_hard_pixels(probability, valid, threshold, min_kept):
    """The rule with a sort, as openseg.pytorch and mmsegmentation have it."""
    ordered = np.sort(probability[valid])
    if not len(ordered):
        return np.zeros_like(valid)
    limit = max(ordered[min(min_kept, len(ordered) - 1)], np.float32(threshold))
    return valid & (probability < limit)


def test_ohem_keeps_the_pixels_that_mmsegmentation_keeps():
    with np.load(GOLDEN) as golden:
        arrays = dict(golden)
    log_p = losses.log_likelihood(jnp.asarray(arrays["logits"]), jnp.asarray(arrays["labels"]))
    valid = losses.valid_pixels(jnp.asarray(arrays["labels"]))
    images = len(arrays["labels"])
    governed_by_number = 0
    for i, (threshold, kept) in enumerate(
        zip(arrays["thresholds"], arrays["min_kept"], strict=True)
    ):
        got = losses.hard_pixels(jnp.exp(log_p), valid, threshold, int(kept) * images)
        np.testing.assert_array_equal(got, arrays[f"kept_{i}"], err_msg=f"case {i}")
        governed_by_number += got.sum() == kept * images
    assert governed_by_number >= 2


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("min_kept", [1, 37, 59, 10_000])
def test_ohem_equals_a_sort(threshold, min_kept):
    rng = np.random.default_rng(min_kept)
    valid = rng.random((3, 20)) < 0.7
    hard = jax.jit(losses.hard_pixels)
    for values in (
        rng.random((3, 20)),
        rng.integers(0, 4, (3, 20)) / 3,  # many ties, at 0 and 1 too
        np.full((3, 20), 1e-40),  # below the smallest normal float
    ):
        values = values.astype(np.float32)
        expected = reference_hard_pixels(values, valid, threshold, min_kept)
        np.testing.assert_array_equal(hard(values, valid, threshold, min_kept), expected)


def test_ohem_of_no_labels_keeps_nothing():
    kept = losses.hard_pixels(jnp.full((4, 4), 0.1), jnp.zeros((4, 4), bool))
    assert not kept.any()
    assert losses.mean_over(jnp.ones((4, 4)), kept) == 0


def test_ohem_is_global_over_devices():
    mesh = sharding.make_mesh()
    rng = np.random.default_rng(0)
    probability, valid = rng.random((8, 30)).astype(np.float32), rng.random((8, 30)) < 0.8
    hard = jax.jit(lambda p, valid: losses.hard_pixels(p, valid, 0.1, 100))
    many = hard(*jax.device_put((probability, valid), sharding.by_batch(mesh)))
    np.testing.assert_array_equal(many, reference_hard_pixels(probability, valid, 0.1, 100))


def test_balanced_weights():
    """n_c^-e N / sum_k n_k^(1-e), which has the mean 1 over the pixels."""
    pixels = (900, 90, 10, 0)
    full, root = (np.array(losses.balanced_weights(pixels, e)) for e in (1.0, 0.5))
    np.testing.assert_allclose(full[:3], 1000 / (3 * np.array(pixels[:3])))
    np.testing.assert_allclose(root[:3] * np.sqrt(pixels[:3]), root[0] * 30)
    for weights in (full, root):
        assert np.dot(weights, pixels) == pytest.approx(1000)
        assert weights[3] == 1
    with pytest.raises(ValueError, match="exponent"):
        losses.balanced_weights(pixels, 0.0)
