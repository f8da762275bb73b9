"""A step with a teacher: what it believes, what it changes, and when it changes nothing."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import nnx

from arm_jax import optimizer, schedules
from arm_jax.training import state as states
from arm_jax.training import step as steps

AVERAGE = {"targets.average": 0.05, "targets.start": 0.0}
RECIPE = {
    **AVERAGE,
    "targets.correct": "class",
    "targets.complete": "class",
    "targets.edge_weight": 8.0,
    "targets.near": 2.0,
    "targets.known_above": 0.0,
}
NEVER = {
    "targets.correct_above": 2.0,
    "targets.correct_above_near": 2.0,
    "targets.complete_above": 2.0,
}
EAGER = {
    "targets.correct_above": 0.0,
    "targets.correct_above_near": 0.0,
    "targets.complete_above": 0.0,
}


def teacher(run):
    return tiny.flat(run.state.beliefs.teacher)


@pytest.mark.parametrize(
    ("kind", "with_arm", "small"),
    [
        ("drop", True, True),
        pytest.param("class", True, False, marks=pytest.mark.slow),
        pytest.param("class", False, False, marks=pytest.mark.long),
        pytest.param("drop", True, False, marks=pytest.mark.long),
    ],
)
def test_thresholds_out_of_reach_give_the_usual_step_bit_by_bit(kind, with_arm, small):
    usual = tiny.Run(with_arm=with_arm, small=small, exact=True)
    changes = RECIPE | NEVER | {"targets.edge_weight": 0.0, "targets.correct": kind}
    never = tiny.Run(changes, with_arm=with_arm, small=small, exact=True)
    for seed in range(3):
        assert (
            usual.step(tiny.batch(seed=seed))["loss"] == never.step(tiny.batch(seed=seed))["loss"]
        )
    for player in ("segmenter", "arm") if with_arm else ("segmenter",):
        np.testing.assert_array_equal(usual.params(player), never.params(player))
    np.testing.assert_array_equal(usual.statistics(), never.statistics())
    assert never.state.beliefs.corrected == never.state.beliefs.completed == 0


@pytest.mark.slow
def test_a_step_in_parts_with_remat_has_a_teacher():
    method = tiny.method({**RECIPE, "accumulate": 2, "model.dtype": "float32"})
    players = states.Players(tiny.segmenter(remat=True), None)
    transformation = optimizer.create(schedules.learning_rate(100))
    graphdef, state = steps.create_state(
        players, transformation, "float32", targets=method.config.targets
    )
    one = functools.partial(
        steps.train_step, graphdef=graphdef, transformation=transformation, method=method
    )
    after, logged = jax.eval_shape(one, state, tiny.batch())
    assert logged.completed is not None
    assert jax.tree.map(jnp.shape, after.beliefs) == jax.tree.map(jnp.shape, state.beliefs)


@pytest.mark.slow
def test_the_teacher_is_the_average_of_weights_and_statistics():
    run = tiny.Run(AVERAGE)  # spans 5 of 100 steps
    average = teacher(run).astype(np.float64)
    for step in range(8):
        run.step(tiny.batch(seed=step))
        decay = min(1 - 1 / 5, (1 + step) / (10 + step))
        segmenter = (run.state.params["segmenter"], run.state.statistics["segmenter"])
        average = decay * average + (1 - decay) * tiny.flat(segmenter)
    np.testing.assert_allclose(teacher(run), average, rtol=1e-4, atol=1e-6)
    assert np.abs(teacher(run) - tiny.flat(segmenter)).max() > 1e-3
    model = states.players(run.graphdef, jax.tree.map(jnp.copy, run.state), "teacher").segmenter
    np.testing.assert_array_equal(tiny.flat(nnx.split(model, nnx.Param, ...)[1:]), teacher(run))
    # A step that is not applied leaves it.
    before = teacher(run)
    batch = tiny.batch()
    batch["label"][:] = 255
    run.step(batch)
    np.testing.assert_array_equal(teacher(run), before)


class Plain(nnx.Module):
    """A network without BatchNorm."""

    def __init__(self):
        self.layer = nnx.Linear(3, tiny.CLASSES, rngs=nnx.Rngs(0))
        self.num_classes = tiny.CLASSES

    def __call__(self, images, auxiliary=False, dropout_key=None):
        scores = self.layer(images)
        return (scores, scores) if auxiliary else scores


def test_a_network_without_statistics_has_a_teacher_too():
    method = tiny.method({**RECIPE, "model.dtype": "float32"})
    transformation = optimizer.create(schedules.learning_rate(100))
    graphdef, state = steps.create_state(
        states.Players(Plain(), None), transformation, "float32", targets=method.config.targets
    )
    one = functools.partial(
        steps.train_step, graphdef=graphdef, transformation=transformation, method=method
    )
    for seed in range(2):
        state, _ = jax.jit(one)(state, tiny.batch(seed=seed))
    taught = states.players(graphdef, state, "teacher").segmenter.layer.kernel[...]
    np.testing.assert_array_equal(taught, state.beliefs.teacher.params["layer"]["kernel"][...])
    assert (taught != states.players(graphdef, state).segmenter.layer.kernel[...]).any()


@pytest.mark.slow
def test_pixels_that_nobody_labelled_teach_where_the_teacher_is_sure():
    run = tiny.Run(RECIPE | EAGER)
    for seed in range(2):  # the first step's rate is small
        run.step(tiny.batch(seed=seed))
    before = run.params()
    batch = tiny.batch()
    batch["label"][:] = 255
    window = run.step(batch)
    assert window["unlabelled"] == 0 and np.abs(run.params() - before).max() > 0
    never = tiny.Run(RECIPE | NEVER)
    before = never.params()
    assert never.step(batch)["unlabelled"] == 1
    np.testing.assert_array_equal(never.params(), before)


@pytest.mark.slow
def test_nothing_is_corrected_before_its_time():
    run = tiny.Run(RECIPE | EAGER | {"targets.start": 0.02})  # step 2 of 100
    shares = [run.step(tiny.batch(seed=seed))["corrected"] for seed in range(3)]
    assert shares[0] == shares[1] == 0 < shares[2]


@pytest.mark.slow
def test_parts_of_a_batch_have_the_teacher_of_the_whole():
    runs = [tiny.Run(RECIPE | EAGER | {"accumulate": parts}) for parts in (1, 2)]
    logged = [run.step(tiny.batch(8)) for run in runs]
    for name in ("corrected", "completed", "contradicted"):
        assert logged[0][name] == pytest.approx(logged[1][name], abs=1e-4)
    assert logged[0]["corrected"] > 0 and logged[1]["applied"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "drop",
        "posterior",
        *(pytest.param(kind, marks=pytest.mark.long) for kind in ("class", "soft")),
    ],
)
def test_eight_devices_equal_one(kind):
    changes = RECIPE | EAGER | {"targets.correct": kind}
    changes["targets.complete"] = "class" if kind == "drop" else kind
    runs = [tiny.Run(changes | {"arm.match_loss": True}, devices=devices) for devices in (1, 8)]
    for seed in range(3):
        windows = [run.step(tiny.batch(seed=seed)) for run in runs]
        for name in ("loss", "corrected", "completed"):
            assert windows[0][name] == pytest.approx(windows[1][name], abs=1e-3)
    np.testing.assert_allclose(teacher(runs[0]), teacher(runs[1]), atol=1e-4)


@pytest.mark.slow
def test_float16_trains_and_an_overflow_leaves_the_teacher():
    run = tiny.Run(RECIPE, dtype="float16")
    scale = run.state.loss_scale
    scale = scale.replace(value=jnp.full_like(scale.value, 2.0**40))
    run.state = run.state.replace(loss_scale=scale)
    before = teacher(run)
    assert run.step(tiny.batch())["overflows"] == 1
    np.testing.assert_array_equal(teacher(run), before)
    assert max(run.step(tiny.batch())["applied"] for _ in range(30)) > 0
    assert np.isfinite(teacher(run)).all() and np.abs(teacher(run) - before).max() > 0


@pytest.mark.slow
def test_the_judge_is_the_teacher_until_it_begins_and_then_a_copy_for_its_time():
    """T is 100 steps here: it begins in step 2, and is renewed in step 5, and in step 8."""
    run = tiny.Run({**RECIPE, "targets.start": 0.02, "targets.renew": 0.03})
    before, judges = [], []
    for seed in range(10):
        before.append(teacher(run))
        run.step(tiny.batch(seed=seed))
        judges.append(tiny.flat(run.state.beliefs.judge))
    for step, taken_in in enumerate((0, 1, 2, 2, 2, 5, 5, 5, 8, 8)):
        np.testing.assert_array_equal(judges[step], before[taken_in])
    assert not np.array_equal(before[4], before[5])


def _of_recipe(changes=None):
    """Players before their first step, the state, and the method."""
    players, method = states.Players(tiny.segmenter(), None), tiny.method(RECIPE | (changes or {}))
    transformation = optimizer.create(schedules.learning_rate(100))
    _, state = steps.create_state(players, transformation, "float32", targets=method.config.targets)
    return players, state, method


def test_the_teacher_s_likelihoods_are_freed_of_class_weights(monkeypatch):
    seen = []

    def noted(known, scores, *_, **__):
        seen.append(np.asarray(scores))
        return None, known

    monkeypatch.setattr(steps, "look", noted)
    players, state, method = _of_recipe()
    weights = (4.0, 1.0, 1.0, 0.0, 0.5)
    for each in ((), weights):
        method = dataclasses.replace(method, class_weights=each)
        steps._believed(players, state, tiny.batch(2), method)
    expected = np.broadcast_to(np.log([4.0, 1.0, 1.0, 1.0, 0.5]), seen[0].shape)
    np.testing.assert_allclose(seen[0] - seen[1], expected, atol=1e-5)


def test_the_teacher_sees_no_jitter_and_which_images_are_right_and_whole(monkeypatch):
    seen = []

    def noted(known, scores, *_, corrected, completed, **__):
        seen.append((np.asarray(scores), corrected, completed))
        return None, known

    monkeypatch.setattr(steps, "look", noted)
    batch = tiny.batch(2)
    batch |= {"corrected": np.array([True, False]), "completed": np.array([False, True])}
    for jitter in (False, True):
        players, state, method = _of_recipe({"augment.jitter": jitter})
        steps._believed(players, state, batch, method)
    np.testing.assert_array_equal(seen[1][0], seen[0][0])
    assert seen[1][1] is batch["corrected"] and seen[1][2] is batch["completed"]
