"""Models beside each other: likelihoods, and what their rows say."""

import dataclasses

import numpy as np
import pytest

from lpd_jax.generation.request import make_request
from lpd_jax.models.settings import Generation
from lpd_jax.studies import draws, models_report, models_study
from lpd_jax.studies.likelihoods import Likelihoods
from lpd_jax.weights.directory_config import DirectoryConfig
from tests import tiny
from tests.study_rows import draw_of

LABELS = [0, 1, 2]
TOKENS = np.random.default_rng(0).integers(0, 32, (3, 16)).astype(np.int32)


def request_of(config, **choices):
    directory = DirectoryConfig(transformer=config, generation=Generation(order="raster"))
    return make_request(directory, LABELS, **choices)


def test_nats_are_the_mean_of_the_likelihoods_as_the_request_would_draw():
    params = tiny.random_params(tiny.LPD)
    request = request_of(tiny.LPD, order="halton", num_steps=4)
    judge = Likelihoods(tiny.LPD, params, TOKENS, np.array(LABELS, np.int32))
    wanted = judge.in_order(request.order, request.schedule, class_given=True).mean()
    for batch_size in (2, 3):
        nats = models_study.nats_per_token(tiny.LPD, params, TOKENS, request, batch_size)
        assert nats == pytest.approx(wanted, rel=1e-5)
    in_one_step = request_of(tiny.LPD, order="halton", num_steps=1)
    nats = models_study.nats_per_token(tiny.LPD, params, TOKENS, in_one_step, 3)
    assert nats != pytest.approx(wanted, rel=1e-3)


def test_tokens_of_one_step_do_not_see_each_other():
    """All at once, a token changes nothing but its own share; one by one, it changes others."""
    params = tiny.random_params(tiny.LPD)
    other = TOKENS.copy()
    other[:, 0] = (other[:, 0] + 1) % 32
    for num_steps in (1, 16):
        request = request_of(tiny.LPD, num_steps=num_steps)
        first, second = (
            Likelihoods(tiny.LPD, params, tokens, request.labels, 3).in_order(
                request.order, request.schedule, class_given=True
            )
            for tokens in (TOKENS, other)
        )
        same = np.isclose(first[:, 1:], second[:, 1:], atol=1e-5).all()
        assert same == (num_steps == 1)
        assert not np.allclose(first[:, 0], second[:, 0], atol=1e-3)


def test_rows_say_how_a_model_draws():
    row = models_study.describe_model(tiny.PAR, request_of(tiny.PAR, order="region"))
    assert row["method"] == "PAR" and row["num_steps"] == 7 and row["most_at_once"] == 4
    assert row["order"] == "region"
    assert (row["first_tokens"], row["inside_a_group"]) == ("one by one", "full")
    study = dataclasses.replace(tiny.PAR, sequential_start=False, group_attention="causal")
    row = models_study.describe_model(study, request_of(study, order="region"))
    assert (row["first_tokens"], row["inside_a_group"]) == ("at once", "causal")
    one = dataclasses.replace(tiny.PAR, num_parallel=1)
    row = models_study.describe_model(one, request_of(one))
    assert (row["method"], row["first_tokens"], row["inside_a_group"]) == ("LlamaGen", "-", "-")
    for config, words in ((tiny.RANDAR, "causal"), (tiny.ARPG, "blind")):
        row = models_study.describe_model(config, request_of(config))
        assert row["inside_a_group"] == words
    row = models_study.describe_model(tiny.LPD, request_of(tiny.LPD, num_steps=4))
    assert row["method"] == "LPD" and row["num_steps"] == 4 and row["order"] == "raster"


def test_rows_that_overlap_are_zipars_and_have_no_likelihood():
    one = dataclasses.replace(tiny.PAR, num_parallel=1)
    request = request_of(one, num_steps=10)
    assert models_study.describe_model(one, request)["method"] == "LlamaGen + ZipAR"
    assert models_study.nats_per_token(one, tiny.random_params(one), TOKENS, request) is None
    whole = request_of(one, num_steps=16)
    assert models_study.describe_model(one, whole)["method"] == "LlamaGen"


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("runs/lpd", ("lpd", "runs/lpd", None)),
        ("runs/llamagen@144", ("llamagen", "runs/llamagen", 144)),
        ("ZipAR=runs/llamagen@144", ("ZipAR", "runs/llamagen", 144)),
        ("avatars12", ("avatars12", "avatars12", None)),
    ],
)
def test_a_target_names_a_model_and_perhaps_its_label_and_steps(text, target):
    assert models_study.parse_target(text) == target


@pytest.mark.parametrize("text", ["=runs/lpd", "lpd=", "@20", "runs/lpd@", "runs/lpd@2.5"])
def test_a_target_that_cannot_be_read_is_named(text):
    with pytest.raises(ValueError, match="^models: got '.*', allowed are"):
        models_study.parse_target(text)


def study_of(config, **fields):
    row = draws.pool([draw_of(1.234)]) | {"name": "mine", "nats_per_token": 2.5}
    row |= models_study.describe_model(config, request_of(config, order=fields.pop("order")))
    row |= {"latency_seconds": 0.25, "parameters": 3_400_000, "training_flops": 2.5e9} | fields
    floor = {"name": "real", "num_images": 7, "frechet_distance": 0.25}
    return {"rows": [row], "floors": [floor], "protocol": {"seed": 3}}


def test_the_report_shows_every_row():
    study = study_of(tiny.PAR, order="region")
    causal = dataclasses.replace(tiny.PAR, sequential_start=False, group_attention="causal")
    study["rows"] += study_of(causal, order="region", nats_per_token=None)["rows"]
    text = models_report.markdown(study, "plot.png", "shown.png")
    assert (
        "| mine | PAR | region | one by one | full | 4 | 7 | 1.23 ± 0.05 | 50.0% | 2.500 |" in text
    )
    assert "| mine | PAR | region | at once | causal | 4 | 4 | 1.23 ± 0.05 | 50.0% | - |" in text
    assert "| 30.0 | 250 | 3.40 | 2.5 |" in text and "| real | 7 | 0.25 |" in text
    assert "(plot.png)" in text and "(shown.png)" in text and "- seed: 3" in text
    assert "Fréchet distance 1.23 ± 0.05" in models_report.summary(study["rows"][0])


def test_columns_that_tell_nothing_are_left_out():
    text = models_report.markdown(study_of(tiny.RANDAR, order="halton"), "plot.png", "shown.png")
    assert "| mine | RandAR | halton | " in text and "first tokens" not in text


def test_the_plot_has_every_row_with_its_spread():
    study = study_of(tiny.PAR, order="region")
    study["rows"] += study_of(tiny.RANDAR, order="random", latency_seconds=0.5)["rows"]
    (axes,) = models_report.make_figure(study).axes
    assert [text.get_text() for text in axes.texts] == [
        "mine, 7",
        f"mine, {study['rows'][1]['num_steps']}",
    ]
    bars = [container for container in axes.containers if container.has_yerr]
    assert [bar.lines[0].get_xdata().tolist() for bar in bars] == [[250.0], [500.0]]
    low, high = bars[0].lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((1.184, 1.284))
