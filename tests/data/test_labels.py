"""Class tables: numbers and colours of the benchmarks, and tables from stored values."""

import pickle

import numpy as np
import pytest

from arm_jax.data import labels
from arm_jax.system.errors import InputError


def test_benchmarks_have_their_classes():
    assert (labels.CITYSCAPES.number, labels.CAMVID.number) == (19, 11)
    assert (labels.ADE20K.number, labels.STREET_SCENES.number) == (150, 11)
    assert labels.CITYSCAPES.names[11] == "person"
    assert labels.CITYSCAPES.colors[11] == (220, 20, 60)
    assert labels.CITYSCAPES.colors[18] == (119, 11, 32)
    assert labels.ADE20K.names[149] == "flag"
    assert labels.ADE20K.colors[2] == (6, 230, 230)
    assert labels.CAMVID.names[2] == "pole"


def test_cityscapes_table_is_the_official_one():
    pairs = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11}
    pairs |= {25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    label = labels.CITYSCAPES_TABLE(stored).reshape(-1)
    for value in range(34):
        assert label[value] == pairs.get(value, 255)
    assert label[255] == 255
    assert labels.CITYSCAPES_TABLE.unknown(stored) == list(range(34, 255))


def test_ade20k_table_shifts_by_one_and_ignores_zero():
    stored = np.array([[0, 1, 150, 255, 151]], np.uint8)
    assert labels.ADE20K_TABLE(stored).tolist() == [[255, 0, 149, 255, labels.UNKNOWN]]
    assert labels.ADE20K_TABLE.unknown(stored) == [151]


def test_table_refuses_what_is_no_class():
    classes = labels.generic(["a", "b"])
    assert labels.Table.of({9: 1, 4: 255}, classes)(np.array([[9, 4]], np.uint8)).tolist() == [
        [1, 255]
    ]
    with pytest.raises(InputError, match="3 -> 2"):
        labels.Table.of({3: 2}, classes)
    with pytest.raises(InputError, match="300"):
        labels.Table.of({300: 1}, classes)


def test_generic_colors_differ_and_neighbours_are_far_apart():
    colors = np.array(labels.generic([f"class {k}" for k in range(60)]).colors, int)
    assert len(np.unique(colors, axis=0)) == 60
    assert np.abs(np.diff(colors, axis=0)).sum(1).min() > 100


def test_palette_is_black_outside_the_classes():
    palette = labels.STREET_SCENES.palette
    assert palette.shape == (256, 3)
    assert tuple(palette[9]) == labels.STREET_SCENES.colors[9]
    assert palette[11:].max() == 0


@pytest.mark.parametrize(
    ("names", "colors", "ignore", "message"),
    [
        (("a",), ((0, 0, 0),), 255, "1 class names"),
        (("a", "a"), ((0, 0, 0),) * 2, 255, "'a' is given twice"),
        (("a", ""), ((0, 0, 0),) * 2, 255, "class names a, have a blank one"),
        (("a", " ", "b"), ((0, 0, 0),) * 3, 255, "have a blank one"),
        (("a", "b"), ((0, 0, 0),), 255, "2 class names but 1 colours"),
        (("a", "b"), ((0, 0, 0),) * 2, 1, "ignore = 1"),
        (("a", "b"), ((0, 0, 0),) * 2, 256, "ignore = 256"),
    ],
)
def test_impossible_classes_are_refused(names, colors, ignore, message):
    with pytest.raises(InputError, match=message):
        labels.Classes(names, colors, ignore)


def test_tables_and_classes_can_be_sent_to_a_worker():
    table = pickle.loads(pickle.dumps(labels.CITYSCAPES_TABLE))
    assert table(np.array([[26]], np.uint8)).item() == 13
    assert pickle.loads(pickle.dumps(labels.CAMVID)) == labels.CAMVID
