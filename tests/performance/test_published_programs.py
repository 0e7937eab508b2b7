"""The table of all published models: what is compiled for a row, and how it reads."""

import dataclasses

import pytest

from lpd_jax.models.family import published_models
from lpd_jax.performance import published_programs
from lpd_jax.performance.published_programs import (
    Program,
    compile_decodes,
    compile_train_steps,
    progress_line,
    to_json,
    to_markdown,
)
from lpd_jax.performance.topology import find_slices
from tests import tiny
from tests.performance.test_by_layers import program

CARDS = find_slices("h100", ["cuBLASLt"])


@pytest.fixture
def compiled(monkeypatch):
    """What was asked for, with the models that are asked for compiled into nothing."""
    asked = []

    def compile_picture(model, tokenizer, generation, batch, device, layers_share):
        assert 0 < layers_share < 1
        asked.append((model.num_layers, generation.guidance_scale, batch, device.title))
        if model.num_layers == 4 and model.embed_dim > 1500:
            raise published_programs.DoesNotFit("memory: too small")
        return program(model)

    monkeypatch.setattr(published_programs, "compile_decoding", compile_picture)
    return asked


def test_pictures_of_models_are_told_from_few_layers(compiled):
    names = ("lpd_l", "lpd_xxl", "par_l_4x")
    models = {name: published_models()[name] for name in names}
    rows = list(compile_decodes(models, CARDS))
    assert [(row.name, row.needs is None) for row in rows] == [
        ("lpd_l", False), ("lpd_xxl", True), ("par_l_4x", False),
    ]  # fmt: skip
    assert [layers for layers, *_ in compiled] == [2, 4, 2, 4, 2, 4]
    assert {tuple(choices) for _, *choices in compiled} == {(4.8, 1, "h100, cuBLASLt")}
    assert rows[0].needs.num_layers == models["lpd_l"].num_layers


def test_a_table_has_a_row_for_each_program_that_fits_or_not(compiled):
    needs = program(dataclasses.replace(tiny.LPD, num_layers=2))
    train = dataclasses.replace(needs, num_steps=0, mesh=(1, 8, 1), batch_per_device=32)
    tpu = dataclasses.replace(needs, kernels=None, kinds=None, outside_graphs=None)
    rows = [
        Program("decode", "lpd_l", "h100, cuBLASLt", needs),
        Program("decode", "lpd_l", "v5e-1", tpu),
        Program("train", "llamagen_7b", "8xh100, cuBLASLt", None),
        Program("train", "lpd_l", "8xh100, cuBLASLt", train),
    ]
    text = to_markdown(rows, {"commit": "abc"})
    lines = {line.split(" | ")[0][2:] + line.split(" | ")[1]: line for line in text.splitlines()
             if line.startswith("| `")}  # fmt: skip
    assert len(lines) == 4
    assert "| 32 | 11 | 135 | 2 + 1 | 0 + 1 | flash |" in lines["`lpd_l`h100, cuBLASLt"]
    assert lines["`lpd_l`v5e-1"].split(" | ").count("-") == 8
    assert "does not fit" in lines["`llamagen_7b`8xh100, cuBLASLt"]
    assert "| 32 | 1 | 1x8x1 |" in lines["`lpd_l`8xh100, cuBLASLt"]
    assert "- commit: abc" in text
    assert progress_line(rows[2]) == (
        "config `llamagen_7b`, devices 8xh100, cuBLASLt, memory GB does not fit"
    )
    of_tpus = to_markdown(rows[1:2], {}).splitlines()
    assert of_tpus[6] == "| model | device | layers | steps | compile s | memory GB | ms |"
    numbers = to_json(rows, {})["programs"]
    assert [one["needs"] is None for one in numbers] == [False, False, True, False]
    assert numbers[0]["needs"]["memory_bytes"] == needs.memory_bytes


def test_train_steps_are_those_of_the_runs(monkeypatch):
    def compile_training(model, config, devices):
        if config == "large":
            raise published_programs.DoesNotFit("memory: too small")
        return model, config, devices.title

    monkeypatch.setattr(published_programs, "compile_training", compile_training)
    runs = {"a": ("model", "small"), "b": ("model", "large")}
    rows = list(compile_train_steps(runs, CARDS))
    assert rows == [
        Program("train", "a", "h100, cuBLASLt", ("model", "small", "h100, cuBLASLt")),
        Program("train", "b", "h100, cuBLASLt", None),
    ]
