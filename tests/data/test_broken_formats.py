"""Label files that nobody can read, and class files: one line that names them."""

import label_kinds
import pytest
from label_kinds import NAMES, opened

from arm_jax.data.formats import outlines
from arm_jax.system.errors import InputError


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("labelmap.txt", "road:1,2,300::", "the colour 1, 2, 300 is not in 0 to 255"),
        ("labelmap.txt", "road:1,2,3::\ncar:1,2,3::", r"colour \(1, 2, 3\) is given to two"),
        ("labelmap.txt", "road", "cannot be understood"),
        ("_classes.csv", "road,1\n", "cannot be understood"),
        ("classes.txt", "", "cannot be understood"),
        ("classes.txt", "a\x07b\n", "cannot be used"),
        ("classes.txt", "\n".join(map(str, range(1001))), "names 1,001 classes"),
        ("data.yaml", "names: [a, b", "cannot be understood"),
        ("data.yaml", "a: &a [x, x]\nnames: [*a, *a]", "a name that is no text"),
        ("data.yaml", "names: !!python/object:os.system {}", "cannot be understood"),
        ("config.json", '{"labels": [3]}', "cannot be understood"),
        ("config.json", "[" * 100_000, "cannot be understood"),
    ],
)
def test_a_class_file_that_cannot_be_understood_is_named(tmp_path, name, text, message):
    label_kinds.index(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message) as error:
        opened(tmp_path, classes=NAMES)
    assert str(error.value).startswith(f"{tmp_path / name}: ") and "\n" not in str(error.value)


def test_a_json_that_is_no_class_file_is_left_alone(tmp_path):
    label_kinds.index(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "data.yaml").write_text("train: images/train\n")
    assert opened(tmp_path, classes=NAMES)[0]["label"].max() == 255


HOSTILE = {
    "no JSON": ("{", "is no whole JSON"),
    "deep": ("[" * 100_000, "is no whole JSON"),
    "another": ("{}", "is none of LabelMe JSON, Cityscapes-style JSON"),
    "no list": ('{"shapes": 3}', "it holds something else than its format has there"),
    "null": ('{"shapes": null}', "it holds something else than its format has there"),
    "no label": ('{"shapes": [{"points": []}]}', "it lacks 'label'"),
    "lying size": ('{"shapes": [], "imageHeight": 9e9, "imageWidth": 40}', "40x9000000000 pixels"),
    "endless size": ('{"shapes": [], "imageHeight": 1e999, "imageWidth": 40}', "cannot be drawn"),
    "nan": ('{"shapes": [{"label": "car", "points": [[0, 0], [NaN, 1], [2, 2]]}]}', "no number"),
    "far": ('{"shapes": [{"label": "car", "points": [[0, 0], [1e9, 1], [2, 2]]}]}', "far from"),
    "two points": (
        '{"shapes": [{"label": "car", "points": [[0, 0], [1, 1]]}]}',
        "3 or more points",
    ),
    "text": ('{"shapes": [{"label": "car", "points": "abc"}]}', "cannot be drawn"),
    "many points": (
        '{"shapes": [{"label": "car", "points": [' + "[0,0]," * 1000 + "[1,1]]}]}",
        "an outline of 1,001 points; the limit is 1,000",
    ),
}


@pytest.mark.parametrize("content", HOSTILE)
def test_a_hostile_file_gives_one_line(tmp_path, content, monkeypatch):
    monkeypatch.setattr(outlines, "MOST_POINTS", 1000)
    text, message = HOSTILE[content]
    label_kinds.drawn(tmp_path, [])
    (tmp_path / "images" / "a.json").write_text(text)
    source = opened(tmp_path, "", classes=("road", "car"))
    for read in (source.__getitem__, source.inspect):
        with pytest.raises(InputError, match=message) as error:
            read(0)
        assert "\n" not in str(error.value) and "a.json" in str(error.value)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"size": [40, 48], "counts": [0, 10**12]}, "make up 1,000,000,000,000 of 1,920 pixels"),
        ({"size": [40, 48], "counts": [2000, -80]}, "make up 1,920 of 1,920|make up"),
        ({"size": [10**6, 10**6], "counts": [10**12]}, "1000000x1000000 pixels in 48x40"),
        ({"size": [40, 48], "counts": "\x01"}, "a character that means nothing"),
        ({"size": [40, 48], "counts": "o" * 40}, "a character that means nothing"),
        ({"size": [40, 48], "counts": "oo"}, "cut off"),
        ({"size": [40, 48]}, "it lacks 'counts'"),
        ([[0, 0, 1, 1, 2, 2, 3]], "cannot be drawn"),
    ],
)
def test_hostile_run_lengths_give_one_line(tmp_path, segmentation, message):
    options = label_kinds.coco(tmp_path, lambda name: segmentation)
    with pytest.raises(InputError, match=message) as error:
        opened(tmp_path, **options)[0]
    assert "\n" not in str(error.value) and "annotations.json: " in str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("3 0 0 1 0 1 1", r"the class numbers 3 \(1\) are none of the 3 classes"),
        ("0 0.1 0.1 0.2 0.2", "line 1 is a box"),
        ("0 0.1 0.1 0.2", "line 1 is no class and three or more points"),
        ("0 0 0 1 0 1 nan", "no number"),
        ("road 0 0 1 0 1 1", "line 1 begins with 'road'"),
    ],
)
def test_a_yolo_line_that_is_no_polygon_is_named(tmp_path, line, message):
    options = label_kinds.yolo(tmp_path)
    (tmp_path / "train" / "labels" / "a.txt").write_text(line)
    with pytest.raises(InputError, match=message):
        opened(tmp_path, **options)[0]
    (tmp_path / "train" / "labels" / "a.txt").write_text("")
    assert (opened(tmp_path, **options)[0]["label"] == 255).all()
