import os
import pathlib
import subprocess
import sys

import pytest
from absl import flags
from ml_collections import ConfigDict, FrozenConfigDict

from lpd_jax.runtime.command_line import one_line
from lpd_jax.runtime.config_files import SectionsParser
from tests import tiny

REPOSITORY = pathlib.Path(__file__).parents[2]
SCRIPT = """
from absl import flags
from lpd_jax.runtime import (command_line)
from lpd_jax.runtime.errors import (UserError)
from lpd_jax.runtime.disk_faults import (DiskError)
from lpd_jax.runtime.interrupts import (Terminated)
from ml_collections import config_flags
config_flags.DEFINE_config_file("config")
SEED = flags.DEFINE_integer("seed", 0, "")
RAISE = flags.DEFINE_string("error", "", "")
def main():
    if RAISE.value:
        raise eval(RAISE.value)
    print("seed", SEED.value)
command_line.run(main)
"""
CONFIG = """
from ml_collections import ConfigDict
def get_config():
    return ConfigDict({"model": {"width": 8, "depth": 2}})
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("script") / "tool.py"
    path.write_text(SCRIPT)
    path.with_name("config.py").write_text(CONFIG)
    return path


def run_script(script, *arguments):
    command = [sys.executable, str(script), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_a_good_run_exits_with_0(script):
    result = run_script(script, "--seed=3")
    assert (result.returncode, result.stdout, result.stderr) == (0, "seed 3\n", "")


def test_a_reader_who_leaves_does_not_stop_it(script):
    """As `tool.py | head -1` does."""
    read, write = os.pipe()
    os.close(read)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run(
        [sys.executable, str(script)], env=environment, stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert (result.returncode, result.stderr) == (0, b"")


def run_redirected(script, redirection, *arguments):
    command = ["bash", "-c", f'"$0" "$@" {redirection}', sys.executable, str(script), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_a_folder_that_is_gone_is_said_so(script, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f'cd {gone}; rmdir {gone}; exec "$0" "$@"'
    result = subprocess.run(
        ["bash", "-c", command, sys.executable, script, "--error=FileNotFoundError(2, 'none')"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.returncode, result.stdout) == (2, "")
    line = "tool.py: current folder: it was removed; allowed is to start where there is one"
    assert result.stderr.startswith(line) and result.stderr.count("\n") == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device here")
def test_a_full_disk_under_standard_output_stops_no_command(script, tmp_path):
    """But a loss it is, and the exit code says so."""
    writes = tmp_path / "writes.py"
    writes.write_text(
        SCRIPT.replace('print("seed"', 'print("a", flush=True); open("done", "w"); print("seed"')
    )
    result = run_redirected(writes, f"> /dev/full; code=$?; mv done {tmp_path}; exit $code")
    assert result.returncode == 1 and (tmp_path / "done").is_file()
    assert result.stderr == (
        "writes.py: standard output cannot be written to (No space left on device); going on "
        "without\n"
    )
    result = run_redirected(script, "2> /dev/full", "--seed=3")
    assert (result.returncode, result.stdout) == (0, "seed 3\n")
    assert run_redirected(script, "2> /dev/full", "--seed=many").returncode == 2


def test_warnings_are_shown_where_python_makes_errors_of_them(script, monkeypatch):
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    script.with_name("warns.py").write_text("import warnings\nwarnings.warn('old')\n" + CONFIG)
    result = run_script(script, f"--config={script.with_name('warns.py')}", "--seed=3")
    assert (result.returncode, result.stdout) == (0, "seed 3\n") and "old" in result.stderr


def test_a_warning_comes_once_where_a_library_has_set_up_logging(tmp_path):
    """As Orbax does, which logs while it is imported."""
    path = tmp_path / "tool.py"
    warn = 'logging.getLogger("lpd_jax").warning("a word")'
    path.write_text(
        "import logging\nlogging.basicConfig()\nfrom lpd_jax.runtime import command_line\n"
        f"command_line.run(lambda: {warn})\n"
    )
    result = run_script(path)
    assert result.returncode == 0 and result.stderr.count("a word") == 1


def test_closed_streams_stop_no_command_and_no_file_takes_their_numbers(tmp_path):
    opens = tmp_path / "opens.py"
    file = tmp_path / "file"
    opens.write_text(
        SCRIPT.replace(
            'print("seed"',
            f'opened = open("{file}", "w"); print(opened.fileno(), file='
            'opened, flush=True); import os, sys; os.write(2, b"of a library"); '
            'print("told", file=sys.stderr); print("seed"',
        )
    )
    result = run_redirected(opens, "<&- >&- 2>&-")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert int(file.read_text()) > 2


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("--seet=1", "Unknown command line flag 'seet'. Did you mean: seed ?"),
        ("--seed=many", "seed: got 'many', allowed is a whole number"),
        ("--seed=1e6", "seed: got '1e6', allowed is a whole number, such as 1000000"),
        ("pictures", "argument 'pictures': allowed are options of the form --name=value"),
        ("--error=UserError('seed: got 1')", "seed: got 1"),
        ("--error=FileNotFoundError('no model')", "no model"),
    ],
)
def test_a_wrong_argument_gives_one_line_and_exit_code_2(script, argument, line):
    result = run_script(script, argument)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"tool.py: {line}\n"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        ("DiskError('a.png: could not be written')", 1, "a.png: could not be written"),
        ("OSError(28, 'full')", 1, "[Errno 28] full"),
        ("KeyboardInterrupt()", 130, "stopped"),
        ("KeyboardInterrupt('stopped; go on')", 130, "stopped; go on"),
        ("Terminated('stopped by SIGTERM')", 143, "stopped by SIGTERM"),
        ("Terminated('stopped by SIGHUP', 1)", 129, "stopped by SIGHUP"),
        (
            "RuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes.')",
            1,
            "memory: there is not enough of it (RESOURCE_EXHAUSTED: Out of memory allocating 8 "
            "bytes.); a smaller batch size, fewer pixels or a smaller model take less",
        ),
        (
            "MemoryError()",
            1,
            "memory: there is not enough of it (MemoryError); a smaller batch size, fewer pixels "
            "or a smaller model take less",
        ),
    ],
)
def test_disks_and_signals_have_exit_codes_of_their_own(script, error, code, line):
    result = run_script(script, f"--error={error}")
    assert (result.returncode, result.stdout) == (code, "")
    assert result.stderr == f"tool.py: {line}\n"


@pytest.mark.parametrize(
    "argument",
    [
        "--" + "a" * 10_000 + "=1",
        "--seed=" + "a" * 10_000,
        "--seed=" + "a b " * 10_000,
        "a" * 10_000,
    ],
)
def test_a_long_argument_gives_a_line_that_a_person_can_read(script, argument):
    result = run_script(script, argument)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("tool.py: ") and result.stderr.count("\n") == 1
    assert len(result.stderr) < 900


@pytest.mark.parametrize("kind", [dict, ConfigDict, FrozenConfigDict])
def test_a_config_of_any_kind_takes_fields_and_sections_that_it_lacks(monkeypatch, kind):
    monkeypatch.setattr(sys, "argv", ["tool.py", "--config=a.py", "--config.every.log=1"])
    parser = SectionsParser(flags.ArgumentParser())
    parser.file_parser.parse = lambda _: kind({"model": {"width": 8}})
    config = parser.parse("a.py")
    config.every.log, config.model.width = 1, 9
    assert config.to_dict() == {"model": {"width": 9}, "every": {"log": 1}}


def test_an_unknown_config_field_is_named_with_the_known_ones(script):
    """ml_collections alone says no more than 'wdth'. The file must come by --config, not default:
    a default is read, and fails, while the flag is defined."""
    result = run_script(
        script, f"--config={script.with_name('config.py')}", "--config.model.wdth=4"
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "tool.py: config.model.wdth: got an unknown field, allowed are depth, width; "
        "did you mean 'width'?\n"
    )


@pytest.mark.parametrize(
    "error",
    [
        "ValueError('operands could not be broadcast together')",
        "KeyError('no such model')",
        "ZeroDivisionError('oops')",
    ],
)
def test_a_defect_keeps_its_traceback(script, error):
    result = run_script(script, f"--error={error}")
    assert result.returncode == 1
    assert "Traceback" in result.stderr


def test_the_traceback_of_a_users_error_comes_on_request(script, monkeypatch):
    monkeypatch.setenv("LPD_JAX_TRACEBACK", "1")
    result = run_script(script, "--error=UserError('seed: got 1')")
    assert result.returncode == 1
    assert "Traceback" in result.stderr and "seed: got 1" in result.stderr


@pytest.mark.parametrize("flag", ["--help", "-help", "--helpfull", "--helpshort"])
def test_to_ask_for_help_is_no_error(script, flag):
    result = run_script(script, "--seed=3", flag)
    assert (result.returncode, result.stderr) == (0, "")
    assert "--seed:" in result.stdout


def test_a_config_that_exits_is_not_help(script):
    config = script.with_name("exits.py")
    config.write_text("import sys\nsys.exit(3)\n")
    assert run_script(script, f"--config={config}").returncode == 3


def test_lists_of_problems_are_joined():
    error = ValueError("does not fit:\n  missing a\n  missing b")
    assert one_line(error) == "does not fit: missing a; missing b"


def test_a_command_stands_among_the_options(script):
    path = script.with_name("commands.py")
    path.write_text(
        SCRIPT.replace("main():", "main(command):")
        .replace('"seed", SEED', 'command, "seed", SEED')
        .replace("run(main)", "run(main, ('draw', 'paint'))")
    )
    for arguments in (("paint", "--seed=3"), ("--seed=3", "paint")):
        result = run_script(path, *arguments)
        assert (result.returncode, result.stdout, result.stderr) == (0, "paint seed 3\n", "")
    for arguments, problem in (
        ((), "command: got none, allowed are draw, paint"),
        (("print", "--seed=3"), "command: got 'print', allowed are draw, paint"),
        (("paint", "draw"), "argument 'draw': allowed are options of the form --name=value"),
        (("paint", "--seet=3"), "Unknown command line flag 'seet'. Did you mean: seed ?"),
    ):
        result = run_script(path, *arguments)
        assert (result.returncode, result.stdout) == (2, "")
        assert problem in result.stderr and result.stderr.count("\n") == 1


def test_of_a_config_file_that_fails_its_own_error_is_the_line(tmp_path):
    config = f"--config={tiny.REPOSITORY / 'configs' / 'photos_small.py'}:cat"
    script = tiny.REPOSITORY / "launch" / "train.py"
    run = tiny.run_python(script, config, "--workdir=run", cwd=tmp_path)
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (2, "", 1)
    assert run.stderr.endswith("ValueError: part: got 'cat', allowed are transformer, tokenizer\n")
    assert "Traceback" not in run.stderr and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("variable", "value"), [("JAX_ENABLE_X64", "maybe"), ("JAX_DEFAULT_MATMUL_PRECISION", "good")]
)
def test_a_variable_that_jax_does_not_understand_is_one_line(
    tmp_path, monkeypatch, variable, value
):
    monkeypatch.setenv(variable, value)
    run = tiny.run_python(tiny.REPOSITORY / "launch" / "generate.py", cwd=tmp_path)
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (2, "", 1)
    assert value in run.stderr and variable.lower() in run.stderr.lower()


def test_a_config_file_that_cannot_be_run_is_one_line(tmp_path):
    (tmp_path / "mine.py").write_text("def get_config(:\n")
    script = tiny.REPOSITORY / "launch" / "train.py"
    run = tiny.run_python(script, "--config=mine.py", "--workdir=run", cwd=tmp_path)
    assert (run.returncode, run.stderr) == (
        2,
        "train.py: config: got 'mine.py', which fails in line 1: SyntaxError: invalid syntax\n",
    )


def test_options_may_stand_in_a_file(script):
    """Fields of a config, too, which ml_collections looks for among the arguments alone."""
    config = script.with_name("config.py")
    inner, outer = (script.with_name(name) for name in ("inner.txt", "outer.txt"))
    inner.write_text("--config.model.width=deep\n")
    outer.write_text(f"# mine\n--seed=4\n--config={config}\n--config.model.depth=3\n")
    result = run_script(script, f"--flagfile={outer}")
    assert (result.returncode, result.stdout, result.stderr) == (0, "seed 4\n", "")
    result = run_script(script, f"--flagfile={inner}", f"--flagfile={outer}")
    assert result.returncode == 2 and "config.model.width" in result.stderr


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "Unable to open flagfile: [Errno 2] No such file or directory"),
        (b"\x89PNG", "'utf-8' codec can't decode byte 0x89"),
    ],
)
def test_a_file_of_options_that_cannot_be_read_is_one_line(tmp_path, content, problem):
    if content is not None:
        (tmp_path / "options").write_bytes(content)
    script = tiny.REPOSITORY / "launch" / "train.py"
    run = tiny.run_python(script, f"--flagfile={tmp_path / 'options'}", cwd=tmp_path)
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (2, "", 1)
    assert run.stderr.startswith("train.py: flagfile: ") and problem in run.stderr
