"""Several rows on one page: what is compared with what, and which images are shown."""

import numpy as np
import pytest

from arm_jax.data.labels import generic
from arm_jax.reporting import compare_page, layers
from arm_jax.reporting.compare_page import Run
from arm_jax.reporting.samples import Sample
from arm_jax.training.records import EvaluationLine

HOSTILE = "a\"b'<script>alert(1)</script> 中"


def run(seed, miou, by_image=None, page=""):
    records = [EvaluationLine(step, miou * step / 10, 1.0, 2.0) for step in (5, 10)]
    images = None if by_image is None else np.array(by_image)
    return Run(seed, {"mIoU": miou, "mAcc": 50.0, "aAcc": 60.0}, "", images, records, page)


ROWS = {
    "base": [run(0, 40.0, [10.0, 20.0, 30.0, np.nan]), run(1, 42.0, [10.0, 20.0, 30.0, np.nan])],
    HOSTILE: [
        run(0, 45.0, [30.0, 20.0, 20.0, np.nan], "arm/report.html"),
        run(2, 60.0),
        Run(1, {}, "step 3: not finite", None, [], ""),
    ],
}


def test_differences_are_between_runs_of_one_seed():
    assert compare_page.paired(ROWS, HOSTILE) == [5.0]
    assert compare_page.paired(ROWS, "base") == []
    assert compare_page.images_better(ROWS, HOSTILE) == 50.0  # one better, one worse, one the same
    table = compare_page.table(ROWS, {"base": 2, HOSTILE: 3})
    line = table.rows[1]
    assert (line[1].text, line[2].value, line[3].text, line[4].text) == (
        "2 of 3",
        52.5,
        "+5.00",
        "1 of 1",
    )


def test_images_are_those_of_the_largest_gain_the_median_and_the_largest_loss():
    chosen = compare_page.chosen(ROWS)
    assert [index for _, index in chosen] == [0, 1, 2]
    assert chosen[0][0] == f"Largest gain of {HOSTILE} over base: +20.0 %"
    assert chosen[2][0] == f"Largest loss of {HOSTILE} against base: \u221210.0 %"
    alone = {"base": ROWS["base"]}
    assert [index for _, index in compare_page.chosen(alone)] == [2, 1, 0]
    assert compare_page.chosen({"base": [run(0, 1.0)]}) == []


@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_shows_the_same_image_of_every_row_under_one_slider(tmp_path, open_page, width):
    flat = np.zeros((20, 30), np.uint8)
    shown = [
        layers.Shown(Sample(np.zeros((20, 30, 3), np.uint8), flat, prediction=flat, name="i"), row)
        for row in ROWS
    ]
    path = compare_page.write(
        tmp_path / "compare.html",
        ROWS,
        {"base": 2, HOSTILE: 3},
        images=[("Largest gain", shown)],
        classes=generic(("road", "sky")),
        width=5,
        notes=[f"No images of {HOSTILE}."],
        made=[("command", HOSTILE)],
    )
    page = open_page(path, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("#rows tbody th").nth(1).text_content() == HOSTILE
    assert page.locator("#runs a").get_attribute("href") == "arm/report.html"
    sliders = page.locator("[data-layers] input")
    assert [one.input_value() for one in sliders.all()] == ["2", "2"]  # the prediction
    sliders.first.focus()
    page.keyboard.press("ArrowLeft")
    assert [one.input_value() for one in sliders.all()] == ["1", "1"]
    assert page.locator(".intervals .mean").count() == 2
