"""The loop: resuming, cadences, what it writes, and what it refuses before writing anything."""

import dataclasses
import json
import os
import re

import chex
import jax
import numpy as np
import pytest

from lpd_jax.runtime.locks import writing_to
from lpd_jax.runtime.mesh import MeshConfig, make_mesh
from lpd_jax.training import loop as train_module
from lpd_jax.training import start
from lpd_jax.training.compute_config import ComputeConfig
from lpd_jax.training.config import EveryConfig, config_to_json
from lpd_jax.training.loop import due, train
from lpd_jax.training.optimizer import OptimizerConfig
from lpd_jax.training.resume import check_same_config
from lpd_jax.training.train_step import TrainState
from lpd_jax.training.validation import mean_metrics, validation_batch_size
from lpd_jax.weights.checkpoint import Checkpoints
from lpd_jax.weights.saved_runs import newest_step, saved_config, saved_params
from tests.buckets import folder_buckets
from tests.training import toy


@pytest.fixture(autouse=True)
def train_the_toy(monkeypatch):
    toy.install(monkeypatch)


@pytest.mark.devices(2)
@pytest.mark.parametrize("setting", ["mesh", "threefry", "64_bits"])
def test_a_run_is_the_same_whatever_jax_is_configured_to(tmp_path, setting):
    mesh = jax.make_mesh((2,), ("theirs",), devices=jax.devices()[:2])
    settings = {
        "mesh": lambda: jax.set_mesh(mesh),
        "threefry": lambda: jax.threefry_partitionable(False),
        "64_bits": lambda: jax.enable_x64(True),
    }
    whole = train(toy.MODEL, toy.config(2), tmp_path / "whole")
    with settings[setting]():
        other = train(toy.MODEL, toy.config(2), tmp_path / "other")
    chex.assert_trees_all_equal(other, whole)


def test_two_steps_and_two_more_are_four(tmp_path):
    """Bit for bit: parameters, optimizer, place in the data, random numbers."""
    whole = train(toy.MODEL, toy.config(4), tmp_path / "whole")
    half = train(toy.MODEL, toy.config(2), tmp_path / "halves")
    resumed = train(toy.MODEL, toy.config(4), tmp_path / "halves")
    assert int(half.step) == 2 and int(resumed.step) == 4
    chex.assert_trees_all_equal(resumed, whole)


@pytest.mark.slow
def test_another_seed_is_another_run(tmp_path):
    """Else the test above could not fail."""
    one = train(toy.MODEL, toy.config(2), tmp_path / "one")
    two = train(toy.MODEL, toy.config(2, seed=1), tmp_path / "two")
    assert not np.allclose(one.params["head"]["kernel"], two.params["head"]["kernel"])


def test_a_running_average_is_resumed_validated_and_exported(tmp_path, monkeypatch):
    judged = []
    monkeypatch.setattr(
        train_module, "mean_metrics", lambda *x: judged.append(x[1]) or {"loss": 0.0}
    )
    whole = train(toy.MODEL, toy.config(4, ema_decay=0.9), tmp_path / "whole")
    train(toy.MODEL, toy.config(2, ema_decay=0.9), tmp_path / "halves")
    resumed = train(toy.MODEL, toy.config(4, ema_decay=0.9), tmp_path / "halves")
    chex.assert_trees_all_equal(resumed, whole)
    average = whole.ema_params
    assert not np.allclose(average["head"]["kernel"], whole.params["head"]["kernel"])
    for params in (judged[-1], saved_params(tmp_path / "halves" / "checkpoints")[0]):
        chex.assert_trees_all_equal(params, average)
    # Without one the parameters are what they are with one, and so is the rest of the state.
    plain = train(toy.MODEL, toy.config(4), tmp_path / "plain")
    chex.assert_trees_all_equal(plain.params, whole.params)
    chex.assert_trees_all_equal(plain.opt_state, whole.opt_state)
    assert plain.ema_params is None


@pytest.mark.slow
def test_a_run_whose_average_lies_in_the_optimizers_state_goes_on(tmp_path):
    """As checkpoints were written before it was a field of the training state."""
    config = toy.config(2, ema_decay=0.9)
    half = train(toy.MODEL, config, tmp_path / "half")
    old = {
        "step": half.step,
        "params": half.params,
        "opt_state": (*half.opt_state, {"average": half.ema_params, "num_updates": half.step}),
    }
    folder = tmp_path / "old" / "checkpoints"
    checkpoints = Checkpoints(tmp_path / "half" / "checkpoints")
    _, position = checkpoints.restore(half)
    checkpoints.close()
    checkpoints = Checkpoints(folder)
    checkpoints.save(2, old, position, config_to_json(toy.MODEL, config))
    checkpoints.close()
    chex.assert_trees_all_equal(saved_params(folder)[0], half.ema_params)
    longer = dataclasses.replace(config, num_steps=4)
    resumed = train(toy.MODEL, longer, tmp_path / "old")
    chex.assert_trees_all_equal(resumed, train(toy.MODEL, longer, tmp_path / "half"))
    assert isinstance(resumed, TrainState) and len(resumed.opt_state) == len(half.opt_state)


@pytest.mark.parametrize("scheme", ["gs", pytest.param("s3", marks=pytest.mark.slow)])
def test_a_run_in_a_bucket_goes_on(tmp_path, scheme):
    every = dataclasses.replace(toy.NEVER, log=1)
    with folder_buckets(tmp_path):
        train(toy.MODEL, toy.config(2, every=every), f"{scheme}://bucket/run")
        resumed = train(toy.MODEL, toy.config(4, every=every), f"{scheme}://bucket/run")
    whole = train(toy.MODEL, toy.config(4), tmp_path / "whole")
    chex.assert_trees_all_equal(resumed, whole)
    lines = map(json.loads, (tmp_path / "bucket/run/metrics.jsonl").read_text().splitlines())
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2, 3, 4]


@pytest.mark.slow
def test_initial_weights_begin_their_average_too(tmp_path, monkeypatch):
    params = toy.init_boxed(None, jax.random.key(9))
    monkeypatch.setattr(start, "initial_params", lambda *inputs: params)
    rate = OptimizerConfig(learning_rate=1e-9)
    config = toy.config(1, init_from="model", ema_decay=0.5, optimizer=rate)
    state = train(toy.MODEL, config, tmp_path)
    for got in (state.params, state.ema_params):
        chex.assert_trees_all_close(got, params, atol=1e-6)
    # A resumed run goes on from its checkpoint.
    monkeypatch.setattr(start, "initial_params", lambda *inputs: 1 / 0)
    config = dataclasses.replace(config, num_steps=2, init_from="moved")
    assert int(train(toy.MODEL, config, tmp_path).step) == 2


def test_a_new_class_table_is_said_at_the_start(tmp_path, monkeypatch, capsys):
    def initial_params(path, model, new_classes, seed, tell):
        tell(f"{path}: new classes {new_classes}")
        return toy.init_boxed(None, jax.random.key(9))

    monkeypatch.setattr(start, "initial_params", initial_params)
    config = toy.config(1, init_from="model", new_classes=True)
    train(toy.MODEL, config, tmp_path / "run")
    assert capsys.readouterr().out.splitlines()[0] == "model: new classes True"
    with pytest.raises(ValueError, match="^new_classes: got True, allowed is that only with init"):
        train(toy.MODEL, dataclasses.replace(config, init_from=""), tmp_path / "other")


@pytest.mark.slow
def test_a_longer_run_says_where_its_learning_rate_jumps(tmp_path, capsys):
    falling = OptimizerConfig(learning_rate=0.1, warmup_steps=1, cosine_steps=1)
    train(toy.MODEL, toy.config(2, optimizer=falling), tmp_path)
    assert "num_steps" not in capsys.readouterr().out
    train(toy.MODEL, toy.config(4, optimizer=falling), tmp_path)
    assert capsys.readouterr().out.splitlines()[0] == (
        "num_steps 2, warmup_steps 1, cosine_steps 1, learning_rate 0.1 before, num_steps 4, "
        "warmup_steps 1, cosine_steps 1, learning_rate 0.1 now: after step 2 the learning rate "
        "goes from 1e-05 to 0.1; a new workdir with init_from would start a schedule of its own"
    )
    # So does one whose cosine is the rest, however long that is.
    longer = dataclasses.replace(falling, warmup_steps=2, cosine_steps=4)
    train(toy.MODEL, toy.config(6, optimizer=longer), tmp_path)
    assert (
        "warmup_steps 2, cosine_steps 4, learning_rate 0.1 now: after step 4"
        in capsys.readouterr().out
    )
    # A constant rate goes on as it was.
    train(toy.MODEL, toy.config(1), tmp_path / "constant")
    train(toy.MODEL, toy.config(2), tmp_path / "constant")
    assert "num_steps" not in capsys.readouterr().out


def test_a_workdir_remembers_how_each_start_was_made(tmp_path, capsys):
    train(toy.MODEL, toy.config(2), tmp_path)
    train(toy.MODEL, toy.config(4), tmp_path)
    record = (tmp_path / "run.json").read_text()
    first, second = json.loads(record)["starts"]
    assert (first["step"], second["step"]) == (0, 2)
    assert (second["processes"], second["devices"]) == (1, jax.device_count())
    assert second["config"] == config_to_json(toy.MODEL, toy.config(4))
    assert second["versions"]["jax"] == jax.__version__ and second["commit"]
    capsys.readouterr()
    train(toy.MODEL, toy.config(4), tmp_path)
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("step 4 of 4: this run is finished, num_steps would go on; last started")
    assert (tmp_path / "run.json").read_text() == record


def test_a_finished_run_stays_as_it_is(tmp_path):
    first = train(toy.MODEL, toy.config(2), tmp_path)
    again = train(toy.MODEL, toy.config(2), tmp_path)
    chex.assert_trees_all_equal(again, first)


def test_a_last_step_that_was_saved_and_not_judged_is_judged_at_the_next_start(
    tmp_path, monkeypatch
):
    def stop(*arguments):
        raise KeyboardInterrupt

    judge = train_module.mean_metrics
    monkeypatch.setattr(train_module, "mean_metrics", stop)
    with pytest.raises(KeyboardInterrupt):
        train(toy.MODEL, toy.config(4), tmp_path)
    assert newest_step(tmp_path / "checkpoints") == 4
    monkeypatch.setattr(train_module, "mean_metrics", judge)
    for _ in range(2):  # and once is enough
        train(toy.MODEL, toy.config(4), tmp_path)
        lines = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
        told = [(line["step"], line["kind"]) for line in lines]
        assert told == [(4, "train"), (4, "validation")]
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["step_0000004.png"]


def test_a_loss_that_is_no_number_stops_the_run_before_it_is_saved(tmp_path, monkeypatch):
    toy.install(monkeypatch, loss=toy.failing_loss)
    rate = OptimizerConfig(learning_rate=1.0, final_learning_rate=1.0, weight_decay=0.0)
    config = toy.config(9, optimizer=rate, every=dataclasses.replace(toy.NEVER, save=1))
    words = "^step 4: loss is nan; training stops; the same command goes on from step 3, and with"
    with pytest.raises(FloatingPointError, match=words):
        train(toy.MODEL, config, tmp_path)
    assert newest_step(tmp_path / "checkpoints") == 3


def test_what_stopped_at_no_number_goes_on_more_gently_in_the_same_workdir(
    tmp_path, monkeypatch, capsys
):
    toy.install(monkeypatch, loss=toy.failing_loss)
    rate = OptimizerConfig(learning_rate=1.0, final_learning_rate=1.0, weight_decay=0.0)
    config = toy.config(6, optimizer=rate, every=dataclasses.replace(toy.NEVER, save=2))
    with pytest.raises(FloatingPointError, match="goes on from step 2, and with a lower"):
        train(toy.MODEL, config, tmp_path)
    gentle = dataclasses.replace(
        rate, learning_rate=0.01, final_learning_rate=0.01, clip_norm=0.5, stop_grad_norm=9.0
    )
    compute = ComputeConfig(dtype="bfloat16")
    config = dataclasses.replace(config, optimizer=gentle, compute=compute)
    assert int(train(toy.MODEL, config, tmp_path).step) == 6
    line = "learning_rate 0.01 now: after step 2 the learning rate goes from 1 to 0.01"
    assert line in capsys.readouterr().out


def test_what_a_run_writes(tmp_path, capfd):
    every = EveryConfig(log=1, evaluate=2, save=2, sample=2)
    train(toy.MODEL, toy.config(4, every=every, keep_checkpoints=1), tmp_path)
    names = {path.name for path in (tmp_path / "samples").iterdir()}
    assert names == {"step_0000002.png", "step_0000004.png"}
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["4"]
    assert saved_config(tmp_path / "checkpoints")["num_steps"] == 4
    log = (tmp_path / "train.log").read_text()
    shown = capfd.readouterr().out
    for kind, steps in (("train", "1234"), ("validation", "24")):
        lines = re.findall(rf"step (\d+) {kind}: loss [\d.]+, (.*)", log)
        assert "".join(step for step, _ in lines) == steps
        assert all("token_accuracy" in values for _, values in lines)
        # Training steps move the bar; a validation is a line of its own.
        assert (f"step 4 {kind}" in shown) == (kind == "validation")
    assert "learning_rate 0.1" in log and "images_per_second" in log
    events = b"".join(path.read_bytes() for path in tmp_path.glob("events.*"))
    for tag in ("train/loss", "train/learning_rate", "validation/token_accuracy", "samples"):
        assert tag.encode() in events


def test_validation_draws_the_same_random_numbers_each_time():
    source, mesh = toy.make_task().validation, make_mesh()
    params = toy.init_boxed(None, jax.random.key(0))
    evaluate = jax.jit(toy.noisy_loss)
    first = mean_metrics(evaluate, params, source, 8, mesh)
    assert first == mean_metrics(evaluate, params, source, 8, mesh)
    assert set(first) == {"loss", "token_accuracy"}


def test_due_at_every_so_many_steps_and_at_the_end():
    assert [step for step in range(1, 8) if due(step, 3, 7)] == [3, 6, 7]
    assert [step for step in range(1, 8) if due(step, 0, 7)] == [7]


def test_a_workdir_of_another_config_is_refused_by_the_fields(tmp_path):
    train(toy.MODEL, toy.config(2), tmp_path)
    model = dataclasses.replace(toy.MODEL, num_layers=3)
    with pytest.raises(ValueError, match="^workdir: got a run of another config") as error:
        train(model, toy.config(2, seed=5), tmp_path)
    differing = str(error.value).split("differing: ")[1]
    assert differing == "model.num_layers (there 2, here 3); seed (there 0, here 5)"


def test_what_lies_elsewhere_or_is_damaged_meanwhile_is_no_other_run():
    saved = config_to_json(toy.MODEL, toy.config(2))
    clips = {"dataset": "clips", "path": "clips", "image_size": 8, "lists": "lists"}
    saved["data"] |= clips
    wanted = json.loads(json.dumps(saved))
    wanted["data"] |= {"path": "moved/clips", "lists": "moved/lists", "bad_images": "skip"}
    check_same_config(wanted, saved)
    wanted["data"]["list_number"] = 2
    with pytest.raises(ValueError, match="differing: data.list_number .there 1, here 2.$"):
        check_same_config(wanted, saved)


def test_fields_added_after_a_run_began_count_as_their_defaults():
    wanted = json.loads(json.dumps(config_to_json(toy.MODEL, toy.config(2))))
    saved = json.loads(json.dumps(wanted))
    del saved["init_from"], saved["optimizer"]["epsilon"], saved["model"]["dropout_rate"]
    check_same_config(wanted, saved)
    wanted["optimizer"]["epsilon"] = 1e-3
    with pytest.raises(ValueError, match="optimizer.epsilon .there 1e-08, here 0.001.$"):
        check_same_config(wanted, saved)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param(
            {"batch_size": 12},
            "batch_size: got 12, allowed are multiples of .* = 8 shards",
            marks=pytest.mark.devices(8),
        ),
        ({"optimizer": OptimizerConfig(warmup_steps=3)}, "optimizer.warmup_steps .* at most"),
    ],
)
def test_what_cannot_run_is_refused_and_writes_nothing(tmp_path, fields, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        train(toy.MODEL, toy.config(2, **fields), tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_workdir_that_another_run_writes_to_is_refused(tmp_path):
    words = f"^workdir: got .*, which process {os.getpid()} of .* writes to; allowed is one writer"
    with writing_to("workdir", tmp_path), pytest.raises(ValueError, match=words):
        train(toy.MODEL, toy.config(2), tmp_path)
    train(toy.MODEL, toy.config(2), tmp_path)


def test_a_workdir_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="^workdir: got .*file is a file; allowed is a new folder"):
        train(toy.MODEL, toy.config(2), tmp_path / "file" / "run")


@pytest.mark.devices(8)
def test_a_validation_set_smaller_than_a_batch_is_judged_in_smaller_batches():
    mesh = make_mesh(MeshConfig())
    shards = mesh.size
    assert validation_batch_size(40, 8 * shards, mesh) == 40 // shards * shards
    assert validation_batch_size(10**6, 8 * shards, mesh) == 8 * shards
    # 12 of 28 would be left out.
    assert validation_batch_size(28 * shards, 16 * shards, mesh) == 14 * shards
    with pytest.raises(ValueError, match="^data: got 0 validation images, allowed is at least one"):
        validation_batch_size(0, 8, mesh)
