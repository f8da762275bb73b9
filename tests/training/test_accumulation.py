"""A batch in parts: one objective over the whole batch, whatever the number of parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import nnx

from arm_jax import arm, networks
from arm_jax.training import accumulation
from arm_jax.training import objective as objectives
from arm_jax.training.state import Players


def test_parts_have_the_gradient_of_the_whole_objective():
    """By hand: each part through the network alone, then one objective of all scores."""
    method = tiny.method({"arm.scope": "global"})
    batch = tiny.batch(4)
    images = jnp.asarray(batch["image"], jnp.float32) / 64 - 2
    labels, key = jnp.asarray(batch["label"]), jax.random.key(3)
    players = Players(tiny.Small(), arm.Arm(rngs=nnx.Rngs(1)))
    graphdef, params, statistics = nnx.split(players, nnx.Param, ...)

    @jax.jit
    def by_hand(params, statistics):
        def total(params):
            players = nnx.merge(graphdef, params, jax.tree.map(lambda x: x, statistics))
            model = networks.training(players.segmenter)
            keys = jax.random.split(key, 2)
            found = [
                model(images[2 * i : 2 * i + 2], auxiliary=True, dropout_key=keys[i])
                for i in range(2)
            ]
            scores, auxiliary = (jnp.concatenate(x) for x in zip(*found, strict=True))
            terms = objectives.from_scores(players.arm, scores, auxiliary, labels, method, True)
            return terms.total, nnx.state(players, nnx.Not(nnx.Param))

        (value, statistics), gradients = jax.value_and_grad(total, has_aux=True)(params)
        return value, gradients, statistics

    @jax.jit
    def in_parts(params, statistics):
        players = nnx.merge(graphdef, params, statistics)

        def objective(weighting, *scores):
            terms = objectives.from_scores(weighting, *scores, labels, method, True)
            return terms.total, terms

        terms, gradients = accumulation.value_and_grad(
            players, images, objective, key, parts=2, devices=1
        )
        return terms.total, gradients, nnx.state(players, nnx.Not(nnx.Param))

    expected, found = by_hand(params, statistics), in_parts(params, statistics)
    assert jax.tree.structure(expected[1:]) == jax.tree.structure(found[1:])
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_splitting_keeps_each_device_to_what_it_holds_and_joining_undoes_it():
    x = jnp.arange(24).reshape(12, 2)
    split = accumulation._split(x, 2, 3)
    assert split.shape == (2, 6, 2)
    held = x.reshape(3, 4, 2)  # what each of three devices has
    np.testing.assert_array_equal(split[0].reshape(3, 2, 2), held[:, :2])
    np.testing.assert_array_equal(split[1].reshape(3, 2, 2), held[:, 2:])
    np.testing.assert_array_equal(accumulation._join(split, 3), x)


@pytest.mark.slow
def test_remat_changes_no_step_in_parts():
    """README recommends the two together for small cards."""
    runs = [tiny.Run({"accumulate": 2}, remat=remat) for remat in (False, True)]
    windows = [run.step(tiny.batch(4)) for run in runs]
    assert windows[0] == windows[1]
    assert windows[0]["applied"] == 1
    np.testing.assert_array_equal(runs[0].params(), runs[1].params())
    np.testing.assert_allclose(runs[0].statistics(), runs[1].statistics(), rtol=1e-6)


@pytest.mark.slow
def test_a_run_in_parts_trains_on_one_device_as_on_four():
    runs = [tiny.Run({"accumulate": 2}, devices=devices) for devices in (1, 4)]
    batch = tiny.batch(8)
    # Parts are made of each device's own images, so one device must see them in that order.
    order = np.arange(8).reshape(4, 2).T.ravel()
    shuffled = {name: x[order] for name, x in batch.items()}
    for run, one in zip(runs, (shuffled, batch), strict=True):
        for _ in range(2):
            window = run.step(one)
        assert window["applied"] == 2
    # Dropout masks follow the order of the images.
    np.testing.assert_allclose(runs[0].statistics(), runs[1].statistics(), rtol=1e-3, atol=1e-3)
