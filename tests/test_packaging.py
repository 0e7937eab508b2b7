"""The installed package is whole: data files, one version, no more dependencies than it needs."""

import pathlib
import re
import subprocess
import sys

import pytest

import lpd_jax
from lpd_jax import bundled

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Paths of the files that an installation would hold, relative to site-packages."""
    folder = tmp_path_factory.mktemp("built")
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_every_module_is_installed(built):
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lpd_jax").rglob("*.py")}
    assert {name for name in built if name.endswith(".py")} == modules


def test_bundled_files_are_installed(built):
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "lpd_jax" / "bundled").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    assert wanted <= built
    assert sum(name.endswith(".webp") for name in built) == len(bundled.CLASS_NAMES)


def test_every_style_is_credited():
    """CC BY asks for designer, source and licence; the licence files are what must be matched."""
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    readme = (ROOT / "lpd_jax" / "bundled" / "README.md").read_text(encoding="utf-8")
    licences = sorted((bundled.FOLDER / "avatars12" / "licences").glob("*.txt"))
    assert len(licences) == len(bundled.CLASS_NAMES)
    for path in licences:
        text = path.read_text(encoding="utf-8")
        design, source = re.search(r"^Source: (.+) \((\S+)\)$", text, re.MULTILINE).groups()
        designer = re.search(r"^Designer: (.+) \(", text, re.MULTILINE).group(1).split(" - ")[0]
        licence = re.search(r"^License: (.+) \(", text, re.MULTILINE).group(1)
        row = next(line for line in readme.splitlines() if f"[{design}]({source})" in line)
        assert f"[{designer}]" in row and f"[{licence}]" in row
        assert f'"{design}" by {designer}' in notice and source in notice


def test_setup_takes_the_version_of_the_package():
    command = [sys.executable, "setup.py", "-q", "--version"]
    told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert told.stdout.split()[-1] == lpd_jax.__version__


def test_the_description_has_addresses_that_work_outside_of_the_repository():
    command = [sys.executable, "setup.py", "-q", "--long-description"]
    told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    links = re.findall(r"\]\(([^)\s]+)\)", told.stdout)
    assert len(links) > 10 and all(link.startswith("https://") for link in links)
    inside = [re.split("/(?:blob|raw)/main/", link) for link in links if "/lpd_jax/" in link]
    assert all((ROOT / parts[-1].partition("#")[0]).is_file() for parts in inside)


def test_drawing_needs_no_training_package():
    """What `pip install .` brings is enough for the package and its pipeline."""
    program = (
        "import sys, lpd_jax; lpd_jax.Pipeline; "
        "print(*{'chex', 'grain', 'matplotlib', 'tensorflow_datasets', 'tensorboardX', 'torch'}"
        ".intersection(sys.modules))"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert told.stdout.strip() == ""
