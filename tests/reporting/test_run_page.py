"""The page of a run in a browser: whatever the run has, it opens, fits a phone and stays small."""

import dataclasses
import json

import numpy as np
import pytest

from arm_jax import theorem
from arm_jax.data.labels import generic
from arm_jax.evaluation import metrics
from arm_jax.evaluation.by_image import ByImage
from arm_jax.evaluation.calibration import BINS, NARROW, Calibration
from arm_jax.reporting import layers, run_charts, run_page, scores
from arm_jax.reporting.samples import Sample
from arm_jax.theorem import Histogram
from arm_jax.training.records import EvaluationLine, StepLine

HOSTILE = "a\"b'<script>alert(1)</script> &amp; 中 name"
CLASSES = generic(("road", HOSTILE, "sky"))


def evaluated(number=3, boundary=True) -> scores.Evaluated:
    rng = np.random.default_rng(0)
    matrix = rng.integers(0, 50, (number, number)) + 300 * np.eye(number, dtype=np.int64)
    found = metrics.scores(matrix)
    names = CLASSES.names if number == 3 else [f"class {i}" for i in range(number)]
    counts = np.zeros((2, BINS * NARROW), np.int64)
    counts[:, 650], counts[:, 1450] = (4, 6), (1, 29)
    values = {"step": 300, "images": 20, "calibration": Calibration(counts).as_dict()}
    if boundary:
        values["boundary"] = {"width": 3, **metrics.as_dict(found, names)}
    by_image = ByImage(tuple("abc"), np.array([10.0, 55.0, np.nan]), np.array([20.0, 60.0, np.nan]))
    return scores.Evaluated(values, found, matrix, by_image)


def histogram(bins=64) -> Histogram:
    v = np.asarray(theorem.bin_centers(bins))
    pixels = np.exp(2 * v) * 1000
    loss = 2 - 1.5 * v
    return Histogram(pixels, pixels * loss, pixels * loss / loss.mean())


def records(lines=10):
    steps = [StepLine(i, 2 / i, 2.2 / i, 1.0, 0.7, 0, 0.02, 0.9, 1.2) for i in range(1, lines + 1)]
    return [*steps, EvaluationLine(5, 20.0, 30.0, 70.0), EvaluationLine(10, 25.0, 35.0, 75.0)]


def subject(**others) -> run_page.Subject:
    plain = run_page.Subject(
        name=HOSTILE,
        step=300,
        steps=300,
        classes=CLASSES,
        facts=[("train on", f"20 images of {HOSTILE}")],
        settings=[("data.root", repr(HOSTILE), "''", "Folder.")],
        versions=[("command", HOSTILE)],
        notes=[],
        records=records(),
        evaluated=evaluated(),
        histogram=histogram(),
        p=2.0,
    )
    return dataclasses.replace(plain, **others)


def sample(name=HOSTILE, height=40, width=64, **without) -> Sample:
    rng = np.random.default_rng(1)
    label = np.zeros((height, width), np.uint8)
    label[10:20] = 1
    label[:4] = 255
    prediction = label.copy()
    prediction[10:12] = 0  # wrong near the boundary
    prediction[30:34] = 2  # wrong inside
    near = np.zeros((height, width), bool)
    near[8:12] = True
    whole = Sample(
        image=rng.integers(0, 255, (height, width, 3), np.uint8),
        label=label,
        coarse=np.where(rng.random((height, width)) < 0.5, label, 255).astype(np.uint8),
        prediction=prediction,
        weight=np.where(label < 255, rng.random((height, width)) * 2, np.nan),
        confidence=rng.random((height, width)) * 2 - 1,
        near=near,
        name=name,
    )
    return dataclasses.replace(whole, **without)


def groups():
    shown = [layers.Shown(sample(), "mIoU 55.0 %"), layers.Shown(sample("b"), "mIoU 10.0 %")]
    return [("Best images", shown[:1]), ("Worst images", shown[1:])]


def written(tmp_path, groups, **others):
    return run_page.write(tmp_path / "a page's.html", subject(**others), groups, 3)


def test_the_numbers_come_first_and_are_those_of_the_evaluation(tmp_path, open_page):
    page = open_page(written(tmp_path, groups()))
    found = evaluated().scores
    assert page.locator(".numbers dd").first.text_content() == f"{found.mIoU:.2f} %"
    assert page.locator("h1").text_content() == page.title() == HOSTILE
    cells = page.locator("#per-class tbody tr").nth(1).locator("th, td").all_text_contents()
    share = 100 * found.pixels[1] / found.pixels.sum()
    figures = [found.IoU[1], found.Acc[1], found.IoU[1], share]
    assert cells == [HOSTILE, *(f"{x:.2f}" for x in figures)]
    row = evaluated().matrix[1]
    shown = page.locator(".confusion tbody tr").nth(1).locator("td").all_text_contents()
    assert shown == [str(round(100 * x / row.sum())) for x in row]


def test_the_slider_shows_every_layer_and_each_says_what_it_is(tmp_path, open_page):
    page = open_page(written(tmp_path, groups()))
    names = page.locator("[data-layers]").first.locator("button").all_text_contents()
    assert names == ["image", "coarse", "label", "prediction", "errors", "confidence", "weight"]
    slider = page.locator("[data-layers] input").first
    slider.focus()
    seen = []
    for _ in names[1:]:
        page.keyboard.press("ArrowRight")
        seen.append(page.locator("[data-layers]").nth(1).locator("img:visible").last)
        assert seen[-1].get_attribute("alt").startswith("b: ")
    assert slider.input_value() == str(len(names) - 1)
    page.locator("#together").uncheck()
    slider.focus()
    page.keyboard.press("Home")
    values = [one.input_value() for one in page.locator("[data-layers] input").all()]
    assert values == ["0", str(len(names) - 1)]


def test_errors_at_boundaries_have_another_colour_and_right_pixels_none():
    image = layers.Drawing(CLASSES, [sample()], 3)._errors(sample())
    assert (image[10:12, :, :3] == layers.AT_BOUNDARY).all()
    assert (image[30:34, :, :3] == layers.INSIDE).all()
    assert (image[..., 3] > 0).sum() == 6 * 64


def test_values_of_a_chart_under_the_pointer_and_by_keyboard(tmp_path, open_page):
    page = open_page(written(tmp_path, groups()))
    chart = page.locator("#training .chart").first
    box = chart.locator("svg[data-chart]").bounding_box()
    middle = {"x": box["width"] * 389 / 400, "y": box["height"] / 2}
    chart.locator("svg[data-chart]").hover(position=middle)
    assert chart.locator("output").text_content() == (
        "step 10 · weighted 0.2 · plain mean 0.22 · auxiliary head 1"
    )
    chart.locator("svg[data-chart]").focus()
    page.keyboard.press("ArrowLeft")
    assert chart.locator("output").text_content().startswith("step 9 · weighted 0.2222")


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_needs_no_sideways_scrolling(tmp_path, open_page, dark):
    page = open_page(written(tmp_path, groups()), width=390, height=844, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper != "rgb(255, 255, 255)") == dark


BARE = {
    "evaluated": None,
    "p": None,
    "records": [],
    "histogram": Histogram(*3 * (np.zeros(8),)),
    "settings": [],
}


@pytest.mark.parametrize("without", [*([key] for key in BARE), list(BARE)])
def test_what_a_run_does_not_have_is_left_out(tmp_path, open_page, without):
    shown = [] if len(without) > 1 else groups()
    page = open_page(written(tmp_path, shown, **{key: BARE[key] for key in without}))
    for key, part in (
        ("evaluated", "#classes"),
        ("records", "#training"),
        ("settings", "#settings"),
    ):
        assert page.locator(part).count() == (key not in without)
    assert page.locator("#weights").count() == ("histogram" not in without)
    assert page.get_by_text("learned", exact=True).count() == (
        "p" not in without and "histogram" not in without
    )


def test_an_image_shows_the_layers_that_there_are(tmp_path, open_page):
    bare = layers.Shown(sample(weight=None, confidence=None, coarse=None, near=None))
    page = open_page(written(tmp_path, [("Images", [bare])]))
    assert page.locator("[data-layers] button").all_text_contents() == [
        "image",
        "label",
        "prediction",
        "errors",
    ]
    assert page.get_by_text("relative weight", exact=True).count() == 0


def test_two_hundred_classes_and_ten_thousand_lines_stay_small(tmp_path, open_page):
    many = generic(tuple(f"class {i}" for i in range(200)))
    path = written(
        tmp_path,
        [],
        classes=many,
        evaluated=evaluated(200),
        records=records(10_000),
    )
    assert path.stat().st_size < 400_000
    page = open_page(path)
    assert page.locator("#per-class tbody tr").count() == 200
    assert page.locator(".confusion").count() == 0 and page.locator(".matrix img").count() == 1
    data = json.loads(page.locator("#training svg[data-chart]").first.get_attribute("data-chart"))
    assert len(data["series"][0]["x"]) == 300


def test_the_reliability_diagram_is_that_of_eval_json(tmp_path, open_page):
    """Two bins: 10 pixels claim 43 % and 60 % are right, 30 claim 97 % and 97 % are right."""
    page = open_page(written(tmp_path, []))
    found = evaluated().values["calibration"]
    assert found["ECE"] == pytest.approx((10 * 16.633 + 30 * 0.033) / 40, abs=0.01)
    numbers = page.locator(".numbers").text_content()
    assert "calibration error" in numbers and f"{found['ECE']:.2f} %" in numbers
    chart, pixels = page.locator("#calibration svg[data-chart]").all()
    bars, points, honest = json.loads(chart.get_attribute("data-chart"))["series"]
    assert bars["x"] == pytest.approx([43.33, 96.67]) and bars["y"] == pytest.approx([60, 96.67])
    assert points["x"] == pytest.approx([one["claim"] for one in found["bins"]], rel=1e-3)
    assert points["y"] == bars["y"] and honest["x"] == honest["y"] == [0, 100]
    assert json.loads(pixels.get_attribute("data-chart"))["series"][0]["y"] == [25, 75]
    assert run_charts.calibration({"ECE": None, "bins": []}) == []


def test_a_damaged_record_is_not_drawn():
    bad = [EvaluationLine(5, "x", None, [1]), StepLine(*9 * (float("nan"),))]
    assert run_charts.training(bad) == []


def test_the_page_and_the_figure_scale_w_alike():
    """W(v) is the closed form here, so both lines of the chart are the same."""
    learned, closed = run_charts.weight_and_loss(histogram(), 2.0)[0].series
    np.testing.assert_allclose(learned.y, closed.y, rtol=1e-5)
