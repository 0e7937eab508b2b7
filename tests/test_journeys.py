"""The pages that take a new user somewhere: their commands, word for word, from start to end."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
from PIL import Image

from tests import tiny
from tests.data import photos


def blocks_of(page: str, marker: str) -> list[str]:
    """The blocks of shell that follow <!-- command: MARKER -->."""
    text = (tiny.REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"<!-- command: {marker} -->\n```bash\n(.*?)^```", text, re.M | re.S)


def walk(page: str, marker: str, folder: pathlib.Path) -> list[str]:
    """Runs them in a folder that has the repository's launch and configs; gives what they said."""
    for name in ("launch", "configs", "notebooks"):
        (folder / name).symlink_to(tiny.REPOSITORY / name)
    environment = {**tiny.process_environment(folder / "compiled"), "XLA_FLAGS": ""}
    environment["PATH"] = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    said = []
    for block in blocks_of(page, marker):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=1500,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
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


@pytest.mark.slow
def test_a_rehearsal_of_a_cluster(tmp_path):
    *_, exported = walk("clusters.md", "clusters", tmp_path)
    starts = json.loads((tmp_path / "runs" / "rehearsal" / "run.json").read_text())["starts"]
    assert [(start["step"], start["processes"]) for start in starts] == [(0, 2), (2, 1)]
    assert (tmp_path / "models" / "rehearsal" / "config.json").is_file() and exported


@pytest.mark.parametrize(
    ("page", "marker", "count"),
    [("own-photos.md", "photos", 5), ("clusters.md", "clusters", 3), ("colab.md", "colab", 1)],
)
def test_every_journey_has_commands(page, marker, count):
    blocks = blocks_of(page, marker)
    assert len(blocks) == count and all("python launch/" in block for block in blocks)
