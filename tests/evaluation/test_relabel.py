"""What a network believes of its labels, as files beside them."""

import shutil
import types
from pathlib import Path

import cv2
import numpy as np
import pytest

from arm_jax import contradictions, settings
from arm_jax.data import colors
from arm_jax.data.folders import FolderSource
from arm_jax.data.labels import Classes
from arm_jax.evaluation import relabel as relabels
from arm_jax.reporting import relabelled
from arm_jax.run import inputs, refusals, relabel
from arm_jax.system.errors import InputError
from configs import base

CLASSES = Classes(("sky", "road", "car"), ((0, 0, 200), (90, 90, 90), (200, 0, 0)), 255)
SETTINGS = types.SimpleNamespace(
    near=2.0,
    correct_above=0.6,
    correct_above_near=0.85,
    complete_above=0.9,
    known_above=0.5,
    adjust=0.0,
)


def case():
    """A label with a wrong box, and a network that knows, with 0.7 everywhere but in one corner."""
    truth = np.zeros((24, 30), np.uint8)
    truth[12:] = 1
    label = truth.copy()
    label[2:10, 3:14] = 2  # wrong; sky in truth
    label[20:] = 255
    p = np.where(np.eye(3, dtype=bool)[truth], 0.7, 0.15).astype(np.float32)
    p[22:, :5] = [0.02, 0.95, 0.03]
    return label, p


def test_a_wrong_box_is_corrected_inside_and_a_missing_corner_completed():
    label, p = case()
    found = relabels.judge(p, label, SETTINGS)
    assert (found.part == relabels.CORRECTED).any() and (found.part == relabels.COMPLETED).any()
    # Two pixels of the box beside its edge stay: 0.7 is not enough there.
    inside = np.zeros(label.shape, bool)
    inside[4:8, 5:12] = True
    np.testing.assert_array_equal(found.part == relabels.CORRECTED, inside)
    assert np.all(found.label[inside] == 0)
    corner = np.zeros(label.shape, bool)
    corner[22:, :5] = True
    np.testing.assert_array_equal(found.part == relabels.COMPLETED, corner)
    assert np.all(found.label[corner] == 1) and np.all(found.label[20:][~corner[20:]] == 255)
    rest = ~inside & ~corner
    np.testing.assert_array_equal(found.label[rest], label[rest])
    assert found.certainty[0, 0] == round(0.7 * 255)


def test_far_from_edges_another_threshold_holds():
    label, p = case()
    whole = np.zeros_like(label)  # no edge but the ones of the box
    whole[2:20, 3:25] = 2
    limits = contradictions.Limits(near=0.85, inside=0.6, far=0.8, width=2.0)
    p = np.full_like(p, [0.7, 0.15, 0.15])
    found = relabels.judge(p, whole, SETTINGS, limits=limits).part == relabels.CORRECTED
    ring = np.zeros(whole.shape, bool)
    ring[4:18, 5:23] = True  # farther than 2 pixels from an edge,
    ring[7:15, 8:20] = False  # and no farther than 14/3: the centre of the fifth is 4.5 away
    np.testing.assert_array_equal(found, ring)


def test_an_unknown_class_is_left_and_class_weights_are_no_belief():
    label, p = case()
    known = np.array([True, True, False])
    assert (relabels.judge(p, label, SETTINGS, known=known).part != relabels.CORRECTED).all()
    known = np.array([True, False, True])
    assert (relabels.judge(p, label, SETTINGS, known=known).part != relabels.COMPLETED).all()
    weights = (2.0, 0.5, 0.0)
    skewed = p * np.array([2.0, 0.5, 1.0], np.float32)
    skewed /= skewed.sum(-1, keepdims=True)
    np.testing.assert_allclose(relabels.without_weights(skewed, weights), p, rtol=1e-5)
    assert relabels.without_weights(p, ()) is p


def test_rare_classes_correct_with_less_and_complete_as_before():
    label, p = case()
    label[label == 2] = 1
    seldom = np.full_like(p, [0.1, 0.6, 0.3])
    eager = types.SimpleNamespace(**{**vars(SETTINGS), "adjust": 0.5, "complete_above": 0.5})
    pixels = (500, 490, 10)
    r = relabels.adjusted(seldom, pixels, 0.5)
    expected = np.array([0.1 / 0.5**0.5, 0.6 / 0.49**0.5, 0.3 / 0.01**0.5])
    np.testing.assert_allclose(r[0, 0], expected / expected.sum(), rtol=1e-6)
    found = relabels.judge(seldom, label, eager, drawn_pixels=pixels)
    assert np.all(found.label[0, 20:] == 2) and np.all(found.label[20:] == 1)
    assert np.all(relabels.judge(seldom, label, eager).label[0, 20:] == 0)


def test_the_folder_trains_by_one_setting_and_the_old_labels_stay(tmp_path):
    label, p = case()
    for folder in ("images/train/a", "labels/train/a"):
        (tmp_path / folder).mkdir(parents=True)
    image = np.random.default_rng(0).integers(0, 256, (*label.shape, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "images/train/a/b.png"), image)
    cv2.imwrite(str(tmp_path / "labels/train/a/b.png"), label)
    before = (tmp_path / "labels/train/a/b.png").read_bytes()
    source = FolderSource(tmp_path, "train", CLASSES)
    target = tmp_path / "labels_relabelled"

    def run():
        return list(
            relabels.relabel(
                lambda record: relabels.judge(p, record["label"], SETTINGS),
                source,
                target,
                CLASSES,
                split="train",
            )
        )

    (change,) = run()
    assert run()[0].shares == change.shares  # a second time, over its own files
    believed = relabels.judge(p, label, SETTINGS)
    again = FolderSource(tmp_path, "train", CLASSES, label_folder="labels_relabelled/labels")
    np.testing.assert_array_equal(again[0]["label"], believed.label)
    for kind, expected in (("parts", believed.part), ("confidence", believed.certainty)):
        stored = cv2.imread(str(target / kind / "train/a/b.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(stored, expected)
    assert (tmp_path / "labels/train/a/b.png").read_bytes() == before
    assert change.name == "train/a/b" and sum(change.shares) == pytest.approx(1)
    assert change.moved[2, 0] == 28 == change.moved.sum()

    read = relabels.stored(target, change.name)
    for name in ("label", "part", "certainty"):
        np.testing.assert_array_equal(getattr(read, name), getattr(believed, name))

    page = relabelled.write(target / "changes.html", [change], lambda _: believed, CLASSES)
    text = page.read_text()
    for part in ("a/b", "car", "100.0", "corrected", "data:image/webp"):
        assert part in text

    # The labels of another split are there too, as they were.
    for kind in ("images", "labels"):
        shutil.copytree(tmp_path / kind / "train", tmp_path / kind / "val")
    relabels.copy(FolderSource(tmp_path, "val", CLASSES), target, CLASSES, split="val")
    other = FolderSource(tmp_path, "val", CLASSES, label_folder="labels_relabelled/labels")
    np.testing.assert_array_equal(other[0]["label"], label)

    # What somebody else put there, or changed since, is not written over.
    (target / "labels/train/a/b.png").write_bytes(before)
    with pytest.raises(InputError, match=r"b\.png"):
        run()


def test_labels_that_lie_in_no_folder_are_refused():
    config = base.get_config("smoke")
    with pytest.raises(InputError, match=r"data\.dataset = 'scenes': --mode relabel"):
        refusals.relabelled_folder(config, None)
    config.data.dataset, config.data.root = "folders", "/tmp"
    assert refusals.relabelled_folder(config, None).as_posix() == "/tmp/labels_relabelled"


def test_one_setting_finds_the_labels_to_train_and_to_evaluate_on(tmp_path):
    label, _ = case()
    for root in ("a", "b"):
        for split in ("train", "val"):
            for kind in ("images", "labels"):
                (tmp_path / root / kind / split).mkdir(parents=True)
                cv2.imwrite(str(tmp_path / root / kind / split / "x.png"), label)
                cv2.imwrite(str(tmp_path / root / kind / split / "y.png"), label)
    config = base.get_config("smoke")
    config.data.dataset, config.data.root = "folders", str(tmp_path / "a")
    config.data.classes, config.data.coarsen = CLASSES.names, ""
    config.data.eval_images = 1  # all labels must be there all the same
    target = tmp_path / "a" / "labels_relabelled"

    def found(target=target, **data):
        with config.unlocked():
            config.data.update(data)
        return relabel._labels_to_evaluate_on(settings.frozen(config), target, CLASSES)

    ((split, source),), place = found()
    assert (split, len(source), place) == ("val", 2, target)
    assert found(eval_split="train")[0] == []
    (pair,), place = found(eval_root=str(tmp_path / "b"))
    assert pair[0] == "train" and place == tmp_path / "b" / "labels_relabelled"
    with pytest.raises(InputError, match="would have the same files"):
        found(tmp_path / "elsewhere")


def test_a_label_that_somebody_changed_is_named_before_any_is_written(tmp_path):
    label, p = case()
    for kind in ("images", "labels"):
        for name in ("train/a", "train/b", "val/c"):
            (tmp_path / kind / name).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / kind / f"{name}.png"), label)
    parts = [("train", FolderSource(tmp_path, "train", CLASSES))]
    copies = [("val", FolderSource(tmp_path, "val", CLASSES))]
    target = tmp_path / "labels_relabelled"

    def run():
        relabel._claimed(target, target, parts, copies)
        for split, source in parts:
            judge = lambda record: relabels.judge(p, record["label"], SETTINGS)  # noqa: E731
            list(relabels.relabel(judge, source, target, CLASSES, split=split))
        for split, source in copies:
            relabels.copy(source, target, CLASSES, split=split)

    run()
    run()
    for changed in ("labels/val/c.png", "parts/train/b.png", "labels/train/b.png"):
        before = (target / changed).read_bytes()
        (target / changed).write_bytes(before + b"by hand")
        times = {path: path.stat().st_mtime_ns for path in target.rglob("*.png")}
        with pytest.raises(InputError, match=rf"{changed} is there already.*move it away"):
            run()
        assert times == {path: path.stat().st_mtime_ns for path in target.rglob("*.png")}
        (target / changed).write_bytes(before)


def test_new_labels_are_read_as_class_indices_also_beside_a_class_file(tmp_path, monkeypatch):
    """The numbers of the file are those of the old labels."""
    label, _ = case()
    (tmp_path / "images/train").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "images/train/x.png"), label)
    for folder, shift in (("labels", 1), ("new/labels", 0)):
        (tmp_path / folder / "train").mkdir(parents=True)
        colors.write_label(
            tmp_path / folder / "train/x.png", np.where(label < 3, label + shift, 255), CLASSES
        )
    (tmp_path / "_classes.csv").write_text("Pixel Value, Class\n1, sky\n2, road\n3, car\n")
    changes = {"data.dataset": "folders", "data.root": str(tmp_path), "data.train_split": "train"}
    changes |= {"data.classes": CLASSES.names, "data.coarsen": ""}
    config = settings.frozen(base.get_config("smoke"), changes)
    monkeypatch.chdir(tmp_path)  # a path from here is not one from the root
    for labels in (tmp_path / "new/labels", Path("new/labels")):
        overrides = relabel._overrides(config, labels, CLASSES)
        assert overrides == [
            "--config.data.label_folder=new/labels",
            "--config.data.label_values='((0,0),(1,1),(2,2),(255,255))'",
        ]
    after = settings.overridden(config, [one.replace("'", "") for one in overrides])
    for its in (config, after):
        source = inputs.labelled_as_training(its, "train")
        np.testing.assert_array_equal(source[0]["label"], label)
    monkeypatch.chdir("/")
    (tmp_path / "_classes.csv").unlink()
    elsewhere = relabel._overrides(config, Path("x/labels"), CLASSES)
    assert elsewhere == ["--config.data.label_folder=/x/labels"]
