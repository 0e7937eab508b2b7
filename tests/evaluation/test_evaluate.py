"""An evaluation is the same whatever it is killed by, cut into, or drawn on."""

import json
import shutil
import signal
import subprocess
import sys

import chex
import numpy as np
import pytest

from lpd_jax.evaluation import protocol as evaluation
from lpd_jax.evaluation.drawn_pictures import DrawnPictures
from lpd_jax.evaluation.judges import Judge
from lpd_jax.evaluation.picture_sets import ArraySet, open_pictures
from lpd_jax.pipeline import Pipeline
from tests import tiny
from tests.evaluation import judging

DRAW = """
import sys
import jax, numpy as np
from tests.evaluation import judging
pictures = judging.drawn(sys.argv[1], num_images=30)
tokens = np.concatenate(list(pictures.tokens(range(3, 30))))
print(jax.device_count(), tokens.shape, judging.digest(tokens))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.write_model_directory(tmp_path_factory.mktemp("models") / "cats")


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    path = tmp_path_factory.mktemp("real") / "real.npz"
    judging.write_pictures(path)
    return path


@pytest.fixture(scope="module")
def record(model, real, tmp_path_factory):
    """(folder, record) of an evaluation that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    found = evaluation.evaluate(
        judging.drawn(model),
        judging.tiny_judge(),
        judging.real_reference(real),
        folder,
        shard_size=7,
        save="npz",
    )
    return folder, found


def test_the_record_has_the_numbers_and_all_they_depend_on(record, model):
    folder, found = record
    assert json.loads((folder / "evaluation.json").read_text()) == found
    numbers = found["metrics"]["features"]
    assert 0 < numbers["frechet_distance"] < 100 and 0 <= numbers["precision"] <= 1
    assert numbers["kernel_distance_subset"] == 20  # as many as there are real ones
    assert 0 <= numbers["class_agreement"] <= 1
    drawn = found["pictures"]
    assert drawn["count"] == 30 and drawn["labels"] == "balanced"
    assert drawn["generation"]["seed"] == 0 and drawn["generation"]["dtype"] == "float32"
    assert drawn["generation"]["group_sizes"] and drawn["generation"]["guidance_scale"] == 2.0
    assert set(drawn["weights"]) == {"transformer", "tokenizer"}
    assert found["network"]["weights"] == "tiny" and "no FID" in found["network"]["note"]
    assert found["reference"]["num_images"] == 20 and len(found["reference"]["sha256"]) == 64
    assert {"jax", "numpy", "lpd_jax"} <= found["versions"].keys() and found["commit"]
    row = (folder / "evaluation.md").read_text().splitlines()
    assert len(row) == 3 and row[2].startswith("| cats | 4 steps, locality, guidance 2 |")


def test_pictures_are_those_that_the_pipeline_draws(record, model):
    folder, _ = record
    with np.load(folder / "pictures.npz") as saved:
        images, labels = saved["arr_0"], saved["arr_1"]
    chex.assert_shape(images, (30, 8, 8, 3))
    np.testing.assert_array_equal(labels, np.arange(30) % 3)
    want = Pipeline.from_pretrained(model)(labels)
    # Batches of other sizes round otherwise: a level at most, and hardly any pixel.
    assert np.abs(images.astype(int) - want).max() <= 1
    assert (images != want).mean() < 0.01
    assert not (folder / "pixels").exists()


def test_a_record_of_another_reference_loses_none(record, tmp_path):
    _, first = record
    second = first | {"reference": first["reference"] | {"sha256": "0" * 64}}
    evaluation.write_record(tmp_path, first)
    evaluation.write_record(tmp_path, first | {"commit": "later"})  # takes its own place
    assert {file.name for file in tmp_path.iterdir()} == {"evaluation.json", "evaluation.md"}
    evaluation.write_record(tmp_path, second)
    names = sorted(file.name for file in tmp_path.iterdir())
    assert len(names) == 4 and names[0].startswith("evaluation-") and names[2] == "evaluation.json"
    kept, newest = (json.loads((tmp_path / name).read_text()) for name in (names[0], names[2]))
    assert (kept["commit"], kept["reference"]) == ("later", first["reference"])
    assert newest == second


@pytest.mark.slow  # five processes
def test_killed_twice_it_gives_the_same_record(model, real, tmp_path):
    environment = tiny.process_environment(tmp_path / "compiled")
    for last in ("1", "3", "-1"):
        command = [sys.executable, "-c", judging.PROGRAM, model, tmp_path / "out", real, last]
        run = subprocess.run(
            list(map(str, command)), env=environment, capture_output=True, text=True, timeout=300
        )
        killed = last != "-1"
        assert run.returncode == (-signal.SIGKILL if killed else 0), run.stderr
        finished = sorted(file.name for file in (tmp_path / "out" / "shards").glob("*.npz"))
        assert len(finished) == (int(last) if killed else 5)
        assert killed != (tmp_path / "out" / "evaluation.json").exists()
    command = [sys.executable, "-c", judging.PROGRAM, model, tmp_path / "once", real, "-1"]
    subprocess.run(list(map(str, command)), env=environment, check=True, timeout=300)
    once, twice = tmp_path / "once", tmp_path / "out"
    for name in ("evaluation.json", "evaluation.md", "settings.json"):
        assert (once / name).read_bytes() == (twice / name).read_bytes()
    with np.load(once / "pictures.npz") as first, np.load(twice / "pictures.npz") as second:
        chex.assert_trees_all_equal(dict(first), dict(second))
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "evaluation.json",
        "evaluation.md",
        "pictures.npz",
        "settings.json",
        "shards",
    ]


def test_finished_shards_are_not_drawn_again_and_damaged_ones_are(
    record, model, real, tmp_path, monkeypatch
):
    judge, reference = judging.tiny_judge(), judging.real_reference(real)
    pictures = ArraySet(record[0] / "pictures.npz")
    asked = []
    batches = ArraySet.batches
    monkeypatch.setattr(
        ArraySet, "batches", lambda self, rows: asked.append(rows) or batches(self, rows)
    )

    def run():
        asked.clear()
        return evaluation.evaluate(pictures, judge, reference, tmp_path, shard_size=7)

    first = run()
    assert asked == [range(0, 7), range(7, 14), range(14, 21), range(21, 28), range(28, 30)]
    assert run() == first and not asked
    shard = tmp_path / "shards" / "00002-of-00005.npz"
    shard.write_bytes(shard.read_bytes()[:-30])
    (tmp_path / "shards" / "00004-of-00005.npz").unlink()
    assert run() == first and asked == [range(14, 21), range(28, 30)]


def test_other_settings_are_refused_by_name(record, model, real):
    folder, _ = record
    for pictures, size, words in (
        (judging.drawn(model, seed=1), 7, "generation.seed 0, allowed with 1 is another folder"),
        (judging.drawn(model, num_images=27), 7, "count 30, allowed with 27"),
        (judging.drawn(model, labels="uniform"), 7, "labels 'balanced', allowed with 'uniform'"),
        (judging.drawn(model), 10, "shard_size 7, allowed with 10"),
    ):
        with pytest.raises(ValueError, match=f"^output: got .*which holds pictures of {words}"):
            evaluation.evaluate(
                pictures,
                judging.tiny_judge(),
                judging.real_reference(real),
                folder,
                shard_size=size,
            )


def test_weights_by_another_name_are_the_same(record, model, real, tmp_path, monkeypatch):
    folder, first = record
    folder = shutil.copytree(folder, tmp_path / "out")
    judge, reference = judging.tiny_judge(), judging.real_reference(real)
    monkeypatch.setattr(DrawnPictures, "batches", None)  # nothing is drawn again
    moved = judging.drawn(model)
    moved.drawer.name = "moved/cats/"
    found = evaluation.evaluate(moved, judge, reference, folder, shard_size=7)
    assert found["pictures"]["model"] == "moved/cats/"
    assert found["metrics"] == first["metrics"]
    names = {evaluation.default_folder(x, judge, 7) for x in (moved, judging.drawn(model))}
    assert len(names) == 1


@pytest.mark.slow  # two processes that compile what draws
def test_one_device_and_eight_give_identical_tokens(model, tmp_path):
    told = []
    for count in (1, 8):
        environment = tiny.process_environment(tmp_path / f"compiled_{count}")
        environment["XLA_FLAGS"] += f" --xla_force_host_platform_device_count={count}"
        command = [sys.executable, "-c", DRAW, str(model)]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert run.returncode == 0, run.stderr
        devices, *rest = run.stdout.split(maxsplit=1)
        assert int(devices) == count
        told.append(rest)
    assert told[0] == told[1]


def test_saved_files_are_judged_as_the_pictures_are(record, model, real, tmp_path):
    """PNG files and the array hold the same pictures, and read back they have the same numbers."""
    folder, whole = record
    judge, reference = judging.tiny_judge(), judging.real_reference(real)
    array = open_pictures(str(folder / "pictures.npz"))
    evaluation.evaluate(array, judge, reference, tmp_path / "a", shard_size=7, save="png")
    names = sorted(file.name for file in (tmp_path / "a" / "pictures").iterdir())
    assert names == [f"{i:06d}.png" for i in range(30)]
    files = open_pictures(str(tmp_path / "a" / "pictures"))
    found = evaluation.evaluate(files, judge, reference, tmp_path / "b", shard_size=7)
    numbers = whole["metrics"]["features"]
    got = found["metrics"]["features"]
    assert "class_agreement" not in got  # nobody says which class a file is of
    assert got == {name: numbers[name] for name in got}


def test_labels_without_names_agree_with_no_classes(record, real, tmp_path):
    pictures = ArraySet(record[0] / "pictures.npz")
    assert pictures.labels is not None and not pictures.class_names
    judge = Judge("efficientnet", judging.TinyNetwork())
    found = evaluation.evaluate(pictures, judge, judging.real_reference(real), tmp_path / "out")
    assert "class_agreement" not in found["metrics"]["features"]


def test_labels_in_turn_and_at_random(model):
    balanced = judging.drawn(model, num_images=0)
    assert balanced.count == 150 and set(np.bincount(balanced.labels)) == {50}
    few, many = (judging.drawn(model, count, "uniform").labels for count in (31, 500))
    np.testing.assert_array_equal(few, many[:31])
    assert 100 < np.bincount(many).min() < np.bincount(many).max() < 233
    with pytest.raises(ValueError, match="num_images: got 31, allowed are multiples of the 3 clas"):
        judging.drawn(model, num_images=31)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"suites": ["adm"]}, "suites: got 'adm', allowed with network 'efficientnet' are feature"),
        ({"save": "jpg"}, "save: got 'jpg'"),
        ({"shard_size": 0}, "shard_size: got 0"),
    ],
)
def test_bad_options_are_one_line_and_write_nothing(options, message, record, real, tmp_path):
    pictures = ArraySet(record[0] / "pictures.npz")
    with pytest.raises(ValueError, match=f"^{message}"):
        evaluation.evaluate(
            pictures,
            judging.tiny_judge(),
            judging.real_reference(real),
            tmp_path / "out",
            **options,
        )
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").glob("shards/*"))
