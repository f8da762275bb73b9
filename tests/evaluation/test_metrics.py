"""The confusion matrix is exact and sharding-safe; the figures follow mmsegmentation's rules."""

import csv
import io
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from arm_jax.evaluation import metrics
from arm_jax.system import sharding


def pixels(shape, num_classes, seed=0, ignored=0.1):
    rng = np.random.default_rng(seed)
    prediction = rng.integers(0, num_classes, shape, dtype=np.uint8)
    label = rng.integers(0, num_classes, shape, dtype=np.uint8)
    label[rng.random(shape) < ignored] = 255
    return prediction, label


def counted_one_by_one(prediction, label, num_classes, ignore=255):
    matrix = np.zeros((num_classes, num_classes), np.int64)
    for predicted, labelled in zip(
        prediction.ravel().tolist(), label.ravel().tolist(), strict=True
    ):
        if labelled != ignore and labelled < num_classes:
            matrix[labelled, predicted] += 1
    return matrix


def test_the_matrix_counts_every_pixel_once():
    prediction, label = pixels((3, 17, 13), 5)
    matrix = metrics.confusion_matrix(jnp.asarray(prediction), jnp.asarray(label), 5)
    assert matrix.dtype == jnp.int32
    np.testing.assert_array_equal(matrix, counted_one_by_one(prediction, label, 5))


def test_ignore_may_be_a_class_index_and_labels_outside_the_classes_are_left_out():
    prediction = jnp.asarray([[0, 1, 2, 2]], jnp.uint8)
    label = jnp.asarray([[0, 1, 2, 7]], jnp.uint8)
    matrix = metrics.confusion_matrix(prediction, label, 3, ignore=0)
    np.testing.assert_array_equal(matrix, [[0, 0, 0], [0, 1, 0], [0, 0, 1]])


def test_eight_devices_count_as_one_does_and_gather_no_pixels():
    mesh = sharding.make_mesh()
    assert mesh.size == 8
    prediction, label = pixels((8, 9, 11), 19)
    count = jax.jit(lambda *pair: metrics.confusion_matrix(*pair, 19))
    sharded = sharding.shard_batch(mesh, (prediction, label))
    np.testing.assert_array_equal(count(*sharded), counted_one_by_one(prediction, label, 19))
    program = count.lower(*sharded).compile().as_text()
    assert "all-reduce" in program
    assert "all-gather" not in program


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="differ in shape"):
        metrics.confusion_matrix(jnp.zeros((2, 3), int), jnp.zeros((3, 2), int), 2)


def test_scores_by_hand():
    # Labelled 4 + 6 pixels; IoU 3/(4+5-3), 4/(6+5-4); Acc 3/4, 4/6; aAcc 7/10.
    result = metrics.scores(np.array([[3, 1], [2, 4]]))
    np.testing.assert_allclose(result.IoU, [50.0, 400 / 7])
    np.testing.assert_allclose(result.Acc, [75.0, 400 / 6])
    assert result.aAcc == pytest.approx(70.0)
    assert result.mIoU == pytest.approx((50 + 400 / 7) / 2)
    assert result.mAcc == pytest.approx((75 + 400 / 6) / 2)
    np.testing.assert_array_equal(result.pixels, [4, 6])


def test_a_perfect_prediction_scores_100():
    result = metrics.scores(np.diag([5, 1, 2**40]))
    assert (result.aAcc, result.mAcc, result.mIoU) == (100.0, 100.0, 100.0)


def test_an_absent_class_is_dropped_and_a_class_only_predicted_has_iou_0_and_no_acc():
    matrix = np.zeros((4, 4), int)
    matrix[0] = [6, 0, 2, 0]
    matrix[1] = [0, 5, 0, 0]
    result = metrics.scores(matrix)
    np.testing.assert_allclose(result.IoU, [75.0, 100.0, 0.0, np.nan])
    np.testing.assert_allclose(result.Acc, [75.0, 100.0, np.nan, np.nan])
    assert result.mIoU == pytest.approx(175 / 3)
    assert result.mAcc == pytest.approx(87.5)


def test_figures_equal_mmsegmentation():
    golden = np.load(pathlib.Path(__file__).parents[1] / "goldens" / "evaluation.npz")
    matrix = metrics.confusion_matrix(golden["prediction"], golden["label"], 7)
    result = metrics.scores(np.asarray(matrix))
    np.testing.assert_allclose(result.IoU, golden["IoU"], rtol=1e-6)
    np.testing.assert_allclose(result.Acc, golden["Acc"], rtol=1e-6)
    assert np.isnan(result.IoU[5])
    assert result.IoU[6] == 0
    assert result.aAcc == pytest.approx(float(golden["aAcc"]), rel=1e-6)
    assert result.mIoU == pytest.approx(np.nanmean(golden["IoU"]), rel=1e-6)


def test_without_a_labelled_pixel_every_figure_is_nan():
    result = metrics.scores(np.zeros((3, 3), np.int64))
    assert np.isnan([result.aAcc, result.mAcc, result.mIoU]).all()
    assert metrics.as_dict(result, "abc")["mIoU"] is None


def test_counts_above_what_float32_can_hold_stay_exact():
    many = 2**24
    result = metrics.scores(np.array([[many, 1], [0, 1]]))
    assert result.Acc[0] == pytest.approx(100 * many / (many + 1), rel=1e-12)
    assert result.Acc[0] < 100.0


def test_scores_refuse_what_is_not_a_pixel_count():
    with pytest.raises(TypeError, match="integers"):
        metrics.scores(np.eye(3))
    with pytest.raises(ValueError, match="square"):
        metrics.scores(np.zeros((2, 3), int))


def test_the_table_names_every_class_and_marks_missing_figures():
    text = metrics.table(metrics.scores(np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]])), "abc")
    lines = text.splitlines()
    assert lines[2].split() == ["a", "50.00", "75.00", "40.00"]
    assert lines[4].split() == ["c", "-", "-", "0.00"]
    assert lines[-2] == "mIoU 53.57   mAcc 70.83   aAcc 70.00, over 2 of 3 classes"
    assert lines[-1] == "neither labelled nor predicted, so in no mean: c"
    every = metrics.scores(np.array([[3, 1], [2, 4]]))
    assert metrics.table(every, "ab").splitlines()[-1] == "mIoU 53.57   mAcc 70.83   aAcc 70.00"
    assert (every.counted, every.over()) == (2, "")
    assert len({len(line) for line in lines[:5]}) == 1


def test_the_dictionary_is_valid_json_with_unrounded_figures():
    result = metrics.scores(np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]]))
    values = json.loads(json.dumps(metrics.as_dict(result, ("a", "b", "c")), allow_nan=False))
    assert values["mIoU"] == result.mIoU
    assert (values["classes_counted"], values["classes_named"]) == (2, 3)
    assert values["classes"][1] == {"name": "b", "IoU": 400 / 7, "Acc": 400 / 6, "pixels": 6}
    assert values["classes"][2] == {"name": "c", "IoU": None, "Acc": None, "pixels": 0}
    with pytest.raises(ValueError, match="2 class names for 3 classes"):
        metrics.as_dict(result, ("a", "b"))


def test_the_csv_reads_back():
    matrix = np.array([[3, 2**40], [2, 4]])
    rows = list(csv.reader(io.StringIO(metrics.matrix_csv(matrix, ('road, "main"', "car")))))
    assert rows[0][1:] == ['road, "main"', "car"]
    np.testing.assert_array_equal([[int(x) for x in row[1:]] for row in rows[1:]], matrix)
