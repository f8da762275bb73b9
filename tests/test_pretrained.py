"""Weights of others into our networks: every layout, every way a file can be wrong."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from goldens import fill
from safetensors.numpy import save_file

from arm_jax import networks
from arm_jax.errors import InputError
from arm_jax.weights import pretrained, weight_names

GOLDENS = Path(__file__).parent / "goldens"
BACKBONES = np.load(GOLDENS / "networks_backbones.npz")
TINY = {
    "depths": (1, 1, 1, 1),
    "width": 4,
    "channels": 8,
    "low_level_channels": 4,
    "object_channels": 4,
    "auxiliary_channels": 4,
}


def tiny(name="deeplabv3plus_resnet50", classes=5, **options):
    return networks.create(name, classes, **{"rngs": nnx.Rngs(0), **TINY, **options})


def abstract(name, **options):
    return nnx.eval_shape(lambda: networks.create(name, 19, rngs=nnx.Rngs(0), **options))


def reference_file(golden):
    """A backbone's file, by the keys and shapes that its package gives it."""
    shapes = json.loads(str(BACKBONES[f"{golden} shapes"]))
    return {key: fill.tensor(key, tuple(shape)) for key, shape in shapes.items()}


def as_mmsegmentation(model, change=()):
    """What mmsegmentation would store of the model's shapes, filled by the rule."""
    names = weight_names.foreign_names(model, "mmsegmentation")
    variables = weight_names.variables(model)
    state = {}
    for our, key in names.items():
        shape = weight_names.shape_there(variables[our].shape, "mmsegmentation")
        state[key] = fill.tensor(key, shape)
    return {**state, **dict(change)}


def values(model):
    variables = weight_names.variables(model)
    return {name: np.asarray(variable[...]) for name, variable in variables.items()}


def refusal(model, source):
    """The one line that refuses the source; the model must be untouched."""
    before = values(model)
    with pytest.raises(InputError) as error:
        pretrained.load(model, source)
    jax.tree.map(np.testing.assert_array_equal, values(model), before)
    assert "\n" not in str(error.value)
    return str(error.value)


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
        "short.safetensors": None,
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
    assert "holds no tensors" in refusal(model, {"state_dict": {}})


# The Hub


def test_the_hub_is_asked_for_safetensors_first(tmp_path, monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError

    model = tiny()
    save_file(as_mmsegmentation(model), tmp_path / "weights.safetensors")
    asked = []

    def download(repository, name):
        asked.append((repository, name))
        if name == "model.safetensors":
            raise EntryNotFoundError("404")
        return str(tmp_path / "weights.safetensors")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert not pretrained.load(model, "hf://owner/net").fresh
    assert not pretrained.load(model, "hf://owner/net/folder/file.safetensors").fresh
    assert asked == [
        ("owner/net", "model.safetensors"),
        ("owner/net", "pytorch_model.bin"),
        ("owner/net", "folder/file.safetensors"),
    ]


def test_without_a_network_the_hub_gives_one_line(monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def offline(repository, name):
        raise LocalEntryNotFoundError("Name or service not known\nRetrying")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    message = refusal(tiny(), "hf://timm/resnet101c.none")
    assert "hf://timm/resnet101c.none" in message and "is there a network?" in message
    assert "owner/repository" in refusal(tiny(), "hf://resnet101c")
