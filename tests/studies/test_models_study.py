"""Models beside each other: likelihoods, and what their rows say."""

import dataclasses

import jax
import numpy as np
import pytest

from lpd_jax.generation.request import make_request
from lpd_jax.models.par import PAR
from lpd_jax.models.par_layout import par_order
from lpd_jax.studies import models_report, models_study
from tests import tiny

LABELS = [0, 1, 2]
TOKENS = np.random.default_rng(0).integers(0, 32, (3, 16)).astype(np.int32)


def request_of(config, **generation):
    directory = {"transformer": tiny.registry.config_to_dict(config), "generation": generation}
    return make_request(directory, LABELS)


def test_likelihoods_of_par_are_those_of_its_logits(monkeypatch):
    params = tiny.random_params(tiny.PAR)
    logits_BNV = PAR(tiny.PAR).apply({"params": params}, TOKENS, np.array(LABELS))
    log_probs_BNV = np.asarray(jax.nn.log_softmax(logits_BNV))
    targets_BN = TOKENS[:, par_order(tiny.PAR)]
    wanted = -np.take_along_axis(log_probs_BNV, targets_BN[..., None], axis=-1).mean()
    request = request_of(tiny.PAR)
    nats = models_study.nats_per_token(tiny.PAR, params, TOKENS, request)
    assert nats == pytest.approx(wanted, rel=1e-5)
    monkeypatch.setattr(models_study, "BATCH_SIZE", 2)
    nats = models_study.nats_per_token(tiny.PAR, params, TOKENS, request)
    assert nats == pytest.approx(wanted, rel=1e-5)


def test_likelihoods_of_lpd_depend_on_what_is_drawn_at_once():
    """All at once, only the class is known: other tokens change nothing but their own share."""
    params = tiny.random_params(tiny.LPD)
    at_once = request_of(tiny.LPD, order="raster", num_steps=1)
    one_by_one = request_of(tiny.LPD, order="raster", num_steps=16)
    other = TOKENS.copy()
    other[:, 0] = (other[:, 0] + 1) % 32

    def differences(request):
        nats = models_study.likelihood_function(tiny.LPD, request)
        order_BN = np.asarray(request.order)
        rolled = [nats(params, tokens, request.labels, order_BN) for tokens in (TOKENS, other)]
        return np.asarray(rolled[1] - rolled[0])

    logits = models_study.likelihood_function(tiny.LPD, at_once)
    constant = np.full((3, 16), 5, np.int32)
    first = constant.copy()
    first[:, 0] = 6
    order_BN = np.asarray(at_once.order)
    second = first.copy()
    second[:, 1] = 7
    steps = [
        np.asarray(logits(params, x, at_once.labels, order_BN)) for x in (constant, first, second)
    ]
    alone = constant.copy()
    alone[:, 1] = 7
    only_second = np.asarray(logits(params, alone, at_once.labels, order_BN))
    # Shares add up where tokens do not see each other.
    np.testing.assert_allclose(steps[2] - steps[1], only_second - steps[0], atol=1e-5)
    assert not np.allclose(differences(at_once), differences(one_by_one), atol=1e-3)


def test_rows_say_how_a_model_draws():
    row = models_study.describe_model(tiny.PAR, request_of(tiny.PAR), "region")
    assert row["method"] == "PAR" and row["num_steps"] == 7 and row["most_at_once"] == 4
    assert (row["first_tokens"], row["inside_a_group"]) == ("one by one", "full")
    study = dataclasses.replace(tiny.PAR, sequential_start=False, group_attention="causal")
    row = models_study.describe_model(study, request_of(study), "region")
    assert (row["first_tokens"], row["inside_a_group"]) == ("at once", "causal")
    one = dataclasses.replace(tiny.PAR, num_parallel=1)
    row = models_study.describe_model(one, request_of(one), "raster")
    assert (row["method"], row["first_tokens"], row["inside_a_group"]) == ("LlamaGen", "-", "-")
    row = models_study.describe_model(tiny.LPD, request_of(tiny.LPD, num_steps=4), "locality")
    assert row["method"] == "LPD" and row["num_steps"] == 4


def test_the_report_shows_every_row():
    row = {"name": "mine", "frechet_distance": 1.234, "standard_deviation": 0.05}
    row |= {"class_agreement": 0.5, "nats_per_token": 2.5, "draw_seconds": 3.0, "num_images": 100}
    row |= models_study.describe_model(tiny.PAR, request_of(tiny.PAR), "region")
    floor = {"name": "real", "num_images": 7, "frechet_distance": 0.25}
    study = {"rows": [row], "floors": [floor], "protocol": {"seed": 3}}
    text = models_report.markdown(study, "shown.png")
    assert (
        "| mine | PAR | region | one by one | full | 4 | 7 | 1.23 ± 0.05 | 50.0% | 2.500 |" in text
    )
    assert "| 30.0 |" in text and "| real | 7 | 0.25 |" in text
    assert "(shown.png)" in text and "- seed: 3" in text
    assert "Fréchet distance 1.23 ± 0.05" in models_report.summary(row)
