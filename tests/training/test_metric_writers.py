"""Where numbers go, and what becomes of a killed run's last lines."""

import json
import sys

import numpy as np
import pytest

from lpd_jax.training.metric_writers import JsonLines, WeightsAndBiases, check_wandb
from lpd_jax.training.progress import Progress, Stopwatch


def steps(file) -> list[int]:
    return [json.loads(line)["step"] for line in file.read_text().splitlines()]


def test_lines_after_the_checkpoint_and_torn_ones_go(tmp_path):
    file = tmp_path / "metrics.jsonl"
    sink = JsonLines(tmp_path, first_step=1)
    for step in (1, 2, 3):
        sink.metrics(step, "train", {"loss": 0.5})
    sink.close()
    file.write_text(file.read_text() + '{"step": 1, "ki')
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
            calls.append(options["id"])
            return Run()

    monkeypatch.setitem(sys.modules, "wandb", Package)
    sink = WeightsAndBiases(tmp_path / "run7", "project", {"seed": 0})
    sink.metrics(2, "train", {"loss": 1.0})
    sink.picture(2, np.zeros((4, 4, 3), np.uint8))
    sink.close()
    pictures = (2, {"samples": (4, 4, 3)})
    assert calls == ["run7", (2, {"train/loss": 1.0}), pictures, "finished"]


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
