"""The pages that take a new user somewhere: their commands, word for word, from start to end."""

import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest
from PIL import Image

from tests import tiny
from tests.data import photos


def commands_of(page: str, marker: str) -> list[list[str]]:
    """The commands of the blocks that follow <!-- command: MARKER -->."""
    text = (tiny.REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(rf"<!-- command: {marker} -->\n```bash\n(.*?)^```", text, re.M | re.S)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines]


def walk(page: str, marker: str, folder: pathlib.Path) -> list[str]:
    """Runs them in a folder that has the repository's launch and configs; gives what they said."""
    for name in ("launch", "configs"):
        (folder / name).symlink_to(tiny.REPOSITORY / name)
    said = []
    for command in commands_of(page, marker):
        assert command[0] == "python"
        done = subprocess.run(
            [sys.executable, *command[1:]],
            cwd=folder,
            env={**tiny.process_environment(folder / "compiled"), "XLA_FLAGS": ""},
            capture_output=True,
            text=True,
            timeout=1500,
        )
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
        said.append(done.stdout)
    return said


@pytest.mark.slow
def test_from_photos_to_pictures(tmp_path):
    """Six photos: as many steps as epochs, so it ends in minutes and learns them by heart."""
    for label, name in enumerate(("cats", "dogs")):
        (tmp_path / "PHOTOS" / name).mkdir(parents=True)
        for i in range(3):
            picture = Image.fromarray(photos.pixels(100 * label + i, 300, 260))
            picture.save(tmp_path / "PHOTOS" / name / f"{i + 1:03d}.jpg")
    *_, exported, drawn, edited = walk("own-photos.md", "photos", tmp_path)
    assert "drew 2 pictures in 20 steps each" in drawn
    assert "box: 16,16,200,200 of the 300x260 picture is" in edited
    with Image.open(tmp_path / "photos.png") as grid, Image.open(tmp_path / "edited.png") as one:
        assert min(grid.size) > 128 and one.size == (64, 64)
    assert (tmp_path / "models" / "photos" / "config.json").is_file() and exported


def test_every_journey_has_commands():
    assert len(commands_of("own-photos.md", "photos")) == 5
    assert os.path.isdir(tiny.REPOSITORY / "configs")
