"""Pictures of the page for the manual: python -m tests.web.screenshots [FOLDER], results/page.

Draws with the bundled model, in a Chromium that is installed here.
"""

import io
import pathlib
import re
import sys

import numpy as np
from PIL import Image
from playwright.sync_api import expect

from lpd_jax.commands.page import classifiers_of
from lpd_jax.pipeline import Pipeline
from lpd_jax.web.studio import Studio
from tests.web.browsers import open_browser
from tests.web.fakes import serving

LINK = "#label=micah&seed=1"
PATIENCE = 600_000  # milliseconds
COLOURS = 256  # of a file: flat colours need no more


def wait_for(page, start):
    expect(page.locator("#status")).to_have_text(re.compile(f"^{start}"), timeout=PATIENCE)


def shoot(page, path: pathlib.Path, whole: bool = False) -> None:
    """Writes what is seen, or all of the page."""
    size = page.viewport_size
    if whole:  # as if the screen were as high as the page
        height = page.evaluate("document.documentElement.scrollHeight")
        page.set_viewport_size({"width": size["width"], "height": height})
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    with Image.open(io.BytesIO(page.screenshot(scale="device"))) as image:
        few = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        few.save(path, optimize=True)
    page.set_viewport_size(size)


def paint_a_mask(page, *cells: tuple[int, int]) -> None:
    """A stroke over cells (row, column) of the canvas, by mouse."""
    page.locator("#paint").click()
    page.locator("#stage").scroll_into_view_if_needed()
    box = page.locator("#stage").bounding_box()
    places = np.array(cells) + 0.5
    for i, (row, column) in enumerate(places):
        page.mouse.move(box["x"] + box["width"] * column / 16, box["y"] + box["height"] * row / 16)
        if i == 0:
            page.mouse.down()
    page.mouse.up()


def main(folder: str = "results/page") -> None:
    out, pipes = pathlib.Path(folder), {"avatars12": Pipeline.from_pretrained()}
    out.mkdir(parents=True, exist_ok=True)
    with (
        open_browser() as browser,
        serving(Studio(pipes, classifiers=classifiers_of(pipes)), time_limit=600.0) as port,
    ):
        address = f"http://127.0.0.1:{port}/"

        def open_page(width: int, height: int, scheme: str, **options):
            size = {"width": width, "height": height}
            context = browser.new_context(viewport=size, color_scheme=scheme, **options)
            page = context.new_page()
            page.goto(address + LINK)
            wait_for(page, "Drawn")
            page.locator("#scrub").fill("13")
            return page

        page = open_page(1280, 1040, "light")
        shoot(page, out / "draw.png")
        page.locator("#compare").click()
        wait_for(page, "Compared")
        page.wait_for_timeout(6000)  # both have come about
        shoot(page, out / "whole.png", whole=True)
        page.context.close()

        page = open_page(1280, 1040, "dark")
        paint_a_mask(page, (8, 7), (8, 11), (10, 11), (10, 7))
        shoot(page, out / "paint_dark.png")
        page.context.close()

        page = open_page(390, 844, "light", device_scale_factor=1.5, has_touch=True)
        shoot(page, out / "phone.png")
        page.context.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
