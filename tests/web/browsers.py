"""The browser that tests and screenshots look at the page with: one that is installed here."""

import contextlib
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


class NoBrowser(Exception):  # noqa: N818 - a state of the machine
    """There is none, and why."""


@contextlib.contextmanager
def open_browser() -> Iterator[Any]:
    """A headless Chromium, driven by Playwright; NoBrowser where there is none."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        raise NoBrowser("playwright is missing; `pip install playwright` brings it") from None
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path  # of `playwright install chromium`
        path = next(filter(None, map(shutil.which, NAMES)), own)
        if not pathlib.Path(path).exists():
            raise NoBrowser(f"none of {', '.join(NAMES)} is installed, nor Playwright's own")
        browser = playwright.chromium.launch(executable_path=path)
        try:
            yield browser
        finally:
            browser.close()
