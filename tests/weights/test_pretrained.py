"""Weights of others into our networks: every layout, every way a file can be wrong."""

import json
import pickle
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from goldens import fill
from safetensors.numpy import save_file
from weight_standins import as_mmsegmentation, refusal, tiny, values

from arm_jax import networks
from arm_jax.system.errors import InputError
from arm_jax.weights import pretrained, published, weight_names

GOLDENS = Path(__file__).parents[1] / "goldens"

BACKBONES = np.load(GOLDENS / "networks_backbones.npz")


def abstract(name, **options):
    return nnx.eval_shape(lambda: networks.create(name, 19, rngs=nnx.Rngs(0), **options))


def reference_file(golden):
    """A backbone's file, by the keys and shapes that its package gives it."""
    shapes = json.loads(str(BACKBONES[f"{golden} shapes"]))
    return {key: fill.tensor(key, tuple(shape)) for key, shape in shapes.items()}


# The layouts


@pytest.mark.parametrize(
    ("golden", "name", "variant", "layout"),
    [
        ("timm resnet50 32", "deeplabv3plus_resnet50", "v1b", "torchvision's"),
        ("timm resnet50c 8", "deeplabv3plus_resnet50", "v1c", "timm's"),
        ("timm resnet50d 32", "deeplabv3plus_resnet50", "v1d", "timm's"),
        ("timm resnet50s 16", "ocr_resnet50", "v1s", "timm's"),
        ("timm resnest50d 32", "deeplabv3plus_resnest50", "d2", "timm's"),
        ("caffe resnet50 8", "deeplabv3plus_resnet50", "caffe", "torchvision's"),
    ],
)
def test_backbone_files_are_recognised(golden, name, variant, layout):
    model = abstract(name, variant=variant)
    tensors = reference_file(golden)
    report = pretrained.load(model, tensors)
    assert report.layout.startswith(layout)
    backbone = {our for our in weight_names.variables(model) if our.startswith("backbone")}
    assert set(report.loaded) == backbone
    assert set(report.fresh) == set(weight_names.variables(model)) - backbone
    assert set(report.left_out) <= {"fc.weight", "fc.bias"}
    block = model.backbone.stages[2][1]
    np.testing.assert_array_equal(
        block.conv1.conv.kernel[...], tensors["layer3.1.conv1.weight"].transpose(2, 3, 1, 0)
    )
    np.testing.assert_array_equal(block.conv3.norm.scale[...], tensors["layer3.1.bn3.weight"])
    np.testing.assert_array_equal(block.conv3.norm.var[...], tensors["layer3.1.bn3.running_var"])


# The paper's networks in any case; every other one takes seconds too.
FAST = {("resnet18", "v1b"), ("resnet50", "v1c"), ("resnet101", "v1c"), ("resnest101", "d2")}


@pytest.mark.parametrize(
    ("backbone", "variant"),
    [
        pytest.param(*row, marks=[] if row in FAST else pytest.mark.slow)
        for row in (
            (name, variant)
            for name, backbone in networks.BACKBONES.items()
            for variant in backbone.published
        )
    ],
)
def test_published_files_fill_the_backbone(backbone, variant):
    """By timm's keys and shapes of each file: see tests/goldens/make_backbones.py."""
    shapes = json.loads(str(np.load(GOLDENS / "published.npz")["shapes"]))
    name = f"deeplabv3plus_{backbone}"
    address = published.source("imagenet", name, variant)
    tensors = {key: np.zeros(shape, np.float16) for key, shape in shapes[address].items()}
    model = abstract(name, variant=variant)
    report = pretrained.load(model, tensors)
    ours = {our for our in weight_names.variables(model) if our.startswith("backbone")}
    assert set(report.loaded) == ours
    assert set(report.left_out) == {"fc.weight", "fc.bias"} and not report.notes


def test_the_networks_of_the_paper_have_published_weights():
    for name in ("deeplabv3plus_resnet50", "ocr_resnet101", "deeplabv3plus_resnest101"):
        assert published.source("imagenet", name).startswith("hf://timm/")
    assert published.source("file.pth", "deeplabv3plus_resnet50") == "file.pth"
    assert published.source("", "deeplabv3plus_resnet50") == ""
    with pytest.raises(InputError, match="resnet18 of variant v1c, only for v1b and v1d"):
        published.source("imagenet", "deeplabv3plus_resnet18")
    with pytest.raises(InputError, match="'resnet102' is not known"):
        published.source("imagenet", "resnet102")


@pytest.mark.parametrize(
    "name", ["deeplabv3plus_resnet18", "deeplabv3plus_resnest50", "ocr_resnet50"]
)
def test_whole_mmsegmentation_checkpoints(name):
    model = tiny(name)
    tensors = as_mmsegmentation(model)
    counters = {"backbone.layer1.0.bn1.num_batches_tracked": np.array(3)}
    checkpoint = {"meta": {"epoch": 1}, "state_dict": {**tensors, **counters}, "optimizer": {}}
    report = pretrained.load(model, checkpoint)
    assert report.layout == "mmsegmentation's"
    assert not report.fresh and not report.left_out and not report.notes
    prefix = "decode_head.1." if name.startswith("ocr") else "decode_head."
    np.testing.assert_array_equal(
        model.head.classifier.kernel[0, 0], tensors[f"{prefix}conv_seg.weight"][:, :, 0, 0].T
    )


def test_names_of_data_parallel_training_are_accepted():
    model = tiny()
    tensors = as_mmsegmentation(model)
    report = pretrained.load(model, {f"module.{key}": value for key, value in tensors.items()})
    assert not report.fresh


def test_own_files_load_back_by_their_own_names(tmp_path):
    first, second = tiny(), tiny(rngs=nnx.Rngs(1))
    save_file(values(first), tmp_path / "own.safetensors")
    report = pretrained.load(second, tmp_path / "own.safetensors")
    assert report.layout == "our own"
    jax.tree.map(np.testing.assert_array_equal, values(second), values(first))


def test_half_precision_files_become_float32(tmp_path):
    tensors = {key: value.astype(np.float16) for key, value in as_mmsegmentation(tiny()).items()}
    save_file(tensors, tmp_path / "half.safetensors")
    model = tiny()
    pretrained.load(model, str(tmp_path / "half.safetensors"))
    bias = model.head.classifier.bias[...]
    assert bias.dtype == jnp.float32
    np.testing.assert_array_equal(bias, tensors["decode_head.conv_seg.bias"].astype(np.float32))


# What does not fit, and yet is welcome


def test_a_stage_may_be_absent_and_is_reported():
    model = tiny()
    fresh = values(model)
    tensors = {
        key: value
        for key, value in as_mmsegmentation(model).items()
        if key.startswith("backbone") and "layer4" not in key
    }
    report = pretrained.load(model, tensors)
    assert {name.split(".")[0] for name in report.fresh} == {"backbone", "head", "auxiliary_head"}
    absent = [name for name in report.fresh if name.startswith("backbone")]
    assert absent and all(name.startswith("backbone.stages.3.") for name in absent)
    after = values(model)
    for name in report.fresh:
        np.testing.assert_array_equal(after[name], fresh[name])
    assert "backbone.stages.3" in str(report).split("left fresh")[1]


def test_a_classifier_of_other_classes_stays_fresh():
    model = tiny(classes=7)
    fresh = values(model)
    report = pretrained.load(model, as_mmsegmentation(tiny(classes=5)))
    classifiers = {
        f"{head}.classifier.{leaf}"
        for head in ("head", "auxiliary_head")
        for leaf in ("kernel", "bias")
    }
    assert set(report.fresh) == classifiers
    for name in classifiers:
        np.testing.assert_array_equal(values(model)[name], fresh[name])
    assert "5 classes, not 7" in str(report)


def test_gray_weights_answer_gray_images_as_before():
    model = tiny()
    tensors = as_mmsegmentation(model)
    gray = tensors["backbone.stem.0.weight"].sum(1, keepdims=True)
    report = pretrained.load(model, {**tensors, "backbone.stem.0.weight": gray})
    kernel = model.backbone.stem.layers[0].conv.kernel[...]
    np.testing.assert_allclose(kernel.sum(2), gray[:, 0].transpose(1, 2, 0), rtol=1e-5, atol=1e-6)
    assert "one colour" in str(report)


def test_the_head_of_another_kind_is_left_out():
    tensors = as_mmsegmentation(tiny("ocr_resnet50"))
    model = tiny()
    report = pretrained.load(model, tensors)
    assert all(name.startswith(("head", "auxiliary_head")) for name in report.fresh)
    assert all(key.startswith("decode_head") for key in report.left_out)
    assert len(report.left_out) == sum(key.startswith("decode_head") for key in tensors)


# Refusals


def test_every_wrong_shape_is_listed_at_once():
    model = tiny()
    change = {
        "backbone.layer2.0.conv1.weight": np.zeros((5, 16, 1, 1), np.float32),
        "decode_head.bottleneck.bn.bias": np.zeros(3, np.float32),
        "auxiliary_head.convs.0.bn.bias": np.full(4, np.nan, np.float32),
    }
    message = refusal(model, as_mmsegmentation(model, change))
    assert "backbone.layer2.0.conv1.weight is (5, 16, 1, 1) and not (8, 16, 1, 1)" in message
    assert "decode_head.bottleneck.bn.bias is (3,) and not (8,)" in message
    assert "auxiliary_head.convs.0.bn.bias is not finite" in message


@pytest.mark.parametrize("depths", [(1, 1, 3, 1), (1, 2, 1, 1)])
def test_another_depth_is_refused_in_both_directions(depths):
    small, large = tiny(), tiny(depths=depths)
    block = "layer3.2" if depths[2] == 3 else "layer2.1"
    message = refusal(small, as_mmsegmentation(large))
    assert f"backbone.{block} (15 tensors) has no place" in message
    message = refusal(large, as_mmsegmentation(small))
    assert f"backbone.{block} (15 tensors) is missing" in message


@pytest.mark.parametrize(
    ("golden", "variant", "named"),
    [
        ("timm resnet50 32", "v1c", "variant v1b or caffe"),
        ("timm resnet50d 32", "v1c", "variant v1d"),
        ("timm resnet50c 8", "v1d", "variant v1c"),
        ("timm resnet50s 16", "v1c", "variant v1s"),
    ],
)
def test_another_variant_is_refused_by_name(golden, variant, named):
    model = abstract("deeplabv3plus_resnet50", variant=variant)
    with pytest.raises(InputError, match=named):
        pretrained.load(model, reference_file(golden))


def test_another_family_is_refused():
    model = abstract("deeplabv3plus_resnet50", variant="v1d")
    with pytest.raises(InputError, match=r"layer1\.0 .* has no place"):
        pretrained.load(model, reference_file("timm resnest50d 32"))


def test_a_file_of_something_else_is_refused():
    tensors = {"blocks.0.attn.qkv.weight": np.zeros((6, 2)), "cls_token": np.zeros((1, 1, 2))}
    message = refusal(tiny(), tensors)
    assert "holds nothing of deeplabv3plus_resnet50" in message and "blocks.0.attn" in message


def test_files_that_are_not_weights(tmp_path):
    model = tiny()
    files = {
        "missing.safetensors": None,
        "missing.pth": None,
        "empty.safetensors": b"",
        "empty.pth": b"",
        "text.pth": b"<html>404</html>",
        "text.safetensors": b"<html>404</html>",
        "short.safetensors": None,
        "short.pth": (GOLDENS / "pretrained_zip.pth").read_bytes()[:900],
        "code.pth": pickle.dumps({"backbone.stem.0.weight": print}),
    }
    for name, content in files.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
    save_file(as_mmsegmentation(model), tmp_path / "short.safetensors")
    whole = (tmp_path / "short.safetensors").read_bytes()
    (tmp_path / "short.safetensors").write_bytes(whole[: len(whole) // 2])
    for name in files:
        message = refusal(model, tmp_path / name)
        assert name in message
        assert ("no such file" in message) == name.startswith("missing")
        assert ("refused, because its pickle asks for" in message) == name.startswith("code")
    assert "holds no tensors" in refusal(model, {"state_dict": {}})
