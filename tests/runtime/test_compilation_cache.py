"""The user's cache folder, and the programs that launch scripts keep in it."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import warnings

import jax
import pytest

import lpd_jax
from lpd_jax.runtime import compilation_cache
from lpd_jax.runtime.compilation_cache import (
    default_cache_dir,
    enable_compilation_cache,
    temporary_cache_dir,
    warn_once,
)
from tests import tiny

LAUNCH = pathlib.Path(__file__).parents[2] / "launch"


@pytest.fixture
def cache_dir(monkeypatch, tmp_path):
    """JAX without a cache, and an empty home for one; all is put back."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    yield tmp_path / "lpd_jax" / "compiled"
    jax.config.update("jax_compilation_cache_dir", before)


def test_the_users_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "lpd_jax"
    for unusable in ("", "relative"):  # the standard says to ignore a path that is not absolute
        monkeypatch.setenv("XDG_CACHE_HOME", unusable)
        assert default_cache_dir() == pathlib.Path.home() / ".cache" / "lpd_jax"


def test_a_user_without_a_home_has_a_cache_folder(tmp_path, monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(pathlib.Path, "home", home)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(compilation_cache, "temporary_cache_dir", temporary_cache_dir.__wrapped__)
    folder = default_cache_dir()
    assert folder == default_cache_dir() == tmp_path / f"lpd_jax_cache_{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.rmdir()
    folder.touch()  # not ours
    assert default_cache_dir().parent == tmp_path and default_cache_dir() != folder


def test_programs_are_kept_in_it(cache_dir):
    assert enable_compilation_cache() == str(cache_dir)
    assert jax.config.jax_compilation_cache_dir == str(cache_dir)
    assert cache_dir.is_dir()


def test_what_the_user_chose_stays(cache_dir, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "own"))
    enable_compilation_cache()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "own")


def test_a_folder_can_be_named(cache_dir, tmp_path):
    assert lpd_jax.enable_compilation_cache(tmp_path / "own") == str(tmp_path / "own")
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "own")
    assert lpd_jax.enable_compilation_cache("gs://bucket/compiled") == "gs://bucket/compiled"
    assert not (tmp_path / "gs:").exists() and not pathlib.Path("gs:").exists()
    (tmp_path / "file").touch()
    assert lpd_jax.enable_compilation_cache(tmp_path / "file") is None


def test_none_is_made_where_the_user_wants_none(cache_dir):
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        enable_compilation_cache()
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
    assert jax.config.jax_compilation_cache_dir is None
    assert not cache_dir.exists()


def test_without_a_folder_there_is_no_cache(cache_dir, tmp_path):
    (tmp_path / "lpd_jax").write_text("in the way")
    enable_compilation_cache()
    assert jax.config.jax_compilation_cache_dir is None


def test_programs_that_cannot_be_kept_are_one_line_and_leave_no_part(tmp_path, cache_dir, capsys):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    part, whole = tmp_path / "b-cache", tmp_path / "a-cache"
    for time, file in enumerate((whole, part)):
        file.touch()
        os.utime(file, (time, time))
    with warnings.catch_warnings():
        warn_once()
        for name in ("jit_a", "jit_b"):
            warnings.warn(
                f"Error writing persistent compilation cache entry for '{name}': OSError: full",
                stacklevel=1,
            )
            if name == "jit_a":
                assert whole.exists() and not part.exists()
        with pytest.warns(UserWarning, match="another"):
            warnings.warn("another", stacklevel=1)
    [line] = capsys.readouterr().err.splitlines()
    reason = f"{tmp_path}: compiled programs cannot be kept or read (OSError: full)"
    assert line.endswith(f"{reason}; going on without")


def test_a_damaged_program_is_told_once_and_compiled_once(tmp_path):
    """As a process that was killed while it wrote leaves it; JAX replaces no file that is there."""
    code = "import sys, jax; from lpd_jax.runtime import compilation_cache as c\n"
    code += "c.enable_compilation_cache(sys.argv[1]); c.warn_once(); print(jax.jit(abs)(-3))"

    def start() -> tuple[str, dict[str, bytes]]:
        result = subprocess.run(
            [sys.executable, "-c", code, tmp_path],
            env=tiny.process_environment(tmp_path)
            | {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert result.stdout == "3\n"
        return result.stderr, {x.name: x.read_bytes() for x in tmp_path.glob("*-cache")}

    told, whole = start()
    assert whole and not told
    for name, content in whole.items():
        (tmp_path / name).write_bytes(content[:100])
    told, made_anew = start()
    assert "a compiled program that was kept is damaged" in told and told.count("\n") == 1
    assert made_anew.keys() == whole.keys() and min(map(len, made_anew.values())) > 100
    assert start() == ("", made_anew)


def test_programs_that_nobody_may_read_stay(tmp_path, monkeypatch):
    (tmp_path / "jit_f-1-cache").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    text = "Error reading persistent compilation cache entry for 'jit_f': PermissionError: no"
    assert not compilation_cache.remove_damaged(tmp_path, text)
    assert (tmp_path / "jit_f-1-cache").exists()


def test_a_launch_script_finds_what_an_earlier_one_compiled(tmp_path):
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    # What took how long to compile decides nothing.
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    model = tiny.write_model_directory(tmp_path / "model")
    command = [sys.executable, LAUNCH / "generate.py", f"--model={model}", "--num_images=1"]

    def compiled() -> dict[str, int]:
        done = subprocess.run(
            [*command, f"--output={tmp_path / 'picture.png'}"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert re.search(r"compiled in [0-9.]+ s", done.stdout)
        assert not done.stderr
        folder = tmp_path / "lpd_jax" / "compiled"
        return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}

    first = compiled()
    picture = (tmp_path / "picture.png").read_bytes()
    assert first
    assert compiled() == first  # neither new programs nor written again
    assert (tmp_path / "picture.png").read_bytes() == picture
