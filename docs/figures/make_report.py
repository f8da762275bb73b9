"""docs/figures/report.png: a run's page in Chromium, its upper half beside its images and curves.

python docs/figures/make_report.py runs/demo/report.html docs/figures/report.png
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

WIDTH = 1200
# The layer of each image: its place on the slider.
LAYERS = (3, 4, 6, 3, 4, 6, 2, 3, 4)


def main(page: str, figure: str) -> None:
    with sync_playwright() as driver:
        path = shutil.which("chromium")
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": WIDTH, "height": 900})
        opened.goto(Path(page).resolve().as_uri())
        opened.locator("#together").uncheck()
        for number, layer in enumerate(LAYERS):
            opened.locator("[data-layers]").nth(number).locator("button").nth(layer).click()
        opened.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
        whole = Image.open(io.BytesIO(opened.screenshot(full_page=True))).convert("RGB")
        tops = [round(opened.locator(part).bounding_box()["y"]) for part in ("#images", "#weights")]
        browser.close()
    left = whole.crop((0, 0, WIDTH, tops[0]))
    right = whole.crop((0, tops[0], WIDTH, tops[1]))
    right = right.resize(
        (WIDTH * left.height // right.height, left.height), Image.Resampling.LANCZOS
    )
    both = Image.new("RGB", (left.width + right.width, left.height))
    both.paste(left, (0, 0))
    both.paste(right, (left.width, 0))
    both = both.resize((1500, 1500 * both.height // both.width), Image.Resampling.LANCZOS)
    both.quantize(256, kmeans=2, dither=Image.Dither.NONE).save(figure, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
