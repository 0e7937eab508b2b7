"""The page as somebody sees it, in a headless Chromium: drawn, painted on, compared, and shared."""

import base64
import contextlib
import dataclasses
import re

import numpy as np
import pytest

import lpd_jax
from lpd_jax.models.settings import Generation
from lpd_jax.web.studio import Classifier, Studio
from lpd_jax.weights.directory_config import DirectoryConfig
from tests import tiny
from tests.web.browsers import NoBrowser, open_browser
from tests.web.fakes import CONFIG, FakePipeline, bomb, in_base64, picture_of, pixels, serving

CELL = 2  # pixels of the tiny model, whose pictures have 4x4 cells
PATIENCE = 120_000  # milliseconds that a picture may take, where many share the cores


@pytest.fixture(scope="module")
def browser():
    with contextlib.ExitStack() as stack:
        try:
            browser = stack.enter_context(open_browser())
        except NoBrowser as reason:
            pytest.skip(f"no browser: {reason}")
        yield browser


@pytest.fixture(scope="module")
def address(browser):
    """Of a page whose model draws at once: what is drawn is tested without a browser."""
    shares = np.array([0.125, 0.75, 0.125], np.float32)
    classifiers = {"tiny": Classifier("of the test", lambda image_HWC: shares)}
    with serving(Studio({"tiny": FakePipeline()}, classifiers=classifiers)) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture
def open_page(browser):
    """Opens addresses, each for somebody else; what the browser complains of fails the test."""
    problems = []
    with contextlib.ExitStack() as stack:

        def open_one(address, **options):
            context = browser.new_context(**{"viewport": {"width": 1280, "height": 1000}} | options)
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(PATIENCE)
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on("console", lambda said: problems.append(said.text))
            page.goto(address)
            return page

        yield open_one
    # The browser notes requests that were refused, and that the test looks at pixels.
    noted = ("Failed to load resource", "Canvas2D: Multiple readback")
    assert [text for text in problems if not text.startswith(noted)] == []


def wait_for(page, pattern):
    from playwright.sync_api import expect

    expect(page.get_by_role("status")).to_have_text(re.compile(pattern), timeout=PATIENCE)


def saved(page) -> np.ndarray:
    """The picture on the canvas, saved as a PNG."""
    with page.expect_download() as download:
        page.get_by_text("Save PNG", exact=True).click()
    return pixels(download.value.path().read_bytes())


def place_of(page, row, column):
    """Where on the screen a cell of a picture of 4x4 is."""
    page.locator("#stage").scroll_into_view_if_needed()
    box = page.locator("#stage").bounding_box()
    width, height = box["width"] / 4, box["height"] / 4
    return box["x"] + (column + 0.5) * width, box["y"] + (row + 0.5) * height


def stroke(page, *cells):
    page.mouse.move(*place_of(page, *cells[0]))
    page.mouse.down()
    for cell in cells[1:]:
        page.mouse.move(*place_of(page, *cell))
    page.mouse.up()


def masked_cells(page) -> np.ndarray:
    cells, width = page.evaluate("[Array.from(mask.cells), mask.width]")
    return np.array(cells, bool).reshape(-1, width)


def in_pixels(mask_hw) -> np.ndarray:
    return mask_hw.repeat(CELL, 0).repeat(CELL, 1)


def test_a_picture_is_drawn_played_and_scrubbed(address, open_page):
    page = open_page(f"{address}#label=owl&seed=5&num_steps=3&order=halton")
    wait_for(page, "^Drawn")
    owl = tiny.CLASS_NAMES.index("owl")
    np.testing.assert_array_equal(saved(page), picture_of(5, owl))
    assert page.locator("#label").input_value() == str(owl)
    assert page.locator("#stage").get_attribute("aria-label").startswith("Picture: owl, 3 steps")

    page.get_by_label("Step", exact=True).fill("0")
    assert page.locator("#step-label").text_content() == "step 1 of 3"
    groups = FakePipeline().request([owl], num_steps=3).schedule.group_sizes
    assert drawn_cells(page) == groups[0]
    page.locator("h1").click()
    page.keyboard.press("ArrowRight")
    assert drawn_cells(page) == groups[0] + groups[1]
    page.keyboard.press(" ")
    page.get_by_text("step 3 of 3").wait_for()
    assert drawn_cells(page) == 16
    with page.expect_download() as film:
        page.get_by_text("Save animation").click()
    assert film.value.path().read_bytes()[8:12] == b"WEBP"


def drawn_cells(page) -> int:
    return page.evaluate(
        """() => {
          const stage = document.getElementById("stage"), side = stage.width / 4;
          const pen = stage.getContext("2d");
          const alpha = (x, y) => pen.getImageData((x + .5) * side, (y + .5) * side, 1, 1).data[3];
          const all = Array.from({ length: 16 }, (_, i) => alpha(i % 4, Math.floor(i / 4)));
          return all.filter(Boolean).length;
        }"""
    )


def test_a_number_is_a_class_even_where_another_is_called_so(browser, open_page):
    """Folders 0 to 10, in the order of their names."""
    pipe = FakePipeline()
    pipe.config = dataclasses.replace(CONFIG, class_names=("0", "10", "1"))
    pipe.class_names = list(pipe.config.class_names)
    with serving(Studio({"digits": pipe})) as port:
        page = open_page(f"http://127.0.0.1:{port}/#label=1&seed=4")
        wait_for(page, "^Drawn")
        np.testing.assert_array_equal(saved(page), picture_of(4, 2))
        page.locator("#label").select_option(label="10")
        page.get_by_role("button", name="Draw", exact=True).click()
        page.wait_for_url("**label=10**")
        wait_for(page, "^Drawn")
        np.testing.assert_array_equal(saved(page), picture_of(4, 1))
        page.locator("#gallery button").first.click()
        assert page.locator("#label").input_value() == "1"


def test_the_page_works_below_the_root_of_a_proxy(browser, open_page):
    with serving(Studio({"fake": FakePipeline()}), folder="/user/me") as port:
        page = open_page(f"http://127.0.0.1:{port}/user/me/#label=cat&seed=1")
        wait_for(page, "^Drawn")
        np.testing.assert_array_equal(saved(page), picture_of(1, 0))
        drop(page, "mine.png", base64.b64decode(in_base64(picture_of(2, 2))))
        page.get_by_role("dialog").get_by_role("button", name="Use").click()
        wait_for(page, "^Paint a mask")


def test_what_is_painted_over_changes_and_what_is_kept_stays(address, open_page):
    page = open_page(f"{address}#label=cat&seed=1")
    wait_for(page, "^Drawn")
    before = saved(page)
    assert page.get_by_role("button", name="Repaint", exact=True).is_disabled()
    page.get_by_label("Brush").fill("1")
    page.get_by_role("button", name="Paint a mask").click()
    stroke(page, (0, 0), (0, 3))
    assert masked_cells(page).tolist() == [[True] * 4, *([[False] * 4] * 3)]
    page.get_by_role("button", name="Erase").click()
    stroke(page, (0, 3))
    page.get_by_role("button", name="Invert").click()
    page.get_by_role("button", name="Undo").click()
    mask_hw = masked_cells(page)
    assert mask_hw.sum() == 3 and mask_hw[0, :3].all()

    page.get_by_label("Repaint as").select_option(label="dog")
    page.get_by_role("button", name="Repaint", exact=True).click()
    wait_for(page, "^Repainted")
    after = saved(page)
    np.testing.assert_array_equal(after[~in_pixels(mask_hw)], before[~in_pixels(mask_hw)])
    assert (after[in_pixels(mask_hw)] != before[in_pixels(mask_hw)]).any()

    # Whoever is given the address sees the same edit, pixel for pixel.
    other = open_page(page.url)
    wait_for(other, "^Drawn and edited once")
    np.testing.assert_array_equal(saved(other), after)
    assert other.get_by_label("Repaint as").input_value() == "1"
    assert page.locator("#gallery li").count() == 2


def test_a_picture_grows_by_dragging_or_pressing_an_edge(address, open_page):
    page = open_page(f"{address}#label=owl&seed=2")
    wait_for(page, "^Drawn")
    before = saved(page)
    page.get_by_label("An arrow at an edge adds").fill("1")
    page.get_by_role("button", name="Paint on beyond the left edge").click()
    wait_for(page, "^Painted on")
    wider = saved(page)
    assert wider.shape == (8, 10, 3)
    np.testing.assert_array_equal(wider[:, 2:], before)

    edge = page.locator("#edge-bottom")
    edge.scroll_into_view_if_needed()
    box, stage = edge.bounding_box(), page.locator("#stage").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y + 2 * stage["height"] / 4)
    assert page.get_by_role("status").text_content() == "2 cells more on the bottom"
    stage_size = page.evaluate("[stage.width, stage.height]")
    assert stage_size[1] / stage_size[0] == 12 / 10  # what is to come is shown
    page.mouse.up()
    wait_for(page, "^Painted on")
    taller = saved(page)
    assert taller.shape == (12, 10, 3)
    np.testing.assert_array_equal(taller[:8], wider)

    other = open_page(page.url)
    wait_for(other, "^Drawn and edited 2 times")
    np.testing.assert_array_equal(saved(other), taller)
    page.get_by_label("An arrow at an edge adds").fill("99")
    page.get_by_role("button", name="Paint on beyond the top edge").click()
    wait_for(page, "^top: got 99 cells, allowed are 1 to 10 more")


def test_two_ways_are_compared(address, open_page):
    page = open_page(f"{address}#label=dog&seed=4")
    wait_for(page, "^Drawn")
    page.get_by_label("Left: steps").fill("2")
    page.get_by_label("Right: order").select_option("halton")
    page.get_by_role("button", name="Compare").click()
    wait_for(page, "^Compared")
    left, right = (page.locator(f"#side-{side}-note").text_content() for side in "ab")
    assert "raster, 2 steps" in left and "halton, 4 steps" in right
    for note in (left, right):
        assert re.search(r"time\d+\.\d\d s", note) and "75.0 % sure of dog" in note
    assert page.locator("#side-b-picture").get_attribute("aria-label").startswith("Right: dog, 4")
    # Both are in the gallery, to work on.
    page.locator("#gallery button").nth(1).click()
    assert "2 steps" in page.locator("#stage").get_attribute("aria-label")
    assert "num_steps=2" in page.url and page.get_by_label("Steps", exact=True).input_value() == "2"


def drop(page, name, content):
    transfer = page.evaluate_handle(
        """([name, bytes]) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], name));
          return transfer;
        }""",
        [name, list(content)],
    )
    page.locator("#frame").dispatch_event("drop", {"dataTransfer": transfer})


HOSTILE = {
    "page.png": b"<svg onload=alert(1)><script>alert(1)</script>",
    "bomb.png": bomb(60_000, 60_000),
    "<img src=x onerror=alert(1)>.png": b"\x89PNG\r\n\x1a\n" + bytes(40),
    "nothing.png": b"",
}


def test_hostile_files_are_refused_in_one_line_and_the_page_goes_on(address, open_page):
    page = open_page(f"{address}#label=cat&seed=1")
    wait_for(page, "^Drawn")
    for name, content in HOSTILE.items():
        drop(page, name, content)
        wait_for(page, "^picture: got ")
        assert not page.get_by_role("dialog").is_visible()
        page.get_by_role("button", name="Draw", exact=True).click()
        wait_for(page, "^Drawn")


def test_a_model_that_cannot_edit_takes_no_picture(browser, open_page):
    pipe = FakePipeline()
    generation = Generation(order="region", guidance_schedule="linear")
    names = tuple(tiny.CLASS_NAMES)
    pipe.config = DirectoryConfig(tiny.PAR, tiny.VQ, (8, 8), names, generation)
    with serving(Studio({"par": pipe})) as port:
        page = open_page(f"http://127.0.0.1:{port}/")
        wait_for(page, "^Drawn")
        drop(page, "mine.png", base64.b64decode(in_base64(picture_of(0, 0))))
        wait_for(page, "^picture: got a file, allowed is none: This model draws clips, or in one")
        assert not page.get_by_role("dialog").is_visible()


def test_a_picture_of_ones_own_is_cut_and_repainted(address, open_page):
    page = open_page(f"{address}#label=cat&seed=1")
    wait_for(page, "^Drawn")
    image_HWC = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    drop(page, "mine.png", base64.b64decode(in_base64(image_HWC)))
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    dialog.get_by_label("Zoom", exact=True).fill("50")
    dialog.get_by_role("img").press("ArrowLeft")
    dialog.get_by_role("button", name="Use").click()
    wait_for(page, "^Paint a mask")
    before = saved(page)
    assert before.shape == (8, 8, 3) and page.url == address
    stroke(page, (3, 3))
    mask_hw = masked_cells(page)
    page.get_by_role("button", name="Repaint", exact=True).click()
    wait_for(page, "^Repainted")
    after = saved(page)
    np.testing.assert_array_equal(after[~in_pixels(mask_hw)], before[~in_pixels(mask_hw)])
    page.get_by_role("button", name="Copy link").click()
    wait_for(page, "^A picture of your own has no link")


def test_keys_do_all_of_it(address, open_page):
    page = open_page(f"{address}#label=cat&seed=1")
    wait_for(page, "^Drawn")
    page.keyboard.press("p")
    for _ in range(2):
        page.keyboard.press("[")
    stage = page.locator("#stage")
    stage.focus()
    stage.press("ArrowDown")
    wait_for(page, "^Row 2, column 1: kept")
    stage.press("Enter")
    wait_for(page, "^Row 2, column 1: masked")
    assert np.argwhere(masked_cells(page)).tolist() == [[1, 0]]
    page.keyboard.press("i")
    page.keyboard.press("z")
    page.keyboard.press("r")
    wait_for(page, "^Repainted")
    seed = page.get_by_label("Seed", exact=True).input_value()
    page.keyboard.press("a")
    wait_for(page, "^Drawn")
    assert page.get_by_label("Seed", exact=True).input_value() != seed


# [{"kind": "draw"}], and [{"kind": "inpaint", "mask": "AAAA"}], which repaints nothing
WRONG_LINKS = {
    "label=unicorn": "label: got unicorn, allowed are the classes of tiny",
    "model=other": "model: got other, allowed are tiny",
    "temperature=cold": "temperature: got cold, allowed are numbers",
    "edits=W3sia2luZCI6ICJkcmF3In1d": "edits: got W3sia2luZCI6ICJkcmF3In1d, allowed are up to 20",
    "edits=%00%3Cb%3E": "edits: got ",
    "edits=W3sia2luZCI6ICJpbnBhaW50IiwgIm1hc2siOiAiQUFBQSJ9XQ": "mask: got one that repaints",
}


def test_links_that_ask_for_what_is_not_here_draw_nothing(address, open_page):
    page = open_page(f"{address}#label=unicorn")
    for link, said in WRONG_LINKS.items():
        page.evaluate("(link) => { location.hash = link; }", link)
        wait_for(page, f"^{re.escape(said)}")
    assert page.locator("#gallery li").count() == 0
    page.evaluate("location.hash = 'label=dog&temperature=0.5'")
    wait_for(page, "^Drawn")


def test_what_runs_is_cancelled(browser, open_page):
    pipe = FakePipeline()
    with serving(Studio({"fake": pipe})) as port:
        page = open_page(f"http://127.0.0.1:{port}/")
        wait_for(page, "^Drawn")
        pipe.gate.clear()
        page.get_by_role("button", name="Another seed").click()
        wait_for(page, "^drawing")
        page.keyboard.press("Escape")
        wait_for(page, "^job: got one that was cancelled")
        pipe.gate.set()
        page.get_by_role("button", name="Draw", exact=True).click()
        wait_for(page, "^Drawn")


def test_a_server_that_is_gone_is_told_as_that(address, open_page):
    page = open_page(f"{address}#label=dog")
    wait_for(page, "^Drawn")
    page.context.set_offline(True)
    page.get_by_role("button", name="Draw", exact=True).click()
    wait_for(page, "^server: got no answer; it was stopped")
    page.context.set_offline(False)
    page.get_by_role("button", name="Draw", exact=True).click()
    wait_for(page, "^Drawn")


def test_a_class_stays_the_same_for_a_model_that_counts_them_otherwise(browser, open_page):
    pipes = {"one": FakePipeline(), "two": FakePipeline()}
    pipes["two"].config = dataclasses.replace(CONFIG, class_names=("owl", "cat", "dog"))
    pipes["two"].class_names = list(pipes["two"].config.class_names)
    with serving(Studio(pipes)) as port:
        page = open_page(f"http://127.0.0.1:{port}/#label=dog&seed=4")
        wait_for(page, "^Drawn")
        np.testing.assert_array_equal(saved(page), picture_of(4, 1))
        page.locator("#model").select_option("two")
        assert page.locator("#label").input_value() == "2"
        # What is on the canvas is of the first, whatever model the settings show.
        page.locator("#repaint-label").select_option(label="owl")
        page.get_by_role("button", name="Invert").click()
        with page.expect_request("**/api/edit_class") as asked:
            page.locator("#repaint").click()
        body = asked.value.post_data_json
        assert (body["model"], body["label"]) == ("one", tiny.CLASS_NAMES.index("owl"))
        wait_for(page, "^Repainted")


@pytest.mark.slow
def test_a_trained_pipeline_draws_what_it_draws_without_a_page(
    browser, open_page, tmp_path, one_scan
):
    path = tiny.write_model_directory(tmp_path / "tiny")
    pipe = lpd_jax.Pipeline.from_pretrained(path)
    with serving(Studio({"tiny": pipe})) as port:
        page = open_page(f"http://127.0.0.1:{port}/#label=owl&seed=5&num_steps=3&order=halton")
        wait_for(page, "^Drawn")
        image = saved(page)
        np.testing.assert_array_equal(image, pipe("owl", seed=5, num_steps=3, order="halton")[0])
        page.get_by_role("button", name="Paint a mask").click()
        stroke(page, (1, 1))
        mask_hw = masked_cells(page)
        page.get_by_role("button", name="Repaint", exact=True).click()
        wait_for(page, "^Repainted")
        choices = {"seed": 5, "num_steps": 3, "order": "halton"}
        painted = pipe.inpaint(image, "owl", mask=mask_hw, **choices)[0]
        np.testing.assert_array_equal(saved(page), painted)
        other = open_page(page.url)
        wait_for(other, "^Drawn and edited once")
        np.testing.assert_array_equal(saved(other), painted)


@pytest.mark.slow
def test_clips_are_drawn_and_not_repainted(browser, open_page, tmp_path, one_scan):
    path = tiny.write_clip_model(tmp_path / "clips", guidance_scale=1.0)
    pipe = lpd_jax.Pipeline.from_pretrained(path)
    with serving(Studio({"clips": pipe})) as port:
        page = open_page(f"http://127.0.0.1:{port}/#label=owl&seed=3")
        wait_for(page, "^Drawn")
        page.get_by_label("Step", exact=True).fill("4")
        assert page.locator("#step-label").text_content() == "frame 5 of 5"
        assert page.get_by_role("button", name="Paint a mask").is_disabled()
        np.testing.assert_array_equal(saved(page), pipe("owl", seed=3)[0, 0])


def test_nothing_is_wider_than_the_screen_or_faint(address, open_page):
    page = open_page(f"{address}#label=cat&seed=1")
    wait_for(page, "^Drawn")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width in (320, 390, 700, 1000, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        for selector in ("#status", "#draw", "#another", "#heat-note", "#facts dd"):
            assert has_readable_contrast(page, selector), (scheme, selector)


def test_the_rules_of_accessible_pages_hold(address, open_page):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    # The rules come as a script, which the page's policy would refuse.
    page = open_page(f"{address}#label=cat&seed=1", bypass_csp=True)
    wait_for(page, "^Drawn")
    for summary in page.locator("summary").all():
        summary.click()
    page.get_by_role("button", name="Compare").click()
    wait_for(page, "^Compared")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        broken = axe.run(page).response["violations"]
        assert [(rule["id"], rule["nodes"][0]["html"]) for rule in broken] == []


def has_readable_contrast(page, selector) -> bool:
    """4.5 to 1, as the guidelines for accessible pages ask of text."""
    colours = page.locator(selector).first.evaluate(
        """(one) => {
          const clear = "rgba(0, 0, 0, 0)";
          const ground = (part) => getComputedStyle(part).backgroundColor;
          let behind = one;
          while (ground(behind) === clear) behind = behind.parentElement;
          return [getComputedStyle(one).color, ground(behind)];
        }"""
    )

    def luminance(colour):
        shares = np.array([int(part) for part in re.findall(r"\d+", colour)[:3]]) / 255
        linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
        return linear @ (0.2126, 0.7152, 0.0722)

    low, high = sorted(map(luminance, colours))
    return (high + 0.05) / (low + 0.05) >= 4.5
