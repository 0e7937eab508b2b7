"""Choices of how to draw: declared once, the same in code, flags and files."""

import dataclasses
import inspect
import json

import numpy as np
import pytest

from lpd_jax.models.family import find_model
from lpd_jax.models.settings import FIELDS, Generation
from lpd_jax.pipeline import Pipeline
from lpd_jax.runtime.config_fields import from_mapping
from lpd_jax.runtime.errors import UserError
from tests import tiny

CHOSEN = Generation(num_steps=8, guidance_scale=3.0, order="random", temperature=0.5)


def test_what_is_none_is_left_as_it_was():
    assert CHOSEN.updated({}) == CHOSEN
    assert CHOSEN.updated(dict.fromkeys(FIELDS)) == CHOSEN
    assert CHOSEN.updated({"top_k": 5, "order": None}) == dataclasses.replace(CHOSEN, top_k=5)


def test_steps_and_group_sizes_replace_each_other():
    grouped = CHOSEN.updated({"group_sizes": (6, 10)})
    assert (grouped.num_steps, grouped.group_sizes) == (None, (6, 10))
    stepped = grouped.updated({"num_steps": 5, "group_sizes": None})
    assert (stepped.num_steps, stepped.group_sizes) == (5, None)
    assert (stepped.guidance_scale, stepped.order) == (3.0, "random")
    assert grouped.updated({"seed": 1}).group_sizes == (6, 10)


def test_numpys_numbers_and_arrays_are_pythons():
    choices = {
        "group_sizes": np.array([6, 10], np.int32),
        "guidance_scale": np.float32(2.5),
        "top_k": np.int64(7),
        "top_p": np.array(0.5),
    }
    updated = Generation().updated(choices)
    assert updated == Generation(group_sizes=(6, 10), guidance_scale=2.5, top_k=7, top_p=0.5)
    for value in (updated.top_k, updated.top_p, updated.guidance_scale, *updated.group_sizes):
        assert type(value) in (int, float)
    for sizes in ([6, 10], range(6, 8)):
        assert Generation().updated({"group_sizes": sizes}).group_sizes == tuple(sizes)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"guidance": 2.0}, "^guidance: got an unknown field, .*mean 'guidance_scale'"),
        ({"num_steps": 0}, "^num_steps: got 0, allowed are whole numbers from 1"),
        ({"num_steps": 2.5}, "^num_steps: got 2.5, allowed"),
        ({"num_steps": True}, "^num_steps: got True, allowed"),
        ({"group_sizes": []}, "^group_sizes: got"),
        ({"group_sizes": [4, 0]}, "^group_sizes.1.: got 0, allowed are whole numbers from 1"),
        ({"group_sizes": "4,4"}, "^group_sizes: got '4,4', allowed"),
        ({"order": "spiral"}, "^order: got 'spiral', allowed are raster"),
        ({"guidance_scale": float("nan")}, "^guidance_scale: got nan, allowed"),
        ({"guidance_schedule": "cosine"}, "^guidance_schedule: got 'cosine', allowed are "),
        ({"temperature": -1}, "^temperature: got -1"),
        ({"top_k": -1}, "^top_k: got -1"),
        ({"top_p": 0.0}, "^top_p: got 0"),
        ({"seed": 2**32}, "^seed: got 4294967296, allowed are whole numbers from 0 to 4294967295"),
        ({"output_size": 4097}, "^output_size: got 4097, allowed are whole numbers from 1 to 4096"),
        ({"dtype": "float16"}, "^dtype: got 'float16', allowed are float32, bfloat16"),
        ({"proximity_threshold": -1.0}, "^proximity_threshold: got -1"),
        ({"repulsion_threshold": -1}, "^repulsion_threshold: got -1"),
    ],
)
def test_what_is_not_allowed_is_one_line_naming_it(choices, message):
    with pytest.raises(UserError, match=message) as error:
        Generation().updated(choices)
    assert "\n" not in str(error.value)


def test_errors_name_what_holds_the_choice():
    with pytest.raises(UserError, match="^config.json: generation.seeds: got an unknown field"):
        Generation().updated({"seeds": 3}, "config.json: generation")


@pytest.mark.parametrize(
    "generation",
    [
        Generation(),
        CHOSEN,
        Generation(group_sizes=(6, 10), top_k=3, top_p=0.5, seed=2**32 - 1, dtype="bfloat16"),
        Generation(output_size=256, proximity_threshold=0.5, repulsion_threshold=3),
    ],
)
def test_choices_come_back_from_their_mapping(generation):
    mapping = json.loads(json.dumps(generation.to_mapping()))
    assert from_mapping(Generation, mapping) == generation
    assert Generation().updated(mapping) == generation
    defaults = vars(Generation())
    assert all(mapping[name] != defaults[name] for name in mapping)


# Steps, guidance scale and repulsion threshold of the paper's tables 1 to 3.
@pytest.mark.parametrize(
    ("name", "asked", "published"),
    [
        ("lpd_l", None, (20, 4.8, 2)),
        ("lpd_l", 20, (20, 4.8, 2)),
        ("lpd_l", 32, (32, 5.4, 2)),
        ("lpd_xl", None, (20, 4.9, 2)),
        ("lpd_xl", 32, (32, 5.0, 2)),
        ("lpd_xxl", None, (20, 5.9, 3)),
        ("lpd_l_512", None, (48, 7.3, 4)),
        ("lpd_xl_512", None, (48, 6.0, 4)),
        # Another number of steps: the first setting, so far as it goes.
        ("lpd_l", 64, (64, 4.8, 2)),
        ("lpd_xl", 256, (256, 4.9, 2)),
        ("lpd_xxl", 32, (32, 5.9, 3)),
        ("lpd_xl_512", 20, (20, 6.0, 4)),
    ],
)
def test_lpd_is_drawn_from_as_its_authors_do(name, asked, published):
    generation = Generation.published(find_model(name), asked)
    chosen = (generation.num_steps, generation.guidance_scale, generation.repulsion_threshold)
    assert chosen == published
    assert (generation.order, generation.guidance_schedule) == ("locality", "linear")
    assert (generation.temperature, generation.top_k, generation.top_p) == (1.0, 0, 1.0)


# The paper's tables, at 384 pixels (2412.15119); none is published for the last.
PAR_SCALES = {
    "par_l_4x": 1.6,
    "par_xl_4x": 1.5,
    "par_xxl_4x": 1.435,
    "par_3b_4x": 1.345,
    "par_3b_16x": 1.5,
    "par_xxl_16x": 1.435,
}


@pytest.mark.parametrize("name", PAR_SCALES)
def test_par_is_drawn_from_as_its_authors_do(name):
    generation = Generation.published(find_model(name))
    assert generation.guidance_scale == PAR_SCALES[name]
    assert (generation.order, generation.guidance_schedule) == ("region", "constant")
    assert generation.output_size == 256  # drawn at 384
    with pytest.raises(UserError, match="^num_steps: got 20, allowed is [0-9]+: this PAR model"):
        Generation.published(find_model(name), 20)


@pytest.mark.parametrize("num_parallel", [1, 4, 16])
def test_clips_are_drawn_as_the_authors_of_par_do(num_parallel):
    generation = Generation.published(find_model(f"par_video_xl_{num_parallel}x"))
    assert (generation.guidance_scale, generation.top_k) == (1.15, 8000)
    assert (generation.output_size, generation.temperature) == (None, 1.0)


def test_a_size_of_no_paper_is_drawn_from_without_guidance():
    for config in (tiny.LPD, tiny.PAR):
        generation = Generation.published(config)
        assert (generation.guidance_scale, generation.num_steps) == (1.0, None)
    assert Generation.published(tiny.LPD, 5).num_steps == 5


@pytest.mark.parametrize("method", ["__call__", "generate_tokens", "request"])
def test_the_pipeline_takes_every_choice_in_order(method):
    function = getattr(Pipeline, method)
    taken = inspect.signature(function).parameters
    by_place = [name for name, one in taken.items() if one.kind is not one.KEYWORD_ONLY]
    assert by_place == ["self", "labels", *FIELDS]
    assert all(taken[name].default is None for name in FIELDS)
    assert all(f"{name}: {FIELDS[name].metadata['help']}" in function.__doc__ for name in FIELDS)
