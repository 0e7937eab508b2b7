"""The ablation varies one threshold at a time, and shares the point of the model's own."""

import pytest

from lpd_jax.decoding.locality_cells import make_cell_tables
from lpd_jax.models.settings import Generation
from lpd_jax.studies import draws, thresholds
from lpd_jax.studies.steps_study import Point


def variants_of(proximity, repulsion, **own):
    return thresholds.make_variants(20, 256, Generation(**own), proximity, repulsion)


def test_one_threshold_varies_and_the_own_value_is_the_plain_point():
    names = [(v.varied, v.value) for v in variants_of([0.5, 1.0], [1, 2])]
    assert names == [
        (thresholds.RANDOM, None),
        ("repulsion_threshold", 1),
        ("repulsion_threshold", 2),
        ("proximity_threshold", 0.5),
        ("proximity_threshold", 1.0),
    ]
    assert [variant.point for variant in variants_of([0.5, 1.0], [1, 2])] == [
        Point("random", 20),
        Point("locality", 20, repulsion_threshold=1),
        Point("locality", 20),  # 2 is what 256 tokens take by themselves
        Point("locality", 20, proximity_threshold=0.5),
        Point("locality", 20),
    ]
    other = variants_of([], [2, 3], repulsion_threshold=3)
    assert [variant.point.repulsion_threshold for variant in other] == [None, 2, None]
    assert variants_of([], []) == []


def test_published_numbers_stand_beside_the_values_that_have_one():
    published = [v.published for v in variants_of([0.2, 0.3, 2.0, 7.0], [0, 4, 5])]
    assert published == [2.11, 2.00, 2.00, None, 1.94, None, 2.04, 2.06]


def test_the_table_has_every_row(tmp_path):
    variants = variants_of([0.5], [0])
    judged = [
        draws.pool([{**dict.fromkeys(draws.AVERAGED, 0.25), "num_steps": 20, **spread}])
        for spread in [{"standard_deviation": 0.125}] * len(variants)
    ]
    study = {
        "rows": thresholds.rows_of(variants, judged),
        "own": thresholds.own_values(256, Generation()),
        "floors": [{"name": "real", "num_images": 9, "frechet_distance": 0.5}],
        "protocol": {"seed": 0},
    }
    thresholds.write(study, tmp_path / "t.json", tmp_path / "t.md")
    text = (tmp_path / "t.md").read_text()
    assert "| random order | - | 0.25 ± 0.12 | 25.0% | 2.11 |" in text
    assert "| repulsion threshold | 0 | 0.25 ± 0.12 | 25.0% | 2.00 |" in text
    assert "| proximity threshold | 0.5 | 0.25 ± 0.12 | 25.0% | 1.93 |" in text
    assert "repulsion threshold 2, proximity threshold 1." in text
    assert "| real | 9 | 0.50 |" in text and "- seed: 0" in text
    assert (tmp_path / "t.json").exists()


def test_beyond_the_most_proximity_nothing_is_near():
    """What the constant is for: eight drawn neighbours still do not make a cell ready."""
    for threshold, is_any in ((thresholds.MOST_PROXIMITY, True), (6.83, False)):
        tables = make_cell_tables((16, 16), threshold, 2)
        assert tables.near_class.any() == is_any, threshold


@pytest.mark.parametrize("varied", [thresholds.RANDOM, "repulsion_threshold"])
def test_a_value_nobody_published_has_no_number(varied):
    assert thresholds.Variant(varied, 17, Point("locality", 4)).published is None
