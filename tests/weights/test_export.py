"""What leaves: weight files by two sets of names, and a program that runs without the package."""

import dataclasses
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors import safe_open
from tiny import least

from arm_jax import networks
from arm_jax.data.labels import STREET_SCENES, Classes
from arm_jax.networks.input import normalize
from arm_jax.system.errors import InputError
from arm_jax.weights import export, pretrained


def test_a_head_without_names_is_exported_by_our_own_names_only(monkeypatch):
    nameless = dataclasses.replace(networks.HEADS["deeplabv3plus"], names={})
    monkeypatch.setitem(networks.HEADS, "deeplabv3plus", nameless)
    model = nnx.eval_shape(least)
    words = (
        r"deeplabv3plus_resnet18 .* mmsegmentation, which has none for \d+ of .*: auxiliary_head"
    )
    with pytest.raises(InputError, match=words):
        export.tensors(model, "mmsegmentation")


@pytest.mark.parametrize("names", ["arm_jax", "mmsegmentation"])
@pytest.mark.parametrize("name", ["deeplabv3plus_resnest50", "ocr_resnet50"])
def test_what_is_saved_loads_back_identically(tmp_path, names, name):
    first, second = least(name), least(name, rngs=nnx.Rngs(1))
    path = tmp_path / "folder" / "weights.safetensors"
    export.save_safetensors(first, path, names)
    report = pretrained.load(second, path)
    assert not report.fresh and not report.left_out
    jax.tree.map(np.testing.assert_array_equal, export.tensors(first), export.tensors(second))
    with safe_open(path, "numpy") as file:
        assert file.metadata()["network"] == name
        assert file.metadata()["num_classes"] == "5"


def test_mmsegmentation_state_dict_is_complete():
    """Its BatchNorms have five tensors, and kernels are (out, in, height, width)."""
    model = least(extra_channels=1)
    state = export.tensors(model, "mmsegmentation")
    norms = [key.removesuffix(".running_var") for key in state if key.endswith("running_var")]
    for norm in norms:
        for leaf in ("weight", "bias", "running_mean", "num_batches_tracked"):
            assert f"{norm}.{leaf}" in state
    assert state["backbone.stem.0.weight"].shape == (2, 3, 3, 3)
    assert state["decode_head.aspp_modules.1.depthwise_conv.conv.weight"].shape == (32, 1, 3, 3)
    # The sixth channel of the main output, log s, has no counterpart there.
    assert state["decode_head.conv_seg.weight"].shape == (5, 8, 1, 1)
    assert state["decode_head.conv_seg.bias"].shape == (5,)


def test_a_weight_file_tells_classes_and_normalisation(tmp_path):
    classes = Classes(("sky", "straße"), ((0, 1, 2), (255, 254, 253)), ignore=200)
    path = tmp_path / "weights.safetensors"
    before = os.umask(0o027)
    try:
        export.save_safetensors(least(classes=2), path, classes=classes)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640
    with safe_open(path, "numpy") as file:
        stated = file.metadata()
    assert tuple(json.loads(stated["class_names"])) == classes.names
    assert json.loads(stated["class_colors"]) == [[0, 1, 2], [255, 254, 253]]
    assert stated["ignore"] == "200" and stated["align_corners"] == "false"
    # A mean pixel is zero to the network.
    mean = np.float32(json.loads(stated["mean"])).reshape(1, 1, 1, 3)
    images = np.round(mean).astype(np.uint8)
    values = (images - mean) / np.float32(json.loads(stated["std"]))
    np.testing.assert_allclose(normalize(images, np.array([[1, 1]])), values, rtol=1e-6)


def test_classes_of_another_number_are_refused(tmp_path):
    with pytest.raises(InputError, match=f"{STREET_SCENES.number} classes are named"):
        export.save_safetensors(least(), tmp_path / "weights.safetensors", classes=STREET_SCENES)
    assert not list(tmp_path.iterdir())


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(InputError, match="'keras'"):
        export.save_safetensors(least(), tmp_path / "weights.safetensors", "keras")
    assert not list(tmp_path.iterdir())


RUN = """
import sys
sys.modules["arm_jax"] = None  # Importing it would fail.
import jax, jax.export
import numpy as np
program = jax.export.deserialize(bytearray(open("program.stablehlo", "rb").read()))
images = np.load("images.npy")
whole, first = program.call(images), program.call(images[:1])
np.savez("out.npz", **whole, first=first["labels"])
"""


def test_stablehlo_runs_without_the_package_on_any_batch(tmp_path):
    model = least(extra_channels=1)
    images = np.random.default_rng(0).integers(0, 256, (3, 33, 49, 3), np.uint8)
    export.save_stablehlo(model, tmp_path / "program.stablehlo", (33, 49))
    np.save(tmp_path / "images.npy", images)
    subprocess.run([sys.executable, "-c", RUN], cwd=tmp_path, check=True, timeout=300)
    out = np.load(tmp_path / "out.npz")

    graphdef, state = nnx.split(model)

    @jax.jit
    def segment(state, images):
        extent = jnp.full((3, 2), jnp.array([33, 49]))
        scores = nnx.merge(graphdef, state)(normalize(images, extent))[..., :5]
        return scores, networks.resize(scores, (33, 49))

    scores, resized = segment(state, images)
    np.testing.assert_allclose(out["scores"], scores, rtol=1e-4, atol=1e-6)
    assert out["labels"].dtype == np.uint8 and out["labels"].shape == (3, 33, 49)
    # Where two classes are as good as equal, another compilation may choose the other.
    best = np.asarray(resized.max(-1))
    chosen = np.take_along_axis(np.asarray(resized), out["labels"][..., None].astype(int), -1)
    np.testing.assert_allclose(chosen[..., 0], best, atol=1e-6)
    np.testing.assert_array_equal(out["first"], out["labels"][:1])


def test_unknown_platform_is_refused():
    with pytest.raises(InputError, match="abacus"):
        export.stablehlo(least(), (32, 32), platforms=("abacus",))
