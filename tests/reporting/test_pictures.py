"""Colours stand for the right classes, files are whole, and sheets show what they are given."""

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from evaluation_standins import image, label
from PIL import Image

from arm_jax import theorem
from arm_jax.data import colors
from arm_jax.data.labels import generic
from arm_jax.reporting import curves, maps, pictures
from arm_jax.system.errors import InputError
from arm_jax.theorem import Histogram
from arm_jax.training.records import EvaluationLine, StepLine

CLASSES = generic(("road", "car", "tree", "sky", "pole"))


def texts(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def test_labels_take_their_classes_colours_and_what_is_no_class_is_black():
    found = colors.colorize(np.array([[0, 4, 255]], np.uint8), CLASSES)
    np.testing.assert_array_equal(found[0], [CLASSES.colors[0], CLASSES.colors[4], (0, 0, 0)])


def test_an_overlay_leaves_unlabelled_pixels_alone():
    picture = image(12, 12)
    labels = np.full((12, 12), 255, np.uint8)
    labels[:6] = 2
    found = colors.overlay(picture, labels, CLASSES, opacity=0.25)
    np.testing.assert_array_equal(found[6:], picture[6:])
    expected = 0.25 * np.array(CLASSES.colors[2]) + 0.75 * picture[:6]
    np.testing.assert_allclose(found[:6], expected, atol=0.51)


def test_heat_runs_from_low_to_high_and_greys_out_nothing():
    found = maps.heat(np.array([[-5.0, 0.0, 1.0, 9.0, np.nan]]), 0.0, 1.0, "gray")
    np.testing.assert_array_equal(found[0, :, 0], [0, 0, 255, 255, 150])


def test_a_written_label_reads_back_as_indices(tmp_path):
    labels = label(20, 30, 5)
    colors.write_label(tmp_path / "new" / "a.png", labels, CLASSES)
    np.testing.assert_array_equal(Image.open(tmp_path / "new" / "a.png"), labels)
    assert [p.name for p in (tmp_path / "new").glob("[!.]*")] == ["a.png"]


def test_a_picture_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/a\.png cannot be written"):
        colors.write_image(tmp_path / "file" / "a.png", image(4, 4))


def sample(seed, **others):
    labels = label(24, 40, 3, seed=seed)
    return pictures.Sample(image(24, 40, seed), label=labels, name=f"scene_{seed}", **others)


def test_the_contact_sheet_shows_the_columns_that_all_rows_have_and_the_classes_that_occur():
    weight = np.full((24, 40), 1.5)
    weight[:4] = np.nan
    samples = [
        sample(0, prediction=label(24, 40, 3, seed=0), weight=weight),
        sample(
            1, prediction=np.full((24, 40), 3, np.uint8), weight=weight, coarse=label(24, 40, 3)
        ),
    ]
    figure = pictures.contact_sheet(samples, CLASSES, title="ARM")
    found = texts(figure)
    for shown in ("image", "fine label", "prediction", "relative weight", "ARM", "scene_0", "sky"):
        assert shown in found
    assert "coarse label" not in found
    assert "pole" not in found
    right = [text for text in found if text.endswith("% of pixels right")]
    assert right[1] == "0.0 % of pixels right"
    assert 30 < float(right[0].split()[0]) <= 100


def test_nothing_overlaps_on_the_contact_sheet():
    maps = {"coarse": label(24, 40, 5), "prediction": label(24, 40, 5), "weight": np.ones((24, 40))}
    samples = [sample(seed, confidence=np.zeros((24, 40)), **maps) for seed in range(3)]
    figure = pictures.contact_sheet(samples, CLASSES, title="title")
    figure.draw_without_rendering()
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    boxes += [figure.legends[0].get_tightbbox(), figure._suptitle.get_tightbbox()]
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            wide = min(one.x1, other.x1) - max(one.x0, other.x0)
            high = min(one.y1, other.y1) - max(one.y0, other.y0)
            assert wide < 1 or high < 1
        assert one.x0 >= 0
        assert one.y0 >= 0
        assert one.y1 <= figure.bbox.y1 + 1


def test_the_confusion_picture_has_a_row_for_each_class_in_percent():
    matrix = np.array([[3, 1, 0], [0, 0, 0], [1, 1, 2]])
    figure = pictures.confusion(matrix, generic(("road", "car", "sky")))
    shown = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shown[0], [75, 25, 0])
    np.testing.assert_allclose(shown[2], [25, 25, 50])
    assert np.isnan(np.ma.getdata(shown)[1]).all() or np.ma.getmaskarray(shown)[1].all()
    assert {"road", "car", "sky", "75", "50"} <= set(texts(figure))


def histogram(weight):
    v = np.asarray(theorem.bin_centers(16))
    pixels = np.where(v > -0.5, 1000.0, 0.0)
    loss = 0.1 + 0.5 * (1 - v)
    values = (pixels, pixels * loss, pixels * weight(loss))
    return Histogram(*(jnp.asarray(x) for x in values))


def lines(axes):
    return {line.get_label(): np.asarray(line.get_ydata()) for line in axes.lines}


def test_learned_weights_lie_on_the_closed_form_exactly_when_they_are_optimal():
    figure = curves.weight_and_loss(histogram(lambda loss: 7 * loss), p=2.0)
    upper, middle, _ = figure.axes
    drawn = lines(upper)
    learned = drawn["W(v), learned"]
    best = next(y for name, y in drawn.items() if "closed form" in name)
    np.testing.assert_allclose(learned, best, rtol=1e-5)
    assert "ratio 1.000" in " ".join(texts(figure))
    assert np.isnan(learned[:3]).all()
    v = np.asarray(theorem.bin_centers(16))
    np.testing.assert_allclose(
        middle.lines[0].get_ydata()[v > -0.5], (0.1 + 0.5 * (1 - v))[v > -0.5], rtol=1e-5
    )
    drawn = lines(curves.weight_and_loss(histogram(np.ones_like), p=2.0).axes[0])
    np.testing.assert_allclose(drawn["W(v), learned"][v > -0.5], 1.0, rtol=1e-5)


def test_training_curves_draw_each_logged_value_and_no_empty_panel():
    steps = [StepLine(s, 1.0 / s, 1.0, 1.0, 1.0, 0, 0.02) for s in (1, 2, 4)]
    figure = curves.training([*steps, EvaluationLine(4, 31.0, 40.0, 50.0)])
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "training loss",
        "evaluation on fine labels, %",
        "learning rate",
    ]
    line, *_ = figure.axes[0].lines
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 4])
    np.testing.assert_array_equal(line.get_ydata(), [1.0, 0.5, 0.25])
    with pytest.raises(ValueError, match="nothing to draw"):
        curves.training([])


def test_figures_are_written_as_png(tmp_path):
    pictures.save(curves.training([EvaluationLine(4, 31.0, 40.0, 50.0)]), tmp_path / "training.png")
    with Image.open(tmp_path / "training.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 500
