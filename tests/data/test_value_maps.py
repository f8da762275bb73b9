"""The value map that was meant is named, from the values of all labels together."""

import pickle

import numpy as np
import pytest
from PIL import Image

from arm_jax.data import check, sources, value_maps
from arm_jax.data.labels import Meaning, UnknownValues, generic
from arm_jax.data.survey import survey
from arm_jax.system.errors import InputError

THREE = generic(["a", "b", "c"])


@pytest.mark.parametrize(
    ("values", "classes", "words"),
    [
        ((1, 2, 3), THREE, "values begin at 1: --config.data.label_values='((1,0),(2,1),(3,2))'"),
        ((1, 3, 255), THREE, "values begin at 1: --config.data.label_values='((1,0),(2,1),(3,2))'"),
        (
            (0, 1, 2, 3),
            THREE,
            "if 0 means no label, use --config.data.label_values='((0,255),(1,0),(2,1),(3,2))'; if",
        ),
        ((0, 1, 255), generic(["a", "b", "c"], 3), "without a label: --config.data.ignore='255'"),
        ((0, 128, 255), THREE, "label_values='((0,0),(128,1),(255,2))'"),
        ((0, 85, 170, 255), generic(list("abcd")), "'((0,0),(85,1),(170,2),(255,3))'"),
        ((0, 255), generic(["a", "b"], 254), "'((0,0),(255,1))'"),
        ((0, 9), generic(list("abcd")), ""),
        ((0, 1, 2, 3, 4, 5), THREE, ""),
        (range(1, 152), generic([str(k) for k in range(150)]), ""),
    ],
)
def test_the_map_that_gives_all_values_a_meaning(values, classes, words):
    said = value_maps.suggested(values, classes)
    assert words in said and bool(said) == bool(words)


def folder(root, labels):
    for name in ("images", "labels"):
        (root / name).mkdir()
    for index, values in enumerate(labels):
        label = np.repeat(np.uint8(values), 4).reshape(-1, 4)
        Image.fromarray(label).save(root / "labels" / f"{index}.png")
        Image.fromarray(np.zeros((*label.shape, 3), np.uint8)).save(
            root / "images" / f"{index}.png"
        )
    return {"root": root, "split": "", "classes": ("a", "b", "c")}


def test_the_check_and_the_survey_join_the_values_of_all_labels(tmp_path):
    """No single label shows that they begin at 1."""
    options = folder(tmp_path, [(1, 2), (2, 3), (3, 3)])
    source = sources.open_source("folders", **options)
    mapping = "the values begin at 1: --config.data.label_values='((1,0),(2,1),(3,2))'"
    with pytest.raises(
        InputError, match=r"^2 of 3 data records are bad; the first: .*1\.png"
    ) as error:
        check.check(source, progress=False)
    assert str(error.value).endswith(f"In all labels: {mapping}")
    assert survey(source, progress=False).hint == mapping
    fixed = sources.open_source("folders", **options, values=((1, 0), (2, 1), (3, 2)))
    assert check.check(fixed, progress=False).pixels == (4, 8, 12)


def test_values_that_a_table_lacks_are_left_to_its_writer(tmp_path):
    options = folder(tmp_path, [(1, 2), (2, 3)])
    source = sources.open_source("folders", **options, values=((1, 0), (2, 1)))
    with pytest.raises(InputError, match=r"label values 3 .* the value map$"):
        check.check(source, progress=False)


def test_the_error_keeps_its_values_on_the_way_from_a_worker():
    with pytest.raises(UnknownValues) as caught:
        Meaning(THREE)(np.uint8([[0, 7]]), "x")
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert np.flatnonzero(again.stored).tolist() == [0, 7]
