"""The page is one small file that asks nobody but its own server, and that everybody can use."""

import base64
import hashlib
import html.parser
import re

import pytest

from lpd_jax.web import asks
from lpd_jax.web.server import PAGE, policy_of

TEXT = PAGE.read_text(encoding="utf-8")


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


@pytest.fixture(scope="module")
def tags():
    page = Page()
    page.feed(TEXT)
    return page.tags


def test_it_is_small():
    assert len(TEXT.encode()) < 100_000


def test_it_asks_no_other_host(tags):
    assert "://" not in TEXT and "@import" not in TEXT
    for tag, attributes in tags:
        for name in ("src", "href", "action", "srcset", "data"):
            assert not attributes.get(name) or attributes[name] == "data:,", tag
        # The policy allows the one script and the one style, and none in attributes.
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
    kinds = [tag for tag, _ in tags]
    assert kinds.count("script") == kinds.count("style") == 1
    assert not {"iframe", "object", "embed"} & set(kinds)


def test_its_addresses_are_those_of_the_server():
    addresses = set(re.findall(r"[`\"](/[a-z/]+)", TEXT))
    assert addresses == {"/api/", "/api/jobs/", "/api/model", "/api/picture"}
    kinds = set(re.findall(r"(?:ask|edit)\(\"(\w+)\"", TEXT)) | {"inpaint", "edit_class"}
    assert kinds == set(asks.KINDS)


def test_the_policy_names_its_script_and_style():
    script = TEXT.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy_of(TEXT)


def test_ids_are_there_once_and_all_that_the_script_asks_for(tags):
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'\$\("([\w-]+)"\)', TEXT)) <= set(ids)
    targets = [attributes.get("for") for tag, attributes in tags if tag == "label"]
    named = [a["aria-labelledby"] for _, a in tags if "aria-labelledby" in a]
    assert set(filter(None, [*targets, *named])) <= set(ids)


def test_everything_that_is_used_has_a_name(tags):
    """Controls lie within a label, or say what they are."""
    labelled = re.sub(r"<label.*?</label>", "", TEXT.partition("<script>")[0], flags=re.DOTALL)
    page = Page()
    page.feed(labelled)
    for tag, attributes in page.tags:
        if tag in ("input", "select", "canvas", "progress") and "hidden" not in attributes:
            assert attributes.get("aria-label"), attributes
    assert ("html", {"lang": "en"}) in tags
    assert any(attributes.get("role") == "status" for _, attributes in tags)


def test_it_fits_phones_and_the_dark(tags):
    assert any(attributes.get("name") == "viewport" for _, attributes in tags)
    assert "prefers-color-scheme: dark" in TEXT and "max-width: 42rem" in TEXT
