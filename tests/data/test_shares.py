"""Labels that are whole and mean something else: refused or remarked on, with what helps."""

import re

import numpy as np
import pytest
from PIL import Image

from arm_jax.data import check, shares, sources
from arm_jax.data.check import Checked
from arm_jax.data.labels import generic
from arm_jax.system.errors import InputError
from scripts import check_dataset as script

CLASSES = generic(["road", "car", "sky"])
MASK = generic(["background", "crack"])


def found(*training, ignored=0, evaluation=(5, 5, 5)):
    splits = {"training": Checked(4, training, ignored)}
    return splits | {"evaluation": Checked(2, tuple(evaluation), 0)}


def test_masks_of_0_and_255_are_refused_with_the_override_that_reads_them():
    with pytest.raises(InputError) as caught:
        shares.judge(MASK, found(60, 0, ignored=40, evaluation=(9, 0)))
    message = str(caught.value)
    assert message.startswith(
        "training: only one of 2 classes has a pixel to train on (background)"
    )
    assert "40.0% of the pixels" in message
    assert message.endswith("--config.data.label_values='((0,0),(255,1))'")
    with pytest.raises(InputError, match=r"--label-values='\(\(0,0\),\(255,1\)\)'$"):
        shares.judge(
            MASK,
            found(60, 0, ignored=40, evaluation=(9, 0)),
            write=lambda key, value: f"--label-values='{value}'",
        )


def test_masks_are_read_and_so_they_are_by_the_override(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    mask = np.zeros((6, 8), np.uint8)
    mask[2:4] = 255
    Image.fromarray(mask).save(tmp_path / "labels" / "a.png")
    Image.fromarray(np.full((6, 8, 3), 0, np.uint8)).save(tmp_path / "images" / "a.png")
    options = {"root": tmp_path, "split": "", "classes": ("background", "crack")}
    for values in ((), ((0, 0), (255, 1))):
        read = sources.open_source("folders", **options, values=values)
        counted = check.check(read, progress=False)
        assert counted.pixels == (32, 16)
        assert shares.judge(MASK, {"training": counted})[1] == []
    indices = sources.open_source("folders", **options, values=((0, 0), (1, 1), (255, 255)))
    with pytest.raises(InputError, match="masks of 0 and 255"):
        shares.judge(MASK, {"training": check.check(indices, progress=False)})


@pytest.mark.parametrize("pixels", [(9, 0, 0), (0, 0, 3)])
def test_one_class_is_refused(pixels):
    only = CLASSES.names[int(np.argmax(pixels))]
    with pytest.raises(InputError, match=rf"only one of 3 classes .*\({only}\).*Correct the class"):
        shares.judge(CLASSES, found(*pixels, ignored=5))


def test_a_background_that_nobody_draws_is_offered():
    classes = generic(["car", "background"])
    with pytest.raises(InputError, match=r"nobody drew: --config\.data\.undrawn='background'$"):
        shares.judge(classes, {"training": check.Checked(1, (5, 0), 9)})
    three = generic(["car", "road", "background"])
    remarks = shares.judge(three, {"training": check.Checked(1, (5, 3, 0), 1)})[1]
    assert remarks[0].endswith("nobody drew: --config.data.undrawn='background'")


def test_two_classes_of_which_all_occur_need_no_remark():
    table, remarks = shares.judge(CLASSES, found(1, 2, 1, ignored=4))
    assert remarks == []
    lines = [line.split() for line in table.splitlines()]
    assert lines[0][-2:] == ["training", "evaluation"]
    assert lines[1:] == [
        ["0", "road", "25.000", "33.333"],
        ["1", "car", "50.000", "33.333"],
        ["2", "sky", "25.000", "33.333"],
        ["with", "a", "label", "50.0", "100.0"],
    ]


@pytest.mark.parametrize(
    ("training", "evaluation", "words"),
    [
        ((5, 5, 0), (1, 1, 1), r"^sky: evaluated, but without a pixel in training.*IoU will be 0"),
        ((5, 5, 0), (1, 1, 0), r"^sky: without a pixel in training and evaluation"),
        ((5, 5, 5), (1, 1, 0), r"^sky: trained, but without a pixel in evaluation"),
        (
            (0, 5, 5),
            (0, 1, 1),
            r"^road: without a pixel .*begin at 1, leave out 'sky' or use"
            r" --config.data.label_values='\(\(1,0\),\(2,1\),\(3,2\)\)'$",
        ),
    ],
)
def test_classes_that_one_split_lacks_are_named(training, evaluation, words):
    (remark,) = shares.judge(CLASSES, found(*training, evaluation=evaluation))[1]
    assert re.search(words, remark)


def test_labels_that_are_mostly_ignored_are_named():
    (remark,) = shares.judge(CLASSES, found(2, 2, 2, ignored=94))[1]
    assert remark.startswith("training: 94.0% of the pixels have the ignore value 255")


def test_the_share_of_padding_is_that_of_the_crops():
    crop = (64, 64)
    assert shares.padding({(64, 64): 1}, crop, (1.0, 1.0)) == 0
    assert shares.padding({(32, 64): 1}, crop, (1.0, 1.0)) == pytest.approx(0.5)
    assert shares.padding({(32, 64): 1, (64, 64): 3}, crop, (1.0, 1.0)) == pytest.approx(0.125)
    assert shares.padding({(64, 64): 1}, crop, (0.5, 0.5)) == pytest.approx(0.75)
    assert shares.padding({(1024, 2048): 1}, (512, 1024), (0.5, 2.0)) == 0
    assert shares.padding({(64, 64): 1}, crop, (1.0, 1.0), (32, 32)) == pytest.approx(0.75)


def folder(root, size, exif=None):
    for name in ("images", "labels"):
        (root / name).mkdir()
    for index in range(3):
        options = {} if exif is None or index else {"exif": exif}
        Image.fromarray(np.zeros((*size, 3), np.uint8)).save(
            root / "images" / f"{index}.jpg", **options
        )
        Image.fromarray(np.zeros(size, np.uint8)).save(root / "labels" / f"{index}.png")
    return sources.open_source("folders", root=root, split="", classes=("a", "b"))


def test_a_crop_larger_than_the_images_is_named_with_one_that_fits(tmp_path):
    source = folder(tmp_path, (40, 50))
    (remark,) = shares.remarks_on_images(source, crop=(100, 100), ratio=(1.0, 1.0))
    assert remark.startswith("augment.crop = 100x100 is larger than the resized images (most are")
    assert "80% of a crop is padding" in remark
    assert remark.endswith("--config.augment.crop='(40,50)'")
    assert shares.remarks_on_images(source, crop=(40, 50), ratio=(1.0, 1.0)) == []


def test_turned_photographs_are_named_once(tmp_path):
    exif = Image.Exif()
    exif[274] = 3
    source = folder(tmp_path, (40, 50), exif)
    (remark,) = shares.remarks_on_images(source, crop=(40, 50), ratio=(1.0, 1.0))
    assert remark.startswith("1 of 3 sampled images have an EXIF orientation")
    assert "--config.data.orientation='stored'" in remark
    stored = sources.open_source(
        "folders", root=tmp_path, split="", classes=("a", "b"), orientation="stored"
    )
    assert shares.remarks_on_images(stored, crop=(40, 50), ratio=(1.0, 1.0)) == []


def test_drawn_scenes_are_looked_at_once():
    source = sources.open_source("scenes", size=(16, 32))
    assert shares.sizes(source) == ({(16, 32): 1}, 0)


def check_dataset(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["check_dataset.py", *map(str, arguments)])
    status = script.main()
    printed = capsys.readouterr()
    return status, printed.out.splitlines(), printed.err.splitlines()


def test_check_dataset_refuses_what_training_would_and_takes_the_settings_forms(
    tmp_path, monkeypatch, capsys
):
    for split in ("train", "val"):
        for name in ("images", "labels"):
            (tmp_path / name / split).mkdir(parents=True)
        mask = np.zeros((6, 8), np.uint8)
        mask[2:4] = 255
        Image.fromarray(mask).save(tmp_path / "labels" / split / "a.png")
        Image.fromarray(np.full((6, 8, 3), len(split), np.uint8)).save(
            tmp_path / "images" / split / "a.png"
        )
    mine = ("folders", "--root", tmp_path)
    both = "--classes=background,crack"
    values = "--label-values=((0,0),(1,1),(255,255))"
    status, _, errors = check_dataset(monkeypatch, capsys, *mine, both, values)
    assert status == 2 and len(errors) == 1
    assert errors[0].endswith("read them by --label-values='((0,0),(255,1))'")
    status, lines, _ = check_dataset(monkeypatch, capsys, *mine, both)
    assert status == 0 and "0 is background and 255 is crack" in lines
    for classes in ("background,crack", "('background', 'crack')"):
        status, lines, errors = check_dataset(
            monkeypatch, capsys, *mine, "--classes", classes, "--label-values=((0,0),(255,1))"
        )
        assert (status, errors) == (0, [])
        assert lines[-4].split()[-2:] == ["train", "val"]
        assert lines[-2].split() == ["1", "crack", "33.333", "33.333"]
    for wrong in ("--label-values=(1,2,3)", "--ignore=300", "--orientation=up", "--classes=a"):
        status, _, errors = check_dataset(
            monkeypatch, capsys, *mine, "--classes=background,crack", wrong
        )
        assert status == 2 and len(errors) == 1
