"""The compile report as a user runs it; what it compiles is tested beside its module."""

import pytest

from tests import tiny

SCRIPT = tiny.REPOSITORY / "launch" / "compile_report.py"


@pytest.mark.parametrize(
    ("config", "options", "words"),
    [
        ("avatars_vq", [], "model: got a vq tokenizer, allowed are transformers"),
        ("avatars_par", ["--config.generation.num_steps=5"], "num_steps: got 5, allowed is"),
        ("avatars_par", ["--topology=v9-16"], "topology: got 'v9-16', allowed are names"),
    ],
)
def test_a_wrong_option_is_one_line_and_writes_nothing(tmp_path, config, options, words):
    file = tiny.REPOSITORY / "configs" / f"{config}.py"
    command = (SCRIPT, f"--config={file}", "--output=r.md", *options)
    result = tiny.run_python(*command, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"compile_report.py: {words}")
    assert result.stderr.count("\n") == 1 and not list(tmp_path.iterdir())
