"""Monotone and closed-form W(v), and signals that do not follow label noise."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from arm_jax import arm, losses, optimizer, theorem, weightings
from arm_jax.system.errors import InputError
from arm_jax.weightings import WEIGHTINGS, Weighting

GRID = jnp.linspace(-1, 1, 201)


def learn(module, v, loss, steps=1000, p=2.0):
    """What `module` becomes by climbing a fixed loss with Adam: its weights at GRID, and at v."""
    graph, params, rest = nnx.split(module, nnx.Param, ...)
    valid = jnp.ones(v.shape, bool)
    tx = optax.chain(optax.scale(-1.0), optax.adam(0.03))

    def gain(params):
        return jnp.sum(arm.normalize(nnx.merge(graph, params, rest)(v), valid, p) * loss)

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(jax.grad(gain)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    run = jax.jit(lambda carry: jax.lax.scan(step, carry, length=steps)[0])
    learned = nnx.merge(graph, run((params, tx.init(params)))[0], rest)
    return np.asarray(learned(GRID)), learned(v)


def falling(number=256):
    """Confidence and loss of pixels whose mean loss falls with confidence."""
    u = jnp.asarray(np.random.default_rng(0).beta(0.5, 3, number), jnp.float32)
    return 1 - 2 * u, 0.03 + 1.6 * u + 0.9 * u**2


def noisy(share=0.25, number=4000, classes=19):
    """Logits and labels in which `share` of the confident pixels is mislabelled.

    Half of the pixels are certain, and half are between two classes, one of which is right.
    """
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, number)
    sharpness = np.where(np.arange(number) % 2, 9.0, rng.uniform(0, 2, number))
    other = (labels + 1) % classes
    logits = np.full((number, classes), -4.0)
    logits[np.arange(number), labels] = sharpness
    logits[np.arange(number), other] = np.where(np.arange(number) % 2, -4.0, 0.0)
    wrong = (np.arange(number) % 2 == 1) & (rng.random(number) < share)
    labels = np.where(wrong, (labels + 7) % classes, labels)
    return jnp.asarray(logits, jnp.float32), jnp.asarray(labels), wrong


def ratio(w, loss):
    return theorem.holder_ratio(theorem.Histogram(jnp.ones_like(loss), loss, w))


# MonotoneArm


def test_monotone_arm_falls_whatever_its_parameters():
    module = weightings.MonotoneArm(rngs=nnx.Rngs(0))
    graph, params = nnx.split(module)
    assert sum(x.size for x in jax.tree.leaves(params)) == 53
    for seed in range(5):
        keys = iter(jax.random.split(jax.random.key(seed), 8))
        anything = jax.tree.map(lambda x: 2 * jax.random.normal(next(keys), x.shape), params)  # noqa: B023
        w = nnx.merge(graph, anything)(GRID)
        assert np.all(np.diff(w) <= 0)
        assert np.all((w >= 0) & (w <= 1))
    assert module(jnp.zeros((2, 3))).shape == (2, 3)


@pytest.mark.parametrize("seed", range(3))
def test_monotone_arm_starts_with_a_slope_and_reaches_a_falling_optimum(seed):
    module = weightings.MonotoneArm(rngs=nnx.Rngs(seed))
    start = module(GRID)
    assert 0.05 < start[0] - start[-1] < 0.9
    v, loss = falling()
    assert ratio(jnp.ones_like(loss), loss) < 0.75
    _, w = learn(module, v, loss)
    assert ratio(w, loss) > 0.995


def test_monotone_arm_does_not_turn_to_label_noise():
    logits, labels, _ = noisy()
    v = arm.confidence(logits)
    loss = losses.cross_entropy(logits, labels)
    turned, _ = learn(arm.Arm(rngs=nnx.Rngs(0)), v, loss)
    assert turned[-1] > 1.2 * turned[GRID < 0].mean()  # the adversary focuses on the noise
    held, _ = learn(weightings.MonotoneArm(rngs=nnx.Rngs(0)), v, loss)
    assert np.all(np.diff(held) <= 0)


# Signals that do not follow label noise


@pytest.mark.parametrize("signal", ["trimmed", "generalized"])
def test_robust_signals_keep_arm_on_uncertain_pixels(signal):
    logits, labels, wrong = noisy()
    v = arm.confidence(logits)
    valid = jnp.ones(v.shape, bool)
    loss = losses.cross_entropy(logits, labels)
    robust = {
        "trimmed": losses.trimmed(loss, valid, share=float(wrong.mean())),
        "generalized": losses.generalized_cross_entropy(logits, labels, q=1.0),
    }[signal]
    confident = v > 0.9
    assert loss[confident].mean() > loss[~confident].mean()
    assert robust[confident].mean() < robust[~confident].mean()
    w, _ = learn(arm.Arm(rngs=nnx.Rngs(0)), v, robust)
    assert w[-1] < 0.8 * w[GRID < 0].mean()


def test_trimmed_drops_the_largest():
    rng = np.random.default_rng(0)
    loss = rng.exponential(size=(4, 25)).astype(np.float32)
    valid = rng.random((4, 25)) < 0.8
    number = valid.sum()
    for share in (0.0, 0.1, 0.5):
        kept = np.asarray(losses.trimmed(loss, valid, share)) > 0
        assert kept.sum() == np.ceil((1 - share) * number)
        assert loss[kept].max() <= np.min(loss[valid & ~kept], initial=np.inf)
        np.testing.assert_array_equal(losses.trimmed(loss, valid, share)[kept], loss[kept])
    assert not losses.trimmed(loss, np.zeros_like(valid)).any()
    with pytest.raises(ValueError, match="trimmed share"):
        losses.trimmed(loss, valid, 1.0)


# ClosedFormArm


def test_closed_form_arm_is_uniform_at_first_and_then_the_optimum():
    v, loss = falling(2000)
    valid = jnp.ones(v.shape, bool)
    module = weightings.ClosedFormArm(bins=32)
    np.testing.assert_array_equal(module(GRID), module(GRID)[0])
    assert module(GRID)[0] > 0
    weights = arm.normalize(module(v), valid)
    histogram = theorem.histogram(v, loss, weights, valid, bins=32, stride=1)
    for _ in range(50):
        module.observe(histogram)
    assert ratio(module(v), loss) > 0.9995
    # An average weight of 1, and a mean, not a sum: seeing the same again changes nothing.
    np.testing.assert_allclose(jnp.mean(module(v)), 1, rtol=0.05)
    before = module(GRID)
    module.observe(histogram)
    np.testing.assert_allclose(module(GRID), before, rtol=0.05, atol=1e-3)


def test_closed_form_arm_gives_unseen_confidences_the_average():
    module = weightings.ClosedFormArm(bins=4)
    pixels = jnp.array([0.0, 0.0, 100.0, 100.0])
    module.observe(theorem.Histogram(pixels, pixels * jnp.array([0, 0, 2.0, 1.0]), pixels))
    np.testing.assert_allclose(module.table() / module.table()[3], [1.5, 1.5, 2, 1], rtol=0.02)


def test_closed_form_arm_in_a_training_step():
    """It has no parameters, and its state, apart from them, may change inside the gradient."""

    class Players(nnx.Module):
        def __init__(self, *, rngs):
            self.segmenter = nnx.Linear(3, 5, rngs=rngs)
            self.arm = weightings.ClosedFormArm(bins=8)

    graph, params, rest = nnx.split(Players(rngs=nnx.Rngs(0)), nnx.Param, ...)
    assert "arm" not in dict(params)
    tx = optimizer.create(lambda step: 0.1)
    x = jax.random.normal(jax.random.key(0), (64, 3))
    labels = jax.random.randint(jax.random.key(1), (64,), 0, 5)
    valid = jnp.ones(64, bool)

    @jax.jit
    def step(params, rest, state):
        players = nnx.merge(graph, params, rest)

        def total(players):
            logits = players.segmenter(x)
            v = arm.confidence(logits)
            loss = losses.cross_entropy(logits, labels)
            o = arm.adversarial_objective(players.arm, v, loss, valid)
            histogram = theorem.histogram(v, loss, o.weights, valid, bins=8, stride=1)
            players.arm.observe(histogram)
            return o.total, o

        (_, o), slope = nnx.value_and_grad(total, has_aux=True)(players)
        updates, state = tx.update(slope, state, params)
        rest = nnx.state(players, nnx.Not(nnx.Param))
        return optax.apply_updates(params, updates), rest, state, o

    state = tx.init(params)
    params, rest, state, first = step(params, rest, state)
    params, rest, state, second = step(params, rest, state)
    np.testing.assert_allclose(first.ratio, 1, rtol=1e-6)
    assert second.ratio > 1.001
    np.testing.assert_allclose(rest["arm"]["pixels"][...].sum(), 64 * 1.99, rtol=1e-5)


# the table

SETTINGS = {"input": "var", "p": 2.0, "slope": -0.5, "offset": 0.5}


def settings(kind):
    return types.SimpleNamespace(kind=kind, **SETTINGS)


@pytest.mark.parametrize("kind", WEIGHTINGS)
def test_every_weighting_is_built_and_describes_itself(kind):
    module = weightings.create(settings(kind), nnx.Rngs(0))
    assert (module is None) == (kind == "none")
    assert ("reweighting" if kind == "none" else "ARM") in WEIGHTINGS[kind].describe(settings(kind))


def test_a_weighting_that_is_wrong_about_what_it_observes_is_refused(monkeypatch):
    entry = Weighting(build=lambda *_: arm.LinearArm(), describe=lambda _: "mine", observes=True)
    monkeypatch.setitem(WEIGHTINGS, "mine", entry)
    with pytest.raises(InputError, match="'mine' has observes = True, but its LinearArm has no me"):
        weightings.create(settings("mine"), nnx.Rngs(0))


def test_an_unknown_weighting_is_refused_with_the_list():
    with pytest.raises(InputError, match="weighting 'power' is not known; choose one of learned, "):
        weightings.create(settings("power"), nnx.Rngs(0))
