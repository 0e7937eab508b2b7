"""Measured numbers: once a machine, whatever has become of the file."""

import json

import pytest

from lpd_jax.runtime import measured_choices, provenance
from lpd_jax.runtime.measured_choices import remembered


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(measured_choices, "default_cache_dir", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "measured.json"


def counted(*values: float):
    """A measurement that gives one value after the other, and then fails."""
    left = list(values)
    return lambda: left.pop(0)


def test_a_machine_is_measured_once(cache):
    assert remembered("gain", counted(1.5)) == 1.5
    assert remembered("gain", counted()) == 1.5  # as another process would ask
    assert remembered("other", counted(0.5)) == 0.5
    assert sorted(json.loads(cache.read_text()).values()) == [0.5, 1.5]


def test_a_processor_or_jaxlib_that_came_later_is_measured_itself(cache, monkeypatch):
    remembered("gain", counted(1.5))
    monkeypatch.setattr(provenance, "device_name", lambda: "2 cores of another make")
    assert remembered("gain", counted(0.8)) == 0.8
    monkeypatch.setattr(provenance, "versions", lambda: {"jaxlib": "9.9"})
    assert remembered("gain", counted(0.7)) == 0.7


@pytest.mark.parametrize("text", ["{", "[1]", '{"gain": "much"}', ""])
def test_a_damaged_file_costs_one_measurement(cache, text):
    cache.parent.mkdir()
    cache.write_text(text)
    assert remembered("gain", counted(1.5)) == 1.5
    assert remembered("gain", counted()) == 1.5


def test_a_folder_that_cannot_be_written_to_costs_one_in_each_process(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file where the folder would be")
    monkeypatch.setattr(measured_choices, "default_cache_dir", lambda: tmp_path / "cache")
    assert remembered("gain", counted(1.5)) == 1.5
    assert remembered("gain", counted(1.4)) == 1.4
