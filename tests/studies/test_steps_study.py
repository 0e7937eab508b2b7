"""The study draws every point once, from the same labels, and goes on where it stopped."""

import dataclasses

import numpy as np
import pytest

from lpd_jax.evaluation import metrics
from lpd_jax.models.settings import FIELDS, Generation
from lpd_jax.studies import steps_report, steps_study, study_cache
from lpd_jax.studies.steps_study import Drawing, Point
from lpd_jax.weights.directory_config import DirectoryConfig
from lpd_jax.weights.model_directory import ModelFiles
from tests import tiny

SETTINGS = steps_study.StudySettings(
    model="stand-in",
    model_digest="0123",
    classifier_digest="4567",
    num_images=40,
    generation=Generation(guidance_scale=1.5, guidance_schedule="linear"),
)
POINTS = [Point(order, n) for n in (4, 16) for order in ("raster", "locality")]


class BrightnessClassifier:
    """Two classes, dark and bright; the features are the mean of each channel."""

    def features(self, images_BHWC):
        return images_BHWC.mean(axis=(1, 2)) / 255

    def accuracy(self, features_BF, labels_B):
        return float(((features_BF.mean(axis=1) > 0.5) == labels_B).mean())


class StandIn:
    """Draws pictures that get better with steps, and better in the locality-aware order."""

    def __init__(self):
        self.calls = []

    def __call__(self, labels_B, point):
        self.calls.append((point, labels_B))
        error = (60 if point.order == "raster" else 30) / point.num_steps
        return Drawing(real_pictures(labels_B, seed=point.num_steps, offset=error), 2.0, 1.0)


def real_pictures(labels_B, seed, offset=0.0):
    generator = np.random.default_rng(seed)
    base = (
        60 + 120 * labels_B[:, None, None, None] + generator.normal(0, 9, (len(labels_B), 1, 1, 3))
    )
    return np.clip(base + offset + np.zeros((1, 4, 4, 1)), 0, 255).astype(np.uint8)


@pytest.fixture
def reference():
    labels = steps_study.balanced_labels(2000, 2)
    pictures = real_pictures(labels, seed=99)
    return metrics.feature_statistics(BrightnessClassifier().features(pictures))


def run(draw, reference, folder, points=POINTS, settings=SETTINGS):
    return steps_study.run_points(
        points, settings, 2, draw, BrightnessClassifier(), reference, folder / "c.json", False
    )


def test_every_point_gets_the_same_balanced_labels_and_a_row(reference, tmp_path):
    draw = StandIn()
    rows = run(draw, reference, tmp_path)
    assert [point for point, _ in draw.calls] == POINTS
    for _, labels in draw.calls:
        np.testing.assert_array_equal(np.bincount(labels), [20, 20])
    distance = {(row["order"], row["num_steps"]): row["frechet_distance"] for row in rows}
    assert distance["raster", 4] > distance["locality", 4] > distance["locality", 16]
    assert all(row["class_agreement"] == 1.0 and row["draw_seconds"] == 2.0 for row in rows)


def test_finished_points_are_not_drawn_again(reference, tmp_path):
    first, second = StandIn(), StandIn()

    def cut_off(labels_B, point):
        if len(first.calls) == 2:
            raise KeyboardInterrupt
        return first(labels_B, point)

    with pytest.raises(KeyboardInterrupt):
        run(cut_off, reference, tmp_path)
    rows = run(second, reference, tmp_path)
    assert [point for point, _ in second.calls] == POINTS[2:]
    assert rows == run(None, reference, tmp_path)  # nothing is left to draw
    assert [path.name for path in tmp_path.iterdir()] == ["c.json"]


class Seeded(StandIn):
    """Other seeds give other pictures."""

    def __call__(self, labels_B, point):
        self.calls.append((point, labels_B))
        error = 30 / point.num_steps + (point.seed or 0)
        return Drawing(real_pictures(labels_B, 9, error), 2.0, 1.0, {"device": "a stand-in"})


def run_seeds(seeds, draw, reference, cache_file, points=POINTS):
    return steps_study.run_seeds(
        points,
        seeds,
        settings=SETTINGS,
        num_classes=2,
        draw=draw,
        classifier=BrightnessClassifier(),
        reference=reference,
        cache_file=cache_file,
        progress=False,
    )


def test_every_point_is_drawn_from_every_seed_and_its_row_is_over_them(reference, tmp_path):
    draw = Seeded()
    rows = run_seeds([0, 5], draw, reference, tmp_path / "c.json")
    drawn = [(point.num_steps, point.order, point.seed) for point, _ in draw.calls]
    assert drawn == [(p.num_steps, p.order, seed) for p in POINTS for seed in (0, 5)]
    for row in rows:
        first, second = row["distances"]
        assert first != second and row["frechet_distance"] == pytest.approx((first + second) / 2)
        assert row["standard_deviation"] == pytest.approx(abs(first - second) / 2**0.5)
        assert row["made_with"] == [{"device": "a stand-in"}]
    more = Seeded()
    again = run_seeds([0, 5, 6], more, reference, tmp_path / "c.json")
    assert [point.seed for point, _ in more.calls] == [6] * len(POINTS)
    assert [row["distances"][:2] for row in again] == [row["distances"] for row in rows]


def test_a_seed_of_its_own_is_the_draw_of_settings_with_that_seed():
    other = dataclasses.replace(SETTINGS, generation=SETTINGS.generation.updated({"seed": 3}))
    point = POINTS[0]._replace(seed=3)
    assert steps_study.point_key(point, SETTINGS) == steps_study.point_key(POINTS[0], other)
    plain = point._replace(seed=SETTINGS.generation.seed)
    assert steps_study.point_key(plain, SETTINGS) == steps_study.point_key(POINTS[0], SETTINGS)


def test_parts_drawn_apart_give_the_rows_of_one_process(reference, tmp_path):
    whole = run_seeds([0, 5], Seeded(), reference, tmp_path / "whole.json")
    for i, part in enumerate((POINTS[:1], POINTS[1:3], POINTS[3:])):
        run_seeds([0, 5], Seeded(), reference, tmp_path / f"part_{i}.json", part)
    merged = tmp_path / "merged.json"
    study_cache.add_points(merged, study_cache.read_caches([f"{tmp_path}/part_*.json"]))
    assert run_seeds([0, 5], None, reference, merged) == whole  # nothing is left to draw


OTHER_CHOICES = {
    "guidance_scale": 2.0,
    "guidance_schedule": "constant",
    "temperature": 0.5,
    "top_k": 7,
    "top_p": 0.5,
    "seed": 1,
    "dtype": "bfloat16",
    "output_size": 32,
    "proximity_threshold": 0.5,
    "repulsion_threshold": 1,
}
SETTLED_BY_THE_POINT = {"order", "num_steps", "group_sizes"}


def test_a_result_is_not_reused_under_another_choice():
    assert OTHER_CHOICES.keys() | SETTLED_BY_THE_POINT == FIELDS.keys()
    changes = [
        {"generation": SETTINGS.generation.updated({name: value})}
        for name, value in OTHER_CHOICES.items()
    ]
    changes += [{"model_digest": "x"}, {"classifier_digest": "x"}, {"num_images": 42}]
    others = [dataclasses.replace(SETTINGS, **change) for change in changes]
    keys = {steps_study.point_key(POINTS[0], settings) for settings in (SETTINGS, *others)}
    assert len(keys) == 1 + len(changes)


@pytest.mark.parametrize("own", [{"order": "halton", "num_steps": 2}, {"group_sizes": (1, 15)}])
def test_order_and_steps_are_those_of_the_point(own):
    settings = dataclasses.replace(SETTINGS, generation=SETTINGS.generation.updated(own))
    drawn = settings.generation_of(POINTS[0])
    assert (drawn.order, drawn.num_steps, drawn.group_sizes) == ("raster", 4, None)
    assert steps_study.point_key(POINTS[0], settings) == steps_study.point_key(POINTS[0], SETTINGS)


def test_the_name_of_the_model_is_not_part_of_a_result():
    moved = dataclasses.replace(SETTINGS, model="elsewhere")
    assert steps_study.point_key(POINTS[0], moved) == steps_study.point_key(POINTS[0], SETTINGS)


def test_every_point_has_its_own_key():
    assert len({steps_study.point_key(point, SETTINGS) for point in POINTS}) == len(POINTS)


@pytest.mark.parametrize("num_tokens", [1, 16, 64, 96, 256, 1024])
def test_default_steps_reach_from_few_to_one_token_a_step(num_tokens):
    steps = steps_study.default_steps(num_tokens)
    assert list(steps) == sorted(set(steps)) and steps[-1] == num_tokens
    assert num_tokens < 64 or (len(steps) >= 7 and steps[0] <= 8)


def test_model_digest_sees_weights_and_sizes_but_not_where_they_lie():
    params = {"kernel": np.arange(4.0)}
    config = DirectoryConfig(transformer=tiny.LPD)
    files = ModelFiles(config, params, None)
    digest = steps_study.model_digest(files)
    moved = files._replace(config=dataclasses.replace(config, where="elsewhere"))
    assert steps_study.model_digest(moved) == digest
    wider = dataclasses.replace(config, transformer=dataclasses.replace(tiny.LPD, mlp_ratio=3))
    with_tokenizer = dataclasses.replace(config, tokenizer=tiny.VQ)
    others = [
        files._replace(transformer={"kernel": np.arange(4.0) + 1}),
        files._replace(config=wider),
        ModelFiles(with_tokenizer, params, params),
        ModelFiles(with_tokenizer, params, {"kernel": np.arange(3.0)}),
    ]
    assert len({digest, *map(steps_study.model_digest, others)}) == 1 + len(others)


def test_floors_name_the_pictures_and_their_number(reference):
    pictures = real_pictures(steps_study.balanced_labels(20, 2), seed=5)
    rows = steps_study.floors(pictures, reference, BrightnessClassifier(), lambda x: x // 2)
    real, reconstructed = rows
    assert real["num_images"] == 20
    assert real["frechet_distance"] < reconstructed["frechet_distance"]


def make_study(rows):
    line = {"name": "real pictures", "num_images": 20, "frechet_distance": 0.012}
    return {
        "title": "stand-in",
        "protocol": {"guidance_scale": 1.5},
        "floors": [line],
        "sensitivity": [line | {"name": "blurred"}],
        "points": rows,
    }


def test_report_shows_every_number_and_marks_the_missing(reference, tmp_path):
    rows = run(StandIn(), reference, tmp_path)
    text = steps_report.markdown(make_study(rows[:-1]), "plot.png")
    raster = next(line for line in text.splitlines() if line.startswith("| raster"))
    locality = next(line for line in text.splitlines() if line.startswith("| locality"))
    assert f"{rows[0]['frechet_distance']:.2f} ± " in raster
    assert f"{rows[1]['frechet_distance']:.2f} ± " in locality and locality.endswith("| - |")
    assert "| real pictures | 20 | 0.01 |" in text and "| blurred | 20 | 0.01 |" in text
    assert "- guidance_scale: 1.5" in text and "![plot](plot.png)" in text
    assert "Milliseconds per picture" in text


def test_a_report_compares_no_times_of_several_devices(reference, tmp_path):
    rows = run(StandIn(), reference, tmp_path)
    for i, row in enumerate(rows):
        row["made_with"] = [{"device": "a GPU" if i else "a CPU"}]
    assert "Milliseconds" not in steps_report.markdown(make_study(rows), "plot.png")


def test_plot_draws_one_line_per_order_and_one_per_floor(reference, tmp_path):
    study = make_study(run(StandIn(), reference, tmp_path))
    path = tmp_path / "plot.png"
    steps_report.plot(study, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    figure_lines = steps_report.make_figure(study).axes[0].get_lines()
    assert {line.get_label() for line in figure_lines} == {
        "raster",
        "locality",
        "real pictures: 0.01",
    }


def test_bad_input_is_one_clear_line(reference, tmp_path):
    with pytest.raises(ValueError, match="num_images: got 25, allowed are multiples of the 12"):
        steps_study.balanced_labels(25, 12)
    (tmp_path / "c.json").write_text("[1, 2")
    with pytest.raises(ValueError, match="cache: got .*c.json', which holds no finished points"):
        run(StandIn(), reference, tmp_path)


def test_a_generator_that_draws_too_few_pictures_is_refused(reference, tmp_path):
    def too_few(labels_B, point):
        return Drawing(real_pictures(labels_B[:-1], seed=0), 1.0, 0.0)

    with pytest.raises(ValueError, match="images: got 39, allowed are 40"):
        run(too_few, reference, tmp_path)
    assert not (tmp_path / "c.json").exists()
