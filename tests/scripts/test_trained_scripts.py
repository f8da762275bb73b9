"""scripts/export.py and scripts/compare_precision.py, on a run of a tiny network."""

import json
import re
import shutil
from pathlib import Path

import hub_server
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml
from flax import nnx
from refusals import refusal
from safetensors import safe_open
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes

import arm_jax
from arm_jax import experiment as experiments
from arm_jax.data.colors import write_image
from arm_jax.data.labels import STREET_SCENES
from arm_jax.evaluation import inference, metrics
from arm_jax.run import configs, inputs, model_card, restore
from arm_jax.run import folder as run_folder
from arm_jax.run.checkpoints import Checkpoints
from arm_jax.system.errors import InputError
from arm_jax.weights import weight_names
from scripts import compare_precision, export, push

CONFIG = str(Path(__file__).parents[2] / "configs" / "base.py")
OVERRIDES = ["--config.data.size=(32, 64)", "--config.data.eval_images=3"]


@pytest.fixture(scope="module")
def run(tiny_network, tmp_path_factory):
    """The flags that name an untrained run whose network tells classes apart, and the network."""
    folder = tmp_path_factory.mktemp("run")
    config = configs.load(f"{CONFIG}:smoke", OVERRIDES)
    experiment = experiments.build(config, STREET_SCENES)
    run_folder.open_folder(folder, config)
    run_folder.write_classes(folder, experiment.classes)
    graphdef, state = experiment.create_state()
    # Scores a hundred times as large: where they are nearly equal, any rounding decides.
    head = state.params["segmenter"]["head"]["classifier"]
    head["kernel"].set_value(100 * head["kernel"][...])
    checkpoints = Checkpoints(folder)
    checkpoints.save(2, state.replace(step=jnp.int32(2)), {"examples": 0, "records": 1})
    checkpoints.close()
    players = nnx.merge(graphdef, state.params, state.statistics)
    return [f"--workdir={folder}"], players.segmenter


def test_weights_of_a_run_are_exported_by_both_names(run, tmp_path, capsys):
    flags, model = run
    assert export.main([*flags, f"--output={tmp_path / 'own.safetensors'}"]) == 0
    assert "own.safetensors" in capsys.readouterr().out
    theirs = [*flags, "--names=mmsegmentation", f"--output={tmp_path / 'there.safetensors'}"]
    assert export.main(theirs) == 0
    with safe_open(tmp_path / "there.safetensors", "numpy") as file:
        assert tuple(json.loads(file.metadata()["class_names"])) == STREET_SCENES.names
    own, there = (load_file(tmp_path / f"{name}.safetensors") for name in ("own", "there"))
    for name, key in weight_names.foreign_names(model, "mmsegmentation").items():
        value = np.asarray(weight_names.variables(model)[name][...])
        np.testing.assert_array_equal(own[name], value)
        np.testing.assert_array_equal(weight_names.to_ours(there[key]), value)


def test_a_run_is_exported_as_a_program(run, tmp_path):
    flags, model = run
    output = tmp_path / "run.stablehlo"
    assert export.main([*flags, "--size", "32", "48", f"--output={output}"]) == 0
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), np.uint8)
    labels = jax.export.deserialize(bytearray(output.read_bytes())).call(images)["labels"]
    for image, label in zip(images, labels, strict=True):
        assert (inference.predict(model, image) == label).mean() > 0.999


@pytest.mark.slow
def test_a_run_is_exported_to_onnx(run, tmp_path, capsys):
    runtime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    flags, model = run
    output = tmp_path / "run.onnx"
    options = ["--size", "32", "64", "--format=onnx"]
    assert export.main([*flags, *options, f"--output={output}"]) == 0
    printed = capsys.readouterr().out
    words = r"ONNX Runtime and JAX on random values and 2 evaluation images: scores differ by .*e-0"
    assert re.search(words, printed)
    source = inputs.evaluation_source(
        arm_jax.load(flags[0].removeprefix("--workdir=")).experiment.config, STREET_SCENES
    )
    images = np.stack([source[index]["image"] for index in range(3)])
    labels, scores = runtime.InferenceSession(output).run(["labels", "scores"], {"images": images})
    assert scores.shape[0] == 3
    for image, label in zip(images, labels, strict=True):
        assert (inference.predict(model, image) == label).mean() > 0.999
    # Other images, named.
    write_image(tmp_path / "one.png", images[0])
    named = [*options, "--images", str(tmp_path / "one.png"), f"--output={tmp_path / 'b.onnx'}"]
    assert export.main([*flags, *named]) == 0
    assert "random values and the images given: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["weights.pth"], "ends in neither of .safetensors, .stablehlo and .onnx"),
        (["run.onnx"], "run.onnx needs --size HEIGHT WIDTH"),
        (["--dtype=bfloat16", "--size", "9", "9", "run.onnx"], "--dtype does not go with run.onnx"),
        (["--format=onnx", "a.safetensors"], "--format onnx does not go with a.safetensors; call"),
        (
            ["--images=none.png", "--size", "9", "9", "run.onnx"],
            "none.png: cannot be read (No such",
        ),
        (["run.stablehlo"], "run.stablehlo needs --size HEIGHT WIDTH"),
        (["--size", "32", "0", "run.stablehlo"], "run.stablehlo needs --size HEIGHT WIDTH"),
        (["--size", "32", "32", "a.safetensors"], "--size does not go with a.safetensors"),
        (["--names=keras", "--size", "9", "9", "a.stablehlo"], "--names does not go with a.st"),
        (["--names=keras", "a.safetensors"], "by the names of 'keras'"),
        (["--checkpoint=7", "a.safetensors"], "no checkpoint '7'; there are [2]"),
    ],
)
def test_what_cannot_be_exported_is_one_line(run, arguments, message, tmp_path, capsys):
    *options, name = arguments
    assert export.main([*run[0], *options, f"--output={tmp_path / name}"]) == 2
    printed = capsys.readouterr().err.replace(f"{tmp_path}/", "")
    assert message in printed and len(printed.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A stand-in for the Hub, with a cache of its own and a token that it takes."""
    from huggingface_hub import constants

    with hub_server.serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", hub_server.TOKEN)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
        yield server


@pytest.mark.slow
def test_a_run_is_published_and_loaded_back(run, hub, tmp_path, capsys):
    flags, _ = run
    folder = Path(flags[0].removeprefix("--workdir="))
    options = ["--to=owner/net", "--license=cc-by-4.0", "--data=Scenes | drawn by us.", "--private"]
    assert push.main([*flags, *options]) == 0
    assert 'arm_jax.load("hf://owner/net") loads it' in capsys.readouterr().out
    assert hub.commits == [("owner/net", "Step 2, by arm_jax")] and hub.private["owner/net"]
    stored = hub.repositories["owner/net"]
    assert sorted(stored) == ["README.md", "classes.json", "config.json", "model.safetensors"]
    assert str(folder).encode() not in b"".join(stored.values())

    found = arm_jax.load("hf://owner/net")
    assert found.classes == STREET_SCENES
    image = np.random.default_rng(0).integers(0, 256, (33, 49, 3), np.uint8)
    expected = arm_jax.load(folder)
    np.testing.assert_array_equal(found.probabilities(image), expected.probabilities(image))
    # From the cache, where the Hub is gone; and from a folder of the same files.
    hub.repositories.clear()
    hub.shutdown()
    hub.server_close()
    again = arm_jax.load("hf://owner/net")
    np.testing.assert_array_equal(again.predict(image), expected.predict(image))
    assert push.main([*flags, *options, f"--output={tmp_path / 'out'}"]) == 0
    for name in ("README.md", "classes.json", "config.json"):
        assert (tmp_path / "out" / name).read_bytes() == stored[name]
    np.testing.assert_array_equal(
        arm_jax.load(tmp_path / "out").predict(image), expected.predict(image)
    )
    # The weights alone state classes and bands.
    alone = tmp_path / "alone.safetensors"
    shutil.copy(tmp_path / "out/model.safetensors", alone)
    found = arm_jax.load(alone)
    assert found.classes == STREET_SCENES and found.model.bands == expected.model.bands
    exact = inference.predict(expected.in_precision("float32"), image)
    np.testing.assert_array_equal(found.predict(image), exact)
    (tmp_path / "out/config.json").unlink()
    assert arm_jax.load(tmp_path / "out").classes == STREET_SCENES


def test_a_model_card_tells_what_was_measured_on_what(run, tmp_path):
    flags, _ = run
    folder = shutil.copytree(flags[0].removeprefix("--workdir="), tmp_path / "run")
    trained = restore.load(folder)
    config = trained.experiment.config
    card = model_card.text(trained, config, "me/net", "mit", "")
    assert "Not measured: this checkpoint has no evaluation." in card
    number = trained.classes.number
    matrix = np.diag(np.arange(number)) + np.eye(number, k=1, dtype=int)
    measured = metrics.scores(matrix)
    evaluation = {**metrics.as_dict(measured, trained.classes.names), "step": 2, "images": 3}
    (folder / "eval.json").write_text(json.dumps(evaluation))
    (folder / "confusion.csv").write_text(metrics.matrix_csv(matrix, trained.classes.names))
    card = model_card.text(trained, config, "me/net", "mit", "Drawn by us.")
    head, body = re.fullmatch(r"---\n(.*?)\n---\n\n(.*)", card, re.DOTALL).groups()
    stated = yaml.safe_load(head)
    assert (stated["license"], stated["library_name"]) == ("mit", "arm_jax")
    (listed,) = stated["model-index"]
    listed = {m["type"]: m["value"] for m in listed["results"][0]["metrics"]}
    assert listed["mIoU"] == pytest.approx(measured.mIoU)
    assert "Measured on 3 images of scenes val, fine labels; " in body
    assert 'arm_jax.load("hf://me/net")' in body and "\nDrawn by us.\n" in body
    for number, (name, color) in enumerate(zip(*scenes_classes(), strict=True)):
        assert f"| {number} | {name} | #{bytes(color).hex()} |" in body
        iou = measured.IoU[number]
        assert f"\n| {name} | {'' if np.isnan(iou) else f'{iou:.2f}'} | " in body
    assert f"| {measured.mIoU:.2f} | {measured.mAcc:.2f} | " in body
    # Every table's rows have as many cells as its head.
    for table in re.findall(r"(?:^\|.*\n)+", body, re.MULTILINE):
        assert len({line.count(" |") for line in table.splitlines() if "---" not in line}) == 1


def scenes_classes():
    return STREET_SCENES.names, STREET_SCENES.colors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to=net", "--license=mit"], "--to net: give the repository as OWNER/NAME"),
        (["--to=owner/net", "--license=My own"], "--license My own: give an identifier"),
        (["--to=other/net", "--license=mit"], "other/net: the token may not do that"),
        (["--to=owner/net", "--license=mit", "wrong"], "owner/net: the Hub knows no such"),
        (["--to=owner/net", "--license=mit", "none"], "there is no token of the Hub; make one"),
        (["--to=owner/net", "--license=mit", "gone"], "owner/net: the Hub cannot be reached ("),
    ],
)
def test_what_cannot_be_published_is_one_line(run, hub, arguments, message, monkeypatch, capsys):
    if arguments[-1] in ("wrong", "none"):
        monkeypatch.setenv("HF_TOKEN", "" if arguments[-1] == "none" else "hf_wrong")
    if arguments[-1] == "gone":
        hub.shutdown()
        hub.server_close()
    named = [argument for argument in arguments if argument.startswith("--")]
    assert push.main([*run[0], *named]) == 2
    printed = capsys.readouterr().err
    assert message in printed and len(printed.strip().splitlines()) == 1
    assert not hub.commits


def test_what_cannot_be_loaded_from_the_hub_is_one_line(hub):
    weights = to_bytes({"weight": np.zeros(3, np.float32)})
    hub.repositories["owner/other"] = {"model.safetensors": weights, "README.md": b""}
    hub.repositories["owner/empty"] = {"README.md": b""}
    for address, words in {
        "hf://owner/none": "hf://owner/none: the Hub knows no such repository",
        "hf://owner/empty": "hf://owner/empty has no model.safetensors, and is no network of this",
        "hf://owner/other": "hf://owner/other does not state its network and class_names and class",
        "hf://owner/other@v3": "hf://owner/other@v3: the Hub knows no such repository or revision",
        "hf://owner": "hf://owner: write hf://OWNER/NAME",
    }.items():
        assert words in refusal(arm_jax.load, address)
    with pytest.raises(InputError, match="is one network with its settings"):
        arm_jax.load("hf://owner/other", checkpoint="best")


@pytest.mark.slow
def test_precisions_are_compared_pixel_by_pixel(run, capsys, monkeypatch):
    flags, model = run
    dtypes = []
    predict = inference.predict

    def with_mistakes(network, image, protocol):
        """The labels of an exact network, a tenth of them changed for one that is not."""
        dtypes.append(str(network.head.classifier.dtype))
        labels = predict(model, image, protocol).copy()
        if dtypes[-1] != "float32":
            labels[:, :6] = (labels[:, :6] + 1) % network.num_classes
        return labels

    with monkeypatch.context() as patch:
        patch.setattr(inference, "predict", with_mistakes)
        assert compare_precision.main([*flags, "--images=2"]) == 0
    assert dtypes == ["float32", "bfloat16"] * 2
    printed = capsys.readouterr().out
    expected = 100 * (1 - 6 / 64)
    assert f"{expected:.3f} % of 4,096 pixels of 2 images have the same label" in printed
    assert f"lowest {expected:.3f} %" in printed

    # The network itself: the same parameters, computed in both.
    run = arm_jax.load(flags[0].removeprefix("--workdir="))
    source = inputs.evaluation_source(run.experiment.config, run.classes)
    half = run.in_precision("bfloat16")
    assert half.backbone.stages[0][0].conv1.conv.dtype == jnp.bfloat16
    found = compare_precision.compare(model, half, source, [0, 2], run.experiment.protocol)
    assert list(found.shares) == [source[0]["id"], source[2]["id"]]
    assert found.pixels == 4096 and found.equal / found.pixels > 0.9
    labels = np.stack([predict(model, source[i]["image"]) for i in (0, 2)])
    right = labels == np.stack([source[i]["label"] for i in (0, 2)])
    assert found.scores[0].aAcc == pytest.approx(100 * right.mean())


def test_comparing_precisions_needs_a_run_and_an_image(run, tmp_path, capsys):
    flags, _ = run
    assert compare_precision.main([*flags, "--images=0"]) == 2
    assert "--images = 0" in capsys.readouterr().err
    assert compare_precision.main([f"--workdir={tmp_path / 'none'}"]) == 2
    assert "give --workdir the folder of a trained run" in capsys.readouterr().err
