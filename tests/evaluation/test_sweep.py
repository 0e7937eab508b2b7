"""A sweep draws each point once, with one program a schedule, and knows which is best."""

import csv
import json
import pathlib

import pytest

from lpd_jax.evaluation import sweep
from lpd_jax.evaluation.drawn_pictures import Drawer
from lpd_jax.evaluation.sweep_plots import plot_sweep
from lpd_jax.weights.model_directory import (
    load_model_directory,
    read_directory_config,
    write_generation,
)
from tests import tiny
from tests.evaluation import judging


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.write_model_directory(tmp_path_factory.mktemp("models") / "cats")


def test_points_are_all_combinations_schedule_by_schedule(model):
    base = read_directory_config(model).generation
    points = sweep.make_points(
        base, {"guidance_scale": [1.5, 3.0, 1.5], "num_steps": [4, 8], "order": []}
    )
    told = [(x.num_steps, x.order, x.guidance_scale) for x in points]
    assert told == [(n, "locality", s) for n in (4, 8) for s in (1.5, 3.0)]
    with pytest.raises(ValueError, match="^temperature: got -1"):
        sweep.make_points(base, {"temperature": [-1.0]})


@pytest.mark.slow
def test_a_sweep_goes_on_and_compiles_a_schedule_once(model, tmp_path, monkeypatch):
    real = tmp_path / "real.npz"
    judging.write_pictures(real)
    judge, reference = judging.tiny_judge(), judging.real_reference(real)
    files = load_model_directory(model)
    drawer = Drawer(files, "cats")
    axes = {"guidance_scale": [1.5, 3.0], "order": ["locality", "raster"], "num_steps": [4, 8]}
    points = sweep.make_points(files.config.generation, axes)
    judged = []
    evaluate = sweep.evaluate

    def note(pictures, *arguments, **options):
        judged.append(pictures.plan.request.generation)
        return evaluate(pictures, *arguments, **options)

    monkeypatch.setattr(sweep, "evaluate", note)

    def run(points):
        judged.clear()
        return sweep.run_sweep(drawer, judge, reference, points, tmp_path / "out", num_images=12)

    few = run(points[:3])
    assert judged == points[:3] and drawer.runner.programs.num_compiled == 1
    rows = run(points)
    assert judged == points[3:] and rows[:3] == few
    assert drawer.runner.programs.num_compiled == 2  # 4 and 8 steps
    assert run(points) == rows and not judged
    (damaged, *_) = (tmp_path / "out" / "points").iterdir()
    (damaged / "evaluation.json").write_text("{")
    assert run(points) == rows and len(judged) == 1

    with (tmp_path / "out" / "sweep.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["guidance_scale"] for row in table] == [str(row["guidance_scale"]) for row in rows]
    assert float(table[7]["features.frechet_distance"]) == rows[7]["features.frechet_distance"]
    assert not list((tmp_path / "out").rglob("shards"))

    best, name = sweep.best_of(rows)
    assert rows[best][name] == min(row["features.frechet_distance"] for row in rows)
    plots = plot_sweep(rows, tmp_path / "out")
    assert [path.read_bytes()[1:4] for path in plots] == [b"PNG", b"PNG"]


def test_a_point_is_finished_with_the_suites_that_are_asked_for(model, tmp_path, monkeypatch):
    judging.write_pictures(tmp_path / "real.npz")
    judge, reference = judging.tiny_judge(), judging.real_reference(tmp_path / "real.npz")
    pictures = judging.drawn(model, num_images=12)
    parts = {"pictures": pictures, "network": judge, "reference": reference}
    record = {name: part.settings() for name, part in parts.items()} | {"metrics": {"few": {}}}
    (tmp_path / sweep.RECORD_FILE).write_text(json.dumps(record))
    monkeypatch.setattr(sweep, "suites_for", lambda judge, asked: tuple(asked) or ("few", "more"))
    for suites, known in (((), False), (["few"], True), (["few", "more"], False)):
        found = sweep.finished(tmp_path, pictures, judge, reference, suites)
        assert (found is not None) == known


def test_the_best_of_clips_has_the_smallest_fvd(tmp_path):
    row = {"num_steps": 4, "order": "raster", "temperature": 1.0, "guidance_scale": 1.0}
    rows = [row | {"tats.fvd": fvd} for fvd in (3.0, 2.0)]
    assert sweep.best_of(rows) == (1, "tats.fvd")
    assert [path.name for path in plot_sweep(rows, tmp_path)] == ["sweep_steps.png"]


def test_rows_without_a_distance_have_no_best():
    with pytest.raises(ValueError, match="^sweep: got 1 points without a distance"):
        sweep.best_of([{"adm.fid": None, "num_steps": 3}])


def test_the_best_choices_become_those_of_the_model(tmp_path):
    model = tiny.write_model_directory(tmp_path / "cats")
    before = json.loads((model / "config.json").read_text())
    config = read_directory_config(model)
    chosen = config.generation.updated({"num_steps": 8, "guidance_scale": 3.5, "order": "halton"})
    write_generation(model, chosen)
    assert read_directory_config(model).generation == chosen
    after = json.loads((model / "config.json").read_text())
    assert {name for name in after if after[name] != before.get(name)} == {"generation"}
    assert sorted(path.name for path in pathlib.Path(model).iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.safetensors",
    ]
    with pytest.raises(ValueError, match="^model: got .*nowhere', allowed is the folder of a mod"):
        write_generation(tmp_path / "nowhere", chosen)
