"""The survey of a data set and its script: everything counted, everything bad named."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arm_jax.data import coarsen, sources
from arm_jax.data.folders import FolderSource
from arm_jax.data.labels import generic
from arm_jax.data.survey import survey
from arm_jax.system.errors import InputError
from scripts import check_dataset

CLASSES = generic(["ground", "thing", "never"])


@pytest.fixture
def root(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / folder / "train").mkdir(parents=True)
    for index in range(5):
        size = (20, 30) if index else (10, 12)
        label = np.zeros(size, np.uint8)
        label[: 4 + index, :9] = 1
        label[-1] = 255
        name = f"{index}.png"
        Image.fromarray(np.zeros((*size, 3), np.uint8)).save(tmp_path / "images" / "train" / name)
        Image.fromarray(label).save(tmp_path / "labels" / "train" / name)
    return tmp_path


def script(root, *arguments):
    checkout = Path(__file__).parents[2]
    return subprocess.run(
        [
            *(sys.executable, str(checkout / "scripts" / "check_dataset.py"), "folders"),
            *("--root", str(root), "--classes", "ground,thing,never", *arguments),
        ],
        env={"PYTHONPATH": str(checkout), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_everything_is_counted(root):
    found = survey(FolderSource(root, "train", CLASSES), progress=False)
    assert found.records == 5 and not found.problems
    assert dict(found.sizes) == {(20, 30): 4, (10, 12): 1}
    things = 9 * (4 + 5 + 6 + 7 + 8)
    assert found.values[1] == things and found.values[255] == 12 + 4 * 30
    assert found.values[0] == 120 + 4 * 600 - things - 132
    assert list(found.present[:3]) == [5, 5, 0]
    assert found.coverage == pytest.approx(1 - 132 / 2520)
    table = found.table()
    assert "never labelled: never" in table and "20x30 (4), 10x12 (1)" in table


def test_a_second_label_set_is_compared(root):
    source = FolderSource(root, "train", CLASSES)
    coarse = sources.CoarsenedSource(source, coarsen.preset("medium"))
    found = survey(source, coarse, progress=False)
    labelled = sum(int((coarse[i]["label"] != 255).sum()) for i in range(5))
    assert found.agreement.coverage == pytest.approx(labelled / 2520)
    assert "distance to a fine edge" in found.table()
    with pytest.raises(InputError, match="5 records have the one kind of label and 3 the other"):
        survey(source, sources.FirstSource(source, 3), progress=False)


def test_problems_are_collected(root):
    (root / "images" / "train" / "1.png").write_bytes(b"x")
    Image.fromarray(np.full((20, 30), 9, np.uint8)).save(root / "labels" / "train" / "3.png")
    found = survey(FolderSource(root, "train", CLASSES), progress=False)
    assert len(found.problems) == 2
    assert "1.png: cannot be read" in found.problems[0]
    assert "3.png: label values 9 " in found.problems[1]
    assert sum(found.sizes.values()) == 3


def test_the_script_prints_draws_and_tells_by_its_status(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    good = script(root, "--splits", "train", "--coarsen", "mild", "--out", str(out))
    assert good.returncode == 0, good.stderr
    assert "5 records, 0 of them bad" in good.stdout and "one frame of Cityscapes" in good.stdout
    assert Image.open(out / "samples_train.png").size[0] > 300

    (root / "labels" / "train" / "2.png").write_bytes(b"")
    bad = script(root, "--splits", "train")
    assert bad.returncode == 2
    assert "5 records, 1 of them bad" in bad.stdout and "2.png: cannot be read" in bad.stdout

    missing = script(root, "--splits", "val")
    assert missing.returncode == 2
    assert missing.stderr.startswith("error: ") and missing.stderr.count("\n") == 1


def test_records_that_cannot_be_used_end_the_script_with_one_line(tmp_path, monkeypatch, capsys):
    for kind in ("images", "labels"):
        (tmp_path / kind / "train").mkdir(parents=True)
        (tmp_path / kind / "train" / "a.png").write_bytes(b"no image")
    arguments = ["folders", f"--root={tmp_path}", "--classes=a,b", "--splits=train"]
    monkeypatch.setattr(sys, "argv", ["check_dataset.py", *arguments])
    assert check_dataset.main() == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "records that cannot be used: 1, first " in said
