"""Confidence, the modules and the norms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arm_batches import learned, random_batch
from flax import nnx

from arm_jax import arm

CLASSES = [2, 3, 19, 150]
HALVES = [jnp.float16, jnp.bfloat16, jnp.float32]
# One program instead of one an operation, each of which is compiled.
confidence = jax.jit(arm.confidence, static_argnames=("kind", "detach"))
normalize = jax.jit(arm.normalize, static_argnames=("p", "groups"))


# Confidence


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("kind", arm.CONFIDENCES)
def test_confidence_spans_its_range(kind, classes):
    uniform = jnp.zeros(classes)
    one_hot = jnp.zeros(classes).at[0].set(1e4)
    ends = confidence(jnp.stack([uniform, one_hot]), kind)
    np.testing.assert_allclose(ends, [-1, 1], atol=3e-6)
    sharpness = jnp.linspace(0.1, 12.0, 40)
    v = confidence(sharpness[:, None] * jax.nn.one_hot(0, classes)[None], kind)
    assert v.shape == (40,)
    assert np.all(np.diff(v) > 0)


@pytest.mark.parametrize("classes", CLASSES)
def test_variance_is_the_mean_over_classes(classes):
    p = np.random.default_rng(0).dirichlet(np.ones(classes), size=50)
    by_definition = 2 * classes**2 / (classes - 1) * p.var(axis=-1) - 1  # numpy: population
    np.testing.assert_allclose(confidence(jnp.log(p)), by_definition, atol=1e-6)


@pytest.mark.parametrize("classes", CLASSES)
def test_variance_of_a_two_way_tie(classes):
    tie = jnp.full(classes, -1e4).at[:2].set(0.0)
    np.testing.assert_allclose(confidence(tie), 1 - 2 * classes / (2 * classes - 2), atol=1e-6)


def test_other_kinds_equal_their_float64_definitions():
    p = np.random.default_rng(1).dirichlet(np.ones(19), size=50)
    u = 19 / 18 * np.sum((p - 1 / 19) ** 2, -1)
    expected = {
        "std": 2 * np.sqrt(u) - 1,
        "log_var": 2 * np.log(1 + u / 1e-3) / np.log(1 + 1e3) - 1,
        "entropy": 1 + 2 * np.sum(p * np.log(p), -1) / np.log(19),
    }
    for kind, v in expected.items():
        np.testing.assert_allclose(confidence(jnp.log(p), kind), v, atol=3e-6, err_msg=kind)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("kind", arm.CONFIDENCES)
def test_confidence_is_stable_at_the_extremes(kind, dtype):
    rows = [
        jnp.zeros(19),
        jnp.zeros(19).at[3].set(1e4),
        jnp.zeros(19).at[3].set(-1e4),
        jnp.full(19, -1e4).at[3].set(1e4),
        jnp.full(19, -1e4).at[:2].set(1e4),
        jnp.zeros(19).at[3].set(1e-4),
        jnp.full(19, 6e4).at[3].set(-6e4),
    ]
    logits = jnp.stack(rows).astype(dtype)
    function = jax.value_and_grad(lambda z: arm.confidence(z, kind, detach=False))
    v, gradient = jax.jit(jax.vmap(function))(logits)
    assert v.dtype == jnp.float32
    assert np.all((v >= -1) & (v <= 1)), v
    assert np.all(np.isfinite(gradient)), gradient


def test_naive_entropy_is_nan_where_ours_is_not():
    """Why the paper's Table 2 has NaN for entropy: 0 * log 0, in half precision at a gap of 20."""
    logits = jnp.array([20.0, 0.0, 0.0], jnp.float16)
    p = jax.nn.softmax(logits)
    assert jnp.isnan(-jnp.sum(p * jnp.log(p)))
    assert 0.999 < arm.confidence(logits, "entropy") <= 1
    masked = jnp.array([0.0, 0.0, -jnp.inf])
    np.testing.assert_allclose(
        arm.confidence(masked, "entropy"), 1 - 2 * np.log(2) / np.log(3), atol=1e-6
    )


def test_kl_uncertainty_as_confidence():
    s = np.array([1e-3, 0.2, 1.0, 5.0, 1e3])
    v = arm.uncertainty_confidence(jnp.log(s))
    np.testing.assert_allclose(v, (1 - s) / (1 + s), atol=1e-6)
    assert jax.grad(lambda a: arm.uncertainty_confidence(a))(0.3) == 0
    np.testing.assert_allclose(
        jax.grad(lambda a: arm.uncertainty_confidence(a, detach=False))(0.0), -0.5
    )


@pytest.mark.parametrize("dtype", HALVES)
def test_kl_uncertainty_is_stable_at_the_extremes(dtype):
    log_s = jnp.array([-1e4, -5.0, 0.0, 5.0, 1e4]).astype(dtype)
    function = jax.value_and_grad(lambda a: arm.uncertainty_confidence(a, detach=False))
    v, gradient = jax.jit(jax.vmap(function))(log_s)
    assert v.dtype == jnp.float32
    np.testing.assert_allclose(v, [1, np.tanh(2.5), 0, -np.tanh(2.5), -1], atol=1e-6)
    assert np.all(np.isfinite(gradient)) and np.all(gradient <= 0)


def test_confidence_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="at least 2 classes"):
        arm.confidence(jnp.zeros((4, 1)))
    with pytest.raises(ValueError, match="unknown kind of confidence 'variance'"):
        arm.confidence(jnp.zeros((4, 3)), "variance")


# The modules


def test_arm_has_53_parameters():
    sizes = [x.size for x in jax.tree.leaves(nnx.state(learned(), nnx.Param))]
    assert sum(sizes) == 53  # (1+1)*4 + (4+1)*4 + (4+1)*4 + (4+1)*1
    assert not jax.tree.leaves(nnx.state(arm.LinearArm()))


def test_arm_is_the_perceptron_of_figure_3():
    module = learned()
    v = np.linspace(-1, 1, 9, dtype=np.float32)
    x = v[:, None].astype(np.float64)
    for i, layer in enumerate(module.layers):
        x = x @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])
        x = x / (1 + np.exp(-x)) if i < 3 else 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(module(jnp.asarray(v)), x[:, 0], atol=1e-6)
    assert module(jnp.zeros((2, 3), jnp.bfloat16)).dtype == jnp.float32


def test_linear_arm_is_the_normalised_gini_impurity():
    logits, _, _ = random_batch(classes=19)
    p = jax.nn.softmax(logits)
    gini = 19 / 18 * (1 - jnp.sum(p * p, -1))
    np.testing.assert_allclose(arm.LinearArm()(arm.confidence(logits)), gini, atol=1e-6)
    focusing = arm.LinearArm(k=0.5)(arm.confidence(logits))
    np.testing.assert_allclose(focusing, 1 - gini, atol=1e-6)


# The norms


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
def test_weights_sum_to_one_over_valid_pixels(p):
    _, _, valid = random_batch()
    raw = jax.random.uniform(jax.random.key(1), valid.shape)
    w = normalize(raw, valid, p)
    np.testing.assert_allclose(w.sum(), 1.0, rtol=1e-6)
    assert np.all(w[~valid] == 0)
    np.testing.assert_allclose(w[valid] / w[valid][0], raw[valid] / raw[valid][0], rtol=1e-5)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
def test_scale_of_the_weights_is_free(p):
    """The same weights and, relative to the scale, gradients; tiny weights do not underflow."""
    _, _, valid = random_batch()
    raw = jax.random.uniform(jax.random.key(1), valid.shape)
    loss = jax.random.uniform(jax.random.key(2), valid.shape)

    def gain(raw):
        return jnp.sum(arm.normalize(raw, valid, p) * loss)

    value_and_grad = jax.jit(jax.value_and_grad(gain))
    value, gradient = value_and_grad(raw)
    for scale in (2.0**-60, 2.0**40):
        scaled_value, scaled_gradient = value_and_grad(raw * scale)
        np.testing.assert_allclose(scaled_value, value, rtol=1e-6)
        np.testing.assert_allclose(scaled_gradient * scale, gradient, atol=1e-6)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
def test_nothing_to_weight_gives_zeros(p):
    valid = jnp.ones((2, 3), bool)
    weigh = jax.jit(
        jax.value_and_grad(lambda raw, mask: jnp.sum(arm.normalize(raw, mask, p) * 3.0))
    )
    for raw, mask in ((jnp.zeros((2, 3)), valid), (jnp.ones((2, 3)), ~valid)):
        value, gradient = weigh(raw, mask)
        assert value == 0
        assert np.all(gradient == 0)


def test_invalid_pixels_are_not_read():
    valid = jnp.array([True, False, True])
    raw = jnp.array([0.25, jnp.nan, 0.75])
    value, gradient = jax.value_and_grad(
        lambda raw: jnp.sum(arm.normalize(raw, valid) * jnp.array([1.0, 5.0, 2.0]))
    )(raw)
    np.testing.assert_allclose(value, 0.25 + 1.5, rtol=1e-6)
    assert gradient[1] == 0
    assert np.all(np.isfinite(gradient))


def test_groups_are_normalised_by_themselves():
    _, _, valid = random_batch()
    valid = valid.at[2].set(False)
    raw = jax.random.uniform(jax.random.key(1), valid.shape)
    w = normalize(raw, valid, groups=4)
    for i in (0, 1, 3):
        np.testing.assert_allclose(w[i], normalize(raw[i], valid[i]) / 3, rtol=1e-5)
    assert np.all(w[2] == 0)  # an image without labels leaves its share to the others
    pairs = normalize(raw, valid, groups=2)
    np.testing.assert_allclose(pairs[:2], normalize(raw[:2], valid[:2]) / 2, rtol=1e-5)


def test_norm_below_one_is_refused():
    with pytest.raises(ValueError, match="p >= 1"):
        arm.normalize(jnp.ones(3), jnp.ones(3, bool), 0.5)
