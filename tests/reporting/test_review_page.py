"""The page of a review in a browser: cards, filters, keys, the CSV that it saves."""

import re
import time

import numpy as np
import pytest
from review_regions import region

from arm_jax.data.labels import generic
from arm_jax.reporting import review_page
from arm_jax.review import files, findings
from arm_jax.review.findings import Findings, Item
from arm_jax.review.regions import Region

NAMES = ('a "quoted" <script>alert(1)</script>', "=1+1", "\u00e4\u4e2d\u2028 ' ,;", "plain/name")
CLASSES = generic(("road", "<b>grass</b>", "car"))


def drawn(rng: np.random.Generator, kind: str) -> Region:
    box = (int(rng.integers(0, 60)), int(rng.integers(0, 40)), 12, 8)
    given, score = int(rng.integers(0, 2)), float(rng.uniform(0.01, 0.5))
    return region(box=box, kind=kind, given=given, proposed=2, score=score)


def seen(index: int, name: str, rng: np.random.Generator, regions: int) -> findings.Seen:
    kinds = ["object", "part", "component", "edge", "unlabelled"]
    small = np.zeros((24, 32), np.uint8)
    matrix = np.array([[5, 4, 0], [1, 3, 0], [0, 0, 9]])
    return findings.Seen(
        index=index,
        name=name,
        size=(60, 90),
        found=[drawn(rng, kinds[n % 5]) for n in range(regions)],
        soft_minimum=0.1,
        labelled=0.9,
        agreement=float("nan") if index == 0 else 0.8,
        digest="",
        label=small + index % 2,
        prediction=small + 1 - index % 2,
        confusion=matrix,
    )


def page_of(path, images: int, regions: int):
    """Write a page, and return its items in order."""
    rng = np.random.default_rng(0)
    found = Findings(CLASSES)
    for index in range(images):
        found.add(seen(index, f"{NAMES[index % 4]}{index // 4 or ''}", rng, regions))
    items: list[Item] = [*found.whole_images(), *found.items()]
    image = rng.integers(0, 255, (60, 90, 3), np.uint8)
    label = np.zeros((60, 90), np.uint8)
    review_page.write(
        path,
        run="runs/<i>mine",
        step=1200,
        kind="out-of-fold scores",
        fitted=0,
        decided=0,
        cards=[
            (item, review_page.thumbnail(item, image, label, CLASSES, len(items))) for item in items
        ],
        found=found,
    )
    return items


def saved(page, tmp_path):
    with page.expect_download() as download:
        page.click("#save")
    path = tmp_path / "decisions.csv"
    download.value.save_as(path)
    return files.read_decisions(path)


def test_keys_accept_and_reject_and_the_csv_holds_the_decisions(open_page, tmp_path):
    items = page_of(tmp_path / "index.html", images=4, regions=5)
    page = open_page(tmp_path / "index.html")
    assert page.locator("#cards figure").count() == len(items)
    whole = [item for item in items if item.region.kind == "swapped"]
    assert len(whole) == 4 and page.locator("figure strong").first.text_content() == (
        f"has the label of {whole[0].other}"
    )
    for key in "arna":
        page.keyboard.press(key)
    decided = saved(page, tmp_path)
    assert [(one.image, one.accepted) for one in decided] == [
        (items[0].image, True),
        (items[1].image, False),
        (items[3].image, True),
    ]
    assert page.locator("#decided").text_content() == "3"
    assert page.locator("#accepted").text_content() == "2"
    page.keyboard.press("p")
    page.keyboard.press("u")
    assert [one.image for one in saved(page, tmp_path)] == [items[0].image, items[1].image]


def test_decisions_on_hostile_names_are_the_regions_unchanged(open_page, tmp_path):
    items = page_of(tmp_path / "index.html", images=4, regions=5)
    page = open_page(tmp_path / "index.html")
    page.select_option("#what", "object")
    shown = [item for item in items if item.region.kind == "object"]
    assert page.locator("#cards figure").count() == len(shown) == 4
    for _ in shown:
        page.keyboard.press("a")
    found = {one.key: one for one in saved(page, tmp_path)}
    assert sorted(one.image for one in found.values()) == sorted(NAMES)
    for item in shown:
        assert found[item.key].image == item.image
        assert found[item.key].proposed == "car"
        assert all(
            (a == b).all() for a, b in zip(found[item.key].rings, item.region.rings, strict=True)
        )


def test_a_group_is_decided_together_and_filters_leave_what_is_asked_for(open_page, tmp_path):
    items = page_of(tmp_path / "index.html", images=8, regions=5)
    page = open_page(tmp_path / "index.html")
    sizes = {n: sum(item.group == n for item in items) for n in {item.group for item in items}}
    page.check("#grouped")
    singles = sum(item.group < 0 for item in items)
    assert page.locator("#cards figure").count() == singles + len(sizes) - 1
    place = next(n for n, item in enumerate(items) if item.group >= 0 and sizes[item.group] > 1)
    card = page.locator(f'#cards figure[data-number="{place}"]')
    size = sizes[items[place].group]
    card.locator("button", has_text=f"reject all {size}").click()
    found = saved(page, tmp_path)
    assert len(found) == size and not any(one.accepted for one in found)
    page.check("#open")
    assert page.locator(f'#cards figure[data-number="{place}"]').count() == 0


def test_decisions_are_there_when_the_page_is_opened_again(open_page, tmp_path):
    page_of(tmp_path / "index.html", images=4, regions=5)
    page = open_page(tmp_path / "index.html")
    page.keyboard.press("a")
    page.reload()
    assert page.locator("#accepted").text_content() == "1"


def test_the_page_names_the_kind_of_score_and_what_is_no_mistake(tmp_path):
    page_of(tmp_path / "index.html", images=4, regions=5)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "Shown are out-of-fold scores." in text
    assert re.search(r"Coarse outlines.*Thin bands", text, re.S)
    assert "<script>alert" not in text and "runs/<i>" not in text


def test_a_page_without_a_region_opens_and_tells_so(open_page, tmp_path):
    page_of(tmp_path / "index.html", images=1, regions=0)
    page = open_page(tmp_path / "index.html")
    assert page.locator("#nothing").is_visible() and not page.locator("#save").is_visible()
    assert page.locator("#cards figure").count() == 0


@pytest.mark.slow
def test_two_thousand_regions_stay_usable(open_page, tmp_path):
    items = page_of(tmp_path / "index.html", images=500, regions=7)
    assert (tmp_path / "index.html").stat().st_size < 25_000_000
    page = open_page(tmp_path / "index.html")
    assert page.locator("#cards figure").count() < 200  # only those near the window
    start = time.perf_counter()
    for _ in range(100):
        page.keyboard.press("a")
    assert page.locator("#accepted").text_content() == "100"
    assert time.perf_counter() - start < 30
    assert len(items) > 2000
