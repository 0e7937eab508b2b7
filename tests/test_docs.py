"""What the README and the manual tell a reader to run, to import and to open is there."""

import ast
import functools
import importlib
import json
import re
import shlex
import subprocess
import sys

import pytest

import lpd_jax
from tests.tiny import REPOSITORY

PAGES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for path in (
        *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md")),
        REPOSITORY / "launch" / "clusters" / "README.md",
        *(REPOSITORY / "docs").rglob("*.md"),
    )
)
# Runs launch scripts, which define their options as they are imported, and prints the options.
LIST_OPTIONS = """
import importlib.util, json, pathlib, sys
from absl import flags

options = {}
for path in sys.argv[1:]:
    before = set(flags.FLAGS)
    spec = importlib.util.spec_from_file_location(pathlib.Path(path).stem, path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    defined = sorted(set(flags.FLAGS) - before)
    options[path] = defined + ["no" + name for name in defined if flags.FLAGS[name].boolean]
    for name in defined:
        delattr(flags.FLAGS, name)
print(json.dumps(options))
"""


def read(page: str) -> str:
    return (REPOSITORY / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", read(page), re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[list[str]]:
    """The words of every command in a block of shell."""
    lines = "".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@functools.cache
def options_of_scripts() -> dict[str, list[str]]:
    """Options by script, as launch/NAME.py."""
    scripts = sorted(f"launch/{path.name}" for path in (REPOSITORY / "launch").glob("*.py"))
    command = [sys.executable, "-c", LIST_OPTIONS, *scripts]
    told = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    options: dict[str, list[str]] = json.loads(told.stdout.splitlines()[-1])
    return {script: [*names, "help"] for script, names in options.items()}


def test_every_page_names_only_files_that_exist():
    missing = []
    for page in PAGES:
        text = read(page)
        links = [x for x in re.findall(r"\]\(([^)#\s]+)", text) if not re.match(r"\w+:", x)]
        paths_of_us = r"\b(?:launch|configs|docs|tests|lpd_jax)/[\w/]+\.\w+\b"
        names = re.findall(paths_of_us, re.sub(r"\w+://\S+", "", text))
        names += [f"configs/{name}" for name in re.findall(r"`(\w+_\w+\.py)`", text)]
        paths = [(REPOSITORY / page).parent / link for link in links]
        paths += [REPOSITORY / name for name in names if name not in links]
        missing += [f"{page}: {path}" for path in paths if not path.exists()]
    assert not missing


def test_every_option_that_a_page_names_exists():
    known, wrong = options_of_scripts(), []
    for page in PAGES:
        scripts = set()
        for words in commands(page):
            script = next((word for word in words if word in known), None)
            scripts |= {script} - {None}
            for option in re.findall(r"(?<=--)\w+", " ".join(words if script else [])):
                if option not in known[script]:
                    wrong.append(f"{page}: {script} --{option}")
        of_page = {"help"} | {option for script in scripts for option in known[script]}
        for option in re.findall(r"`--(\w+)", read(page)):
            if option not in of_page:
                wrong.append(f"{page}: --{option}")
    assert any(commands(page) for page in PAGES) and not wrong


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_every_import_works(page):
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(str(node.module))
                assert not [name.name for name in node.names if not hasattr(module, name.name)]


def test_every_name_of_the_public_face_exists():
    for page in PAGES:
        names = set(re.findall(r"\blpd_jax\.([A-Z_]\w+|from_torch)\b", read(page)))
        assert not [name for name in sorted(names) if not hasattr(lpd_jax, name)]
        methods = set(re.findall(r"\bpipe\.(\w+)", read(page)))
        assert not [name for name in sorted(methods) if not hasattr(lpd_jax.Pipeline, name)]


def test_readme_is_short_and_finished():
    text = read("README.md")
    assert text.count("\n") <= 200, "move the rest to docs/"
    assert not re.findall(r"<!-- fill:.*", text), "measure it, write the number, drop the marker"
    commands_of_ci = re.findall(r"^<!-- command: (\w+) -->\n```bash\n", text, re.MULTILINE)
    assert commands_of_ci == ["quickstart", "tests"]
