"""Logits and training steps equal to mmsegmentation's: tests/goldens/make_networks.py made these.

Every tensor is filled by the rule in tests/goldens/fill.py, keyed by mmsegmentation's names, so
these tests also hold the name tables to account.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from goldens import fill

from arm_jax import networks
from arm_jax.weights import pretrained, weight_names

GOLDENS = Path(__file__).parents[1] / "goldens"


def filled(name, num_classes=19, margin=0.0, **options):
    """The network with the rule's values, without initialising it first."""

    def create():
        return networks.create(name, num_classes, rngs=nnx.Rngs(0), **options)

    model = nnx.eval_shape(create)
    names = weight_names.foreign_names(model, "mmsegmentation")
    for ours, variable in weight_names.variables(model).items():
        shape = variable.shape
        if len(shape) == 4:
            shape = tuple(shape[axis] for axis in (3, 2, 0, 1))
        variable.set_value(
            jnp.asarray(weight_names.to_ours(fill.tensor(names[ours], shape, margin)))
        )
    return model


def images(size):
    return jnp.asarray(fill.images(*size).transpose(0, 2, 3, 1))


def assert_close(got, expected, tolerance):
    """Within `tolerance` of the largest magnitude."""
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def check_logits(golden, name, num_classes=19, **options):
    graphdef, state = nnx.split(filled(name, num_classes, **options))

    @jax.jit
    def evaluate(state, x):
        return nnx.merge(graphdef, state)(x, auxiliary=True)

    expected = np.load(GOLDENS / f"networks_{golden}.npz")
    tags = [key.removeprefix("main ") for key in expected.files if key.startswith("main ")]
    assert len(tags) == 2
    for tag in tags:
        size = [int(length) for length in tag.split("x")]
        for part, scores in zip(("main", "auxiliary"), evaluate(state, images(size)), strict=True):
            got = scores[:, ::2, ::2].transpose(0, 3, 1, 2)
            assert_close(got, expected[f"{part} {tag}"], 1e-4)


@pytest.mark.slow
def test_logits_of_resnet18():
    check_logits("deeplabv3plus_resnet18", "deeplabv3plus_resnet18")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("golden", "name", "options"),
    [
        pytest.param(
            "deeplabv3plus_resnet50", "deeplabv3plus_resnet50", {}, marks=pytest.mark.long
        ),
        ("deeplabv3plus_resnet101", "deeplabv3plus_resnet101", {}),
        pytest.param(
            "deeplabv3plus_resnet101_stride16",
            "deeplabv3plus_resnet101",
            {"output_stride": 16},
            marks=pytest.mark.long,
        ),
        ("deeplabv3plus_resnest101", "deeplabv3plus_resnest101", {"num_classes": 150}),
        ("ocr_resnet101", "ocr_resnet101", {}),
    ],
)
def test_logits_of_larger_networks(golden, name, options):
    check_logits(golden, name, **options)


@pytest.mark.parametrize(
    ("name", "margin"),
    [
        ("deeplabv3plus_resnet18", 3.0),
        pytest.param("ocr_resnet50", 2.0, marks=pytest.mark.slow),
    ],
)
def test_training_step(name, margin):
    """Losses, gradients and running statistics of one batch, with dropout off."""
    golden = np.load(GOLDENS / f"networks_{name}_training.npz")
    size = (3, 17, 33)
    labels = jnp.asarray(fill.labels(*size, 19), jnp.int32)
    valid = labels != 255

    def objective(model):
        both = networks.training(model)(images(size), auxiliary=True, dropout_key=jax.random.key(0))
        losses = []
        for scores in both:
            scores = networks.resize(scores, labels.shape[1:])
            loss = optax.softmax_cross_entropy_with_integer_labels(
                scores, jnp.where(valid, labels, 0)
            )
            losses.append(jnp.sum(loss * valid) / jnp.sum(valid))
        return losses[0] + 0.4 * losses[1], jnp.stack(losses)

    graphdef, state = nnx.split(filled(name, margin=margin, dropout_rate=0.0))

    @jax.jit
    def step(state):
        model = nnx.merge(graphdef, state)
        (_, losses), gradients = nnx.value_and_grad(objective, has_aux=True)(model)
        return losses, gradients, nnx.state(model)

    losses, gradients, after = step(state)
    np.testing.assert_allclose(losses, golden["losses"], rtol=1e-3)

    model = nnx.merge(graphdef, after)
    names = weight_names.foreign_names(model, "mmsegmentation")
    ours = {key: name for name, key in names.items()}
    gradients = {
        ".".join(map(str, path)): np.asarray(value[...])
        for path, value in nnx.to_flat_state(gradients)
    }
    values = {
        name: np.asarray(variable[...]) for name, variable in weight_names.variables(model).items()
    }
    compared = 0
    for key in golden.files:
        expected = golden[key]
        if key.startswith("gradient "):
            got = weight_names.to_torch(gradients[ours[key.removeprefix("gradient ")]])[:16]
        elif key.endswith("running_mean"):
            got = values[ours[key]]
        elif key.endswith("running_var"):
            # PyTorch stores the variance over n - 1 of the n positions that each channel has.
            stride = 2 if "stem" in key else 8
            n = size[0] * -(-size[1] // stride) * -(-size[2] // stride)
            before = fill.tensor(key, expected.shape)
            got = 0.9 * before + (values[ours[key]] - 0.9 * before) * n / (n - 1)
        else:
            continue
        assert_close(got, expected, 1e-3)
        compared += 1
    assert compared >= 13


RESIZED = np.load(GOLDENS / "networks_resize.npz")


@pytest.mark.parametrize("case", [name for name in RESIZED.files if name != "versions"])
def test_resize_equals_torch(case):
    *sizes, align_corners = map(int, case.split())
    resized = networks.resize(images((1, *sizes[:2])), sizes[2:], bool(align_corners))
    np.testing.assert_allclose(resized[0, :, :, 0], RESIZED[case], rtol=1e-5, atol=1e-5)


BACKBONES = np.load(GOLDENS / "networks_backbones.npz")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("golden", "name", "variant"),
    [
        pytest.param("timm resnet18 32", "deeplabv3plus_resnet18", "v1b", marks=pytest.mark.long),
        pytest.param("timm resnet18d 32", "deeplabv3plus_resnet18", "v1d", marks=pytest.mark.long),
        pytest.param("timm resnet50 32", "deeplabv3plus_resnet50", "v1b", marks=pytest.mark.long),
        pytest.param("timm resnet50 8", "deeplabv3plus_resnet50", "v1b", marks=pytest.mark.long),
        ("timm resnet50c 8", "deeplabv3plus_resnet50", "v1c"),
        pytest.param("timm resnet50d 32", "deeplabv3plus_resnet50", "v1d", marks=pytest.mark.long),
        # timm has no multi-grid, and neither have our OCR networks.
        ("timm resnet50s 16", "ocr_resnet50", "v1s"),
        pytest.param("timm resnet101c 8", "deeplabv3plus_resnet101", "v1c", marks=pytest.mark.long),
        pytest.param("timm resnest50d 32", "deeplabv3plus_resnest50", "d2", marks=pytest.mark.long),
        ("timm resnest101e 32", "deeplabv3plus_resnest101", "d2"),
        ("authors resnest50d 8", "deeplabv3plus_resnest50", "original"),
        ("caffe resnet50 8", "deeplabv3plus_resnet50", "caffe"),
    ],
)
def test_backbones_stage_by_stage(golden, name, variant):
    output_stride = int(golden.split()[-1])
    model = nnx.eval_shape(
        lambda: networks.create(
            name, 19, variant=variant, output_stride=output_stride, rngs=nnx.Rngs(0)
        )
    )
    shapes = json.loads(str(BACKBONES[f"{golden} shapes"]))
    pretrained.load(model, {key: fill.tensor(key, tuple(shape)) for key, shape in shapes.items()})
    graphdef, state = nnx.split(model.backbone)
    evaluate = jax.jit(lambda state, x: nnx.merge(graphdef, state)(x))
    recorded = [key.split()[-2] for key in BACKBONES.files if key.startswith(f"{golden} ")]
    tags = set(recorded) - {golden.split()[-1]}
    # Odd and even; of Caffe's, which loses a row of odd maps, even alone.
    assert len(tags) == (1 if variant == "caffe" else 2)
    for tag in tags:
        features = evaluate(state, images([int(length) for length in tag.split("x")]))
        for stage, feature in enumerate(features):
            got = feature[0, ::2, ::2, ::32].transpose(2, 0, 1)
            assert_close(got, BACKBONES[f"{golden} {tag} {stage}"], 1e-4)
