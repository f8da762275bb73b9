"""Confidence, the module, the norms, and the objective of the two players."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx
from jax.sharding import PartitionSpec

from arm_jax import arm, losses, optimizer, sharding

CLASSES = [2, 3, 19, 150]
HALVES = [jnp.float16, jnp.bfloat16, jnp.float32]


def random_batch(classes=5, shape=(4, 6, 7), seed=0):
    """Logits, labels with ignored pixels, and where there are labels."""
    keys = jax.random.split(jax.random.key(seed), 3)
    logits = 3.0 * jax.random.normal(keys[0], (*shape, classes))
    labels = jax.random.randint(keys[1], shape, 0, classes)
    labels = jnp.where(jax.random.bernoulli(keys[2], 0.3, shape), 255, labels)
    return logits, labels, losses.valid_pixels(labels)


def learned(seed=0):
    return arm.Arm(rngs=nnx.Rngs(seed))


# Confidence


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("kind", arm.KINDS)
def test_confidence_spans_its_range(kind, classes):
    uniform = jnp.zeros(classes)
    one_hot = jnp.zeros(classes).at[0].set(1e4)
    ends = arm.confidence(jnp.stack([uniform, one_hot]), kind)
    np.testing.assert_allclose(ends, [-1, 1], atol=3e-6)
    sharpness = jnp.linspace(0.1, 12.0, 40)
    v = arm.confidence(sharpness[:, None] * jax.nn.one_hot(0, classes)[None], kind)
    assert v.shape == (40,)
    assert np.all(np.diff(v) > 0)


@pytest.mark.parametrize("classes", CLASSES)
def test_variance_is_the_mean_over_classes(classes):
    p = np.random.default_rng(0).dirichlet(np.ones(classes), size=50)
    by_definition = 2 * classes**2 / (classes - 1) * p.var(axis=-1) - 1  # numpy: population
    np.testing.assert_allclose(arm.confidence(jnp.log(p)), by_definition, atol=1e-6)


@pytest.mark.parametrize("classes", CLASSES)
def test_variance_of_a_two_way_tie(classes):
    tie = jnp.full(classes, -1e4).at[:2].set(0.0)
    np.testing.assert_allclose(arm.confidence(tie), 1 - 2 * classes / (2 * classes - 2), atol=1e-6)


def test_other_kinds_equal_their_float64_definitions():
    p = np.random.default_rng(1).dirichlet(np.ones(19), size=50)
    u = 19 / 18 * np.sum((p - 1 / 19) ** 2, -1)
    expected = {
        "std": 2 * np.sqrt(u) - 1,
        "log_var": 2 * np.log(1 + u / 1e-3) / np.log(1 + 1e3) - 1,
        "entropy": 1 + 2 * np.sum(p * np.log(p), -1) / np.log(19),
    }
    for kind, v in expected.items():
        np.testing.assert_allclose(arm.confidence(jnp.log(p), kind), v, atol=3e-6, err_msg=kind)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("kind", arm.KINDS)
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
    v, gradient = jax.vmap(jax.value_and_grad(lambda z: arm.confidence(z, kind, detach=False)))(
        logits
    )
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
    w = arm.normalize(raw, valid, p)
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

    value, gradient = jax.value_and_grad(gain)(raw)
    for scale in (2.0**-60, 2.0**40):
        scaled_value, scaled_gradient = jax.value_and_grad(gain)(raw * scale)
        np.testing.assert_allclose(scaled_value, value, rtol=1e-6)
        np.testing.assert_allclose(scaled_gradient * scale, gradient, atol=1e-6)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
def test_nothing_to_weight_gives_zeros(p):
    valid = jnp.ones((2, 3), bool)
    for raw, mask in ((jnp.zeros((2, 3)), valid), (jnp.ones((2, 3)), ~valid)):
        value, gradient = jax.value_and_grad(
            lambda raw, mask=mask: jnp.sum(arm.normalize(raw, mask, p) * 3.0)
        )(raw)
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
    w = arm.normalize(raw, valid, groups=4)
    for i in (0, 1, 3):
        np.testing.assert_allclose(w[i], arm.normalize(raw[i], valid[i]) / 3, rtol=1e-5)
    assert np.all(w[2] == 0)  # an image without labels leaves its share to the others
    pairs = arm.normalize(raw, valid, groups=2)
    np.testing.assert_allclose(pairs[:2], arm.normalize(raw[:2], valid[:2]) / 2, rtol=1e-5)


def test_norm_below_one_is_refused():
    with pytest.raises(ValueError, match="p >= 1"):
        arm.normalize(jnp.ones(3), jnp.ones(3, bool), 0.5)


# The objective


def objective(module, logits, labels, detach=True, **options):
    v = arm.confidence(logits, detach=detach)
    valid = losses.valid_pixels(labels)
    loss = losses.cross_entropy(logits, labels)
    return arm.adversarial_objective(module, v, loss, valid, detach=detach, **options)


def test_gradient_of_detached_weights_is_exactly_zero():
    logits, labels, valid = random_batch()
    module = learned()

    def weight_of_one_pixel(logits, detach):
        v = arm.confidence(logits, detach=detach)
        return arm.normalize(module(v), valid)[tuple(jnp.argwhere(valid)[0])]

    assert np.all(jax.grad(weight_of_one_pixel)(logits, True) == 0)
    assert np.any(jax.grad(weight_of_one_pixel)(logits, False) != 0)
    # ... and through the objective, even where the caller forgot to detach the confidence.
    loss = losses.cross_entropy(logits, labels)

    def total(v):
        return arm.adversarial_objective(module, v, loss, valid).total

    assert np.all(jax.grad(total)(arm.confidence(logits, detach=False)) == 0)


def test_uncoupled_segmenter_has_exactly_the_gradient_of_cross_entropy():
    logits, labels, valid = random_batch()
    module = learned()

    def with_arm(logits, coupled):
        return objective(module, logits, labels, coupled=coupled).total

    def plain(logits):
        return losses.mean_over(losses.cross_entropy(logits, labels), valid)

    uncoupled = jax.jit(jax.grad(with_arm))(logits, False)
    np.testing.assert_array_equal(uncoupled, jax.jit(jax.grad(plain))(logits))
    base = jax.grad(lambda logits: objective(None, logits, labels).total)
    np.testing.assert_array_equal(uncoupled, jax.jit(base)(logits))
    assert np.any(jax.jit(jax.grad(with_arm))(logits, True) != uncoupled)


@pytest.mark.parametrize("coupled", [False, True])
def test_one_gradient_serves_both_players(coupled):
    logits, labels, valid = random_batch()
    graph, params = nnx.split(learned())
    loss = losses.cross_entropy(logits, labels)
    v = arm.confidence(logits)

    def total(logits, params):
        return objective(nnx.merge(graph, params), logits, labels, coupled=coupled).total

    def climbed(params):
        return jnp.sum(arm.normalize(nnx.merge(graph, params)(v), valid) * loss)

    def descended(logits):
        loss = losses.cross_entropy(logits, labels)
        weights = arm.normalize(nnx.merge(graph, params)(v), valid)
        return jnp.sum((weights if coupled else valid / valid.sum()) * loss)

    for_segmenter, for_arm = jax.grad(total, argnums=(0, 1))(logits, params)
    np.testing.assert_allclose(for_segmenter, jax.grad(descended)(logits), atol=1e-8)
    for got, expected in zip(
        jax.tree.leaves(for_arm), jax.tree.leaves(jax.grad(climbed)(params)), strict=True
    ):
        np.testing.assert_allclose(got, expected, atol=1e-6)
    assert max(np.abs(x).max() for x in jax.tree.leaves(for_arm)) > 1e-4
    np.testing.assert_allclose(total(logits, params), descended(logits), rtol=1e-6)


def test_what_is_logged():
    logits, labels, valid = random_batch()
    loss = losses.cross_entropy(logits, labels)
    module = arm.LinearArm()
    w = np.asarray(module(arm.confidence(logits)))[valid]
    for coupled in (False, True):
        o = objective(module, logits, labels, coupled=coupled)
        np.testing.assert_allclose(o.plain, loss[valid].mean(), rtol=1e-6)
        np.testing.assert_allclose(o.weighted, np.sum(w * loss[valid]) / np.sum(w), rtol=1e-5)
        np.testing.assert_allclose(o.ratio, o.weighted / o.plain, rtol=1e-6)
        assert o.main == (o.weighted if coupled else o.plain)
        assert o.total == o.main
        assert o.pixels == valid.sum()
        np.testing.assert_allclose(o.weights.sum(), 1, rtol=1e-6)
        assert np.all(o.weights[~valid] == 0)


def test_segmenter_that_sees_the_weights():
    """detach=False gives the gradient of the plain expression, whatever path it takes."""
    logits, labels, valid = random_batch()
    graph, params = nnx.split(learned())

    def total(logits, params):
        return objective(nnx.merge(graph, params), logits, labels, detach=False).total

    def expression(logits, params):
        w = nnx.merge(graph, params)(arm.confidence(logits, detach=False))
        return jnp.sum(arm.normalize(w, valid) * losses.cross_entropy(logits, labels))

    got = jax.grad(total, argnums=(0, 1))(logits, params)
    expected = jax.grad(expression, argnums=(0, 1))(logits, params)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    detached = jax.grad(lambda z: objective(nnx.merge(graph, params), z, labels).total)(logits)
    assert np.abs(got[0] - detached).max() > 1e-4


def test_arm_may_climb_another_loss():
    logits, labels, valid = random_batch()
    signal = losses.generalized_cross_entropy(logits, labels, 0.7)
    graph, params = nnx.split(learned())

    def gradient(**options):
        return jax.grad(
            lambda params: objective(nnx.merge(graph, params), logits, labels, **options).total
        )(params)

    def climbed(params):
        w = nnx.merge(graph, params)(arm.confidence(logits))
        return jnp.sum(arm.normalize(w, valid) * signal)

    expected = jax.tree.leaves(jax.grad(climbed)(params))
    for a, b, c in zip(
        jax.tree.leaves(gradient(signal=signal)), expected, jax.tree.leaves(gradient()), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-6)
        assert np.any(a != c)


def test_average_over_all_pixels():
    logits, labels, valid = random_batch()
    share = valid.mean()
    for module in (None, learned()):
        over_valid = objective(module, logits, labels)
        over_all = objective(module, logits, labels, average_over="all")
        np.testing.assert_allclose(over_all.total, over_valid.total * share, rtol=1e-6)
        np.testing.assert_allclose(over_all.plain, over_valid.plain * share, rtol=1e-6)
        np.testing.assert_allclose(over_all.ratio, over_valid.ratio, rtol=1e-6)
        np.testing.assert_allclose(over_all.weights, over_valid.weights, rtol=1e-6)
    with pytest.raises(ValueError, match="average_over"):
        objective(None, logits, labels, average_over="pixels")


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("average_over", ["valid", "all"])
def test_batch_without_labels_moves_nobody(detach, average_over):
    logits, labels, _ = random_batch()
    graph, params = nnx.split(learned())

    def total(logits, params):
        o = objective(
            nnx.merge(graph, params),
            logits.at[0, 0, 0].set(jnp.nan),  # what stands at an ignored pixel does not matter
            jnp.full_like(labels, 255),
            detach=detach,
            average_over=average_over,
        )
        return o.total, o

    (value, o), gradients = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(logits, params)
    assert value == 0
    assert o.ratio == 1
    assert o.pixels == 0
    assert np.all(o.weights == 0)
    # The gradient of a softmax of NaN is NaN whatever it is multiplied by: leave that pixel out.
    gradients = (gradients[0].at[0, 0, 0].set(0), gradients[1])
    assert all(np.all(g == 0) for g in jax.tree.leaves(gradients))


@pytest.mark.parametrize("groups", [1, 8])
def test_eight_devices_equal_one(groups):
    logits, labels, _ = random_batch(shape=(8, 6, 7))
    graph, params = nnx.split(learned())
    mesh = sharding.make_mesh()
    assert mesh.size == 8

    @jax.jit
    def step(params, logits, labels):
        def total(logits, params):
            o = objective(nnx.merge(graph, params), logits, labels, groups=groups)
            return o.total, o

        return jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(logits, params)

    one = step(params, logits, labels)
    replicated = jax.device_put(params, sharding.replicated(mesh))
    many = step(replicated, *jax.device_put((logits, labels), sharding.by_batch(mesh)))
    assert many[1][0].sharding.spec == PartitionSpec(sharding.AXIS)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


# Other people's models


def bare_segmenter():
    def apply(params, x):
        return x @ params["kernel"]

    return apply, {"kernel": jax.random.normal(jax.random.key(0), (3, 5))}


def linen_segmenter():
    module = linen.Dense(5)
    return module.apply, module.init(jax.random.key(0), jnp.zeros((1, 3)))


def nnx_segmenter():
    graph, params = nnx.split(nnx.Linear(3, 5, rngs=nnx.Rngs(0)))
    return lambda params, x: nnx.merge(graph, params)(x), params


@pytest.mark.parametrize("segmenter", [bare_segmenter, linen_segmenter, nnx_segmenter])
def test_four_lines_for_any_model(segmenter):
    """On one batch, the segmenter's step lowers the objective, and ARM's step raises it."""
    apply, params = segmenter()
    graph, arm_params = nnx.split(learned())
    players = {"segmenter": params, "arm": arm_params}
    tx = optimizer.create(lambda step: 0.1)
    _, labels, valid = random_batch()
    x = jax.random.normal(jax.random.key(3), (*labels.shape, 3))

    def q(players):
        logits = apply(players["segmenter"], x)
        v = arm.confidence(logits)
        loss = losses.cross_entropy(logits, labels)
        o = arm.adversarial_objective(nnx.merge(graph, players["arm"]), v, loss, valid)
        return o.total

    before, gradients = jax.value_and_grad(q)(players)
    updates, _ = tx.update(gradients, tx.init(players), players)
    moved = optax.apply_updates(players, updates)
    assert q({**players, "segmenter": moved["segmenter"]}) < before - 1e-5
    assert q({**players, "arm": moved["arm"]}) > before + 1e-6


def test_any_leading_shape_and_any_function_of_confidence():
    logits, labels, _ = random_batch(shape=(24,))
    flat = objective(lambda v: jnp.exp(-v), logits, labels)
    cube = objective(lambda v: jnp.exp(-v), logits.reshape(2, 3, 4, 5), labels.reshape(2, 3, 4))
    np.testing.assert_allclose(flat.total, cube.total, rtol=1e-6)
    np.testing.assert_allclose(flat.weights, cube.weights.reshape(24), rtol=1e-6)
