"""Ctrl-C before a command has begun: its modules take seconds to import."""

import pytest

from tests import tiny


@pytest.mark.parametrize(
    ("error", "code", "last_line"),
    [("KeyboardInterrupt", 130, "-c: stopped"), ("ValueError('ours')", 1, "ValueError: ours")],
)
def test_ctrl_c_is_one_line_from_the_first_import_on(tmp_path, error, code, last_line):
    result = tiny.run_python("-c", f"import lpd_jax.commands\nraise {error}", cwd=tmp_path)
    lines = result.stderr.splitlines()
    assert result.returncode == code and lines[-1] == last_line
    assert len(lines) == 1 or code == 1
