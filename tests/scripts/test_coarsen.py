"""scripts/coarsen.py: what it writes is what training would simulate."""

import subprocess
import sys
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
        *("--preset", "medium", "--flip", 0.3, "--seed", 4, "--out", out, "--workers", 2),
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
    assert result.stderr.startswith("error: classes is empty") and result.stderr.count("\n") == 1
