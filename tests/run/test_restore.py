"""A run's folder is enough: loaded from a copy, on any devices, without data or config."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from PIL import Image
from refusals import refusal

import arm_jax
from arm_jax import experiment as experiments
from arm_jax import modes, settings
from arm_jax.data.labels import STREET_SCENES
from arm_jax.evaluation.protocol import Protocol
from arm_jax.run import configs, loop, restore
from arm_jax.run import folder as run_folder
from arm_jax.run.checkpoints import Checkpoints
from arm_jax.system import sharding
from arm_jax.weights import weight_names
from configs import base

ROOT = Path(__file__).parents[2]


def save_run(folder, name):
    """Two checkpoints of an untrained network that tells classes apart; the first is the best."""
    changes = {"model.name": name, "evaluation.tta": "none", "data.root": "/nowhere"}
    config = settings.frozen(base.get_config("smoke"), changes)
    experiment = experiments.build(config, STREET_SCENES)
    run_folder.open_folder(folder, config)
    run_folder.write_classes(folder, STREET_SCENES)
    _, state = experiment.create_state()
    head = state.params["segmenter"]["head"]["classifier"]
    # Scores a hundred times as large: where they are nearly equal, any rounding decides.
    head["kernel"].set_value(100 * head["kernel"][...])
    checkpoints = Checkpoints(folder)
    for step, miou in ((1, 30.0), (2, 20.0)):
        checkpoints.save(step, state.replace(step=jnp.int32(step)), {"records": 1}, miou=miou)
        head["bias"].set_value(head["bias"][...] + 1)
    checkpoints.close()
    scores = {"eval_mIoU": 30.0, "eval_mAcc": 40.0, "eval_aAcc": 50.0}
    lines = [
        {"step": 1, "loss": 2.0},
        {"step": 1, **scores},
        {"step": 2, **scores, "eval_mIoU": 20.0},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def moved(folder, to):
    """A read-only copy; the original is gone."""
    shutil.copytree(folder, to)
    shutil.rmtree(folder)
    for path in [to, *to.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    return to


def content(folder):
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def photograph(seed, size=(32, 64)):
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (size[0] // 8, size[1] // 8, 3), np.uint8)
    return np.kron(blocks, np.ones((8, 8, 1), np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        tiny.shrink(patch)
        made = tmp_path_factory.mktemp("made") / "run"
        save_run(made, "deeplabv3plus_resnet18")
        yield moved(made, tmp_path_factory.mktemp("elsewhere") / "copy")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    place = tmp_path_factory.mktemp("photographs")
    for seed in range(2):
        Image.fromarray(photograph(seed)).save(place / f"{seed}.png")
    return place


def test_a_copied_read_only_run_predicts_what_mode_predict_does(folder, images, tmp_path):
    before = content(folder)
    run = arm_jax.load(folder, checkpoint="best")
    assert (run.step, run.scores) == (1, {"mIoU": 30.0, "mAcc": 40.0, "aAcc": 50.0})
    assert run.classes == STREET_SCENES and run.model.num_classes == STREET_SCENES.number
    paths = sorted(images.iterdir())
    labels = run.predict(paths)
    assert labels[0].dtype == np.uint8 and len(np.unique(labels[0])) > 1
    modes.predict(None, folder, "best", str(images), str(tmp_path / "out"))
    for path, label in zip(paths, labels, strict=True):
        written = np.asarray(Image.open(tmp_path / "out" / "labels" / f"{path.stem}.png"))
        np.testing.assert_array_equal(label, written)
        np.testing.assert_array_equal(run.predict(str(path)), label)
        np.testing.assert_array_equal(run.predict(np.asarray(Image.open(path))), label)
    assert content(folder) == before


@pytest.mark.slow
def test_the_number_of_devices_does_not_matter(folder):
    image = photograph(0)
    one, eight = (
        restore.load(folder, "best", mesh=sharding.make_mesh(jax.devices()[:number]))
        for number in (1, 8)
    )
    np.testing.assert_array_equal(one.predict(image), eight.predict(image))


def test_probabilities_are_those_that_labels_are_chosen_by(folder):
    run = arm_jax.load(folder)
    assert run.step == 2
    image = photograph(3)
    likelihood = run.probabilities(image)
    assert likelihood.shape == (32, 64, STREET_SCENES.number) and likelihood.dtype == np.float32
    np.testing.assert_allclose(likelihood.sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(likelihood.argmax(-1), run.predict(image))
    (same,) = run.probabilities([image])
    np.testing.assert_array_equal(same, likelihood)
    both_ways = Protocol(flip=True, average="probabilities")
    experiment = dataclasses.replace(run.experiment, protocol=both_ways)
    found = dataclasses.replace(run, experiment=experiment).probabilities(image)
    mirrored = run.probabilities(image[:, ::-1])[:, ::-1]
    np.testing.assert_allclose(found, (likelihood + mirrored) / 2, atol=1e-5)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.output_stride=8", "model.output_stride = 16 (not 8); leave that out"),
        ("model.variant=v1b", "model.variant = '' (not 'v1b')"),
        ("data.classes=sky,road", "data.classes = ('sky', 'road'), but the classes of"),
    ],
)
def test_another_network_or_order_of_classes_is_refused_by_name(folder, override, message):
    config = configs.load(None, [f"--config.{override}"], folder)
    assert message in refusal(restore.load, folder, config=config)


def test_a_folder_that_is_no_run_a_missing_checkpoint_and_no_image_are_one_line(folder, tmp_path):
    cases = [
        (lambda: arm_jax.load(tmp_path / "none"), "give --workdir the folder of a trained run"),
        (lambda: arm_jax.load(folder, 7), "no checkpoint '7'; there are [1, 2]"),
        (lambda: arm_jax.load(folder).predict(tmp_path / "none.jpg"), "none.jpg"),
        (lambda: arm_jax.load(folder).predict(np.zeros((4, 4))), "uint8 (height, width, 3)"),
    ]
    for function, message in cases:
        assert message in refusal(function)


def test_a_run_starts_from_the_best_weights_of_another(folder):
    config = settings.frozen(base.get_config("smoke"), {"model.pretrained": str(folder)})
    experiment = experiments.build(config, STREET_SCENES)
    _, state = experiment.create_state(loop.first_weights(experiment))
    head = state.params["segmenter"]["head"]["classifier"]
    wanted = weight_names.variables(arm_jax.load(folder, 1).model)
    np.testing.assert_array_equal(head["kernel"][...], wanted["head.classifier.kernel"][...])
    np.testing.assert_array_equal(head["bias"][...], wanted["head.classifier.bias"][...])


@pytest.mark.slow
def test_one_and_eight_devices_label_a_copied_run_alike_without_a_config(tmp_path, images):
    """By the command line, in processes of their own."""
    save_run(tmp_path / "made", "deeplabv3plus_resnet10")
    folder = moved(tmp_path / "made", tmp_path / "copy")
    labels = [arm_jax.load(folder).predict(path) for path in sorted(images.iterdir())]
    for devices in (1, 8):
        output = tmp_path / str(devices)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "arm_jax.main", "--mode=predict", f"--workdir={folder}"),
                *(f"--input={images}", f"--output={output}"),
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "JAX_PLATFORMS": "cpu",
                "JAX_NUM_CPU_DEVICES": str(devices),
            },
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        for number, label in enumerate(labels):
            written = np.asarray(Image.open(output / "labels" / f"{number}.png"))
            np.testing.assert_array_equal(label, written)
