"""The objective of the two players, alone and on other people's models."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from arm_batches import learned, random_batch
from flax import linen, nnx
from jax.sharding import PartitionSpec

from arm_jax import arm, losses, optimizer
from arm_jax.system import sharding


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

    assert np.all(jax.jit(jax.grad(total))(arm.confidence(logits, detach=False)) == 0)


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

    for_segmenter, for_arm = jax.jit(jax.grad(total, argnums=(0, 1)))(logits, params)
    np.testing.assert_allclose(for_segmenter, jax.jit(jax.grad(descended))(logits), atol=1e-8)
    for got, expected in zip(
        jax.tree.leaves(for_arm), jax.tree.leaves(jax.jit(jax.grad(climbed))(params)), strict=True
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

    got = jax.jit(jax.grad(total, argnums=(0, 1)))(logits, params)
    expected = jax.jit(jax.grad(expression, argnums=(0, 1)))(logits, params)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    detached = jax.jit(jax.grad(lambda z: objective(nnx.merge(graph, params), z, labels).total))(
        logits
    )
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

    expected = jax.tree.leaves(jax.jit(jax.grad(climbed))(params))
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
    # ARM's step is scaled as the segmenter's is.
    graph, params = nnx.split(learned())

    def total(params, average_over):
        return objective(nnx.merge(graph, params), logits, labels, average_over=average_over).total

    for a, b in zip(
        jax.tree.leaves(jax.grad(total)(params, "all")),
        jax.tree.leaves(jax.grad(total)(params, "valid")),
        strict=True,
    ):
        np.testing.assert_allclose(a, b * share, rtol=1e-4, atol=1e-8)
        assert np.abs(b).max() > 1e-6
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

    (value, o), gradients = jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))(
        logits, params
    )
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

    before, gradients = jax.jit(jax.value_and_grad(q))(players)
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


# Images that ARM does not weigh


@pytest.mark.parametrize(
    ("average_over", "match", "groups"),
    [("valid", False, 1), ("all", False, 1), ("valid", True, 4), ("all", True, 1)],
)
def test_arm_plays_on_the_weighed_images_alone(average_over, match, groups):
    """Value and gradient against the same batch without the others, and against hand arithmetic."""
    logits, labels, _ = random_batch(shape=(4, 6, 7))
    weighed = jnp.array([True, False, True, True])
    graph, params = nnx.split(learned())
    options = {"average_over": average_over, "match": match}

    def total(params, logits, labels, groups, **more):
        found = objective(nnx.merge(graph, params), logits, labels, groups=groups, **more)
        return found.total, found

    grad = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)
    mask = weighed[:, None, None]
    (_, found), (of_arm, of_logits) = grad(params, logits, labels, groups, weighed=mask, **options)
    alone = [x[weighed] for x in (logits, labels)]
    (_, without), (expected, _) = grad(params, *alone, groups - (groups > 1), **options)
    for a, b in zip(jax.tree.leaves(of_arm), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    assert max(np.abs(x).max() for x in jax.tree.leaves(of_arm)) > 1e-5

    valid = np.asarray(labels != 255)
    n, m = valid.sum(), valid[weighed].sum()
    np.testing.assert_allclose(found.weights[1], valid[1] / n, rtol=1e-6)
    np.testing.assert_allclose(
        found.weights[weighed], without.weights * m / n, rtol=1e-5, atol=1e-9
    )
    loss = np.asarray(losses.cross_entropy(logits, labels))
    inside = np.sum(np.asarray(without.weights) * loss[weighed])
    plain = loss.sum() / n
    scale = 1.0 if average_over == "valid" else n / valid.size
    weighted = m / n * inside + loss[1].sum() / n
    np.testing.assert_allclose(found.weighted, scale * weighted, rtol=1e-5)
    np.testing.assert_allclose(found.main, scale * (plain if match else weighted), rtol=1e-5)
    # The unweighed image teaches the segmenter with exactly the plain loss.
    slope = jax.grad(lambda x: jnp.sum(losses.cross_entropy(x, labels[1])) * scale / n)(logits[1])
    np.testing.assert_allclose(of_logits[1], slope, rtol=1e-5, atol=1e-8)


def test_a_batch_without_a_weighed_image_moves_the_segmenter_alone():
    logits, labels, _ = random_batch(shape=(2, 6, 7))
    graph, params = nnx.split(learned())

    def total(params, logits, weighed):
        module = nnx.merge(graph, params)
        return objective(module, logits, labels, weighed=weighed).total

    none = jnp.zeros((2, 1, 1), bool)
    of_arm, of_logits = jax.grad(total, argnums=(0, 1))(params, logits, none)
    assert all(np.all(g == 0) for g in jax.tree.leaves(of_arm))
    plain = jax.grad(lambda logits: objective(None, logits, labels).total)(logits)
    np.testing.assert_allclose(of_logits, plain, rtol=1e-6)
    every = jax.grad(total, argnums=(0, 1))(params, logits, ~none)
    usual = jax.grad(lambda *a: total(*a, None), argnums=(0, 1))(params, logits)
    for a, b in zip(jax.tree.leaves(every), jax.tree.leaves(usual), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-8)
