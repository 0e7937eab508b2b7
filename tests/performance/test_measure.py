"""Cases of tiny models, measured and written down."""

import dataclasses
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.models.family import family_of, is_tokenizer, published_models
from lpd_jax.models.parameters import count_params
from lpd_jax.models.transformer import cast_matrices
from lpd_jax.performance import benchmark_model, device_peaks, measure, report
from lpd_jax.performance.benchmark_case import TASKS, BenchmarkCase
from lpd_jax.performance.benchmark_model import (
    BenchmarkModel,
    LatestOnly,
    find_benchmark_model,
)
from lpd_jax.performance.device_peaks import DevicePeaks
from lpd_jax.performance.presets import PRESETS
from lpd_jax.performance.workload import Workload, make_workload, runner
from lpd_jax.runtime.errors import UserError
from tests import tiny

PEAKS = DevicePeaks({"float32": 1e11}, 1e10)


class OtherImplementation:
    """Counts its runs."""

    name = "another"

    def __init__(self):
        self.runs = 0

    def runner(self, case, model, inputs):
        def run():
            self.runs += 1

        return run if case.task == "tokens" else None


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return str(tiny.write_model_directory(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(scope="module")
def par_directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "par"
    return str(tiny.write_model_directory(path, tiny.PAR, order="region", num_steps=None))


@pytest.fixture(scope="module")
def rows(directory):
    """Two measured cases, the first beside a peer, and one that did not fit."""
    peer, model = OtherImplementation(), find_benchmark_model(directory, "")
    cases = [
        BenchmarkCase(
            directory,
            "tokens",
            batch_size=2,
            num_steps=4,
            guidance_scale=2.0,
            num_segments=1,
            num_repeats=3,
        ),
        BenchmarkCase(directory, "decode", batch_size=2, num_repeats=2),
    ]
    measured = [measure.measure(case, model, PEAKS, peer) for case in cases]
    assert peer.runs == 5  # to see that it runs, to warm up, and three that count
    nothing = dataclasses.replace(
        measured[1], seconds=None, memory_bytes=None, compile_seconds=None
    )
    return [*measured, nothing]


def test_every_column_is_filled(rows):
    drawn, decoded, _ = rows
    for one in (drawn, decoded):
        assert one.seconds.median > 0 and min(one.lower_bounds) > 0
        assert one.compile_seconds > 0 and one.compile_again_seconds > 0
        assert one.memory_bytes > 4 * 16 * 16  # one matrix, by far
        assert one.images_per_second == pytest.approx(2 / one.seconds.median)
        assert one.times_lower_bound == pytest.approx(one.seconds.median / max(one.lower_bounds))
    assert (drawn.num_steps, drawn.num_tokens, drawn.seconds.num_runs) == (4, 16, 3)
    assert drawn.times_peer > 1 and decoded.times_peer is None
    assert drawn.work.padded_rows >= drawn.work.exact_rows == 1 + 16 + 16 - 7


def test_a_table_leaves_out_choices_that_all_rows_share(rows):
    head, rule, *lines = report.table(rows)
    assert "dtype" not in head and "remat" not in head
    assert "| runs |" in head
    assert report.shared_line(rows).startswith("all rows: dtype float32, guided yes")
    assert len({line.count("|") for line in (head, rule, *lines)}) == 1
    assert "does not fit" in lines[2] and "x 26" in lines[0]
    assert "task tokens" in report.progress_line(rows[0])


def test_json_and_markdown_hold_all_of_it(rows, tmp_path):
    protocol = {"device": "a slow one", "commit": "abc"}
    whole = report.Report("A title", protocol, PEAKS, rows)
    report.write(whole, tmp_path / "r.json", tmp_path / "r.md")
    told = json.loads((tmp_path / "r.json").read_text())
    assert told["protocol"] == protocol
    assert told["peaks"] == {"matmul_flops": {"float32": 1e11}, "copy_bandwidth": 1e10}
    first, _, last = told["measurements"]
    assert first["case"]["num_steps"] == 4 and first["seconds"]["num_runs"] == 3
    assert first["work"]["exact_rows"] == 26 and first["times_peer"] > 1
    assert last["seconds"] is None and last["images_per_second"] is None
    text = (tmp_path / "r.md").read_text()
    assert text.startswith("# A title\n") and "- device: a slow one" in text
    assert "large float32 matrix product: 0.1 TFLOP/s" in text and report.table(rows)[2] in text
    assert {file.name for file in tmp_path.iterdir()} == {"r.json", "r.md"}


def test_what_does_not_fit_is_a_row_and_other_errors_are_errors(directory, monkeypatch):
    def fail(message):
        def run(*arguments):
            raise jax.errors.JaxRuntimeError(message)

        monkeypatch.setattr(measure, "compile_and_time", run)
        return measure.measure(
            BenchmarkCase(directory), find_benchmark_model(directory, ""), PEAKS, None
        )

    row = fail("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")
    assert row.seconds is None and row.work.exact_rows
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        fail("INTERNAL: a defect")


def test_weights_that_do_not_fit_are_not_made(directory, monkeypatch):
    case, model = BenchmarkCase(directory), find_benchmark_model(directory, "")
    needed = benchmark_model.weights_of_drawing(model, case.dtype)
    assert needed == 2 * 4 * count_params(model.transformer)
    monkeypatch.setattr(measure, "device_memory", lambda: needed - 1)
    monkeypatch.setattr(measure, "compile_and_time", lambda *arguments: pytest.fail("made"))
    row = measure.measure(case, model, PEAKS, None)
    assert row.seconds is None and row.work.exact_rows


@pytest.mark.parametrize("share", [0.25, 0.0])  # all at once, and one by one
def test_random_weights_in_bfloat16_are_those_of_float32_cast(share, monkeypatch):
    monkeypatch.setattr(benchmark_model, "SMALL_SHARE", share)
    benchmark_model.transformer_params.forget()
    model = BenchmarkModel("random", tiny.LPD, None)
    exact, half = (benchmark_model.transformer_params(model, x) for x in ("float32", "bfloat16"))
    chex.assert_trees_all_equal(half, cast_matrices(exact, jnp.bfloat16))


def test_weights_to_draw_with_are_those_of_training_cut_into_layers(directory):
    model = find_benchmark_model(directory, "")
    drawn = benchmark_model.drawing_params(model, "float32")
    stacked = benchmark_model.transformer_params(model, "float32")
    chex.assert_trees_all_equal(family_of(model.transformer).for_saving(drawn), stacked)


def test_a_peer_that_does_not_fit_is_left_out(directory):
    class Greedy(OtherImplementation):
        def runner(self, *arguments):
            raise MemoryError

    case, model = BenchmarkCase(directory), find_benchmark_model(directory, "")
    inputs = measure.make_inputs(case, model)
    assert measure.find_runner(Greedy(), case, model, inputs) is None
    assert measure.find_runner(OtherImplementation(), case, model, inputs)


def test_large_batches_share_a_few_orders():
    inputs = measure.make_inputs(
        BenchmarkCase("lpd_l", batch_size=20), find_benchmark_model("lpd_l", "")
    )
    assert inputs.request.order.shape == (20, 256) and inputs.request.labels.shape == (20,)
    assert len(np.unique(inputs.request.order, axis=0)) == 8
    np.testing.assert_array_equal(inputs.request.order[:12], inputs.request.order[8:])


@pytest.mark.parametrize("task", TASKS)
def test_tasks_of_both_families_trace(task, directory, par_directory):
    for name in (directory, par_directory):
        case = BenchmarkCase(name, task, batch_size=2, guidance_scale=2.0, dtype="bfloat16")
        model = find_benchmark_model(name, "")
        inputs = measure.make_inputs(case, model)
        workload = make_workload(case, model, inputs)
        outputs = jax.eval_shape(workload.function, *workload.arguments)
        shape = {"tokens": (2, 16), "images": (2, 8, 8, 3), "decode": (2, 8, 8, 3)}.get(task)
        if shape:
            assert jax.tree.leaves(outputs)[0].shape == shape


def test_a_family_refuses_what_it_cannot_draw(par_directory):
    model = find_benchmark_model(par_directory, "")
    for choices, words in (
        ({"num_steps": 5}, "num_steps: got 5, allowed is 7"),
        ({"order": "raster"}, "order: got 'raster', allowed is 'region'"),
        ({"num_segments": 2}, "num_segments: got 2, allowed for PAR are None and 3 or more"),
    ):
        with pytest.raises(UserError, match=words):
            measure.make_inputs(BenchmarkCase(par_directory, **choices), model)
    inputs = measure.make_inputs(BenchmarkCase(par_directory, num_segments=3), model)
    assert inputs.request.schedule.num_steps == 7


def test_a_directory_without_a_transformer_is_refused(tmp_path):
    tiny.write_model_directory(tmp_path / "vq", transformer=None)
    with pytest.raises(UserError, match="^model: got one that holds only a tokenizer"):
        find_benchmark_model(str(tmp_path / "vq"), "")


def test_a_folder_without_a_model_hides_no_published_one(tmp_path, monkeypatch):
    (tmp_path / "lpd_l").mkdir()  # as what was measured may be called
    monkeypatch.chdir(tmp_path)
    assert find_benchmark_model("lpd_l", "").directory is None


def test_a_step_takes_what_the_last_one_left():
    step = jax.jit(lambda state, add: (state + add, state), donate_argnums=0)
    workload = Workload(step, (jnp.zeros(3), jnp.ones(3)), carry=True)
    compiled = step.lower(*workload.arguments).compile()
    seen = []
    run = runner(
        lambda *arguments: seen.append(float(arguments[0][0])) or compiled(*arguments), workload
    )
    for _ in range(3):
        run()
    assert seen == [0.0, 1.0, 2.0]


def test_peaks_are_rates_of_this_device(monkeypatch):
    monkeypatch.setattr(device_peaks, "SIZES", {})
    monkeypatch.setattr(device_peaks, "LARGE_SIZES", (64, 1000))
    found = device_peaks.measure_peaks(("float32", "bfloat16"))
    assert set(found.matmul_flops) == {"float32", "bfloat16"}
    assert 0 < found.copy_bandwidth < 1e14 and 0 < found.matmul_flops["float32"] < 1e16


def test_only_the_latest_is_kept():
    made = []
    load = LatestOnly(lambda *key: made.append(key) or [key])
    first = load("a", 1)
    assert load("a", 1) is first and load("b", 1) == [("b", 1)] and load("a", 1) is not first
    load.forget()
    load("a", 1)
    assert made == [("a", 1), ("b", 1), ("a", 1), ("a", 1)]


def test_cases_of_presets_are_known_and_their_models_too():
    for make in PRESETS.values():
        cases = make()
        assert len(set(cases)) == len(cases) > 5
        for case in cases:
            model = find_benchmark_model(case.model, case.tokenizer)
            assert measure.make_inputs(dataclasses.replace(case, batch_size=1), model)


def test_every_published_transformer_has_a_row():
    """Of clips in a table of their own."""
    timed = {case.model for name in ("published", "clips") for case in PRESETS[name]()}
    known = published_models().items()
    assert timed == {name for name, config in known if not is_tokenizer(config)}


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"task": "dream"}, "tasks: got 'dream', allowed are tokens, images"),
        ({"batch_size": 0}, "batch_size: got 0, allowed are whole numbers from 1"),
        ({"num_segments": 0}, "num_segments: got 0"),
        ({"dtype": "int8"}, "compute.dtype: got 'int8'"),
        ({"remat": "some"}, "compute.remat: got 'some'"),
    ],
)
def test_a_wrong_choice_is_named(choices, words):
    with pytest.raises(UserError, match=words):
        BenchmarkCase("lpd_l", **choices)


@pytest.mark.parametrize(
    ("name", "tokenizer", "words"),
    [
        (
            "lpd_m",
            "vq16",
            "model: got 'lpd_m', allowed are arpg_l, .*, clips and model.*; did you mean",
        ),
        ("vq16", "vq16", "model: got 'vq16', allowed are arpg_l, "),
        ("lpd_l", "lpd_l", "tokenizer: got 'lpd_l', allowed are nbp_video, vq16, vq8"),
    ],
)
def test_a_wrong_model_is_named(name, tokenizer, words):
    with pytest.raises(UserError, match=words):
        find_benchmark_model(name, tokenizer)


def test_pictures_need_a_tokenizer():
    case = BenchmarkCase("lpd_l", "images")
    with pytest.raises(UserError, match="tasks: got 'images' for lpd_l, allowed is that with"):
        measure.make_inputs(case, find_benchmark_model(case.model, case.tokenizer))
