"""The networks as a user sees them: counts, shapes, modes, precision, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from refusals import refusal
from tiny import LEAST, least, normal, sizes

from arm_jax import networks
from arm_jax.system.errors import InputError


def count(module):
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


# Counted by hand from mmsegmentation's configs of these names; BatchNorm's gamma and beta count,
# its running statistics do not.
@pytest.mark.parametrize(
    ("name", "num_classes", "backbone", "head", "auxiliary"),
    [
        ("deeplabv3plus_resnet50", 19, 23_527_264, 17_697_923, 2_364_691),
        ("deeplabv3plus_resnet101", 19, 42_519_392, 17_697_923, 2_364_691),
        ("deeplabv3plus_resnet101", 150, 42_519_392, 17_765_126, 2_398_358),
        ("deeplabv3plus_resnest101", 19, 46_226_016, 17_697_923, 2_364_691),
        ("deeplabv3plus_resnest101", 150, 46_226_016, 17_765_126, 2_398_358),
        ("ocr_resnet50", 19, 23_527_264, 10_632_211, 2_364_691),
        ("ocr_resnet101", 19, 42_519_392, 10_632_211, 2_364_691),
        ("ocr_resnet101", 150, 42_519_392, 10_699_414, 2_398_358),
    ],
)
def test_parameter_counts(name, num_classes, backbone, head, auxiliary):
    model = nnx.eval_shape(lambda: networks.create(name, num_classes, rngs=nnx.Rngs(0)))
    counts = count(model.backbone), count(model.head), count(model.auxiliary_head)
    assert counts == (backbone, head, auxiliary)


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize(("height", "width"), [(64, 96), (65, 97), (33, 70)])
def test_output_sizes(output_stride, height, width):
    def scores(x):
        return least(output_stride=output_stride, extra_channels=1)(x, auxiliary=True)

    main, auxiliary = nnx.eval_shape(scores, jnp.zeros((2, height, width, 3)))
    assert main.shape == (2, -(-height // 4), -(-width // 4), 6)
    # The auxiliary head sits on stage 3, whose stride is 16 at most.
    stride = min(output_stride, 16)
    assert auxiliary.shape == (2, -(-height // stride), -(-width // stride), 5)
    assert main.dtype == auxiliary.dtype == jnp.float32


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_output_sizes_of_ocr(output_stride):
    options = sizes("ocr_resnet50", **LEAST)
    options |= {"output_stride": output_stride, "extra_channels": 1}

    def scores(x):
        return networks.create("ocr_resnet50", 5, rngs=nnx.Rngs(0), **options)(x, auxiliary=True)

    main, auxiliary = nnx.eval_shape(scores, jnp.zeros((2, 65, 96, 3)))
    coarse = min(output_stride, 16)
    assert main.shape == (2, -(-65 // output_stride), 96 // output_stride, 6)
    assert auxiliary.shape == (2, -(-65 // coarse), 96 // coarse, 5)


# Parameters of torchvision's and timm's classifiers less their last layer, 2,049,000.
@pytest.mark.parametrize(
    ("name", "variant", "parameters"),
    [
        ("deeplabv3plus_resnet50", "v1b", 25_557_032 - 2_049_000),
        ("deeplabv3plus_resnet50", "caffe", 25_557_032 - 2_049_000),
        ("deeplabv3plus_resnet50", "v1d", 25_576_264 - 2_049_000),
        ("deeplabv3plus_resnet50", "v1s", 25_680_808 - 2_049_000),
        ("deeplabv3plus_resnest50", "d2", 27_483_240 - 2_049_000),
        ("deeplabv3plus_resnest101", "original", 48_275_016 - 2_049_000),
    ],
)
def test_backbone_counts_of_variants(name, variant, parameters):
    model = nnx.eval_shape(lambda: networks.create(name, 19, variant=variant, rngs=nnx.Rngs(0)))
    assert count(model.backbone) == parameters


def test_variants_of_equal_shapes_stride_in_different_places():
    strides = {}
    for variant in ("v1b", "caffe"):
        options = {**LEAST, "variant": variant, "rngs": nnx.Rngs(0)}
        block = networks.create("deeplabv3plus_resnet50", 5, **options).backbone.stages[1][0]
        strides[variant] = (block.conv1.conv.stride, block.conv2.conv.stride)
    assert strides == {"v1b": (1, 2), "caffe": (2, 1)}


def test_resnest_variants_average_where_a_stride_was_dilated_away():
    averages = {}
    for variant in ("d2", "original"):
        options = {**LEAST, "variant": variant, "rngs": nnx.Rngs(0)}
        model = networks.create("deeplabv3plus_resnest50", 5, **options)
        averages[variant] = [stage[0].averages for stage in model.backbone.stages]
    assert averages == {"d2": [False, True, False, False], "original": [False, True, True, True]}


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"name": "deeplab"}, ["'deeplab'", "deeplabv3plus_resnet101"]),
        ({"output_stride": 4}, ["4", "8, 16 or 32"]),
        ({"variant": "v9"}, ["'v9'", "v1c"]),
        ({"dtype": jnp.float64}, ["float64", "bfloat16"]),
        ({"dtype": jnp.int8}, ["int8"]),
        ({"num_classes": 0}, ["num_classes = 0"]),
    ],
)
def test_refusals_name_the_choices(request_, words):
    options = {"name": "deeplabv3plus_resnet18", "num_classes": 5, **LEAST, **request_}
    message = refusal(networks.create, rngs=nnx.Rngs(0), **options)
    for word in words:
        assert word in message


def test_an_unknown_size_or_part_is_refused_with_the_list():
    with pytest.raises(InputError, match="no size 'widht'; it has depths, width, channels"):
        least(widht=3)
    with pytest.raises(InputError, match=r"head 'segformer' is not known; .*deeplabv3plus, ocr$"):
        least(head="segformer")


def test_a_fresh_model_is_deterministic_and_leaves_its_statistics_alone():
    graphdef, state = nnx.split(least())

    @jax.jit
    def evaluate(state, x, key):
        model = nnx.merge(graphdef, state)
        return model(x, dropout_key=key), nnx.state(model)

    x = normal(0, 2, 32, 32, 3)
    scores, after = evaluate(state, x, jax.random.key(1))
    jax.tree.map(np.testing.assert_array_equal, after, state)
    np.testing.assert_array_equal(scores, evaluate(state, x, jax.random.key(2))[0])
    # In evaluation mode an image's scores do not depend on its neighbours.
    beside_another, _ = evaluate(state, x.at[1].set(0), jax.random.key(1))
    np.testing.assert_array_equal(scores[0], beside_another[0])
    assert not np.array_equal(scores[1], beside_another[1])


def test_compute_dtype_reaches_the_convolutions():
    model = least(dtype="bfloat16")
    features = nnx.eval_shape(lambda x: model.backbone(x), jnp.zeros((1, 32, 32, 3)))
    assert {feature.dtype for feature in features} == {jnp.dtype("bfloat16")}
