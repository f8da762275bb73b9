"""Where a person's own images and labels are found, and what is said of those left alone."""

import json
import shutil
from pathlib import Path

import label_kinds
import numpy as np
import pytest
from label_kinds import NAMES, SIZE
from PIL import Image

from arm_jax.data import sources
from arm_jax.system.errors import InputError


def opened(root, split="train", **options):
    return sources.open_source("folders", root=root, split=split, **{"classes": NAMES, **options})


def ids(source):
    return [source[k]["id"] for k in range(len(source))]


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("a.png", "a_mask.png"),
        ("a.png", "a-gt.png"),
        ("a_sat.png", "a_mask.png"),
        ("a_leftImg8bit.png", "a_gtFine_labelTrainIds.png"),
        ("0016E5_00390.png", "0016E5_00390_L.png"),
        ("a_mask.png", "a_mask.png"),
        ("a.PNG", "a_labelTrainIds.png"),
    ],
)
def test_endings(tmp_path, image, label):
    save(tmp_path / "images" / "train" / image, label_kinds.image())
    save(tmp_path / "labels" / "train" / label, label_kinds.label())
    save(tmp_path / "labels" / "train" / "a_color.png", label_kinds.painted())
    source = opened(tmp_path)
    assert ids(source) == [Path(image).stem]
    np.testing.assert_array_equal(source[0]["label"], label_kinds.label())


def test_training_indices_are_preferred_and_the_image_of_a_json_may_have_its_suffix(tmp_path):
    save(tmp_path / "images" / "a.png", label_kinds.image())
    save(tmp_path / "labels" / "a_labelIds.png", np.full(SIZE, 7, np.uint8))
    save(tmp_path / "labels" / "a_labelTrainIds.png", label_kinds.label())
    assert (opened(tmp_path, "")[0]["label"] == label_kinds.label()).all()
    shutil.rmtree(tmp_path / "labels")
    content = {"shapes": [{"label": "road", "points": [[0, 0], [48, 0], [48, 40], [0, 40]]}]}
    (tmp_path / "images" / "a.png.json").write_text(json.dumps(content))
    assert (opened(tmp_path, "")[0]["label"] == 0).all()


def test_lists_name_the_split(tmp_path):
    for name in ("b", "a", "c"):
        save(tmp_path / "images" / "town" / f"{name}.png", label_kinds.image())
        save(tmp_path / "labels" / "town" / f"{name}.png", label_kinds.label())
    (tmp_path / "train.txt").write_text("./images/town/b.png\n\ntown/a labels/town/a.png\n")
    assert ids(opened(tmp_path)) == ["town/a", "town/b"]
    (tmp_path / "train.txt").write_text("../../../etc/passwd\n")
    with pytest.raises(InputError, match="no such image, though the list of the split names it"):
        opened(tmp_path)
    (tmp_path / "train.txt").write_text("\n")
    with pytest.raises(InputError, match=r"train\.txt: names no image"):
        opened(tmp_path)
    with pytest.raises(InputError, match=r"it has town: .*or put a list val\.txt into"):
        opened(tmp_path, "val")


def test_vocs_images_without_a_label_are_left_alone(tmp_path):
    options = label_kinds.cvat_masks(tmp_path)
    save(tmp_path / "JPEGImages" / "z.png", label_kinds.image())
    assert ids(opened(tmp_path, "", **options)) == ["a", "b", "c"]
    assert ids(opened(tmp_path, "val", **options)) == ["c"]


def test_labels_and_images_without_the_other_are_named(tmp_path):
    label_kinds.coco(tmp_path)
    file = tmp_path / "annotations.json"
    content = json.loads(file.read_text())
    content["images"].append({"id": 99, "file_name": "../../secret.png", "height": 1, "width": 1})
    file.write_text(json.dumps(content))
    source = opened(tmp_path)
    assert source.about()[-1] == (
        f"{file}: names images that are not there: 1, the first '../../secret.png'"
    )
    save(tmp_path / "images" / "train" / "z.png", label_kinds.image())
    with pytest.raises(InputError, match=r"z\.png: has no label in .*annotations\.json; add it"):
        opened(tmp_path)
    shutil.rmtree(tmp_path / "images" / "train")
    save(tmp_path / "images" / "train" / "y.png", label_kinds.image())
    with pytest.raises(InputError, match=r"json: names none of the images in .*put the images"):
        opened(tmp_path)
    label_kinds.index(tmp_path / "other")
    save(tmp_path / "other" / "labels" / "train" / "x.png", label_kinds.label())
    assert (
        opened(tmp_path / "other")
        .about()[-1]
        .endswith("labels/train: has labels without an image: 1, the first 'x.png'")
    )


def test_labelmes_list_numbers_what_is_ignored_minus_one(tmp_path):
    """As its labelme2voc.py does; _background_ is what nobody drew."""
    for _, place, name in label_kinds.each(tmp_path):
        stored = np.where(label_kinds.label() == 255, 0, label_kinds.label() + 1)
        save(place / f"{name}.png", stored.astype(np.uint8))
    text = "__ignore__\n_background_\n" + "".join(f"{name}\n" for name in NAMES)
    (tmp_path / "labels.txt").write_text(text)
    source = opened(tmp_path, classes=())
    assert source.classes.names == NAMES
    np.testing.assert_array_equal(source[0]["label"], label_kinds.label())
    (tmp_path / "labels" / "train" / "b.png").unlink()
    with pytest.raises(InputError, match=r"b\.png: has no label .*labels/train/b\.png; add it"):
        opened(tmp_path)


def test_the_folder_of_a_splits_labels_is_named_if_it_lacks(tmp_path):
    label_kinds.index(tmp_path)
    shutil.rmtree(tmp_path / "labels" / "train")
    with pytest.raises(InputError, match=r"a\.png: has no label .*labels/train/a\.png \(nor"):
        opened(tmp_path)
    for name in label_kinds.SPLITS["train"]:  # the labels of all splits in one folder
        save(tmp_path / "labels" / f"{name}.png", label_kinds.label())
    assert ids(opened(tmp_path)) == ["a", "b"]


def test_of_two_files_for_many_images_one_is_chosen(tmp_path):
    label_kinds.coco(tmp_path)
    text = (tmp_path / "annotations.json").read_text()
    (tmp_path / "more.json").write_text(text)
    with pytest.raises(InputError, match=r"annotations\.json and .*more\.json both have labels"):
        opened(tmp_path)
    assert len(opened(tmp_path, label_folder="more.json")) == 2
    (tmp_path / "train_set.json").write_text(text)  # the split's name decides
    assert opened(tmp_path).about()[0].endswith("train_set.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(InputError, match=r"broken\.json: is no whole JSON"):
        opened(tmp_path, label_folder="broken.json")


def test_cocos_instances_are_taken_and_not_its_key_points(tmp_path):
    label_kinds.coco(tmp_path)
    (tmp_path / "annotations").mkdir()
    for name in ("instances_train.json", "person_keypoints_train.json"):
        shutil.copy(tmp_path / "annotations.json", tmp_path / "annotations" / name)
    (tmp_path / "annotations.json").unlink()
    assert opened(tmp_path).about()[0].endswith("instances_train.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"segmentation": [], "bbox": [0, 0, 2, 2]}, "boxes alone; export the data set"),
        ({"image_id": "1"}, "no image has the image_id of its annotations, as '1'"),
        ({"segmentation": [0, 0, 4, 0, 4, 4]}, "that is no list of lists"),
        ({"segmentation": [[0, 0, 4, 0, 4, 4, 1]]}, "that is no list of lists"),
    ],
)
def test_what_is_wrong_with_all_of_a_coco_file_is_named(tmp_path, change, message):
    label_kinds.coco(tmp_path)
    file = tmp_path / "annotations.json"
    content = json.loads(file.read_text())
    for one in content["annotations"]:
        one |= change
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"annotations\.json: .*{message}"):
        np.asarray(opened(tmp_path)[0]["label"])


def test_boxes_beside_the_outlines_of_a_coco_file_are_counted(tmp_path):
    label_kinds.coco(tmp_path)
    assert not any("are boxes" in line for line in opened(tmp_path).about())
    file = tmp_path / "annotations.json"
    content = json.loads(file.read_text())
    number = len(content["annotations"])
    box = {"segmentation": [], "bbox": [0, 0, 2, 2]}
    content["annotations"] += [{**content["annotations"][0], **box}] * 2
    file.write_text(json.dumps(content))
    source = opened(tmp_path)
    words = f"annotations.json: 2 of {number + 2} annotations are boxes without an outline"
    assert any(words in line for line in source.about())
    np.testing.assert_array_equal(source[0]["label"], label_kinds.label())


def test_the_csv_of_via_is_named(tmp_path):
    label_kinds.coco(tmp_path)
    (tmp_path / "annotations.json").unlink()
    head = "filename,file_size,region_count,region_id,region_shape_attributes,region_attributes\n"
    (tmp_path / "via_export_csv.csv").write_text(head)
    with pytest.raises(InputError, match=r"csv\.csv: is VIA's CSV, .*as JSON"):
        opened(tmp_path)


def test_images_of_one_name_need_their_folder_in_the_file(tmp_path):
    label_kinds.coco(tmp_path, stated="{name}.png")
    for town in ("x", "y"):
        save(tmp_path / "images" / "train" / town / "a.png", label_kinds.image())
        save(tmp_path / "images" / "train" / town / "b.png", label_kinds.image())
    for name in ("a", "b"):
        (tmp_path / "images" / "train" / f"{name}.png").unlink()
    with pytest.raises(InputError, match="names images without their folder"):
        opened(tmp_path)


def test_one_folder_for_images_and_labels_that_has_one_file_of_each_name_is_named(tmp_path):
    save(tmp_path / "labels" / "train" / "a.png", label_kinds.image())
    with pytest.raises(InputError, match=r"labels/train: is taken for images and for labels"):
        opened(tmp_path, image_folder="labels")


@pytest.mark.parametrize("layout", ["beside", "VOC", "plain", "drawn"])
def test_a_folder_that_was_named_and_is_not_there_is_no_other(tmp_path, layout):
    """Else training on new labels would train on the old ones, in silence, for a letter."""
    images, labels = {
        "beside": ("images/train/a.png", "images/train/a_mask.png"),
        "VOC": ("JPEGImages/train/a.png", "SegmentationClass/train/a.png"),
        "plain": ("images/train/a.png", "labels/train/a.png"),
        "drawn": ("images/train/a.png", "images/train/a.json"),
    }[layout]
    save(tmp_path / images, label_kinds.image())
    if layout == "drawn":
        content = {"shapes": [{"label": "road", "points": [[0, 0], [48, 0], [48, 40]]}]}
        (tmp_path / labels).write_text(json.dumps(content))
    else:
        save(tmp_path / labels, label_kinds.label())
    assert ids(opened(tmp_path)) == ["a"]
    with pytest.raises(InputError, match=r"labels_corected: no such folder.*label_folder"):
        opened(tmp_path, label_folder="labels_corected")
    with pytest.raises(InputError, match=r"imgs: no such folder, though data\.image_folder"):
        opened(tmp_path, image_folder="imgs")


def test_old_labels_beside_the_images_are_no_images_where_new_ones_are_elsewhere(tmp_path):
    save(tmp_path / "images" / "train" / "a.png", label_kinds.image())
    save(tmp_path / "images" / "train" / "a_mask.png", label_kinds.label())
    new = np.roll(label_kinds.label(), 1, 0)
    save(tmp_path / "new" / "labels" / "train" / "a.png", new)
    source = opened(tmp_path, label_folder="new/labels")
    assert ids(source) == ["a"]
    np.testing.assert_array_equal(source[0]["label"], new)
    assert any("files named as labels: 1, the first 'a_mask.png'" in x for x in source.about())
    # With a label of its own it is an image.
    save(tmp_path / "new" / "labels" / "train" / "a_mask.png", new)
    assert ids(opened(tmp_path, label_folder="new/labels")) == ["a", "a_mask"]


def test_splits_are_joined(tmp_path):
    label_kinds.roboflow_masks(tmp_path)
    source = opened(tmp_path, "train+val")
    assert ids(source) == ["a", "b", "c"]
    assert sum(line.startswith("labels are") for line in sources.about(source)) == 1
    file = tmp_path / "val" / "_classes.csv"
    file.write_text(file.read_text().replace("sky", "cloud"))
    with pytest.raises(InputError, match="road, building, sky and road, building, cloud cannot"):
        opened(tmp_path, "train+val", classes=())


def test_roboflows_file_lies_beside_the_images(tmp_path):
    label_kinds.coco(tmp_path, stated="{name}.png")
    for split in label_kinds.SPLITS:
        shutil.move(tmp_path / "images" / split, tmp_path / split)
        shutil.copy(tmp_path / "annotations.json", tmp_path / split / "_annotations.coco.json")
    (tmp_path / "annotations.json").unlink()
    source = opened(tmp_path, "val")
    np.testing.assert_array_equal(source[0]["label"], label_kinds.label())
    assert source.about()[0].endswith("val/_annotations.coco.json")


def test_classes_may_come_from_the_labels(tmp_path):
    label_kinds.coco(tmp_path)
    assert opened(tmp_path, classes=()).classes.names == NAMES[::-1]  # by the categories' ids
    undrawn = opened(tmp_path, classes=("road", "building", "sky", "background"))
    assert undrawn.about()[1] == "what nobody drew is ignored; later shapes over earlier ones"
