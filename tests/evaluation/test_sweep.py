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
        folder = tmp_path / "out"
        records = sweep.run_sweep(drawer, judge, reference, points, folder, num_images=12)
        return list(map(sweep.row_of, records))

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


@pytest.fixture
def quick_sweep(model, tmp_path, monkeypatch):
    """(run, judged): a sweep whose points are judged at once, and the scales that it has judged."""
    judging.write_pictures(tmp_path / "real.npz")
    judge, reference = judging.tiny_judge(), judging.real_reference(tmp_path / "real.npz")
    files, judged = load_model_directory(model), []

    def evaluate(pictures, judge, reference, place, **options):
        parts = {"pictures": pictures, "network": judge, "reference": reference}
        record = {name: part.settings() for name, part in parts.items()}
        scale = record["pictures"]["generation"]["guidance_scale"]
        record["metrics"] = {"features": {"frechet_distance": scale}}
        place.mkdir(parents=True, exist_ok=True)
        (place / sweep.RECORD_FILE).write_text(json.dumps(record))
        judged.append(scale)

    def run(axes, name="cats", suites=(), **choices):
        judged.clear()
        points = sweep.make_points(files.config.generation.updated(choices), axes)
        folder, drawer = tmp_path / "out", Drawer(files, name)
        options = {"num_images": 12, "suites": suites}
        return sweep.run_sweep(drawer, judge, reference, points, folder, **options)

    monkeypatch.setattr(sweep, "evaluate", evaluate)
    return run, judged


def scales(records):
    return [sweep.row_of(record)["guidance_scale"] for record in records]


def test_other_values_add_to_the_table(model, quick_sweep, tmp_path):
    run, judged = quick_sweep
    run({"guidance_scale": [2.0, 3.0]})
    records = run({"guidance_scale": [1.5], "order": ["raster"]})
    assert judged == [1.5] and scales(records) == [1.5, 2.0, 3.0]
    with (tmp_path / "out" / "sweep.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [float(row["guidance_scale"]) for row in table] == [1.5, 2.0, 3.0]
    base = read_directory_config(model).generation
    best, _ = sweep.best_of(list(map(sweep.row_of, records)))
    chosen = sweep.generation_of(records[best], base)
    assert chosen == base.updated({"guidance_scale": 1.5, "order": "raster"})
    # The same weights by another name are the same; another seed is another table.
    assert scales(run({"guidance_scale": [3.0]}, name="moved/cats/")) == [3.0, 2.0, 1.5]
    assert not judged
    assert scales(run({"guidance_scale": [3.0]}, seed=1)) == [3.0]


def test_a_schedule_without_a_name_is_kept(model, quick_sweep):
    run, _ = quick_sweep
    own = {"group_sizes": (1, 5, 10)}
    (record,) = run({}, **own)
    base = read_directory_config(model).generation
    assert base.num_steps is not None
    assert sweep.generation_of(record, base) == base.updated(own)
    assert sweep.generation_of(record, base.updated(own)) == base.updated(own)


def test_a_point_is_finished_with_the_suites_that_are_asked_for(quick_sweep, monkeypatch):
    run, judged = quick_sweep
    run({"guidance_scale": [2.0]})
    monkeypatch.setattr(sweep, "suites_for", lambda judge, asked: tuple(asked))
    for suites, known in ((["features"], True), (["features", "more"], False)):
        run({"guidance_scale": [2.0]}, suites=suites)
        assert judged == ([] if known else [2.0])


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
