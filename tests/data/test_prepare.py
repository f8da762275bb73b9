"""Prepared data sets: whole or not there, and read without TensorFlow."""

import errno
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arm_jax.data import builders, coarsen, prepare, scenes, sources
from arm_jax.data.folders import FolderSource
from arm_jax.data.labels import STREET_SCENES, generic
from arm_jax.data.prepared import TfdsSource
from arm_jax.system.errors import InputError

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def folder(data_dir):
    return prepare.ensure("street_scenes", data_dir, config="smoke", progress=False)


def run(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_records_are_the_generated_scenes(folder):
    fine, coarse = TfdsSource(folder, "val", "fine"), TfdsSource(folder, "val", "coarse")
    assert len(fine) == 8 and len(TfdsSource(folder, "train")) == 16
    assert fine.classes == STREET_SCENES
    for index in (0, 5):
        name = f"val_{index:06d}"
        image, label = scenes.generate("val", index, (64, 128))
        assert fine[index]["id"] == name
        np.testing.assert_array_equal(fine[index]["image"], image)
        np.testing.assert_array_equal(fine[index]["label"], label)
        simulated = coarsen.coarsen(
            label, STREET_SCENES, coarsen.preset("medium"), seed=0, name=name
        )
        np.testing.assert_array_equal(coarse[index]["label"], simulated)
    np.testing.assert_array_equal(fine.inspect(5), np.bincount(label.reshape(-1), minlength=256))


def test_a_prepared_source_can_be_sent_to_a_worker(folder):
    source = TfdsSource(folder, "val")
    source[0]
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy[3]["label"], source[3]["label"])


def test_a_second_call_leaves_the_files_alone(data_dir, folder):
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert prepare.ensure("street_scenes", data_dir, config="smoke") == folder
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    source = sources.open_source(
        "street_scenes", root=data_dir, builder_config="smoke", split="train", labels="coarse"
    )
    assert len(source) == 16
    assert (source[0]["label"] == 255).any()


def test_no_tensorflow_is_needed(tmp_path):
    code = """
import sys
from arm_jax.data import sources
options = {"root": sys.argv[1], "builder_config": "smoke", "labels": "coarse"}
source = sources.open_source("street_scenes", **options)
assert source[15]["image"].shape == (64, 128, 3)
assert not [m for m in ("tensorflow", "torch") if m in sys.modules]
"""
    result = run(code, tmp_path)
    assert result.returncode == 0, result.stderr


def test_a_killed_preparation_is_done_again(tmp_path):
    code = """
import sys
from arm_jax.data import prepare
prepare.ensure("street_scenes", sys.argv[1], config="demo", progress=False)
"""
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=CHECKOUT)
    parent = tmp_path / "street_scenes" / "demo"
    limit = time.monotonic() + 60
    while not list(parent.glob("incomplete.*/*")) and time.monotonic() < limit:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert list(parent.glob("incomplete.*"))
    assert not (parent / "1.0.0").exists()
    # What it left is neither taken for whole nor in the way of another.
    with pytest.raises(InputError, match="is no prepared data set"):
        TfdsSource(parent / "1.0.0", "train")
    small = prepare.ensure("street_scenes", tmp_path, config="smoke", progress=False)
    leftover = small.parent / "incomplete.ABCDEF_1.0.0"
    leftover.mkdir()
    (small / "dataset_info.json").unlink()
    again = prepare.ensure("street_scenes", tmp_path, config="smoke", progress=False)
    assert len(TfdsSource(again, "train")) == 16
    assert not leftover.exists()


def test_workers_draw_the_same_scenes(tmp_path, folder, monkeypatch):
    builder = prepare.load_builder("street_scenes")
    monkeypatch.setattr(sys.modules[builder.__module__], "_WORTH_WORKERS", 1)
    again = prepare.ensure("street_scenes", tmp_path, config="smoke", progress=False)
    for index in (0, 15):
        a, b = (TfdsSource(place, "train", "coarse")[index] for place in (again, folder))
        assert a["id"] == b["id"]
        np.testing.assert_array_equal(a["image"], b["image"])
        np.testing.assert_array_equal(a["label"], b["label"])


def test_processes_that_start_together_prepare_once(tmp_path):
    code = """
import sys
from arm_jax.data import prepare
builder = prepare.load_builder("street_scenes")
original = builder._split_generators
def counted(self, manager):
    with open(sys.argv[1] + "/runs", "a") as file:
        file.write("x")
    return original(self, manager)
builder._split_generators = counted
prepare.ensure("street_scenes", sys.argv[1], config="smoke", progress=False)
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    processes = [subprocess.Popen(command, cwd=CHECKOUT) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert (tmp_path / "runs").read_text() == "x"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device"),
        (
            RuntimeError("Failed to finalize: write() failed: No space left on device; at byte 9"),
            "No space left on device",
        ),
        (RuntimeError("write() failed: File too large; writing x; at byte 9"), "File too large"),
    ],
)
def test_a_full_disk_leaves_nothing_that_looks_whole(tmp_path, monkeypatch, error, reason):
    builder = prepare.load_builder("street_scenes")

    def full(self, split, number):
        yield 0, {**dict.fromkeys(("image", "fine", "coarse"), b"png"), "id": "0"}
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(builder, "_generate_examples", full)
        with pytest.raises(InputError, match=f"{reason}; free some space") as caught:
            prepare.ensure("street_scenes", tmp_path, config="smoke", progress=False)
    assert "\n" not in str(caught.value)
    folder = prepare.ensure("street_scenes", tmp_path, config="smoke", progress=False)
    assert len(TfdsSource(folder, "train")) == 16


def test_a_name_that_is_no_text_is_refused_before_anything_is_written(tmp_path):
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
        pixels = np.zeros((8, 8, 3) if kind == "images" else (8, 8), np.uint8)
        Image.fromarray(pixels).save(tmp_path / kind / "a.png")
        (tmp_path / kind / "a.png").rename(tmp_path / kind / os.fsdecode(b"\xe91.png"))
    source = FolderSource(tmp_path, "", generic(("road", "car")))
    with pytest.raises(InputError, match=r"all: '\\udce91' is no name in UTF-8.*; rename"):
        builders.own(str(tmp_path), {"all": source})


def test_mistakes_are_named(tmp_path, folder):
    with pytest.raises(InputError, match=r"data set 'nothing' has no builder.*street_scenes"):
        prepare.ensure("nothing", tmp_path)
    with pytest.raises(InputError, match="no config 'large'; choose from standard, demo, smoke"):
        prepare.ensure("street_scenes", tmp_path, config="large")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/street_scenes cannot be written"):
        prepare.ensure("street_scenes", tmp_path / "file", config="smoke")
    with pytest.raises(InputError, match="no split 'test'; choose from train, val"):
        TfdsSource(folder, "test")
    with pytest.raises(InputError, match="no 'instance' labels; choose from"):
        TfdsSource(folder, "train", "instance")


def test_the_script_prints_the_folder_and_refuses_in_one_line(data_dir, folder):
    script = [sys.executable, str(CHECKOUT / "scripts" / "prepare.py")]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    good = subprocess.run(
        [*script, "street_scenes", "--data_dir", str(data_dir), "--config", "smoke"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert good.returncode == 0 and good.stdout.strip() == str(folder)
    bad = subprocess.run(
        [*script, "nothing", "--data_dir", str(data_dir)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert bad.returncode == 2
    assert bad.stderr.startswith("error: data set 'nothing'") and bad.stderr.count("\n") == 1


def test_files_of_somebody_else_are_never_removed(tmp_path):
    home = tmp_path / "street_scenes"
    home.mkdir()
    (home / "notes.txt").write_text("precious")
    with pytest.raises(InputError, match=r"street_scenes holds notes\.txt, which prepare did not"):
        prepare.ensure("street_scenes", tmp_path, config="smoke", progress=False)
    assert (home / "notes.txt").read_text() == "precious"
    # A folder that was prepared into before, where somebody put something at the wrong place.
    other = tmp_path / "other" / "street_scenes"
    (other / "demo" / "1.0.0").mkdir(parents=True)
    (other / "demo" / "1.0.0" / "dataset_info.json").write_text("{}")
    version = other / "smoke" / "1.0.0"
    version.mkdir(parents=True)
    (version / "photograph.jpg").write_text("precious")
    with pytest.raises(InputError, match=r"photograph\.jpg was not written by this program"):
        prepare.ensure("street_scenes", tmp_path / "other", config="smoke", progress=False)
    assert (version / "photograph.jpg").read_text() == "precious"
