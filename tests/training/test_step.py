"""The training step: who moves, by how much, and when nobody does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import nnx

from arm_jax.networks.input import normalize
from arm_jax.training import objective as objectives
from arm_jax.training import state as states


def test_eight_devices_equal_one():
    runs = [tiny.Run(devices=1), tiny.Run(devices=8)]
    for seed in range(3):
        windows = [run.step(tiny.batch(seed=seed)) for run in runs]
        assert windows[0]["loss"] == pytest.approx(windows[1]["loss"], abs=3e-5)
    for player in ("segmenter", "arm"):
        np.testing.assert_allclose(runs[0].params(player), runs[1].params(player), atol=1e-5)
    np.testing.assert_allclose(runs[0].statistics(), runs[1].statistics(), rtol=1e-5, atol=1e-5)
    for one, eight in zip(runs[0].state.histogram, runs[1].state.histogram, strict=True):
        np.testing.assert_allclose(one, eight, rtol=1e-3, atol=1e-2)


def test_until_they_are_coupled_the_segmenter_is_bit_identical_to_plain_cross_entropy():
    run = tiny.Run({"arm.isolated": 0.02})  # coupled from step 2 of 100
    base = tiny.Run(with_arm=False)
    arm_before = run.params("arm")
    for seed in range(2):
        run.step(tiny.batch(seed=seed))
        base.step(tiny.batch(seed=seed))
    np.testing.assert_array_equal(run.params(), base.params())
    assert np.abs(run.params("arm") - arm_before).max() > 0  # it climbs already
    run.step(tiny.batch(seed=2))
    base.step(tiny.batch(seed=2))
    assert np.abs(run.params() - base.params()).max() > 0


def test_the_players_move_the_same_objective_in_opposite_directions():
    run, batch = tiny.Run(), tiny.batch()
    for _ in range(60):  # an untrained network is equally unsure of all pixels
        run.step(batch)
    before = run.players()
    run.step(batch)
    after = run.players()
    images = normalize(batch["image"], batch["extent"])

    @jax.jit
    def objective(segmenter, arm):
        players = states.Players(*(nnx.merge(*pair) for pair in (segmenter, arm)))
        labels, key = jnp.asarray(batch["label"]), jax.random.fold_in(jax.random.key(0), 60)
        return objectives.forward(players, images, labels, run.method, jnp.bool_(True), key).loss

    (s0, a0), (s1, a1) = (
        (nnx.split(players.segmenter), nnx.split(players.arm)) for players in (before, after)
    )
    start = objective(s0, a0)
    assert objective(s1, a0) < start < objective(s0, a1)


def test_a_batch_without_labels_changes_nothing_but_the_clock():
    run = tiny.Run()
    run.step(tiny.batch())
    params, statistics, arm = run.params(), run.statistics(), run.params("arm")
    histogram = tiny.flat(run.state.histogram)
    assert histogram.any()
    momentum = jax.tree.leaves(jax.device_get(run.state.optimizer))
    batch = tiny.batch(seed=1)
    batch["label"][:] = 255
    window = run.step(batch)
    assert window["unlabelled"] == 1 and window["overflows"] == 0 and window["applied"] == 1
    np.testing.assert_array_equal(run.params(), params)
    np.testing.assert_array_equal(run.params("arm"), arm)
    np.testing.assert_array_equal(run.statistics(), statistics)
    np.testing.assert_array_equal(tiny.flat(run.state.histogram), histogram)
    for now, then in zip(jax.tree.leaves(run.state.optimizer), momentum, strict=True):
        if jnp.issubdtype(now.dtype, jnp.floating):
            np.testing.assert_array_equal(now, then)
    assert run.state.step == 2


def test_a_step_that_is_not_finite_changes_nothing_and_is_reported():
    run = tiny.Run()
    run.step(tiny.batch(seed=1))
    kernel = run.state.params["segmenter"]["head"]["classifier"]["kernel"]
    poisoned = jax.tree.map(lambda x: x, run.state)
    poisoned.params["segmenter"]["head"]["classifier"]["kernel"] = kernel.replace(
        kernel[...].at[0].set(jnp.nan)
    )
    run.state = jax.device_put(poisoned, jax.tree.leaves(run.state)[0].sharding)
    before, histogram = run.params(), tiny.flat(run.state.histogram)
    assert histogram.any()
    window = run.step(tiny.batch())
    np.testing.assert_array_equal(run.params(), before)
    np.testing.assert_array_equal(tiny.flat(run.state.histogram), histogram)
    assert window["overflows"] == 1 and window["applied"] == 1 and window["first_bad_step"] == 2


def test_float16_skips_an_overflow_halves_the_scale_and_goes_on():
    run = tiny.Run(dtype="float16")
    assert run.state.loss_scale.value == states.INITIAL_SCALE
    scale = run.state.loss_scale.replace(value=jnp.full_like(run.state.loss_scale.value, 2.0**40))
    run.state = run.state.replace(loss_scale=scale)
    before = run.params()
    window = run.step(tiny.batch())
    assert window["overflows"] == 1 and window["applied"] == 0
    np.testing.assert_array_equal(run.params(), before)
    applied = [run.step(tiny.batch())["applied"] for _ in range(30)]
    assert max(applied) > 0
    assert run.state.loss_scale.value <= states.LARGEST_SCALE
    assert np.abs(run.params() - before).max() > 0


def test_float16_steps_alike_whatever_the_loss_scale():
    """Scales are powers of two: the gradients, divided again, are equal but for tiny ones."""
    found = []
    for factor in (1, 8):
        run = tiny.Run(dtype="float16")
        before = run.params()
        scale = run.state.loss_scale
        scale = scale.replace(value=jnp.full_like(scale.value, 256.0 * factor))
        run.state = run.state.replace(loss_scale=scale)
        assert run.step(tiny.batch())["applied"] == 1
        found.append(run.params() - before)
    assert np.abs(found[0]).max() > 0
    error = np.linalg.norm(found[0] - found[1]) / np.linalg.norm(found[0])
    assert error < 0.02
    # And they are those of float32, which has no scale.
    run = tiny.Run()
    before = run.params()
    run.step(tiny.batch())
    exact = run.params() - before
    assert np.linalg.norm(found[0] - exact) < 0.1 * np.linalg.norm(exact)


def test_loss_scale_grows_after_many_good_steps_and_is_constant_elsewhere():
    scale = states.LossScale.create("float16")
    for _ in range(states.GROWTH_INTERVAL):
        scale = scale.update(jnp.bool_(True))
    assert scale.value == 2 * states.INITIAL_SCALE and scale.good_steps == 0
    assert scale.update(jnp.bool_(False)).value == states.INITIAL_SCALE
    for dtype in ("float32", "bfloat16"):
        constant = states.LossScale.create(dtype)
        assert constant.update(jnp.bool_(False)).value == constant.value == 1


def test_the_window_sums_steps_and_starts_anew():
    run = tiny.Run()
    windows = [run.step(tiny.batch(seed=seed)) for seed in range(4)]
    assert [w["steps"] for w in windows] == [1, 2, 3, 1]
    assert windows[2]["loss"] > windows[1]["loss"] > windows[0]["loss"]
    assert windows[3]["loss"] < windows[2]["loss"]
