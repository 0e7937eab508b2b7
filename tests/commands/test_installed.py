"""The programs that an installation makes: `lpd-generate` is `python launch/generate.py`."""

import importlib.util
import pathlib
import runpy

import pytest
import setuptools
from PIL import Image

from tests import tiny

# What pip writes to bin/, without the line that names the Python.
PROGRAM = "import sys\nfrom {module} import {function}\nsys.exit({function}())\n"


def entry_points() -> dict[str, tuple[str, str]]:
    """The module and the function of each program, as setup.py declares them."""
    told: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", lambda **metadata: told.update(metadata))
        runpy.run_path(str(tiny.REPOSITORY / "setup.py"))
    lines = [line.split(" = ") for line in told["entry_points"]["console_scripts"]]
    return {name: tuple(place.split(":")) for name, place in lines}


PROGRAMS = entry_points()
SCRIPTS = {"page": "app"}  # by module, where launch/ calls it otherwise


def install(name: str, folder: pathlib.Path) -> pathlib.Path:
    module, function = PROGRAMS[name]
    path = folder / name
    path.write_text(PROGRAM.format(module=module, function=function))
    return path


def script_of(module: str) -> pathlib.Path:
    return tiny.REPOSITORY / "launch" / f"{SCRIPTS.get(module, module)}.py"


def test_every_command_is_installed_and_has_a_script():
    modules = {path.stem for path in (tiny.REPOSITORY / "lpd_jax" / "commands").glob("[!_]*.py")}
    assert {f"lpd-{name.replace('_', '-')}" for name in modules} == PROGRAMS.keys()
    assert all(script_of(name).exists() for name in modules)


FAST = ("lpd-generate",)  # each takes a start of both programs


@pytest.mark.parametrize(
    "name", [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in PROGRAMS]
)
def test_help_is_that_of_the_script(name, tmp_path):
    module = PROGRAMS[name][0]
    script = script_of(module.rpartition(".")[2])
    program = install(name, tmp_path)
    ours, of_script = (tiny.run_python(path, "--help", cwd=tmp_path) for path in (program, script))
    assert (ours.returncode, ours.stderr) == (of_script.returncode, of_script.stderr) == (0, "")
    source = pathlib.Path(importlib.util.find_spec(module).origin).read_text()
    assert ours.stdout.startswith(source.removeprefix('"""').splitlines()[0])
    # Examples name the program, and its own options come first.
    assert f"    {name} " in ours.stdout
    assert "launch/" not in ours.stdout and f"    python launch/{script.name} " in of_script.stdout
    flags, of_script_flags = (run.stdout.partition("\nflags:\n")[2] for run in (ours, of_script))
    assert flags.startswith(f"\n{program}:\n  --")
    assert flags == of_script_flags.replace(str(script), str(program))


def test_options_that_rooms_define_for_a_command_are_in_its_help_once(tmp_path):
    program = install("lpd-train", tmp_path)
    told = tiny.run_python(program, "--help", cwd=tmp_path)
    assert told.stdout.count("--process_id:") == told.stdout.count("--config:") == 1
    told = tiny.run_python(program, "--helpfull", cwd=tmp_path)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.count("--workdir:") == told.stdout.count("--config:") == 1
    assert told.stdout.index(f"{program}:\n") < told.stdout.index("absl.app:\n")


def test_an_unknown_option_is_one_line(tmp_path):
    told = tiny.run_python(install("lpd-edit", tmp_path), "inpaint", "--boxx=1", cwd=tmp_path)
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.count("\n") == 1 and told.stderr.startswith("lpd-edit: ")
    assert "boxx" in told.stderr


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("lpd-train", "optax", "train"),
        ("lpd-export", "orbax", "train"),
        ("lpd-cache-tokens", "array_record", "train"),
        ("lpd-page", "starlette", "page"),
    ],
)
def test_what_the_core_does_not_bring_is_one_line(name, package, extra, tmp_path):
    program = install(name, tmp_path)
    program.write_text(f"import sys; sys.modules[{package!r}] = None\n{program.read_text()}")
    told = tiny.run_python(program, "--help", cwd=tmp_path)
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.count("\n") == 1 and f"`pip install 'lpd_jax[{extra}]'`" in told.stderr
    assert told.stderr.startswith(f"{name}: {package}")


@pytest.mark.parametrize(
    ("name", "options", "package", "extra"),
    [
        ("analyze", ["--help"], "matplotlib", "train"),
        ("study_clips", ["--help"], "tensorboardX", "train"),
        ("run_notebook", [], "nbformat", "test"),
    ],
)
def test_what_a_script_needs_besides_is_one_line(name, options, package, extra, tmp_path):
    script = tiny.REPOSITORY / "launch" / f"{name}.py"
    program = tmp_path / script.name
    program.write_text(
        f"import runpy, sys; sys.modules[{package!r}] = None\n"
        f"runpy.run_path({str(script)!r}, run_name='__main__')\n"
    )
    told = tiny.run_python(program, *options, cwd=tmp_path)
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.count("\n") == 1 and f"`pip install 'lpd_jax[{extra}]'`" in told.stderr
    assert told.stderr.startswith(f"{script.name}: {package}")


def test_the_installed_program_draws(tmp_path):
    tiny.write_model_directory(tmp_path / "model")
    program = install("lpd-generate", tmp_path)
    told = tiny.run_python(program, "--model=model", "--labels=owl", cwd=tmp_path)
    assert (told.returncode, told.stderr) == (0, "")
    with Image.open(tmp_path / "lpd_samples.png") as picture:
        assert picture.width >= 8
