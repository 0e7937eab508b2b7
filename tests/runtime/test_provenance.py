import os

import jax

from lpd_jax.runtime import provenance


def test_versions_and_device_are_those_that_run():
    told = provenance.versions()
    assert told["jax"] == jax.__version__ and set(told) >= {"lpd_jax", "jaxlib", "python"}
    name = provenance.device_name()
    if jax.default_backend() == "cpu":
        assert name.split(" of ")[0].endswith(" cores") and provenance.cpu_name() in name
    else:
        assert name == jax.devices()[0].device_kind
    assert provenance.load_average() >= 0


def test_the_commit_is_unknown_outside_a_checkout(monkeypatch, tmp_path):
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", os.fspath(tmp_path.parent))
    assert provenance.git_commit() == "unknown"
