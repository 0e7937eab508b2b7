"""What the README tells a reader to run is there and starts."""

import importlib.util
import pathlib
import re
import subprocess
import sys

import ml_collections
import pytest

ROOT = pathlib.Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.py"))
SCRIPTS = sorted((ROOT / "launch").glob("*.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_file_returns_a_config(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config()
    assert isinstance(config, ml_collections.ConfigDict) and len(config) > 0
    assert module.__doc__ and "launch/" in module.__doc__, "say what it reproduces and the command"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_launch_script_starts_anywhere_and_refuses_an_unknown_option(path, tmp_path):
    command = [sys.executable, str(path), "--no_such_option=1"]
    run = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert run.returncode == 2, run.stderr
    assert len(run.stderr.splitlines()) == 1 and "no_such_option" in run.stderr
    assert not list(tmp_path.iterdir())


def test_readme_names_only_files_that_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text += (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:launch|configs)/\w+\.py\b", text))
    named |= {link for link in re.findall(r"\]\(([^)#\s]+)\)", text) if "://" not in link}
    assert named and not [name for name in sorted(named) if not (ROOT / name).exists()]


def test_readme_is_finished():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not re.findall(r"<!-- fill:.*", text), "measure it, write the number, drop the marker"


def test_readme_options_of_generate_exist():
    """Every --option in a generate command or in its table is one that the script defines."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("## Generate pictures")[1].split("\n## ")[0]
    script = (ROOT / "launch" / "generate.py").read_text(encoding="utf-8")
    options = set(re.findall(r"--(\w+)", section))
    defined = set(re.findall(r"""DEFINE_\w+\(\s*["'](\w+)["']""", script))
    assert options and options <= defined
