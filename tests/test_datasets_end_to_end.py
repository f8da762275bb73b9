"""The four benchmarks and CamVid end to end: miniature trees in the official layouts, tiny network.

Each goes the way a person goes: prepare, check, train, evaluate, predict, write the server's file.
"""

import dataclasses
import importlib
import io
import json
import shutil
import sys
import zipfile

import jax
import numpy as np
import official_trees
import pytest
import tiny
from flax import nnx
from PIL import Image

from arm_jax import consistency, modes
from arm_jax import experiment as experiments
from arm_jax.data import prepare, sources
from arm_jax.data.labels import ADE20K, ADE20K_TABLE, CITYSCAPES, CITYSCAPES_TABLE
from arm_jax.evaluation import server_files
from arm_jax.networks.input import MEAN, STD
from arm_jax.run import folder as run_folder
from arm_jax.run import inputs, loop, restore
from arm_jax.system import sharding
from arm_jax.system.errors import InputError
from arm_jax.training.state import Players
from scripts import check_dataset

SIZE = official_trees.SIZE
city_root, city_zips = official_trees.city_root, official_trees.city_zips
ade_root = official_trees.ade_root

# What a miniature changes. One program for all that looks at one image is compiled, and shared.
SMALL = {**tiny.QUICK, "steps": 2, "batch_size": 4, "eval_every": 2, "save_every": 2}


pytestmark = pytest.mark.usefixtures("tiny_network")


@pytest.fixture(autouse=True)
def one_device(monkeypatch):
    """The first device alone is used, and what is compiled for it once serves all modes."""
    tiny.on_one_device(monkeypatch)


@pytest.fixture(autouse=True)
def small_server(monkeypatch):
    """Cityscapes' server, of the miniature test split."""
    small = dataclasses.replace(server_files.SERVERS["cityscapes"], size=SIZE, images=2)
    monkeypatch.setitem(server_files.SERVERS, "cityscapes", small)


def load(name, argument=None, **overrides):
    config = importlib.import_module(f"configs.{name}").get_config(argument)
    config.update_from_flattened_dict(overrides)
    return config


def checked(monkeypatch, *arguments):
    """The exit status of scripts/check_dataset.py."""
    monkeypatch.setattr(sys, "argv", ["check_dataset.py", *map(str, arguments)])
    return check_dataset.main()


def trained_and_evaluated(config, workdir):
    """Train; the evaluations, during training and of the checkpoint, count every labelled pixel."""
    during = loop.train(config, workdir)
    checked = consistency.checked(config)
    source = inputs.evaluation_source(checked, run_folder.read_classes(workdir))
    counts = sum(np.bincount(source[i]["label"].ravel(), minlength=256) for i in range(len(source)))
    afterwards = modes.evaluate(config, workdir)
    for result in (during, afterwards):
        np.testing.assert_array_equal(result.matrix.sum(1), counts[: source.classes.number])
        assert result.boundary_width == 5 and result.images == len(source)
    report = json.loads((workdir / "eval.json").read_text())
    assert report["step"] == 2 and report["split"] == config.data.eval_split
    assert report["labels"] == "fine" and report["boundary"]["width"] == 5


def unzipped(path, table):
    """Name -> class indices of a zip for a server."""
    with zipfile.ZipFile(path) as archive:
        return {
            name: table(np.asarray(Image.open(io.BytesIO(archive.read(name)))))
            for name in archive.namelist()
        }


def assert_same(exported, folder):
    """What the server gets is what `--mode predict` writes."""
    for name, label in exported.items():
        np.testing.assert_array_equal(np.asarray(Image.open(next(folder.rglob(name)))), label)


@pytest.mark.slow
def test_cityscapes_coarse_from_zips_and_prepared(city_zips, tmp_path, monkeypatch, capsys):
    folder = prepare.ensure("cityscapes", tmp_path / "data", source=city_zips, progress=False)
    assert checked(monkeypatch, "prepared", "--root", folder, "--compare") == 0
    assert checked(monkeypatch, "cityscapes", "--root", city_zips, "--compare") == 0
    printed = capsys.readouterr().out
    assert printed.count("4 records, 0 of them bad") == 2
    assert printed.count("equal where both are given") == 4

    config = load("cityscapes_coarse", "arm", **SMALL)
    config.data.dataset, config.data.root = "prepared", str(folder)
    trained_and_evaluated(config, tmp_path / "run")
    printed = capsys.readouterr().out
    assert "train on     4 images of prepared train, 19 classes, coarse labels\n" in printed
    assert "evaluate on  2 images of prepared val, fine labels\n" in printed

    # The run was trained on prepared records; its test images lie in the zips.
    archive = city_zips / "leftImg8bit_trainvaltest.zip"
    target = modes.server(config, tmp_path / "run", "best", str(archive), None)
    assert target == tmp_path / "run" / "cityscapes_test.zip"
    assert "2 predictions for Cityscapes, checked" in capsys.readouterr().out
    exported = unzipped(target, CITYSCAPES_TABLE)
    assert sorted(exported) == [f"berlin_000000_0000{n}_leftImg8bit.png" for n in (19, 73)]
    assert {label.shape for label in exported.values()} == {SIZE}


@pytest.mark.slow
def test_cityscapes_in_place_to_the_server(city_root, tmp_path, monkeypatch, capsys):
    config = load("cityscapes_coarse", "arm,trainval", **SMALL)
    config.data.root = str(city_root)
    trained_and_evaluated(config, tmp_path)
    printed = capsys.readouterr().out
    assert "6 images of cityscapes train+val, 19 classes, coarse labels\n" in printed
    assert "note         val is trained on too" in printed

    modes.predict(config, tmp_path, "latest", str(city_root / "leftImg8bit" / "test"), None)
    target = modes.server(config, tmp_path, "latest", None, str(tmp_path / "out" / "results.zip"))
    exported = unzipped(target, CITYSCAPES_TABLE)
    assert len(exported) == 2
    assert_same(exported, tmp_path / "predictions" / "labels")
    with pytest.raises(InputError, match="is a folder; name the file to write"):
        modes.server(config, tmp_path, "latest", None, str(tmp_path / "out"))

    config.data.eval_split = "test"
    with pytest.raises(InputError, match=r"test split are empty; evaluate on another"):
        modes.evaluate(config, tmp_path)


@pytest.mark.slow
def test_the_coarse_extension_and_table_6_augmentation(city_zips, tmp_path, capsys):
    """From the zips in place, and from prepared folders, where training and evaluation differ."""
    config = load("cityscapes_coarse_extension", **SMALL)
    config.data.root = str(city_zips)
    trained_and_evaluated(config, tmp_path / "zips")
    assert "1 images of cityscapes train_extra, 19 classes, coarse" in capsys.readouterr().out
    augmented = load("cityscapes_coarse_extension", "tta", **SMALL)
    augmented.data.root = str(city_zips)
    target = modes.server(augmented, tmp_path / "zips", "latest", None, None)
    assert "horizontal flip: 14 passes, logits averaged" in capsys.readouterr().out
    assert len(unzipped(target, CITYSCAPES_TABLE)) == 2

    folders = {
        name: prepare.ensure("cityscapes", tmp_path, config=name, source=city_zips, progress=False)
        for name in ("extra", "fine")
    }
    config.data.dataset, config.data.root = "prepared", str(folders["extra"])
    config.data.eval_root = str(folders["fine"])
    trained_and_evaluated(config, tmp_path / "prepared")


@pytest.mark.slow
def test_ade20k_prepared(ade_root, tmp_path, monkeypatch, capsys):
    folder = prepare.ensure("ade20k", tmp_path / "data", source=ade_root, progress=False)
    for name, root in (("prepared", folder), ("ade20k", ade_root)):
        assert checked(monkeypatch, name, "--root", root, "--out", tmp_path / name) == 0
        assert (tmp_path / name / "samples_val.png").is_file()
    config = load("ade20k", "arm", **SMALL)
    config.data.dataset, config.data.root = "prepared", str(folder)
    config.augment.base_size, config.evaluation.size = (32, 128), (32, 128)
    trained_and_evaluated(config, tmp_path / "run")
    printed = capsys.readouterr().out
    assert "image resized to fit 32x128" in printed and "multiples of 64 pixels" in printed

    # The images of val stand in for those of test, which have their names and no labels.
    images = ade_root / "ADEChallengeData2016" / "images" / "validation"
    with pytest.raises(InputError, match="needs --input, a folder or zip of the test images"):
        modes.server(config, tmp_path / "run", "latest", None, None)
    modes.predict(config, tmp_path / "run", "latest", str(images), str(tmp_path / "predicted"))
    target = modes.server(config, tmp_path / "run", "latest", str(images), None)
    exported = unzipped(target, ADE20K_TABLE)
    assert sorted(exported) == ["ADE_val_00000001.png", "ADE_val_00000002.png"]
    assert_same(exported, tmp_path / "predicted" / "labels")


@pytest.mark.slow
def test_camvid_with_simulated_coarse_labels(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    root = tmp_path / "camvid"
    for split, number in (("train", 3), ("val", 1), ("test", 2)):
        for index in range(number):
            label = np.kron(rng.integers(0, 12, (2, 3)), np.ones((24, 32))).astype(np.uint8)
            image = (label[..., None] * 20 + rng.integers(0, 9, (*label.shape, 3))).astype(np.uint8)
            official_trees.save(root / split / f"{index}.png", image)
            official_trees.save(root / f"{split}annot" / f"{index}.png", label)
    folder = prepare.ensure("camvid", tmp_path / "data", source=root, progress=False)
    options = ("--splits", "train", "--coarsen", "cityscapes")
    assert checked(monkeypatch, "camvid", "--root", root, *options) == 0
    assert "for comparison, one frame of Cityscapes" in capsys.readouterr().out

    config = load("camvid_coarse", "arm", **SMALL)
    config.data.root = str(root)
    training = inputs.training_source(consistency.checked(config))
    config.data.dataset, config.data.root = "prepared", str(folder)
    written = inputs.training_source(consistency.checked(config))
    for index in range(3):  # coarse labels do not depend on where the fine ones come from
        np.testing.assert_array_equal(training[index]["label"], written[index]["label"])
    trained_and_evaluated(config, tmp_path / "run")
    printed = capsys.readouterr().out
    assert "11 classes, coarse labels simulated from the fine ones (preset cityscapes)" in printed
    modes.predict(config, tmp_path / "run", "latest", str(root / "test"), None)
    assert len(list((tmp_path / "run" / "predictions" / "labels").glob("*.png"))) == 2
    with pytest.raises(InputError, match="are those of no benchmark with a server"):
        modes.server(config, tmp_path / "run", "latest", str(root / "test"), None)


class Oracle(nnx.Module):
    """Reads the class of each pixel off its colour, as `coloured` put it there."""

    def __init__(self, num_classes):
        self.num_classes = num_classes

    def __call__(self, images):
        mean, deviation = (np.float32(value).reshape(1, 1, 1, 3) for value in (MEAN, STD))
        digits = jax.numpy.rint((images * deviation + mean) / 20).astype(int)
        return 10 * jax.nn.one_hot(digits[..., 0] + 13 * digits[..., 1], self.num_classes)


def coloured(label):
    """An image that has each pixel's class in red and green, so coarsely that JPEG keeps it."""
    known = np.where(label == 255, 0, label)
    return np.stack([known % 13 * 20, known // 13 * 20, np.full_like(known, 99)], -1)


def exported_by_an_oracle(config, classes, images, tmp_path, monkeypatch):
    experiment = experiments.build(config, classes)
    players = Players(Oracle(classes.number), None)
    run = restore.Run(tmp_path, 1, {}, experiment, players, None, ())
    monkeypatch.setattr(restore, "load", lambda *_, **__: run)
    return players, modes.server(config, str(tmp_path), "latest", images, None)


def test_perfect_cityscapes_predictions_score_100_and_read_back_as_the_labels(
    city_root, tmp_path, monkeypatch
):
    shutil.copytree(city_root / "gtFine" / "val", tmp_path / "gtFine" / "val")
    fine = sources.open_source("cityscapes", root=city_root, split="val")
    for split in ("val", "test"):
        for record in (fine[0], fine[1]):
            place = tmp_path / "leftImg8bit" / split / f"{record['id']}_leftImg8bit.png"
            official_trees.save(place, coloured(record["label"]))
    config = load("cityscapes_fine", **{"data.root": str(tmp_path)})
    players, target = exported_by_an_oracle(config, CITYSCAPES, None, tmp_path, monkeypatch)
    found = unzipped(target, CITYSCAPES_TABLE)
    assert len(found) == 2
    for record in (fine[0], fine[1]):
        label = found[f"{record['id'].split('/')[1]}_leftImg8bit.png"]
        given = record["label"] != 255
        assert 0 < given.mean() < 1
        np.testing.assert_array_equal(label[given], record["label"][given])
    experiment = experiments.build(config, CITYSCAPES)
    source = inputs.evaluation_source(experiment.config, CITYSCAPES)
    result = experiment.evaluate(players, source, sharding.make_mesh())
    assert result.scores.mIoU == result.scores.aAcc == result.boundary.mIoU == 100


def test_perfect_ade20k_predictions_read_back_as_the_labels(tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    labels = {}
    for number, blocks in enumerate(((3, 5), (6, 2))):
        label = np.kron(rng.integers(0, 150, blocks), np.ones((8, 8))).astype(np.uint8)
        labels[f"ADE_test_{number:08d}.png"] = label
        place = tmp_path / "release_test" / "testing" / f"ADE_test_{number:08d}.jpg"
        official_trees.save(place, coloured(label), quality=95, subsampling=0)
    config = load("ade20k", **{"data.root": str(tmp_path), "evaluation.size": ()})
    images = str(tmp_path / "release_test")
    _, target = exported_by_an_oracle(config, ADE20K, images, tmp_path, monkeypatch)
    found = unzipped(target, ADE20K_TABLE)
    assert found.keys() == labels.keys()
    for name, label in labels.items():
        np.testing.assert_array_equal(found[name], label)
