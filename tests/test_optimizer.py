"""Down for the segmenter, up for ARM."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from flax import nnx

from arm_jax import arm, optimizer, schedules

DECAY = 0.1
MOMENTUM = 0.9


class Players(nnx.Module):
    def __init__(self, player, *, rngs):
        self.segmenter = nnx.Linear(3, 2, rngs=rngs)
        self.arm = player


def pull(params):
    """A loss that pulls every parameter its own way."""
    leaves = jax.tree.leaves(params)
    return sum(jnp.sum(jnp.sin(x + i) * (1 + i)) for i, x in enumerate(leaves))


gradient = jax.grad(pull)


exact = functools.partial(jax.jit, compiler_options=tiny.EXACT)


def run(tx, params, steps):
    state = tx.init(params)

    @exact
    def step(params, state):
        updates, state = tx.update(gradient(params), state, params)
        return optax.apply_updates(params, updates), state

    for _ in range(steps):
        params, state = step(params, state)
    return params


def sgd(params, steps, rates, *, maximize=False):
    """SGD with momentum and decay as PyTorch documents it, written out.

    `maximize` negates the gradient before the decay is added to it.
    """
    sign = -1.0 if maximize else 1.0

    @exact
    def step(params, momentum, rate):
        direction = jax.tree.map(lambda g, x: sign * g + DECAY * x, gradient(params), params)
        momentum = jax.tree.map(lambda m, d: MOMENTUM * m + d, momentum, direction)
        return jax.tree.map(lambda x, m: x - rate * m, params, momentum), momentum

    momentum = jax.tree.map(jnp.zeros_like, params)
    for i in range(steps):
        params, momentum = step(params, momentum, rates(i))
    return params


def fifty_steps():
    return schedules.learning_rate(50, base=0.05)


def start():
    key = jax.random.key(0)
    return {
        "segmenter": {"kernel": jax.random.normal(key, (3, 4)), "bias": jnp.ones(4)},
        "arm": [jax.random.normal(key, (5,)), jnp.full(2, -0.5)],
    }


def test_equals_two_hand_written_optimisers_over_fifty_steps():
    with jax.enable_x64():
        params = jax.tree.map(lambda x: x.astype(jnp.float64), start())
        rates = fifty_steps()
        tx = optimizer.create(rates, momentum=MOMENTUM, weight_decay=DECAY)
        got = run(tx, params, 50)
        down = sgd(params, 50, rates)
        up = sgd(params, 50, rates, maximize=True)
        for a, b in zip(
            jax.tree.leaves(got),
            jax.tree.leaves({"segmenter": down["segmenter"], "arm": up["arm"]}),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)
        assert np.abs(got["arm"][0] - down["arm"][0]).max() > 0.1  # ... and not descent


def test_literal_is_a_negative_learning_rate():
    with jax.enable_x64():
        params = jax.tree.map(lambda x: x.astype(jnp.float64), start())
        rates = fifty_steps()
        tx = optimizer.create(rates, momentum=MOMENTUM, weight_decay=DECAY, arm_decay="literal")
        got = run(tx, params, 50)["arm"]
        negative = sgd(params, 50, lambda i: -rates(i))["arm"]
        for a, b in zip(got, negative, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("how", "sign"), [("decay", -1), ("none", 0), ("literal", 1)], ids=["decay", "none", "literal"]
)
def test_decay_without_gradient(how, sign):
    """Decay shrinks both players; literally flipped, ARM grows by exp(sum lr wd / (1 - mu))."""
    total, decay = 4000, 1e-2
    rates = schedules.learning_rate(total, base=0.02)
    tx = optimizer.create(rates, momentum=MOMENTUM, weight_decay=decay, arm_decay=how)
    params = {"segmenter": jnp.ones(2), "arm": jnp.ones(2)}
    zero = jax.tree.map(jnp.zeros_like, params)

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(zero, state, params)
        return (optax.apply_updates(params, updates), state), None

    (params, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, length=total))(
        (params, tx.init(params))
    )
    exponent = float(np.sum(jax.vmap(rates)(jnp.arange(total)))) * decay / (1 - MOMENTUM)
    assert exponent > 4
    np.testing.assert_allclose(np.log(params["arm"]), sign * exponent, rtol=0.03, atol=1e-6)
    np.testing.assert_allclose(np.log(params["segmenter"]), -exponent, rtol=0.03)


def adamw(params, steps, rates, decay, *, up=False, multiplier=1.0):
    """AdamW of Loshchilov and Hutter, Algorithm 2, written out; `up` climbs and still decays."""
    sign = 1.0 if up else -1.0
    first = second = jax.tree.map(jnp.zeros_like, params)
    for i in range(1, steps + 1):
        found = gradient(params)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, found)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, found)

        def moved(x, m, v, i=i):
            direction = (m / (1 - 0.9**i)) / (jnp.sqrt(v / (1 - 0.999**i)) + 1e-8)
            return x + multiplier * rates(i - 1) * (sign * direction - decay * x)

        params = jax.tree.map(moved, params, first, second)
    return params


def test_adamw_climbs_for_arm_and_decays_both():
    with jax.enable_x64():
        params = jax.tree.map(lambda x: x.astype(jnp.float64), start())
        rates = fifty_steps()
        tx = optimizer.create(
            rates, kind="adamw", momentum=0.9, weight_decay=DECAY, arm_multiplier=3.0
        )
        got = run(tx, params, 20)
        down = adamw(params, 20, rates, DECAY)
        up = adamw(params, 20, rates, DECAY, up=True, multiplier=3.0)
        expected = {"segmenter": down["segmenter"], "arm": up["arm"]}
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), got, expected)


@pytest.mark.parametrize(("how", "sign"), [("decay", -1), ("none", 0), ("literal", 1)])
@pytest.mark.parametrize("options", [{"kind": "adamw"}, {"arm_step_lengths": lambda step: 0.05}])
def test_decay_of_arm_in_other_steps(options, how, sign):
    """Without a gradient, n steps scale ARM by (1 - rate decay)^n, or leave it, or grow it."""
    tx = optimizer.create(lambda step: 0.05, weight_decay=0.1, arm_decay=how, **options)
    params = {"segmenter": jnp.ones(2), "arm": jnp.ones(2)}
    state = tx.init(params)
    for _ in range(10):
        updates, state = tx.update(jax.tree.map(jnp.zeros_like, params), state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params["arm"], (1 + sign * 0.05 * 0.1) ** 10, rtol=1e-5)


def test_every_player_is_clipped_by_its_own_norm():
    params = {"segmenter": jnp.zeros(2), "arm": {"a": jnp.zeros(1), "b": jnp.zeros(1)}}
    tx = optimizer.create(lambda step: 1.0, momentum=None, weight_decay=0.0, clip_norm=0.5)
    gradients = {"segmenter": jnp.array([30.0, 40.0]), "arm": {"a": jnp.ones(1), "b": jnp.ones(1)}}
    updates, state = tx.update(gradients, tx.init(params), params)
    np.testing.assert_allclose(updates["segmenter"], [-0.3, -0.4], rtol=1e-6)  # down
    np.testing.assert_allclose(optax.global_norm(updates["arm"]), 0.5, rtol=1e-6)
    assert updates["arm"]["a"] > 0  # up, and not shrunk by the segmenter's norm
    small = jax.tree.map(lambda g: g / 1000, gradients)
    updates, _ = tx.update(small, state, params)
    np.testing.assert_allclose(updates["segmenter"], [-0.03, -0.04], rtol=1e-6)


@pytest.mark.parametrize("kind", optimizer.KINDS)
def test_step_lengths_of_arm_do_not_depend_on_its_gradient(kind):
    params = start()
    tx = optimizer.create(
        lambda step: 0.01,
        kind=kind,
        weight_decay=0.0,
        arm_step_lengths=lambda step: 0.5 / (1 + step),
    )
    state = tx.init(params)
    for step in range(3):
        gradients = jax.tree.map(lambda x, step=step: 10.0 ** (-3 * step) * x, gradient(params))
        updates, state = tx.update(gradients, state, params)
        length = optax.global_norm(gradients["arm"])
        expected = jax.tree.map(lambda g, k=step, n=length: 0.5 / (1 + k) / n * g, gradients["arm"])
        for a, b in zip(updates["arm"], expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4)
    none = jax.tree.map(jnp.zeros_like, params)
    assert all(not x.any() for x in tx.update(none, state, params)[0]["arm"])


def test_multiplier_is_on_the_rate_of_arm_alone():
    params = start()
    one = run(optimizer.create(lambda s: 0.01, weight_decay=0.0), params, 1)
    ten = run(optimizer.create(lambda s: 0.01, weight_decay=0.0, arm_multiplier=10), params, 1)
    np.testing.assert_array_equal(one["segmenter"]["kernel"], ten["segmenter"]["kernel"])
    np.testing.assert_allclose(
        ten["arm"][0] - params["arm"][0], 10 * (one["arm"][0] - params["arm"][0]), rtol=1e-4
    )


@pytest.mark.parametrize("momentum", [None, 0.0])
def test_momentum_may_be_left_out(momentum):
    params = start()
    got = run(optimizer.create(lambda s: 0.01, momentum=momentum, weight_decay=0.0), params, 3)
    expected = params
    for _ in range(3):
        gradient = jax.grad(pull)(expected)
        expected = {
            k: jax.tree.map(
                lambda x, g, k=k: x + (0.01 if k == "arm" else -0.01) * g, v, gradient[k]
            )
            for k, v in expected.items()
        }
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize("player", ["learned", "linear", "none"])
def test_works_on_nnx_modules_with_and_without_a_learned_arm(player):
    rngs = nnx.Rngs(0)
    module = {"learned": arm.Arm(rngs=rngs), "linear": arm.LinearArm(), "none": None}[player]
    model = Players(module, rngs=rngs)
    tx = optimizer.create(lambda s: 0.1, momentum=MOMENTUM, weight_decay=0.0)
    before = jax.tree.map(jnp.array, nnx.state(model, nnx.Param))
    nnx_optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    ones = jax.tree.map(jnp.ones_like, before)
    nnx_optimizer.update(model, ones)
    after = nnx.state(model, nnx.Param)
    moved = jax.tree.map(lambda a, b: a - b, after, before)
    for path, change in jax.tree_util.tree_leaves_with_path(moved):
        expected = 0.1 if path[0].key == "arm" else -0.1
        np.testing.assert_allclose(change, expected, rtol=1e-5)
    assert ("arm" in dict(after)) == (player == "learned")


def test_labels_may_be_given():
    params = {"net": jnp.ones(2), "player": jnp.ones(2)}
    labels = {"net": "segmenter", "player": "arm"}
    tx = optimizer.create(lambda s: 0.1, weight_decay=0.0, labels=labels)
    updates, _ = tx.update(params, tx.init(params), params)
    np.testing.assert_allclose(updates["net"], -0.1)
    np.testing.assert_allclose(updates["player"], 0.1)


def test_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind must be one of sgd, adamw, got 'adam'"):
        optimizer.create(lambda s: 0.1, kind="adam")


def test_unknown_decay_is_refused():
    with pytest.raises(ValueError, match="arm_decay must be one of decay, literal, none"):
        optimizer.create(lambda s: 0.1, arm_decay="grow")


@pytest.mark.parametrize("kind", optimizer.KINDS)
def test_the_backbone_has_a_rate_of_its_own_and_nothing_else_has(kind):
    """By a run at a tenth of the rate, of which decay and momentum are part."""
    key = jax.random.key(3)
    params = {
        "segmenter": {"backbone": jax.random.normal(key, (3, 4)), "head": jnp.ones(4)},
        "arm": {"backbone": jnp.ones(2)},  # whatever a player of one's own calls its parts
    }

    def moved(rate, **options):
        tx = optimizer.create(lambda step: rate, kind=kind, weight_decay=0.1, **options)
        state = tx.init(params)
        for _ in range(3):  # the same gradients at the same place
            updates, state = tx.update(params, state, params)
        return updates

    usual, slow = moved(0.1), moved(0.01)
    found = moved(0.1, backbone_multiplier=0.1)
    np.testing.assert_allclose(
        found["segmenter"]["backbone"], slow["segmenter"]["backbone"], rtol=1e-5
    )
    np.testing.assert_array_equal(found["segmenter"]["head"], usual["segmenter"]["head"])
    np.testing.assert_array_equal(found["arm"]["backbone"], usual["arm"]["backbone"])
