"""The result of an evaluation as files: whole, valid, and read again as it was."""

import json

import numpy as np
import pytest
from evaluation_standins import Records, TinySegmenter, classes
from flax import nnx

from arm_jax.evaluation import evaluate
from arm_jax.reporting import scores
from arm_jax.system import outputs
from arm_jax.system.errors import InputError


@pytest.fixture(scope="module")
def model():
    return TinySegmenter(num_classes=5, rngs=nnx.Rngs(0))


def evaluated(model, images, width=None):
    return evaluate.evaluate(
        model, Records([(24, 32)] * images), batch_size=1, boundary_width=width, progress=False
    )


def test_the_report_is_valid_json_and_holds_everything(model, tmp_path):
    result = evaluated(model, 2, 5)
    names = classes(5)
    extra = {"dataset": "street scenes", "split": "val", "step": 40}
    path = scores.write_report(tmp_path / "new", result, names, extra)
    values = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))
    assert values["mIoU"] == result.scores.mIoU
    assert values["classes"][3]["name"] == "class 3"
    assert values["boundary"]["mIoU"] == result.boundary.mIoU
    assert values["boundary"]["width"] == 5
    assert values["images"] == 2
    assert values["protocol"].startswith("whole image")
    assert (values["dataset"], values["split"], values["step"]) == ("street scenes", "val", 40)
    rows = (path.parent / "confusion.csv").read_text().splitlines()
    assert rows[1] == "class 0," + ",".join(str(n) for n in result.matrix[0])
    assert sorted(p.name for p in path.parent.glob("[!.]*")) == [
        "confusion.csv",
        "eval.json",
        "images.csv",
    ]


def test_what_was_written_is_read_again(model, tmp_path):
    result = evaluated(model, 3, 5)
    assert scores.read(tmp_path, classes(5)) is None
    scores.write_report(tmp_path, result, classes(5), {"step": 40})
    found = scores.read(tmp_path, classes(5))
    np.testing.assert_array_equal(found.matrix, result.matrix)
    np.testing.assert_array_equal(found.by_image.mIoU, result.by_image.mIoU)
    assert found.by_image.names == result.by_image.names
    assert found.step == 40 and found.in_boundary(2) == result.boundary.IoU[2]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("eval.json", "{"),
        ("eval.json", "[]"),
        ("eval.json", '{"classes": [{"name": "other"}]}'),
        ("confusion.csv", "label,class 0\nclass 0,1\n"),
        ("confusion.csv", ""),
        ("images.csv", "image,mIoU,aAcc\na,b\n"),
        ("images.csv", "image,mIoU,aAcc\na,x,1\n"),
    ],
)
def test_a_damaged_report_is_named(model, tmp_path, name, text):
    scores.write_report(tmp_path, evaluated(model, 1), classes(5))
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=f"{name} cannot be read .*--mode evaluate writes it anew"):
        scores.read(tmp_path, classes(5))


def test_a_report_that_cannot_be_written_leaves_the_old_one(model, tmp_path):
    result = evaluated(model, 1)
    path = scores.write_report(tmp_path, result, classes(5))
    before = path.read_text()
    with pytest.raises(TypeError):
        scores.write_report(tmp_path, result, classes(5), {"step": object()})
    assert path.read_text() == before
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        scores.write_report(tmp_path / "file", result, classes(5))
    assert {p.name for p in tmp_path.glob(".*")} == {outputs.JOURNAL}
