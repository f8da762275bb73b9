"""Labels as people draw them: one picture in every format is one index map."""

import base64
import io
import json
import pickle

import label_kinds
import numpy as np
import pytest
from label_kinds import KINDS, NAMES, SIZE, opened
from PIL import Image

from arm_jax.data import check, sources, survey
from arm_jax.data.formats import FORMATS
from arm_jax.system.errors import InputError


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_one_picture_in_every_format_is_one_index_map(tmp_path, kind):
    options = kind(tmp_path)
    wanted = label_kinds.label()
    if kind is label_kinds.roboflow_masks or kind is label_kinds.cvat_masks:
        options["classes"] = NAMES  # its own order is another
    for split, names in label_kinds.SPLITS.items():
        source = opened(tmp_path, split, **options)
        assert set(source.classes.names) == set(NAMES) and len(source) == len(names)
        order = [*(source.classes.names.index(name) for name in NAMES), *[255] * 253]
        expected = np.array(order, np.uint8)[wanted]
        copy = pickle.loads(pickle.dumps(source))
        for index in range(len(source)):
            np.testing.assert_array_equal(source[index]["label"], expected)
            np.testing.assert_array_equal(copy.encoded(index)["label"].upper(1)[:1], expected[:1])
            assert source.inspect(index).sum() == wanted.size
        assert source.about()[0].startswith(f"labels are {KINDS[kind]}")
    assert check.check(opened(tmp_path, **options), progress=False).ignored == 2 * (
        int((wanted == 255).sum())
    )


def test_every_format_is_tried():
    assert {FORMATS[name].title for name in FORMATS} - set(KINDS.values()) == {"masks of 0 and 255"}


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_masks_of_0_and_255_are_two_classes(tmp_path, mode):
    seen = np.where(label_kinds.label() == 1, 255, 0).astype(np.uint8)
    for _, place, name in label_kinds.each(tmp_path):
        Image.fromarray(seen).convert(mode).save(place / f"{name}_mask.png")
    source = opened(tmp_path, classes=("rest", "crack"))
    np.testing.assert_array_equal(source[0]["label"], seen // 255)
    assert source.about()[:2] == ["labels are masks of 0 and 255", "0 is rest and 255 is crack"]
    # With three classes, or 255 among indices, it means no label.
    assert opened(tmp_path, classes=("a", "b", "c")).about()[0] != "labels are masks of 0 and 255"
    if mode == "L":
        Image.fromarray(seen // 255).save(tmp_path / "labels" / "val" / "c_mask.png")
        assert (opened(tmp_path, classes=("a", "b"))[0]["label"][seen == 255] == 255).all()


def test_a_value_that_was_not_sampled_is_refused(tmp_path, monkeypatch):
    from arm_jax.data import sampled

    monkeypatch.setattr(sampled, "NUMBER", 1)
    for _, place, name in label_kinds.each(tmp_path):
        value = 255 if name == "a" else 1
        Image.fromarray(np.full(SIZE, value, np.uint8)).save(place / f"{name}.png")
    source = opened(tmp_path, classes=("a", "b"))
    assert (source[0]["label"] == 1).all()
    with pytest.raises(InputError, match=r"b\.png: label values 1 \(100\.00% of the pixels\)"):
        source[1]


def square(label, left, top, right, bottom):
    return {
        "label": label,
        "shape_type": "rectangle",
        "points": [[left, top], [right, bottom]],
    }


def test_overlaps_and_what_nobody_drew(tmp_path):
    label_kinds.drawn(tmp_path, [square("car", 2, 2, 6, 6), square("road", 0, 0, 20, 20)])
    later = opened(tmp_path, "", classes=("road", "car"))[0]["label"]
    assert (later[:20, :20] == 0).all() and (later[20:] == 255).all()
    options = {"classes": ("road", "car", "background"), "undrawn": "background"}
    small = opened(tmp_path, "", overlaps="small", **options)[0]["label"]
    assert (small[2:6, 2:6] == 1).all() and (small == 1).sum() == 16
    assert (small[20:] == 2).all() and (small[:, 20:] == 2).all()
    with pytest.raises(InputError, match=r"undrawn = 'rest' is none of the classes road, car"):
        opened(tmp_path, "", classes=("road", "car"), undrawn="rest")


def test_names_are_paired_left_out_or_counted(tmp_path):
    shapes = [square("Car", 0, 0, 4, 4), square("dirt", 4, 0, 8, 4), square("dirt", 8, 0, 9, 4)]
    label_kinds.drawn(tmp_path, [*shapes, square("__ignore__", 0, 0, 1, 1)])
    source = opened(tmp_path, "", classes=("road", "car"))
    with pytest.raises(InputError, match=r"a\.json: 'dirt' \(2\), 'Car' \(1\) are none of the cla"):
        source[0]
    hint = survey.survey(source, progress=False).hint
    assert hint.startswith("names that are no classes: 'dirt' (2), 'Car' (1); add them to")
    assert hint.endswith("""--config.data.label_names='(("dirt",""),("Car","car"),)'""")
    with pytest.raises(InputError, match="label_names='"):
        for _ in range(2):
            check.check(sources.JoinedSource([source, source]), progress=False)
    pairs = (("Car", "car"), ("dirt", ""))
    label = opened(tmp_path, "", classes=("road", "car"), label_names=pairs)[0]["label"]
    assert (label == 1).sum() == 15 and label[0, 0] == 255
    with pytest.raises(InputError, match=r"'Car' is to be 'van', which is none of the classes"):
        opened(tmp_path, "", classes=("road", "car"), label_names=(("Car", "van"),))


def test_colours_that_are_no_class_are_named_with_their_share(tmp_path):
    options = label_kinds.rgb_with_colors(tmp_path)
    file = tmp_path / "labels" / "train" / "a_gt.png"
    pixels = label_kinds.painted()
    pixels[:4] = 200, 0, 0
    Image.fromarray(pixels).save(file)
    with pytest.raises(InputError, match=r"a_gt\.png: the colours \(200,0,0\) 10\.00% are no cla"):
        opened(tmp_path, **options)[0]
    with pytest.raises(
        InputError, match=r"image of colours \(\(128,64,128\) 35.*list them as data\.colors"
    ):
        opened(tmp_path, classes=NAMES)[1]
    with pytest.raises(InputError, match="but 2 colours are given"):
        opened(tmp_path, classes=NAMES, colors=label_kinds.COLORS[:2])
    with pytest.raises(InputError, match="to two classes; their colours must differ"):
        opened(tmp_path, classes=NAMES, colors=label_kinds.COLORS[:1] * 3)
    with pytest.raises(
        InputError, match=r"classes is empty; .*put a classes\.txt with a name a line"
    ):
        opened(tmp_path)


def test_a_palettes_colours_decide_where_classes_have_colours(tmp_path):
    """Editors that reduce colours to a palette number them as they like."""
    for _, place, name in label_kinds.each(tmp_path):
        picture = Image.fromarray(label_kinds.painted()).quantize(8)
        assert picture.mode == "P"
        picture.save(place / f"{name}.png")
    source = opened(tmp_path, classes=NAMES, colors=label_kinds.COLORS)
    np.testing.assert_array_equal(source[0]["label"], label_kinds.label())
    assert source.about()[0] == "labels are colours"


def test_a_class_file_of_other_names_is_refused(tmp_path):
    label_kinds.palette_with_classes_txt(tmp_path)
    with pytest.raises(InputError, match=r"classes\.txt: names road, building, sky, and none"):
        opened(tmp_path, classes=("a", "b"))
    # Fewer and in another order: the file says what the numbers are.
    source = opened(tmp_path, classes=("sky", "road"))
    with pytest.raises(InputError, match=r"label values 1 \(building\) \(15\.\d\d% of the pixels"):
        source[0]
    both = opened(tmp_path, classes=("sky", "road"), label_names=(("building", ""),))
    wanted = np.array([1, 255, 0, *[255] * 253], np.uint8)[label_kinds.label()]
    np.testing.assert_array_equal(both[0]["label"], wanted)
    (tmp_path / "classes.txt").write_text("road\nroad\n")
    with pytest.raises(InputError, match="the name 'road' is given to two classes"):
        opened(tmp_path)


@pytest.mark.parametrize("orientation", ["exif", "stored"])
def test_outlines_are_in_the_image_as_it_is_read(tmp_path, orientation):
    """LabelMe, CVAT and browsers show images turned, and count points there."""
    size = {"imageHeight": SIZE[1], "imageWidth": SIZE[0]}
    label_kinds.drawn(tmp_path, [square("car", 30, 0, 40, 48)], **size)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(label_kinds.image()).save(tmp_path / "images" / "a.png", exif=exif)
    source = opened(tmp_path, "", classes=("road", "car"), orientation=orientation)
    if orientation == "exif":
        record = source[0]
        assert record["image"].shape[:2] == record["label"].shape == SIZE[::-1]
        assert (record["label"][:, 30:] == 1).all() and (record["label"] == 1).sum() == 480
    else:
        with pytest.raises(InputError, match=r"a\.json: is 40x48.*data\.orientation = 'exif'"):
            source[0]


def test_the_fingerprint_follows_a_file_for_many_and_the_settings(tmp_path):
    options = label_kinds.coco(tmp_path)
    before = opened(tmp_path, **options).fingerprint()
    assert opened(tmp_path, **options).fingerprint() == before
    assert opened(tmp_path, overlaps="small", **options).fingerprint() != before
    file = tmp_path / "annotations.json"
    file.write_text(file.read_text() + "\n")
    assert opened(tmp_path, **options).fingerprint() != before


def test_round_shapes_lines_and_stored_masks_of_labelme(tmp_path):
    stored = io.BytesIO()
    Image.fromarray(255 * np.eye(4, dtype=np.uint8)).convert("1").save(stored, "PNG")
    shapes = [
        {"label": "car", "shape_type": "circle", "points": [[10, 10], [13, 14]]},
        {"label": "car", "shape_type": "line", "points": [[0, 30], [48, 30]]},
        {
            "label": "road",
            "shape_type": "mask",
            "points": [[40, 2], [43, 5]],
            "mask": base64.b64encode(stored.getvalue()).decode(),
        },
    ]
    label_kinds.drawn(tmp_path, shapes)
    label = opened(tmp_path, "", classes=("road", "car"))[0]["label"]
    y, x = np.mgrid[:20, :20] + 0.5
    np.testing.assert_array_equal(label[:20, :20] == 1, (x - 10) ** 2 + (y - 10) ** 2 < 25)
    assert np.argwhere(label == 0).tolist() == [[2 + k, 40 + k] for k in range(4)]
    assert 10 <= (label[20:, 24] == 1).sum() <= 11
    shapes[1]["shape_type"] = "spline"
    label_kinds.drawn(tmp_path, shapes)
    with pytest.raises(InputError, match="the shape_type 'spline' is not known"):
        opened(tmp_path, "", classes=("road", "car"))[0]


def test_shapes_and_attributes_of_via(tmp_path):
    shapes = [
        {"name": "rect", "x": 0, "y": 0, "width": 4, "height": 3},
        {"name": "circle", "cx": 20, "cy": 20, "r": 5},
        {"name": "ellipse", "cx": 40, "cy": 20, "rx": 5, "ry": 2},
    ]
    attributes = [{"id": "7", "class": "car"}, {"type": {"car": True, "road": False}}]
    attributes.append({"label": "road", "note": ""})
    regions = {
        str(k): {"shape_attributes": shape, "region_attributes": named}
        for k, (shape, named) in enumerate(zip(shapes, attributes, strict=True))
    }
    save = tmp_path / "images" / "a.png"
    save.parent.mkdir()
    Image.fromarray(label_kinds.image()).save(save)
    content = {"a.png9": {"filename": "a.png", "size": 9, "regions": regions}}
    (tmp_path / "via_region_data.json").write_text(json.dumps(content))
    label = opened(tmp_path, "", classes=("road", "car"))[0]["label"]
    assert (label[:3, :4] == 1).all() and label[20, 20] == 1 and label[20, 40] == 0
    regions["0"]["region_attributes"] = {"id": "7", "colour": "red"}
    (tmp_path / "via_region_data.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="whose attributes id, colour do not tell its class"):
        opened(tmp_path, "", classes=("road", "car"))[0]
    regions["0"]["region_attributes"] = {"type": {"car": True, "road": True}}
    (tmp_path / "via_region_data.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="a region with car, road ticked, where one class is"):
        opened(tmp_path, "", classes=("road", "car"))[0]


def test_numbers_of_names_that_are_no_classes_are_named_or_left_out(tmp_path):
    label_kinds.yolo(tmp_path)
    with pytest.raises(InputError, match=r"numbers '1 building' \(1\) are none of the 2 classes"):
        opened(tmp_path, classes=("sky", "road"))[0]
    names = (("building", ""),)
    label = opened(tmp_path, classes=("sky", "road"), label_names=names)[0]["label"]
    wanted = np.array([1, 255, 0, *[255] * 253], np.uint8)[label_kinds.label()]
    np.testing.assert_array_equal(label, wanted)


def test_numbers_from_1_are_suggested_for_outlines_too(tmp_path):
    label_kinds.yolo(tmp_path)
    (tmp_path / "data.yaml").unlink()
    for split, names in label_kinds.SPLITS.items():
        for name in names:
            (tmp_path / split / "labels" / f"{name}.txt").write_text(
                "1 0 0 1 0 1 .4\n2 0 .5 1 .5 1 .9\n3 0 .9 1 .9 1 1"
            )
    with pytest.raises(InputError, match=r"the values begin at 1: --config\.data\.label_values"):
        check.check(opened(tmp_path, classes=NAMES), progress=False)
    values = tuple((k + 1, k) for k in range(3))
    assert set(np.unique(opened(tmp_path, classes=NAMES, values=values)[0]["label"])) == {
        *(0, 1, 2, 255)
    }
