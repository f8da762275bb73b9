"""Files of a review: hostile names, formulas, what annotation tools open, decisions read back."""

import csv
import json

import numpy as np
import pytest

from arm_jax.data.labels import UNKNOWN, generic
from arm_jax.review import apply, files, masks
from arm_jax.review.findings import Item, digest, key
from arm_jax.review.regions import Region
from arm_jax.system.errors import InputError

NAMES = (
    "a/plain",
    'quote " and , comma; semicolon',
    "<script>alert(1)</script>",
    "=HYPERLINK(1)",
    "'apostrophe",
    "@x -y +z",
    "\u00e4\u4e2d\U0001f600 space",
)
CLASSES = generic(("road", "=cmd|' /C calc'!A0", "<b>car"))


def item(name: str, number: int = 0, **changes) -> Item:
    mask = np.ones((6, 8), np.uint8)
    mask[2:4, 3:5] = 0
    box = (3 + number, 4, 8, 6)
    values = {
        "kind": "object",
        "given": 0,
        "proposed": 1,
        "score": 0.25,
        "margin": 0.5,
        "evidence": 0.5,
        "size": 0.1,
        "reach": 0.5,
        "area": 44,
        "box": box,
        "rings": masks.rings(mask, box),
        "color": (1.0, 2.0, 3.0),
        "center": (0.5, 0.5),
    }
    one = Region(**values | changes)
    made = digest(np.full((20, 30), number, np.uint8))
    return Item(key(name, one), number, name, (20, 30), one, one.score, number, made)


ITEMS = [item(name, number) for number, name in enumerate(NAMES)]


def decided(path, words) -> list[list[str]]:
    """The CSV with its last column filled in."""
    lines = list(csv.reader(path.open(newline="", encoding="utf-8")))
    for line, word in zip(lines[1:], words, strict=True):
        line[-1] = word
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
    return lines


def test_decisions_come_back_as_the_regions_were(tmp_path):
    path = tmp_path / "review.csv"
    files.write_csv(path, ITEMS, CLASSES)
    words = ["accept", "reject", "", "Accepted", "accept", "accept", "accept"]
    decided(path, words)
    found = files.read_decisions(path)
    assert [one.image for one in found] == [n for n, w in zip(NAMES, words, strict=True) if w]
    assert [one.accepted for one in found] == [w != "reject" for w in words if w]
    for one in found:
        first = ITEMS[NAMES.index(one.image)]
        assert (one.key, one.proposed) == (first.key, CLASSES.names[1])
        assert one.digest == first.digest != ""
        assert (
            masks.filled(one.rings, (20, 30)) == masks.filled(first.region.rings, (20, 30))
        ).all()


@pytest.mark.parametrize("name", ["a\u2028b", "a\x85b", "a\x0cb"])
def test_what_unicode_calls_an_end_of_line_ends_no_row(tmp_path, name):
    path = tmp_path / "review.csv"
    files.write_csv(path, [item(name)], CLASSES)
    decided(path, ["accept"])
    assert [one.image for one in files.read_decisions(path)] == [name]


def test_no_cell_is_a_formula(tmp_path):
    files.write_csv(tmp_path / "review.csv", ITEMS, CLASSES)
    for line in csv.reader((tmp_path / "review.csv").open(newline="", encoding="utf-8")):
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in line)


def test_a_spreadsheet_s_semicolons_and_byte_order_mark_are_read(tmp_path):
    path = tmp_path / "review.csv"
    files.write_csv(path, ITEMS, CLASSES)
    lines = decided(path, ["accept"] * len(ITEMS))
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=";").writerows(lines)
    assert [one.image for one in files.read_decisions(path)] == list(NAMES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda line: line.__setitem__(-1, "perhaps"), "row 2: decision = 'perhaps'"),
        (lambda line: line.__setitem__(8, "1 2 3"), "row 2: its region"),
        (lambda line: line.__setitem__(8, "1 99999999999999999999"), "row 2: its region"),
        (lambda line: line.__setitem__(5, "nan"), "row 2: its region or score"),
        (lambda line: line.__setitem__(8, ""), "row 2: its region or score"),
    ],
)
def test_a_row_that_cannot_be_understood_is_named(tmp_path, change, message):
    path = tmp_path / "review.csv"
    files.write_csv(path, ITEMS[:1], CLASSES)
    lines = decided(path, ["accept"])
    change(lines[1])
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
    with pytest.raises(InputError, match=message):
        files.read_decisions(path)


def test_a_decision_in_the_first_column_needs_no_empty_cells_at_the_end(tmp_path):
    path = tmp_path / "review.csv"
    files.write_csv(path, ITEMS, CLASSES)
    lines = [[line[-1], *line[:-1]] for line in decided(path, ["accept"] * len(ITEMS))]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([lines[0], *(line[:-2] for line in lines[1:])])
    assert [(one.image, one.other, one.digest) for one in files.read_decisions(path)] == [
        (name, "", "") for name in NAMES
    ]


def test_a_region_of_many_corners_is_read(tmp_path):
    path = tmp_path / "review.csv"
    files.write_csv(path, ITEMS[:1], CLASSES)
    lines = decided(path, ["accept"])
    lines[1][8] = " ".join(f"{x} {x % 7}" for x in range(40_000))
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
    assert files.read_decisions(path)[0].rings[0].shape == (40_000, 2)


def test_another_csv_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no column key"):
        files.read_decisions(tmp_path / "x.csv")


def test_every_line_is_json_with_the_region_and_the_terms_of_its_score(tmp_path):
    files.write_lines(tmp_path / "review.jsonl", ITEMS, CLASSES)
    found = [json.loads(line) for line in (tmp_path / "review.jsonl").read_text().splitlines()]
    assert [one["image"] for one in found] == list(NAMES)
    assert found[0]["proposed"] == CLASSES.names[1] and found[0]["margin"] == 0.5
    rings = [np.array(ring) for ring in found[0]["region"]]
    assert masks.filled(rings, (20, 30)).sum() == 44


def test_labelme_s_polygons_are_the_regions_read_back(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(files.labelme(ITEMS[:2], CLASSES, "../a.png")))
    stored = json.loads(path.read_text())
    assert (stored["imageHeight"], stored["imageWidth"]) == (20, 30)
    assert stored["imagePath"] == "../a.png" and stored["imageData"] is None
    assert files.labelme_digest(path) == ITEMS[0].digest
    found = files.read_labelme(path, (20, 30), CLASSES)
    assert set(np.unique(found)) == {1, UNKNOWN}
    drawn = np.zeros((20, 30), bool)
    for one in ITEMS[:2]:
        drawn |= masks.filled(one.region.rings, (20, 30))
    assert ((found == 1) == drawn).all()


def test_a_label_of_no_class_in_a_corrected_file_is_named(tmp_path):
    path = tmp_path / "a.json"
    stored = files.labelme(ITEMS[:1], CLASSES, "a.png")
    stored["shapes"][0]["label"] = "cra"
    path.write_text(json.dumps(stored))
    with pytest.raises(InputError, match="cra"):
        files.read_labelme(path, (20, 30), CLASSES)


def test_coco_has_each_image_once_and_flat_polygons():
    found = json.loads(json.dumps(files.coco([ITEMS[0], ITEMS[1], ITEMS[0]], CLASSES)))
    assert [one["file_name"] for one in found["images"]] == list(NAMES[:2])
    assert [one["id"] for one in found["categories"]] == [1, 2, 3]
    for one in found["annotations"]:
        assert one["category_id"] == 2 and one["area"] == 44
        assert all(len(polygon) % 2 == 0 and len(polygon) >= 6 for polygon in one["segmentation"])
    assert found["annotations"][0]["bbox"] == [3, 4, 8, 6]


def decision(name: str, **changes) -> files.Decision:
    ring = np.array([(0, 0), (0, 3), (3, 3), (3, 0)], np.int32)
    values = {"kind": "object", "proposed": "road", "score": 0.5, "rings": (ring,)}
    usual = {"key": "", "image": name, "other": "", "digest": "", "accepted": True}
    return files.Decision(**{**values, **usual, **changes})


def test_accepted_regions_are_painted_the_surest_on_top():
    shapes, swaps = apply.planned(
        [decision("a", score=0.9), decision("a", proposed="<b>car", score=0.1)], CLASSES, {"a": 7}
    )
    assert swaps == {} and list(shapes) == [7]
    old = np.ones((6, 6), np.uint8)
    new = apply.painted(old, shapes[7])
    assert (new[:4, :4] == 0).all() and new.sum() == 20 and old.sum() == 36
    matrix = apply.changed(old, new, 3)
    assert matrix[1, 0] == matrix.sum() == 16
    assert apply.table(matrix, lambda k: CLASSES.names[k]) == (
        f"            16 px  {CLASSES.names[1]} -> road"
    )


def test_an_image_that_gets_another_label_gets_no_regions():
    shapes, swaps = apply.planned(
        [decision("a"), decision("a", kind="swapped", proposed="", other="b")],
        CLASSES,
        {"a": 0, "b": 1},
    )
    assert shapes == {} and swaps == {0: 1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"proposed": "rood"}, "'rood' is none of"), ({"kind": "magic"}, "kind = 'magic'")],
)
def test_a_decision_that_cannot_be_followed_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        apply.planned([decision("a", **changes)], CLASSES, {"a": 0})
    with pytest.raises(InputError, match="no such image"):
        apply.planned([decision("b")], CLASSES, {"a": 0})


def test_decisions_on_another_label_of_an_image_are_refused():
    label = np.zeros((6, 6), np.uint8)
    other = label.copy()
    other[3, 3] = 1
    same, by_hand = {"decision k on 'a'": digest(label)}, {"a.json": ""}
    apply.unchanged({0: same, 1: by_hand}, lambda number: digest(label))
    with pytest.raises(InputError, match="decision k on 'a': was made on another label"):
        apply.unchanged({0: same}, lambda number: digest(other))
    assert digest(label) != digest(label.reshape(4, 9))
