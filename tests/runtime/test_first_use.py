"""Names that are loaded late, and what they say where the package of an extra is missing."""

import importlib
import sys

import pytest

import lpd_jax.training
from lpd_jax.runtime.first_use import on_first_use


def test_a_missing_package_names_the_extra_that_brings_it(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("lpd_jax.data.batches")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "grain", None)
    words = (
        r"^lpd_jax.data.TrainingBatches: grain is missing; `pip install 'lpd_jax\[train\]'` brings"
    )
    with pytest.raises(ModuleNotFoundError, match=words):
        importlib.import_module("lpd_jax.data").TrainingBatches  # noqa: B018


def test_our_own_missing_modules_and_names_are_not_blamed_on_an_extra():
    load = on_first_use("lpd_jax.training", {"train": "nowhere"}, extra="train")
    with pytest.raises(ModuleNotFoundError, match="^No module named 'lpd_jax.training.nowhere'$"):
        load("train")
    with pytest.raises(AttributeError, match="has no attribute 'tarin'"):
        lpd_jax.training.tarin  # noqa: B018
