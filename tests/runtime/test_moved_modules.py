"""Old names of modules import, with a warning that says where they went."""

import importlib
import sys

import pytest

from lpd_jax.runtime.moved_modules import MOVED


@pytest.mark.parametrize("old", MOVED)
def test_an_old_name_is_the_new_module(old):
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"{old} is now {MOVED[old]}"):
        module = importlib.import_module(old)
    now = importlib.import_module(MOVED[old])
    names = [name for name in vars(now) if not name.startswith("__")]
    assert names and all(getattr(module, name) is getattr(now, name) for name in names)
    sys.modules.pop(old)


def test_other_names_are_not_there():
    with pytest.raises(ModuleNotFoundError, match="lpd_jax.nowhere"):
        importlib.import_module("lpd_jax.nowhere")
