"""Frozen parts: no gradient, no update, running statistics; and features that stand for images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import nnx

from arm_jax import experiment as experiments
from arm_jax import networks, optimizer, schedules
from arm_jax.data.labels import STREET_SCENES
from arm_jax.networks.parts import PARTS
from arm_jax.settings.rows import BACKBONE
from arm_jax.system import sharding
from arm_jax.system.errors import InputError
from arm_jax.training import step
from arm_jax.training.state import Players
from arm_jax.weights import pretrained, weight_names
from configs import base


def frozen(parts, **sizes):
    model = tiny.segmenter(**sizes)
    networks.freeze(model.backbone, parts)
    return model


def values(model):
    return {name: np.asarray(x[...]) for name, x in weight_names.variables(model).items()}


class Step:
    """A step on a network with frozen parts, not compiled yet."""

    def __init__(self, parts, batch, *, accumulate=1, features=False):
        model = frozen(parts)
        self.before = values(model)
        changes = {"augment.jitter": False, "arm.isolated": 0.0, "accumulate": accumulate}
        method = tiny.method(changes | {"model.dtype": "float32"})
        players = Players(model, tiny.arm.Arm(rngs=nnx.Rngs(1)))
        transformation = optimizer.create(schedules.learning_rate(100, warmup=0.0))
        self.graphdef, state = step.create_state(players, transformation, "float32")
        mesh = sharding.one_device()
        if features:
            found = jax.jit(model.frozen_features)(step.network_input(batch, method))
            others = {key: batch[key] for key in ("label", "extent", "key")}
            batch = {"features": jax.tree.map(np.asarray, found)} | others
        self.step = step.compile_step(mesh, self.graphdef, transformation, method)
        self.batch = sharding.shard_batch(mesh, batch)
        self.state = sharding.replicate(mesh, state)

    def operations(self):
        return self.step.lower(self.state, self.batch).cost_analysis()["flops"]

    def run(self):
        """The state and the network's values afterwards."""
        state, _ = self.step(self.state, self.batch)
        return state, values(nnx.merge(self.graphdef, state.params, state.statistics).segmenter)


def is_frozen(name, parts):
    ours = [f"stages.{PARTS.index(part) - 1}." if part != "stem" else "stem." for part in parts]
    return any(name.startswith(f"backbone.{one}") for one in ours)


@pytest.mark.parametrize("accumulate", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_frozen_parts_stay_bit_equal_and_all_others_move(accumulate):
    parts = ("stem", "stage1", "stage2")
    one_step = Step(parts, tiny.batch(), accumulate=accumulate)
    before = one_step.before
    state, after = one_step.run()
    moved = {name for name, old in before.items() if not np.array_equal(old, after[name])}
    assert not [name for name in moved if is_frozen(name, parts)]
    # What is behind a gain that starts at 0 has no gradient in the first step.
    assert {
        "backbone.stages.2.0.conv2.norm.scale",
        "backbone.stages.2.0.conv1.norm.mean",
        "head.classifier.kernel",
        "auxiliary_head.classifier.kernel",
    } <= moved
    # Neither the optimiser nor the gradients know of them.
    trained = {".".join(map(str, path)) for path, _ in nnx.to_flat_state(state.params)}
    assert trained == {
        f"segmenter.{name}"
        for name in before
        if not is_frozen(name, parts) and not name.endswith((".mean", ".var"))
    } | {name for name in trained if name.startswith("arm.")}
    momenta = [x.size for x in jax.tree.leaves(state.optimizer) if jnp.ndim(x)]
    assert sum(momenta) == sum(x.size for x in jax.tree.leaves(state.params))


@pytest.mark.slow
def test_a_frozen_step_takes_fewer_operations_and_one_on_features_fewer_still():
    batch, parts = tiny.batch(), PARTS[:4]
    steps = Step((), batch), Step(parts, batch), Step(parts, batch, features=True)
    all_of_it, some, least = (one.operations() for one in steps)
    assert least < some < 0.8 * all_of_it


def test_features_have_shapes_without_a_computation_with_remat_too():
    # The network's variables are then of another trace than the features.
    image = jax.ShapeDtypeStruct((1, 32, 64, 3), jnp.float32)
    usual, remat = (frozen(PARTS[:2], remat=remat) for remat in (False, True))
    found = jax.eval_shape(lambda image: remat.frozen_features(image), image)
    assert found == jax.eval_shape(lambda image: usual.frozen_features(image), image)


@pytest.mark.slow
def test_a_step_on_features_is_that_on_their_images():
    batch, parts = tiny.batch(), PARTS[:4]
    _, by_images = Step(parts, batch).run()
    _, by_features = Step(parts, batch, features=True).run()
    for name, value in by_images.items():
        np.testing.assert_allclose(by_features[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 3, 5])
def test_features_stand_for_the_images(number):
    model = frozen(PARTS[:number])
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 32, 64, 3)), jnp.float32)
    found = jax.jit(model.frozen_features)(images)
    assert PARTS[number - 1] in found and set(found) <= set(PARTS[:number])
    for mode in (model, networks.training(model)):
        graphdef, state = nnx.split(mode)

        @jax.jit
        def call(state, x, graphdef=graphdef):
            merged = nnx.merge(graphdef, state)
            return merged(x, auxiliary=True, dropout_key=jax.random.key(0))

        for one, other in zip(call(state, images), call(state, found), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_weights_load_into_a_frozen_network_and_out_of_it():
    source, model = tiny.segmenter(seed=3), frozen(("stem", "stage1"))
    assert not pretrained.load(model, values(source)).fresh_parts
    for name, value in values(source).items():
        np.testing.assert_array_equal(values(model)[name], value)
    without = {k: v for k, v in values(source).items() if not k.startswith("backbone.stages.1")}
    assert pretrained.load(frozen(("stem",)), without).fresh_parts == {"stage2"}


@pytest.mark.parametrize("parts", [("stage1",), ("stem", "stage2"), ("stem", "head")])
def test_a_gap_or_an_unknown_part_is_refused(parts):
    with pytest.raises(InputError, match=r"model.freeze = .* first parts .* stem, stage1, stage2"):
        frozen(parts)


def test_a_network_may_end_before_the_last_stage():
    short = tiny.segmenter(depths=(1, 1, 1, 0))
    assert short.backbone.channels[3] == short.backbone.channels[2]
    images = jnp.zeros((1, 32, 32, 3))
    assert short(images).shape == (1, 8, 8, tiny.CLASSES)
    tensors = {k: v for k, v in values(tiny.segmenter()).items() if not k.startswith("head")}
    report = pretrained.load(short, tensors)
    assert not report.fresh_parts and any("stages.3" in key for key in report.left_out)
    with pytest.raises(InputError, match=r"stage3$"):
        networks.freeze(short.backbone, PARTS)


def test_the_settings_name_the_same_parts():
    assert BACKBONE == PARTS


@pytest.mark.parametrize(("parts", "refused"), [(PARTS, True), (PARTS[:4], False)])
def test_a_rate_for_a_backbone_of_which_nothing_moves_is_refused(parts, refused, monkeypatch):
    tiny.shrink(monkeypatch)
    config = base.get_config("smoke")
    config.update_from_flattened_dict(
        {
            "optimizer.backbone_lr_multiplier": 0.1,
            "model.freeze": parts,
            "model.pretrained": "given",
        }
    )
    experiment = experiments.build(config, STREET_SCENES)
    if not refused:
        experiment.create_players()
        return
    with pytest.raises(InputError, match=r"backbone_lr_multiplier = 0.1 has no effect"):
        experiment.create_players()
