"""Every config and every launch script starts."""

import importlib.util
import pathlib
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
