"""What a room shows is there, is documented, and waits for nothing that drawing does not need."""

import importlib
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / "lpd_jax"
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


@pytest.mark.parametrize("room", ["lpd_jax", *(f"lpd_jax.{room}" for room in ROOMS)])
def test_a_room_says_what_it_is_for_and_shows_what_exists(room):
    package = importlib.import_module(room)
    assert package.__doc__
    names = [name for name in getattr(package, "__all__", []) if name != "__version__"]
    assert all(getattr(package, name).__doc__ for name in names)
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        package.no_such_name  # noqa: B018


def test_rooms_open_without_what_their_names_import():
    """`pip install lpd_jax` is enough to import any room; its names ask for more when used."""
    program = (
        "import importlib, sys; "
        f"[importlib.import_module('lpd_jax.' + room) for room in {ROOMS}]; "
        "print(*{'chex', 'grain', 'matplotlib', 'optax', 'orbax', 'scipy'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", program]
    told = subprocess.run(command, check=True, capture_output=True, text=True, cwd=PACKAGE.parent)
    assert told.stdout.strip() == ""
