"""Images that nobody labelled, among others, in a person's own folders."""

import cv2
import numpy as np
import pytest

from arm_jax.data import pipeline
from arm_jax.data.folders import FolderSource
from arm_jax.data.labels import Classes
from arm_jax.system.errors import InputError

CLASSES = Classes(("sky", "road"), ((0, 0, 200), (90, 90, 90)), 255)


def folders(root, labelled):
    for folder in ("images/train", "labels/train"):
        (root / folder).mkdir(parents=True)
    for name in ("a", "b", "c"):
        cv2.imwrite(str(root / f"images/train/{name}.png"), np.full((20, 30, 3), 7, np.uint8))
    for name in labelled:
        cv2.imwrite(str(root / f"labels/train/{name}.png"), np.eye(20, 30, dtype=np.uint8))


def test_an_image_without_a_label_is_unlabelled_by_one_setting(tmp_path):
    folders(tmp_path, "b")
    with pytest.raises(InputError, match=r"a\.png: has no label .*nor have 1 others"):
        FolderSource(tmp_path, "train", CLASSES)
    source = FolderSource(tmp_path, "train", CLASSES, unlabelled="ignore")
    assert [record["id"] for record in source] == ["a", "b", "c"]
    assert source.inspect(0)[255] == source.inspect(2)[255] == 600
    assert source.inspect(1)[1] == 20 and source.inspect(1)[255] == 0
    assert "2 of 3 images have no label, and are unlabelled" in source.about()
    batches = pipeline.training_batches(source, crop=(16, 16), batch_size=3, seed=0)
    labels = next(iter(batches))["label"]
    assert sorted((labels != 255).any((1, 2)).tolist()) == [False, False, True]
    # It knows when a label comes.
    before = source.fingerprint()
    cv2.imwrite(str(tmp_path / "labels/train/a.png"), np.zeros((20, 30), np.uint8))
    again = FolderSource(tmp_path, "train", CLASSES, unlabelled="ignore")
    assert again.fingerprint() != before and again.inspect(0)[0] == 600


def test_data_without_any_label_are_refused(tmp_path):
    folders(tmp_path, "")
    with pytest.raises(InputError, match="has no label"):
        FolderSource(tmp_path, "train", CLASSES, unlabelled="ignore")
