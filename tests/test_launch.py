"""Every config and every launch script starts."""

import importlib.util
import json
import pathlib
import re
import subprocess
import sys

import ml_collections
import pytest

ROOT = pathlib.Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.py"))
SCRIPTS = sorted((ROOT / "launch").glob("*.py"))
COMPILING = [ROOT / "launch" / f"{name}.py" for name in ("compile_report", "published_programs")]
# Of what extras bring, what scripts import.
EXTRAS = "array_record av grain huggingface_hub matplotlib starlette tensorboardX uvicorn"
# Runs each script in a copy of a process that has imported what takes long, and nothing of ours.
FORKING = """
import gc, json, os, pathlib, runpy, sys
import flax.linen, grain, jax, matplotlib.figure, optax, orbax.checkpoint, tensorflow_datasets
from ml_collections import config_flags

gc.freeze()
folder, missing, outcomes = pathlib.Path(sys.argv[1]), sys.argv[2].split(), {}
for script in map(pathlib.Path, sys.argv[3:]):
    place, told = folder / script.stem, folder / f"{script.stem}.txt"
    place.mkdir()
    if child := os.fork():
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        outcomes[script.stem] = code, told.read_text(), os.listdir(place)
        continue
    os.chdir(place)
    os.dup2(os.open(told, os.O_WRONLY | os.O_CREAT), 2)
    for name in [x for x in sys.modules if x.split(".")[0] in missing]:
        del sys.modules[name]
    sys.modules.update(dict.fromkeys(missing))
    sys.argv = [str(script), "--no_such_option=1"]
    sys.path[0] = str(script.parent)
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as stop:
        os._exit(stop.code)
    os._exit(0)
print(json.dumps(outcomes))
"""


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_file_returns_a_config(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config()
    assert isinstance(config, ml_collections.ConfigDict) and len(config) > 0
    assert module.__doc__ and "launch/" in module.__doc__, "say what it reproduces and the command"


def start_all(folder, scripts=SCRIPTS, missing=""):
    """(exit code, standard error, files written) of each script with an unknown option, by name.

    All start from one process that has the libraries, in a folder of their own.

    Args:
        missing: packages that no script can import, with spaces between them.
    """
    plan = [sys.executable, "-c", FORKING, str(folder), missing, *map(str, scripts)]
    done = subprocess.run(plan, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return start_all(tmp_path_factory.mktemp("launch"))


@pytest.fixture(scope="module")
def outcomes_without_extras(tmp_path_factory):
    return start_all(tmp_path_factory.mktemp("no_extras"), COMPILING, EXTRAS)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_launch_script_starts_anywhere_and_refuses_an_unknown_option(path, outcomes):
    code, error, files = outcomes[path.stem]
    assert code == 2, error
    assert len(error.splitlines()) == 1 and "no_such_option" in error
    assert not files


@pytest.mark.parametrize("path", COMPILING, ids=lambda path: path.stem)
def test_launch_script_names_the_extra_that_is_not_installed(path, outcomes_without_extras):
    code, error, _ = outcomes_without_extras[path.stem]
    assert code == 2, error
    wanted = rf"{path.name}: [\w.]+: missing; allowed is after `pip install 'lpd_jax\[train\]'`\n"
    assert re.fullmatch(wanted, error), error
