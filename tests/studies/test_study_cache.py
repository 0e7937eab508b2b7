"""Caches of several processes become one; what is no cache is named."""

import json

import pytest

from lpd_jax.studies import study_cache


def point(distance):
    return dict.fromkeys(study_cache.NEEDED, 0) | {"frechet_distance": distance}


def write(path, **points):
    path.write_text(json.dumps({key: point(distance) for key, distance in points.items()}))
    return path


def distances(known):
    return {key: entry["frechet_distance"] for key, entry in known.items()}


def test_parts_are_merged_and_the_first_that_has_a_point_counts(tmp_path, monkeypatch):
    write(tmp_path / "part_1_cache.json", a=1, b=2)
    write(tmp_path / "part_2_cache.json", b=3, c=4)
    last = write(tmp_path / "last.json", c=5, d=6)
    monkeypatch.setenv("HOME", str(tmp_path))
    known = study_cache.read_caches([f"{tmp_path}/part_*_cache.json", f"~/{last.name}"])
    assert distances(known) == {"a": 1, "b": 2, "c": 4, "d": 6}


def test_own_points_stay_as_they_are(tmp_path):
    own = write(tmp_path / "own.json", a=1)
    study_cache.add_points(own, {"a": point(7), "b": point(8)})
    assert distances(study_cache.read_cache(own)) == {"a": 1, "b": 8}
    new = tmp_path / "new.json"
    study_cache.add_points(new, {})
    assert not new.exists()


@pytest.mark.parametrize("pattern", ["nowhere.json", "part_*.json"])
def test_a_cache_that_is_not_there_is_named(pattern, tmp_path):
    with pytest.raises(ValueError, match="^caches: got '.*json', allowed are files that are there"):
        study_cache.read_caches([str(tmp_path / pattern)])


@pytest.mark.parametrize("text", ["[1]", '{"title": "a study"}', '{"a": {"order": "raster"}}', "{"])
def test_a_file_of_something_else_is_named(text, tmp_path):
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(ValueError, match="^caches: got .*s.json', which holds no finished points"):
        study_cache.read_caches([str(tmp_path / "s.json")])
