"""Pages in a real browser: an installed Chromium, without a window and without a network."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A browser of playwright; the test is skipped where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no Chromium is installed; .ci/browser installs one")
    with sync_api.sync_playwright() as driver:
        # Without a sandbox, which root and most containers are refused.
        opened = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """`open_page(path, width=1200, height=900, dark=False)` gives playwright's page of a file.

    When the test ends, it fails for every page that wrote an error or a warning into the console,
    raised in a script, or asked for anything but its own file.
    """
    contexts, wrong = [], []

    def opened(path: Path, *, width: int = 1200, height: int = 900, dark: bool = False) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            accept_downloads=True,
        )
        contexts.append(context)
        page = context.new_page()
        own = Path(path).resolve().as_uri()

        def asked(request: Any) -> None:
            if request.url.partition("#")[0] != own and not request.url.startswith(
                ("data:", "blob:")
            ):
                wrong.append(f"request: {request.url}")

        page.on("request", asked)
        page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
        page.on(
            "console",
            lambda line: line.type in ("error", "warning") and wrong.append(line.text),
        )
        page.goto(own)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not wrong, "\n".join(wrong)
