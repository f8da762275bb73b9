"""Labels and images that every file of which can be read, and that mean something else together."""

import json
import shutil

import cv2
import label_kinds
import numpy as np
import pytest
from label_kinds import COLORS, NAMES, SIZE
from PIL import Image

from arm_jax.data import check, leaks, sampled, shares
from arm_jax.data.folders import FolderSource
from arm_jax.system.errors import InputError
from scripts import check_dataset


def opened(root, split="train", classes=NAMES, **options):
    return FolderSource(root, split, classes, **options)


def renumbered(root, orders=((0, 1, 2), (1, 2, 0), (0, 1, 2))):
    """Palette PNGs that show the same, each of which numbers its colours in an order of its own."""
    for (_, place, name), order in zip(label_kinds.each(root), orders, strict=True):
        stored = np.append(np.argsort(order), np.full(253, 255))[label_kinds.label()]
        picture = Image.fromarray(stored.astype(np.uint8))
        palette = np.zeros((256, 3), np.uint8)
        palette[:3] = np.array(COLORS)[list(order)]
        picture.putpalette(palette.tobytes())
        picture.save(place / f"{name}.png")


def test_palettes_that_number_the_classes_differently_are_refused(tmp_path):
    renumbered(tmp_path)
    source = opened(tmp_path)
    np.testing.assert_array_equal(source[0]["label"], label_kinds.label())
    with pytest.raises(InputError, match=r"b\.png: the number 0 has the colour \(70, 70, 70\)"):
        source[1]
    by_color = opened(tmp_path, colors=COLORS)
    for k in range(2):
        np.testing.assert_array_equal(by_color[k]["label"], label_kinds.label())
    by_number = opened(tmp_path, table={0: 0, 1: 1, 2: 2, 255: 255})
    assert (by_number[1]["label"] != label_kinds.label()).any()


def test_palettes_of_two_splits_that_number_the_classes_differently_are_refused(
    tmp_path, capsys, monkeypatch
):
    """Each split agrees with itself: nothing but the other one shows it."""
    renumbered(tmp_path, ((0, 1, 2), (0, 1, 2), (1, 2, 0)))
    arguments = ["check_dataset", "folders", f"--root={tmp_path}", "--classes=road,building,sky"]
    monkeypatch.setattr("sys.argv", arguments)
    assert check_dataset.main() == 2
    assert "the number 0 has the colour (70, 70, 70), and" in capsys.readouterr().err
    values = "--label-values=((0,0),(1,1),(2,2),(255,255))"
    monkeypatch.setattr("sys.argv", [*arguments, values])
    assert check_dataset.main() == 0


def test_a_class_that_one_split_lacks_may_have_any_colour_there(tmp_path):
    renumbered(tmp_path, ((0, 1, 2), (0, 1, 2), (1, 2, 0)))
    sampled.agree((opened(tmp_path), opened(tmp_path, "val")), ((9, 9, 9), (0, 0, 0)))


def test_palettes_may_differ_where_no_class_is(tmp_path):
    renumbered(tmp_path, ((0, 1, 2),) * 3)
    path = tmp_path / "labels" / "train" / "b.png"
    picture = Image.open(path)
    palette = np.array(picture.getpalette(), np.uint8).reshape(-1, 3)
    palette[3:] = 200
    picture.putpalette(palette.tobytes())
    picture.save(path)
    np.testing.assert_array_equal(opened(tmp_path)[1]["label"], label_kinds.label())


def test_a_palette_some_of_whose_colours_are_classes_is_no_index(tmp_path):
    renumbered(tmp_path, ((2, 0, 1),) * 3)
    almost = [*COLORS[:2], (70, 130, 181)]  # the third is no class's in the files
    with pytest.raises(InputError, match=r"colours \(70,130,180\) .* are no class's"):
        opened(tmp_path, colors=almost)[0]["label"]


def test_a_grey_file_among_painted_ones_is_painted(tmp_path):
    """As programs write a part that is all black, or all of one grey."""
    for _, place, name in label_kinds.each(tmp_path):
        Image.fromarray(label_kinds.painted()).save(place / f"{name}.png")
    path = tmp_path / "labels" / "train" / "b.png"
    for grey, expected in ((0, 255), (70, 1)):
        Image.fromarray(np.full(SIZE, grey, np.uint8)).save(path)
        assert (opened(tmp_path, colors=COLORS)[1]["label"] == expected).all()
    Image.fromarray(np.full(SIZE, 2, np.uint8)).save(path)
    with pytest.raises(InputError, match=r"b\.png: the colours \(2,2,2\) 100\.00% are no class's"):
        opened(tmp_path, colors=COLORS)[1]["label"]


def test_masks_of_both_kinds_are_reported(tmp_path):
    for _, place, name in label_kinds.each(tmp_path):
        mask = (label_kinds.label() == 1).astype(np.uint8)
        Image.fromarray(mask * (255 if name == "a" else 1)).save(place / f"{name}.png")
    (note,) = opened(tmp_path, classes=("rest", "crack")).notes
    assert note.startswith("1 of the sampled label images have 0 and 255 alone, and 2 have 1")


def test_several_labels_of_an_image(tmp_path):
    label_kinds.index(tmp_path)
    labels = tmp_path / "labels" / "train"
    shutil.copy(labels / "a.png", labels / "a_mask.png")
    (labels / "a.json").write_text("{}")
    (note,) = opened(tmp_path).notes
    assert "1 images have more than one label: a.png is read, and a.json, a_mask.png is not" in note
    shutil.copy(labels / "b.png", labels / "b.tif")
    with pytest.raises(InputError, match=r"b\.png and .*b\.tif are labels of one image; remove"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "0 6 6 58 6 32 58\n",
            r"a\.txt: its corners reach from \(288, 240\) to",
        ),
        ("0 -0.3 0 0.5 0 0.5 0.5\n", r"far outside of the 48x40 image; export the label"),
        ("0 -0.05 0 0.5 0 0.5 1.05\n", None),
    ],
)
def test_yolos_coordinates_are_shares(tmp_path, lines, message):
    for _, place, name in label_kinds.each(tmp_path):
        (place / f"{name}.txt").write_text(lines)
    source = opened(tmp_path)
    if message is None:
        assert (source[0]["label"] == 0).any()
        return
    with pytest.raises(InputError, match=message):
        source[0]


def test_shares_are_no_pixels(tmp_path):
    shape = {"label": "road", "points": [[0, 0.5], [1, 0.5], [1, 1]], "shape_type": "polygon"}
    for _, place, name in label_kinds.each(tmp_path):
        content = {"shapes": [shape], "imageHeight": SIZE[0], "imageWidth": SIZE[1]}
        (place / f"{name}.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"a\.json: all its corners lie within the first pixel"):
        opened(tmp_path)[0]


def _coco(tmp_path, change):
    label_kinds.coco(tmp_path)
    (path,) = tmp_path.rglob("*.json")
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return opened(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["images"].append(c["images"][0]), "2 images with the id"),
        (
            lambda c: c["images"].append({**c["images"][0], "id": 99}),
            "2 images with the file_name",
        ),
        (
            lambda c: c["categories"].append({**c["categories"][0], "name": "other"}),
            "2 categories with the id",
        ),
        (
            lambda c: c["annotations"][0].update(image_id=str(c["annotations"][0]["image_id"])),
            "are a text and a number",
        ),
    ],
)
def test_what_a_coco_file_lists_twice_is_refused(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        _coco(tmp_path, change)


def test_annotations_of_no_image_are_counted(tmp_path):
    source = _coco(tmp_path, lambda c: c["annotations"][0].update(image_id=10**6))
    assert any("are of images that it does not list, and label nothing" in n for n in source.notes)


def test_a_list_that_names_an_image_by_two_folders_is_refused(tmp_path):
    label_kinds.index(tmp_path)
    for kind in ("images", "labels"):
        shutil.copytree(tmp_path / kind / "train", tmp_path / kind, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "images" / "train")
    (tmp_path / "train.txt").write_text("day/a.png\nnight/a.png\n")
    with pytest.raises(InputError, match=r"names it twice, as day/a and as night/a"):
        opened(tmp_path)


def test_images_in_both_splits_are_counted(tmp_path):
    label_kinds.index(tmp_path)
    names = {"train": ("a", "b"), "val": ("c",)}
    for split, of_split in names.items():  # every image another one
        for name in of_split:
            noise = np.random.default_rng(ord(name)).integers(0, 256, (*SIZE, 3), np.uint8)
            Image.fromarray(noise).save(tmp_path / "images" / split / f"{name}.png")
    assert leaks.remark(opened(tmp_path), opened(tmp_path, "val")) == ""
    for kind in ("images", "labels"):
        shutil.copy(tmp_path / kind / "train" / "b.png", tmp_path / kind / "val" / "d.png")
    found = leaks.remark(opened(tmp_path), opened(tmp_path, "val"))
    assert found.startswith("1 of the 2 images to evaluate on are trained on too, as d: ")


@pytest.mark.parametrize(("bits", "dark"), [(12, True), (16, False)])
def test_images_of_12_bits_in_16_are_reported(tmp_path, bits, dark):
    label_kinds.index(tmp_path)
    for path in (tmp_path / "images").rglob("*.png"):
        pixels = np.linspace(0, 2**bits - 1, SIZE[0] * SIZE[1] * 3).reshape(*SIZE, 3)
        cv2.imwrite(str(path), pixels.astype(np.uint16))
    lines = shares.remarks_on_images(opened(tmp_path))
    assert any("do not go beyond 15 of 255: they are nearly black" in x for x in lines) == dark
    assert check.check(opened(tmp_path), progress=False).records == 2


def test_the_label_that_a_list_names_is_the_one_that_is_read(tmp_path):
    label_kinds.index(tmp_path)
    for kind in ("images", "labels"):
        shutil.copytree(tmp_path / kind / "train", tmp_path / kind, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "images" / "train")
    shutil.rmtree(tmp_path / "labels" / "train")
    Image.fromarray(np.full(SIZE, 2, np.uint8)).save(tmp_path / "labels" / "a_mask.png")
    lists = tmp_path / "train.txt"
    lists.write_text("images/a.png labels/a_mask.png\nimages/b.png labels/b.png\n")
    source = opened(tmp_path)
    assert (source[0]["label"] == 2).all()
    np.testing.assert_array_equal(source[1]["label"], label_kinds.label())
    lists.write_text("images/a.png labels/b.png\nimages/b.png labels/a.png\n")
    with pytest.raises(
        InputError, match=r"a\.png: is the label by its name, but the list .*b\.png"
    ):
        opened(tmp_path)


def test_splits_that_list_the_classes_in_two_orders_are_refused(tmp_path, capsys, monkeypatch):
    """Without class names in a config, each file numbers them by itself."""
    label_kinds.coco(tmp_path)
    whole = tmp_path / "annotations.json"
    for split, step in (("train", 1), ("val", -1)):
        content = json.loads(whole.read_text())
        content["categories"] = content["categories"][::step]
        for k, category in enumerate(content["categories"]):
            for one in content["annotations"]:
                if one["category_id"] == category["id"]:
                    one["category_id"] = 100 + k
            category["id"] = 100 + k
        (tmp_path / f"instances_{split}.json").write_text(json.dumps(content))
    whole.unlink()
    monkeypatch.setattr("sys.argv", ["check_dataset", "folders", f"--root={tmp_path}"])
    assert check_dataset.main() == 2
    assert "; list them in one order by --classes" in capsys.readouterr().err


def test_label_studios_own_json_is_named(tmp_path):
    label_kinds.index(tmp_path)
    shutil.rmtree(tmp_path / "labels")
    tasks = [{"id": 1, "annotations": [{"result": []}], "data": {"image": "/data/a.png"}}]
    (tmp_path / "project-1.json").write_text(json.dumps(tasks))
    with pytest.raises(InputError, match=r"project-1\.json: is Label Studio's own JSON"):
        opened(tmp_path)


def test_settings_without_effect_on_these_labels_are_named(tmp_path):
    label_kinds.index(tmp_path / "numbers")
    assert (
        opened(tmp_path / "numbers", undrawn="road")
        .about()[1]
        .startswith("data.undrawn = 'road' has no effect: every pixel of these labels has a number")
    )
    label_kinds.rgb_with_colors(tmp_path / "painted")
    source = opened(tmp_path / "painted", colors=COLORS, table={0: 1, 1: 0, 2: 2})
    assert "data.label_values has no effect: the labels are colours, not numbers" in source.about()
