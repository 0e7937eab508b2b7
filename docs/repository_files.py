"""Lets pages show and name files of the repository by the paths that GitHub understands.

A page in docs/ writes `![Faces](../results/editing/inpaint.png)` and `[the rules](../NOTICE)`. Both
work where the file is read on GitHub. In the manual, results/ is part of the site, its reports as
pages; a link to any other file of the repository leads to GitHub.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
RESULTS = "results"
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")  # ](path#anchor), but no address


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds results/ to the site: pictures, numbers, and reports as pages."""
    for path in sorted((ROOT / RESULTS).rglob("*")):
        if path.suffix in (".csv", ".gif", ".json", ".md", ".png") and not path.stem.endswith(
            "_cache"
        ):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns paths within the repository into paths within the site, or addresses on GitHub."""
    source = page.file.src_uri
    in_results = source.startswith(f"{RESULTS}/")
    folder = posixpath.dirname(source if in_results else f"docs/{source}")

    def replace(link: re.Match) -> str:
        path = posixpath.normpath(posixpath.join(folder, link[1]))
        if not (ROOT / path).exists():
            raise PluginError(f"{source}: links to {link[1]}, but the repository has no {path}")
        if path.startswith("docs/"):
            target = path.removeprefix("docs/")
        elif files.get_file_from_path(path) is not None:
            target = path
        else:
            return f"]({config.repo_url}/blob/main/{path}{link[2] or ''})"
        return f"]({posixpath.relpath(target, posixpath.dirname(source) or '.')}{link[2] or ''})"

    return LINK.sub(replace, markdown)
