"""What the paper proves and what it observes about ARM, seen (Secs. 3.3, 3.4, 4.3)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from arm_jax import arm, losses, optimizer, schedules, theorem

# A loss that grows as confidence falls, on the confidences of a street scene: most pixels certain,
# few on boundaries. u = (1-v)/2 is a mixture of Beta(0.4, 12) and Beta(2, 2.2).


def pixels(number):
    """Confidence and loss of `number` pixels, at evenly spaced quantiles: (number,), (number,)."""
    rng = np.random.default_rng(0)
    certain = rng.random(200_000) < 0.88
    u = np.where(certain, rng.beta(0.4, 12, 200_000), rng.beta(2, 2.2, 200_000))
    u = np.quantile(u, (np.arange(number) + 0.5) / number)
    loss = 0.03 + 1.6 * u + 0.9 * u**2
    return jnp.asarray(1 - 2 * u, jnp.float32), jnp.asarray(loss, jnp.float32)


def seeds(number):
    """The 53-parameter module, and `number` initialisations of it along a first axis."""
    states = [nnx.split(arm.Arm(rngs=nnx.Rngs(seed))) for seed in range(number)]
    return states[0][0], jax.tree.map(lambda *x: jnp.stack(x), *(state for _, state in states))


def climb(tx, gain, params, steps):
    """`steps` of `tx` on `gain(params, step's key)` for many params at once; returns Q of all."""

    def one(params, key):
        players = {"arm": params}

        def step(carry, key):
            players, state = carry
            value, slope = jax.value_and_grad(lambda x: gain(x["arm"], key))(players)
            updates, state = tx.update(slope, state, players)
            return (optax.apply_updates(players, updates), state), value

        keys = jax.random.split(key, steps)
        (players, _), values = jax.lax.scan(step, (players, tx.init(players)), keys)
        return players["arm"], values

    number = jax.tree.leaves(params)[0].shape[0]
    return jax.jit(jax.vmap(one))(params, jax.random.split(jax.random.key(0), number))


def adam(rate=0.03):
    return optax.chain(optax.scale(-1.0), optax.adam(rate))


def paper_sgd(steps=40_000, **options):
    return optimizer.create(schedules.learning_rate(steps), **options)


def holder_ratios(w, loss, p):
    """Of weights (seeds, n): every pixel is a bin of its own."""

    def of_one(w):
        return theorem.holder_ratio(theorem.Histogram(jnp.ones_like(loss), loss, w), p)

    return np.asarray(jax.vmap(of_one)(w))


def learn(tx, steps, p, number, size=128):
    """Weights (number, size) that the module learns on the fixed loss, its Hölder ratios, and v."""
    v, loss = pixels(size)
    graph, params = seeds(number)

    def gain(params, _):
        w = arm.normalize(nnx.merge(graph, params)(v), jnp.ones(size, bool), p)
        return jnp.sum(w * loss)

    params, _ = climb(tx, gain, params, steps)
    w = jax.vmap(lambda params: nnx.merge(graph, params)(v))(params)
    return np.asarray(w), holder_ratios(w, loss, p), v


# Equations 10 to 12: a table instead of a network

LOSS = jnp.array([1.2, 0.6, 0.1])


def normalize_differentiating_both(w, p):
    w = w / jnp.sum(w**p) ** (1 / p)
    return w / jnp.sum(w)


def tabulate(p, counts, loss=LOSS, normalize=None):
    """The three weights, over the first, after climbing; `counts` pixels share each."""
    place = np.repeat(np.arange(3), counts)
    valid = jnp.ones(len(place), bool)
    normalize = normalize or (lambda w, p: arm.normalize(w, valid, p))

    def gain(table, _):
        return jnp.sum(normalize(jax.nn.sigmoid(table)[place], p) * loss[place])

    tables, _ = climb(adam(0.05), gain, jnp.zeros((1, 3)), 3000)
    w = jax.nn.sigmoid(tables[0])
    return w / w[0]


@pytest.mark.parametrize("p", [1.5, 2.0, 3.0])
@pytest.mark.parametrize("counts", [(1, 5, 50), (7, 3, 2)])
def test_table_converges_to_equation_12(p, counts):
    expected = (LOSS / LOSS[0]) ** (1 / (p - 1))
    np.testing.assert_allclose(tabulate(p, counts), expected, atol=1e-3)


def test_table_with_norm_one_is_sparse():
    np.testing.assert_allclose(tabulate(1.0, (1, 5, 50)), [1, 0, 0], atol=1e-3)


def test_if_both_norms_are_differentiated_p_means_nothing():
    """The reason for the stop_gradient: w / |w|_p / |..|_1 = w / |w|_1, and all is p = 1."""
    w = jnp.array([0.9, 0.5, 0.2])
    gradients = [
        jax.jit(jax.grad(lambda w, p=p: jnp.sum(normalize_differentiating_both(w, p) * LOSS)))(w)
        for p in (1.0, 2.0, 3.0)
    ]
    np.testing.assert_allclose(gradients[0], gradients[1], atol=1e-6)
    np.testing.assert_allclose(gradients[0], gradients[2], atol=1e-6)
    for p in (2.0, 3.0):
        sparse = tabulate(p, (1, 5, 50), normalize=normalize_differentiating_both)
        np.testing.assert_allclose(sparse, [1, 0, 0], atol=1e-3)


def test_negative_losses_make_the_weights_sparse():
    """Why ARM climbs a shifted signal beside the KL loss."""
    w = tabulate(2.0, (1, 1, 1), loss=jnp.array([1.2, 0.6, -0.5]))
    np.testing.assert_allclose(w, [1, 0.5, 0], atol=2e-3)


@pytest.mark.parametrize("p", [1.5, 2.0, 3.0])
def test_analytic_gradient(p):
    """dQ/dw_j = (l_j - Q_p u_j^(p-1)) / |w|_1 with u = w / |w|_p and Q_p = sum u l."""
    rng = np.random.default_rng(0)
    w, loss = rng.uniform(0.05, 1, 50), rng.exponential(size=50)
    gradient = jax.jit(jax.grad(lambda w: jnp.sum(arm.normalize(w, jnp.ones(50, bool), p) * loss)))(
        jnp.asarray(w, jnp.float32)
    )
    u = w / np.sum(w**p) ** (1 / p)
    expected = (loss - np.sum(u * loss) * u ** (p - 1)) / w.sum()
    np.testing.assert_allclose(gradient, expected, atol=1e-6)
    assert abs(np.sum(w * gradient)) < 1e-6  # Euler: Q does not depend on the scale of w


# Theorem 3.1: the module reaches Hölder's equality


def test_adam_reaches_the_optimum_from_every_seed():
    _, loss = pixels(256)
    assert 0.46 < holder_ratios(jnp.ones((1, 256)), loss, 2.0) < 0.48  # what uniform weights give
    w, ratios, _ = learn(adam(), 1000, 2.0, 16, size=256)
    assert ratios.min() >= 0.9995
    optimum = np.asarray(loss) / np.mean(loss)
    assert min(np.corrcoef(x, optimum)[0, 1] for x in w) > 0.997


@pytest.mark.parametrize("p", [2.0, pytest.param(3.0, marks=pytest.mark.slow)])
def test_the_papers_optimiser_reaches_the_optimum(p):
    """SGD with its schedule over T = 40,000; ARM suppresses the confident (Eq. 7)."""
    w, ratios, v = learn(paper_sgd(), 40_000, p, 16, size=64)
    assert ratios.min() >= 0.99
    assert np.median(ratios) >= 0.999
    order = np.argsort(v)
    assert np.all(np.diff(w[:, order], axis=1) <= 1e-7)


def test_isolated_phase_is_what_gets_arm_started():
    """From uniform weights to near the optimum in 0.05 T = 2,000 steps, before they are used."""
    _, ratios, _ = learn(paper_sgd(), schedules.boundary(0.05, 40_000), 2.0, 8, size=64)
    assert ratios.min() > 0.98


def test_short_runs_need_a_multiplier():
    """At the paper's learning rate, 200 steps often leave W uniform: the warning's case."""
    _, loss = pixels(64)

    def stayed_uniform(multiplier):
        w, _, _ = learn(paper_sgd(200, arm_multiplier=multiplier), 200, 2.0, 16, size=64)
        return sum(
            bool(theorem.stayed_uniform(theorem.Histogram(jnp.ones(64), loss, x))) for x in w
        )

    assert stayed_uniform(1) >= 4
    assert stayed_uniform(10) == 0


# Table 2: p = 1


def test_norm_one_puts_its_mass_on_the_hardest_pixels():
    _, loss = pixels(128)
    w, _, _ = learn(paper_sgd(), 4000, 1.0, 4)
    share = w / w.sum(axis=1, keepdims=True)
    assert np.all(share @ np.asarray(loss) > 0.95 * loss.max())
    assert np.all(share[:, np.argmax(loss)] > 0.9)
    assert np.all(holder_ratios(jnp.asarray(share), loss, 2.0) < 0.5)


def half_precision_arm(graph, params, v):
    """The module in float16, as under the mixed precision of the paper's time."""
    x = v.astype(jnp.float16)[:, None]
    layers = nnx.merge(graph, params).layers
    for layer in layers:
        kernel, bias = layer.kernel[...].astype(x.dtype), layer.bias[...].astype(x.dtype)
        x = jnp.dot(x, kernel, preferred_element_type=x.dtype) + bias[None]
        x = jax.nn.swish(x) if layer is not layers[-1] else jax.nn.sigmoid(x)
    return x[:, 0]


def half_precision_normalize(w, p):
    w = w / jnp.sum(w**p, dtype=w.dtype) ** (1 / p)
    return w / jax.lax.stop_gradient(jnp.sum(w, dtype=w.dtype))


@functools.cache
def mini_batches(p, half):
    """Q over 2,000 steps of the paper's SGD on mini-batches of 128 pixels, 4 seeds."""
    v, loss = pixels(4096)
    graph, params = seeds(4)

    def gain(params, key):
        batch = jax.random.randint(key, (128,), 0, 4096)
        if half:
            w = half_precision_arm(graph, params, v[batch])
            return jnp.sum(half_precision_normalize(w, p).astype(jnp.float32) * loss[batch])
        w = nnx.merge(graph, params)(v[batch])
        return jnp.sum(arm.normalize(w, jnp.ones(128, bool), p) * loss[batch])

    return np.asarray(climb(paper_sgd(), gain, params, 2000)[1])


def test_norm_one_in_half_precision_is_nan_within_the_isolated_phase():
    """Table 2's NaN: once all weight is on the hardest pixels, a batch without them is 0/0."""
    assert not np.any(np.isfinite(mini_batches(1, half=True)[:, -1]))
    assert np.all(np.isfinite(mini_batches(2, half=True)))


def test_norm_one_is_finite_here():
    """A batch without its favourites still has a largest weight, which `normalize` divides by."""
    q = mini_batches(1, half=False)
    assert np.all(np.isfinite(q))
    assert np.all(q[:, -200:].mean(axis=1) > 1.8)  # of at most 2.53; uniform weights give 0.22


# Table 1: without the detach the segmenter cheats


def accuracy_of_toy(detach, steps=300, classes=19):
    """Nearest-centre classes in the plane, 10 % of the labels random, suppressing LinearArm."""
    keys = jax.random.split(jax.random.key(0), 3)
    centers = jax.random.uniform(keys[0], (classes, 2), minval=-1, maxval=1)
    rngs = nnx.Rngs(0)
    net = nnx.Sequential(
        nnx.Linear(2, 64, rngs=rngs), nnx.relu, nnx.Linear(64, 64, rngs=rngs), nnx.relu,
        nnx.Linear(64, classes, rngs=rngs),
    )  # fmt: skip
    graph, params = nnx.split(net)
    tx = optimizer.create(schedules.learning_rate(steps, base=0.1))
    valid = jnp.ones(512, bool)

    def batch(key):
        place, flip, wrong = jax.random.split(key, 3)
        x = jax.random.uniform(place, (512, 2), minval=-1, maxval=1)
        true = jnp.argmin(jnp.sum(jnp.square(x[:, None] - centers[None]), -1), -1)
        noise = jax.random.randint(wrong, (512,), 0, classes)
        return x, true, jnp.where(jax.random.bernoulli(flip, 0.1, (512,)), noise, true)

    def step(carry, key):
        players, state, i = carry
        x, _, labels = batch(key)

        def total(players):
            logits = nnx.merge(graph, players["segmenter"])(4 * x)
            v = arm.confidence(logits, detach=detach)
            loss = losses.cross_entropy(logits, labels)
            coupled = i >= schedules.boundary(0.05, steps)
            o = arm.adversarial_objective(
                arm.LinearArm(), v, loss, valid, coupled=coupled, detach=detach
            )
            return o.total, jnp.mean(v)

        (_, v), slope = jax.value_and_grad(total, has_aux=True)(players)
        updates, state = tx.update(slope, state, players)
        return (optax.apply_updates(players, updates), state, i + 1), v

    @jax.jit
    def run(players):
        start = (players, tx.init(players), 0)
        (players, _, _), v = jax.lax.scan(step, start, jax.random.split(keys[1], steps))
        x, true, _ = batch(keys[2])
        logits = nnx.merge(graph, players["segmenter"])(4 * x)
        return jnp.mean(jnp.argmax(logits, -1) == true), v[-1]

    return run({"segmenter": params})


def test_segmenter_that_sees_the_weights_collapses():
    accuracy, confidence = accuracy_of_toy(detach=True)
    assert accuracy > 0.85
    assert confidence < 0.9
    collapsed, confidence = accuracy_of_toy(detach=False)
    assert collapsed < 0.3
    assert confidence > 0.99  # certain everywhere, and wrong
