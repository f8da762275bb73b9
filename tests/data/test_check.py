"""The check of all labels: finds every kind of damage, names it, and remembers what was good."""

import json

import numpy as np
import pytest
from PIL import Image

from arm_jax.data import check, coarsen, sources
from arm_jax.data.folders import FolderSource
from arm_jax.data.labels import generic
from arm_jax.data.survey import survey
from arm_jax.system import outputs
from arm_jax.system.errors import InputError

CLASSES = generic(["a", "b", "c"])


@pytest.fixture
def root(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for index in range(12):
        label = np.full((10, 10), index % 3, np.uint8)
        label[0] = 255
        Image.fromarray(np.zeros((10, 10, 3), np.uint8)).save(
            tmp_path / "data" / "images" / f"{index:02d}.png"
        )
        Image.fromarray(label).save(tmp_path / "data" / "labels" / f"{index:02d}.png")
    return tmp_path / "data"


class Counting(FolderSource):
    looked = 0

    def inspect(self, index):
        type(self).looked += 1
        return super().inspect(index)


class Plain:
    """The least that a source may be."""

    classes = CLASSES

    def __init__(self, label):
        self._label = np.asarray(label, np.uint8)

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return {
            "image": np.zeros((*self._label.shape, 3), np.uint8),
            "label": self._label,
            "id": "",
        }


def test_counts_pixels(root):
    result = check.check(FolderSource(root, "", CLASSES), progress=False)
    assert result == check.Checked(12, (360, 360, 360), 120)


def run_folder(path):
    """A folder whose cache is the run's own, whatever happens to it."""
    return outputs.claim(path, "a run", names=[check.CACHE_FILE])


def test_a_second_check_is_read_from_the_cache_until_a_file_changes(root, tmp_path):
    cache = run_folder(tmp_path / "run")
    Counting.looked = 0
    first = check.check(Counting(root, "", CLASSES), name="training", cache=cache)
    assert Counting.looked == 12
    again = check.check(Counting(root, "", CLASSES), name="training", cache=cache)
    assert Counting.looked == 12 and again == first
    check.check(Counting(root, "", CLASSES), name="evaluation", cache=cache)
    assert Counting.looked == 24
    Image.fromarray(np.zeros((10, 10), np.uint8)).save(root / "labels" / "03.png")
    changed = check.check(Counting(root, "", CLASSES), name="training", cache=cache)
    assert Counting.looked == 36 and changed.ignored == 110
    (cache / check.CACHE_FILE).write_text("{ half a fi")
    check.check(Counting(root, "", CLASSES), name="training", cache=cache)
    assert Counting.looked == 48
    assert set(json.loads((cache / check.CACHE_FILE).read_text())) == {"training"}
    entry = json.loads((cache / check.CACHE_FILE).read_text())["training"]
    for damage in (
        b"\xff\xfe\x00",
        b"[]",
        b"3",
        b'{"training": null}',
        json.dumps({"training": {**entry, "counts": 3}}).encode(),
        json.dumps({"training": {**entry, "counts": [[1, None]]}}).encode(),
        json.dumps({"training": {"mark": entry["mark"]}}).encode(),
        json.dumps({"training": {**entry, "counts": [255 * [0] + ["many"]]}}).encode(),
        b"[" * 100_000,
    ):
        (cache / check.CACHE_FILE).write_bytes(damage)
        Counting.looked = 0
        again = check.check(Counting(root, "", CLASSES), name="training", cache=cache)
        assert (Counting.looked, again) == (12, changed), damage[:40]


def test_one_bad_label_is_named(root, tmp_path):
    label = np.zeros((10, 10), np.uint8)
    label[5, 5], label[6, 6] = 3, 77
    Image.fromarray(label).save(root / "labels" / "07.png")
    with pytest.raises(InputError, match=r"labels/07\.png: label values 3, 77 \(2\.00%"):
        check.check(FolderSource(root, "", CLASSES), cache=tmp_path, progress=False)
    assert not (tmp_path / check.CACHE_FILE).exists(), "what is bad is looked at again"


def test_several_are_counted_and_listed(root, tmp_path):
    (root / "images" / "02.png").write_bytes(b"")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(root / "labels" / "05.png")
    source = FolderSource(root, "", CLASSES)
    with pytest.raises(
        InputError, match=r"2 of 12 training records are bad .*.*images/02\.png: cannot be read"
    ):
        check.check(source, name="training", cache=tmp_path, progress=False)
    listed = (tmp_path / "problems_training.txt").read_text().splitlines()
    assert len(listed) == 2
    assert "02.png" in listed[0] and "05.png: is 4x4 pixels" in listed[1]


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x55
    path.write_bytes(data)


def other_size(path):
    with Image.open(path) as picture:
        Image.new(picture.mode, (6, 6)).save(path)


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no picture"),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-40]),
    "damaged inside": damage,
    "other size": other_size,
    "gone": lambda path: path.unlink(),
    "link to nowhere": lambda path: (path.unlink(), path.symlink_to("nowhere.png")),
}


@pytest.mark.parametrize("what", DAMAGES)
@pytest.mark.parametrize("kind", ["images", "labels"])
def test_what_the_survey_reports_training_refuses(root, kind, what):
    """All that scripts/check_dataset.py calls bad, the check before training calls bad too."""
    if kind == "images":
        rng = np.random.default_rng(0)
        Image.fromarray(rng.integers(0, 256, (10, 10, 3)).astype(np.uint8)).save(
            root / "images" / "03.png"
        )
    source = FolderSource(root, "", CLASSES)
    DAMAGES[what](root / kind / "03.png")
    found = survey(source, progress=False)
    assert len(found.problems) == 1 and f"{kind}/03.png" in found.problems[0]
    with pytest.raises(InputError, match=rf"{kind}/03\.png"):
        check.check(source, progress=False)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.full((10, 10), 7, np.uint8), "label values 7"),
        (np.zeros((10, 10, 3), np.uint8), "colours"),
        (np.full((10, 10), 300, np.uint16), "do not fit a byte"),
    ],
)
def test_labels_that_the_survey_reports_training_refuses(root, pixels, message):
    Image.fromarray(pixels).save(root / "labels" / "03.png")
    source = FolderSource(root, "", CLASSES)
    assert message in survey(source, progress=False).problems[0]
    with pytest.raises(InputError, match=message):
        check.check(source, progress=False)


def test_labels_without_any_class_are_refused():
    with pytest.raises(InputError, match="all pixels of all 1 labels have the ignore value 255"):
        check.check(Plain(np.full((4, 4), 255)), progress=False)


def test_a_plain_source_is_checked_too(tmp_path):
    assert check.check(Plain([[0, 1]]), cache=tmp_path).pixels == (1, 1, 0)
    assert not (tmp_path / check.CACHE_FILE).exists(), "it cannot tell when it changes"
    with pytest.raises(
        InputError,
        match=r"record 0: label values 9 \(50.00% of the pixels\) are none of the 3 classes",
    ):
        check.check(Plain([[0, 9]]), progress=False)


def test_coarsened_and_shortened_sources_are_checked_underneath(root):
    source = sources.CoarsenedSource(
        sources.FirstSource(FolderSource(root, "", CLASSES), 3), coarsen.preset("hard")
    )
    assert check.check(source, progress=False) == check.Checked(3, (90, 90, 90), 30)


def test_generated_scenes_need_no_check(monkeypatch):
    monkeypatch.setattr(sources.ScenesSource, "__getitem__", None)
    scenes = sources.open_source("scenes", images=10, labels="coarse")
    assert check.check(scenes, progress=False) is None
