"""Where numbers go, and what becomes of a killed run's last lines."""

import contextlib
import json
import sys
import types

import numpy as np
import pytest

from lpd_jax.training.config import TrainConfig
from lpd_jax.training.metric_writers import (
    JsonLines,
    WeightsAndBiases,
    check_wandb,
    open_writers,
    run_id,
)
from lpd_jax.training.progress import Progress, Stopwatch
from lpd_jax.training.workdir import Workdir
from tests import tiny
from tests.buckets import folder_buckets


def steps(file) -> list[int]:
    return [json.loads(line)["step"] for line in file.read_text().splitlines()]


def test_lines_after_the_checkpoint_and_torn_ones_go(tmp_path):
    file = tmp_path / "metrics.jsonl"
    writer = JsonLines(tmp_path, first_step=1)
    for step in (1, 2, 3):
        writer.metrics(step, "train", {"loss": 0.5})
    writer.close()
    # Such as a crash of the system leaves: no letters, no mapping, no number.
    torn = b'\x00\xff\xfe\n7\n{"step": "x"}\n{"step": 1, "ki'
    file.write_bytes(file.read_bytes() + torn)
    again = JsonLines(tmp_path, first_step=3)
    assert steps(file) == [1, 2]
    again.metrics(3, "validation", {"loss": 0.25})
    again.close()
    assert steps(file) == [1, 2, 3]
    last = json.loads(file.read_text().splitlines()[-1])
    assert last["kind"] == "validation" and last["loss"] == 0.25


def test_weights_and_biases_without_its_package_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=r"^wandb_project: got 'p', but the package wandb is not"):
        check_wandb("p")
    check_wandb("")


def test_weights_and_biases_get_numbers_and_pictures(tmp_path, monkeypatch):
    calls = []

    class Run:
        def log(self, values, step):
            calls.append((step, values))

        def finish(self):
            calls.append("finished")

    class Package:
        Image = staticmethod(lambda picture: picture.shape)

        @staticmethod
        def init(**options):
            calls.append((options["name"], options["id"], options["resume"]))
            return Run()

    monkeypatch.setitem(sys.modules, "wandb", Package)
    place = "gs://bucket/a/run7"
    writer = WeightsAndBiases(tmp_path, "project", {"seed": 0}, workdir=place)
    writer.metrics(2, "train", {"loss": 1.0})
    writer.picture(2, np.zeros((4, 4, 3), np.uint8))
    writer.close()
    pictures = (2, {"samples": (4, 4, 3)})
    begun = ("run7", run_id("project", place), "allow")
    assert calls == [begun, (2, {"train/loss": 1.0}), pictures, "finished"]


def test_a_path_is_one_run_of_a_project_and_another_path_another():
    places = ["gs://bucket/a/lpd", "gs://bucket/b/lpd", "/runs/a/lpd", "/runs/b/lpd"]
    names = [run_id(project, place) for project in ("p", "q") for place in places]
    assert len(set(names)) == len(names)
    assert names == [run_id(project, place) for project in ("p", "q") for place in places]
    assert all(name.isalnum() and len(name) <= 64 for name in names)  # what the service takes


def test_a_resumed_run_of_a_bucket_is_the_same_run(tmp_path, monkeypatch):
    names = []

    def init(**options):
        names.append(options["id"])
        return types.SimpleNamespace(finish=lambda: None)

    package = types.SimpleNamespace(init=init)
    monkeypatch.setitem(sys.modules, "wandb", package)
    config = TrainConfig(num_steps=1, batch_size=1, wandb_project="p")
    with folder_buckets(tmp_path):
        for name in ("a/lpd", "a/lpd", "b/lpd"):
            with contextlib.closing(Workdir(f"gs://bucket/{name}")) as place:
                for writer in open_writers(tiny.LPD, config, place, 1):
                    writer.close()
    assert names[0] == names[1] != names[2]


def test_the_stopwatch_leaves_pauses_out(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def run_step(watch, seconds, waiting=0.0):
        with watch.input():
            now[0] += waiting
        now[0] += seconds - waiting
        watch.step_ended()

    watch = Stopwatch(batch_size=10, image_flops=None)
    assert watch.read() == {}
    run_step(watch, 5)  # the first, which compiles
    run_step(watch, 2, waiting=1)
    watch.pause()
    now[0] += 100
    run_step(watch, 3)  # begun in the pause
    run_step(watch, 2)
    assert watch.read() == {"images_per_second": 5.0, "input_wait_share": 0.25}
    assert watch.read() == {}


def test_other_processes_are_silent(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("jax.process_index", lambda: 1)
    with Progress(tmp_path, 1, 2, 8) as progress:
        progress.advance()
        progress.report(1, "validation", {"loss": 1.0})
        progress.picture(1, np.zeros((4, 4, 3), np.uint8))
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")
