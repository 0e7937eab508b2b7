"""A config file that fails is told of by its line, and what it gives may be any mapping."""

import pytest
from ml_collections import ConfigDict

from lpd_jax.runtime.config_files import (
    config_fields,
    config_file,
    config_first,
    problem_in_config,
    problem_with_path,
    sections_given,
)
from lpd_jax.runtime.errors import UserError


def failure(file, text):
    """What running a file raises, as ml_collections runs it."""
    file.write_text(text)
    try:
        exec(compile(text, str(file), "exec"), space := {})
        space["get_config"]()
    except Exception as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError("it did not fail")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("def get_config(:\n", "which fails in line 1: SyntaxError: invalid syntax"),
        ("import nothing_like_it\n", "line 1: ModuleNotFoundError: No module named 'nothing_like"),
        ("def get_config():\n    return 1 / 0\n", "line 2: ZeroDivisionError: division by zero"),
        ("def get_config():\n    raise AssertionError\n", "which fails in line 2: AssertionError"),
    ],
)
def test_a_file_that_fails_is_named_with_its_line(tmp_path, text, problem):
    file = tmp_path / "mine.py"
    error = problem_in_config(failure(file, text), str(file))
    assert str(error).startswith(f"config: got '{file}', ") and problem in str(error)


def test_what_fails_elsewhere_is_no_problem_of_the_file(tmp_path):
    error, mine = failure(tmp_path / "other.py", "1 / 0"), tmp_path / "mine.py"
    mine.touch()
    assert problem_in_config(error, str(mine)) is None
    assert problem_in_config(error, None) is None


def test_a_file_without_the_function_is_told_so(tmp_path):
    mine = tmp_path / "mine.py"
    mine.touch()
    error = AttributeError("module 'config_config' has no attribute 'get_config'")
    got = problem_in_config(error, str(mine))
    assert str(got) == f"config: got '{mine}', allowed are files with get_config()"


def test_what_the_file_says_of_its_variant_is_shown_as_it_is(tmp_path):
    mine = tmp_path / "mine.py"
    said = UserError("config: got 'huge' after the colon, allowed are small")
    try:
        try:
            raise said
        except UserError as inner:
            raise ValueError(f"Error whilst parsing config file: {inner}") from None
    except ValueError as error:
        mine.touch()
        assert problem_in_config(error, str(mine)) is said


def test_a_file_that_is_not_there_is_named(tmp_path):
    for file, got in ((tmp_path / "none.py", "no file"), (tmp_path, "a folder")):
        want = f"config: got '{file}', which is {got}; allowed are files with get_config()"
        assert str(problem_in_config(OSError("something"), str(file))) == want
        assert str(problem_with_path(str(file))) == want
    assert problem_with_path(None) is None


def test_the_file_is_named_by_its_flag_alone():
    assert config_file(["train.py", "--config", "mine.py:small"]) == "mine.py"
    assert config_file(["train.py", "--configuration=a.py"]) is None


def test_fields_come_of_a_config_dict_or_a_mapping_alone():
    fields = {"model": {"width": 8}}
    assert config_fields(ConfigDict(fields)) == config_fields(fields) == fields
    with pytest.raises(UserError, match=r"^config: got 3 of get_config\(\), allowed is a Conf"):
        config_fields(3)


@pytest.mark.parametrize("option", [["--config=a.py:b"], ["-config", "a.py"]])
def test_the_file_may_stand_behind_its_fields(option):
    fields = ["--workdir=runs/a", "--config.seed=1"]
    want = ["train.py", *option, *fields, "--verbosity=0"]
    assert config_first(["train.py", *fields, *option, "--verbosity=0"]) == want
    assert config_first(want) == want


def test_a_file_may_lie_in_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert config_first(["train.py", "--config=~/a.py:b", "--workdir=~/run"]) == [
        *("train.py", "--config=/home/me/a.py:b", "--workdir=~/run"),
    ]
    argv = ["train.py", "--config", "~/a.py"]
    assert config_first(argv) == [*argv[:2], "/home/me/a.py"]
    for file in ("a~/b.py", "~me.py"):
        assert config_first(["train.py", f"--config={file}"])[1] == f"--config={file}"


def test_without_a_file_or_behind_the_last_option_all_stay_where_they_are():
    for argv in (["train.py"], ["train.py", "--config.seed=1"], ["train.py", "--", "--config=a"]):
        assert config_first(argv) == argv


def test_sections_are_those_whose_fields_are_given():
    fields = ["--config.every.log=1", "-noconfig.data.random_views", "--config.every.save=2"]
    others = ["--config=a.py", "--config.seed=1", "--workdir=config.fid.x", "--config.mesh={}"]
    assert sections_given(["train.py", *fields, *others]) == ["every", "data"]
