"""scripts/coarsen.py: what it writes is what training would simulate."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from arm_jax.data import sources
from arm_jax.data.labels import generic


def run(*arguments):
    checkout = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, str(checkout / "scripts" / "coarsen.py"), *map(str, arguments)],
        env={"PYTHONPATH": str(checkout), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_written_labels_are_the_simulated_ones(tmp_path):
    root, out = tmp_path / "fine", tmp_path / "coarse"
    fine = sources.open_source("scenes", split="train", images=3, size=(64, 128))
    for index in range(3):
        record = fine[index]
        for folder, pixels, suffix in (
            ("images", record["image"], "jpg"),
            ("labels", record["label"], "png"),
        ):
            path = root / folder / "train" / "town" / f"{index}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    names = fine.classes.names
    result = run(
        *("folders", "--root", root, "--classes", ",".join(names)),
        *("--preset", "medium", "--wrong_share", 0.3, "--seed", 4, "--out", out, "--workers", 2),
    )
    assert result.returncode == 0, result.stderr
    assert (out / "classes.txt").read_text().split("\n")[:-1] == list(names)
    written = sources.open_source("folders", root=out, classes=names)
    simulated = sources.open_source(
        "folders", root=root, classes=names, coarsening="medium", wrong_share=0.3, seed=4
    )
    assert written.classes == generic(names) and len(written) == 3
    for index in range(3):
        a, b = written[index], simulated[index]
        assert a["id"] == b["id"] == f"town/{index}"
        np.testing.assert_array_equal(a["image"], b["image"])
        np.testing.assert_array_equal(a["label"], b["label"])
    original, copy = (
        (place / "images" / "train" / "town" / "0.jpg").read_bytes() for place in (root, out)
    )
    assert original == copy


def test_drawn_scenes_can_be_written_too(tmp_path):
    result = run(
        *("scenes", "--splits", "val", "--images", 1, "--preset", "block20", "--out", tmp_path)
    )
    assert result.returncode == 0, result.stderr
    source = sources.open_source("folders", root=tmp_path, split="val", classes=("street_scenes",))
    assert (source[0]["label"] != 255).mean() < 0.21


def test_mistakes_end_in_one_line(tmp_path):
    result = run("folders", "--root", tmp_path, "--preset", "mild", "--out", tmp_path / "out")
    assert result.returncode == 2
    assert "images: no such folder" in result.stderr and result.stderr.count("\n") == 1


def fine_folder(root):
    for index in range(2):
        for kind in ("images", "labels"):
            path = root / kind / "train" / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((16, 16), np.uint8)).save(path)


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_data_are_never_written_into(tmp_path):
    root = tmp_path / "data"
    fine_folder(root)
    (tmp_path / "link").symlink_to(root)
    before = contents(root)
    settings = ("folders", "--root", root, "--classes", "a,b", "--preset", "mild")
    for out in (root, root / "labels", root / "labels" / "train", tmp_path / "link"):
        result = run(*settings, "--out", out)
        assert result.returncode == 2
        assert "which coarsen did not write" in result.stderr and result.stderr.count("\n") == 1
        assert contents(root) == before
    # Its own output it writes again.
    for _ in range(2):
        result = run(*settings, "--out", root / "coarse", "--workers", 1)
        assert result.returncode == 0, result.stderr


def test_names_of_an_archive_lead_nowhere_else(tmp_path):
    fine_folder(tmp_path / "fine")
    data = (tmp_path / "fine" / "images" / "train" / "0.png").read_bytes()
    for name in ("../../../escaped", "/escaped", "a\\..\\..\\escaped"):
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for folder in ("train", "trainannot"):
                archive.writestr(f"{folder}/a.png", data)
                archive.writestr(f"{folder}/{name}.png", data)
        root, out = tmp_path / "set.zip", tmp_path / "deep" / "er" / "out"
        before = contents(tmp_path)
        result = run("camvid", "--root", root, "--preset", "mild", "--out", out)
        assert result.returncode == 2, name
        assert "set.zip: the name" in result.stderr and result.stderr.count("\n") == 1
        assert contents(tmp_path) == before
