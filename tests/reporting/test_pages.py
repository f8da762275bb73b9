"""What every page has: escaping, tables, images within a size, and its script in a browser."""

import base64
import io
import json
from pathlib import Path

import jinja2
import numpy as np
import pytest
from PIL import Image

from arm_jax.reporting import pages
from arm_jax.reporting.pages import images, rendering, tables

HOSTILE = "a\"b'<script>alert(1)</script> & \u00e4\u4e2d \u2028 ]]> </style>"
PAGE = """
{% extends "base.html" %}
{% import "parts.html" as parts %}
{% block content %}
<h1>{{ title }}</h1>
{{ parts.table(scores, "scores") }}
<div class="cards">
{% for name in names %}<figure>{{ parts.layers(layers, name) }}</figure>{% endfor %}
</div>
{% endblock %}
{% block data %}{{ parts.data("values", values, as_data) }}{% endblock %}
"""


@pytest.fixture
def template(monkeypatch) -> str:
    """The name of a page that has one of each part."""
    here = jinja2.DictLoader({"page.html": PAGE})
    loader = jinja2.ChoiceLoader([here, rendering.environment().loader])
    with_it = rendering.environment().overlay(loader=loader)
    monkeypatch.setattr(rendering, "environment", lambda: with_it)
    return "page.html"


def values(names=("one", "two")) -> dict:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (60, 90, 3), np.uint8)
    label = np.zeros((60, 90, 3), np.uint8)
    label[20:40] = 128, 64, 32
    return {
        "title": HOSTILE,
        "names": names,
        "scores": pages.Table(
            [pages.Column("class"), pages.Column("IoU", digits=2, bar=100)],
            [[HOSTILE, 3.0], ["b", None], [pages.Cell("c", color=(1, 2, 3)), 25.125]],
        ),
        "layers": [
            pages.Layer("image", pages.photo(image, HOSTILE)),
            pages.Layer("label", pages.drawing(label, "l")),
        ],
        "values": {"name": HOSTILE},
    }


def test_what_is_missing_is_an_error_and_not_an_empty_place(template):
    with pytest.raises(jinja2.UndefinedError, match="names"):
        pages.render(template, **{k: v for k, v in values().items() if k != "names"})


def test_names_are_text_wherever_they_stand(template, open_page, tmp_path):
    path = pages.write(tmp_path / "a page.html", template, **values())
    page = open_page(path)
    assert page.title() == HOSTILE
    assert page.locator("#scores tbody th").first.text_content() == HOSTILE
    assert page.locator("img").first.get_attribute("alt") == HOSTILE
    assert page.evaluate("pageData('values').name") == HOSTILE
    assert page.locator("script").count() == 2  # its data and page.js


def test_the_policy_stops_a_script_that_came_in_by_another_way(browser, tmp_path):
    text = pages.render("base.html", title="t")
    bad = text.replace("<main>", "<main><script>document.title = 'changed'</script>")
    (tmp_path / "page.html").write_text(bad)
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    assert page.title() == "t"
    page.close()


def test_one_slider_moves_every_image_by_mouse_and_by_keyboard(template, open_page, tmp_path):
    page = open_page(pages.write(tmp_path / "p.html", template, **values()))
    shown = page.locator(".stack img:visible")
    assert [img.get_attribute("alt") for img in shown.all()] == [HOSTILE, HOSTILE]
    page.locator("input").first.focus()
    page.keyboard.press("ArrowRight")
    assert [img.get_attribute("alt") for img in shown.all()] == ["l", "l"]
    box = page.locator("input").nth(1).bounding_box()
    page.mouse.click(box["x"] + 3, box["y"] + box["height"] / 2)
    assert [img.get_attribute("alt") for img in shown.all()] == [HOSTILE, HOSTILE]
    page.get_by_role("button", name="label").first.click()
    assert [img.get_attribute("alt") for img in shown.all()] == ["l", "l"]


def test_a_heading_sorts_numbers_by_size_and_what_is_missing_last(template, open_page, tmp_path):
    page = open_page(pages.write(tmp_path / "p.html", template, **values()))

    def column() -> list[str]:
        return page.locator("#scores tbody td").all_text_contents()

    assert column() == ["3.00", tables.NOTHING, "25.12"]
    heading = page.get_by_role("button", name="IoU")
    heading.click()
    assert column() == ["25.12", "3.00", tables.NOTHING]
    heading.click()
    assert column() == ["3.00", "25.12", tables.NOTHING]


def test_numbers_have_thousands_a_true_minus_and_no_minus_zero():
    assert tables.figure(1234.5, 1) == "1,234.5"
    assert tables.figure(-0.25) == "\u22120.25"
    assert tables.figure(-0.001) == "0.00"
    assert tables.figure(float("nan")) == tables.figure(None) == tables.NOTHING


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError):
        pages.Table([pages.Column("a")], []).shown([1, 2])


@pytest.mark.parametrize("embed", [pages.photo, pages.drawing])
def test_an_embedded_image_stays_within_its_size_whatever_it_shows(embed):
    noise = np.random.default_rng(0).integers(0, 255, (400, 700, 3), np.uint8)
    picture = embed(noise, most_pixels=300, most_bytes=20_000)
    assert len(picture.uri) <= 20_000 * 4 / 3 + 64
    assert max(picture.width, picture.height) <= 300
    assert picture.width / picture.height == pytest.approx(700 / 400, rel=0.03)


def test_labels_keep_their_colours_when_they_are_made_smaller():
    label = np.random.default_rng(0).choice(np.array([0, 90, 200], np.uint8), (300, 300, 1))
    picture = images.drawing(label.repeat(3, 2), most_pixels=100)
    data = base64.b64decode(picture.uri.partition(",")[2])
    assert set(np.unique(np.asarray(Image.open(io.BytesIO(data))))) == {0, 90, 200}


def test_data_cannot_end_its_element():
    text = rendering.as_data(HOSTILE)
    assert "<" not in text and ">" not in text and json.loads(text) == HOSTILE


def test_the_files_of_the_pages_are_in_the_wheel():
    setup = (Path(__file__).parents[2] / "setup.py").read_text()
    endings = {path.suffix for path in rendering.FOLDER.iterdir() if path.is_file()} - {".py"}
    assert endings and all(f'"*{ending}"' in setup for ending in endings)
