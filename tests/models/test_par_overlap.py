"""ZipAR: LlamaGen with overlapping rows, against one pass over all rows under a mask."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest

import lpd_jax
from lpd_jax.decoding.sampling import Guidance, Sampling
from lpd_jax.decoding.scan import to_raster
from lpd_jax.decoding.wavefront import step_of_cell, wavefront_order, wavefront_schedule
from lpd_jax.generation.generate import generate_ranked_tokens, image_keys
from lpd_jax.models.family import transformer_of
from lpd_jax.models.par import PAR
from lpd_jax.models.par_family import PARFamily
from lpd_jax.models.par_layout import PAR_MODELS
from lpd_jax.models.par_overlap import make_plan
from lpd_jax.models.rotary import cell_rope
from lpd_jax.models.settings import Generation
from tests import tiny

LLAMAGEN = dataclasses.replace(tiny.PAR, num_parallel=1)
UNGUIDED = Guidance.make()
WIDE = dataclasses.replace(LLAMAGEN, grid_size=(5, 6))  # W is not H
CLIP = dataclasses.replace(LLAMAGEN, grid_size=(2, 3, 4))


def draw(config, num_steps, guidance=UNGUIDED, **choices):
    family, labels_B = transformer_of(config), np.array([0, 2], np.int32)
    schedule = family.schedule(num_steps)
    order_BN = family.orders(None, schedule, 2)
    ranked_BN, logits_BNV = generate_ranked_tokens(
        config,
        tiny.random_params(config),
        labels_B,
        order_BN,
        image_keys(0, 0, 2),
        schedule=schedule,
        sampling=Sampling.make(),
        guidance=guidance,
        keep_logits=True,
        **choices,
    )
    return np.asarray(to_raster(ranked_BN, order_BN)), logits_BNV


def reference_logits(config, window, tokens_BN, labels_B):
    """Logits in generation order, all steps in one pass.

    Rows are the class, all tokens but the last, and for each row that begins early one that stands
    in. A row sees what was drawn before the step that fed it, and is not behind it.
    """
    *rows, width = config.grid_size
    height = math.prod(rows)
    step_N, num_tokens = step_of_cell(config.grid_size, window), height * width
    early = [row for row in range(2, height) if step_N[row * width - 1] >= step_N[row * width]]
    stand_ins = []  # (cell whose token it has, cell that it stands for, step)
    for row in early:
        step = step_N[row * width]
        above = [c for c in range((row - 2) * width, (row - 1) * width) if step_N[c] < step]
        stand_ins.append((above[-1], row * width - 1, step))
    # Cell -1 is the class: there before step 0, which feeds it.
    cells = np.array([-1, *range(num_tokens), *(stands_for for _, stands_for, _ in stand_ins)])
    fed = np.array([0, *(step_N + 1), *(step for _, _, step in stand_ins)])
    drawn = np.array([-1, *step_N, *[10**6] * len(stand_ins)])
    mask_TT = (cells[None] <= cells[:, None]) & (drawn[None] < fed[:, None])
    mask_TT |= np.eye(len(cells), dtype=bool)
    params = tiny.random_params(config)
    model = PAR(config).bind({"params": params})
    held = np.array([0, *range(num_tokens), *(cell for cell, _, _ in stand_ins)])
    x_BTD = params["token_embed"][tokens_BN[:, held]]
    x_BTD[:, 0] = params["class_embed"][labels_B]
    rope_TK2 = cell_rope(config.grid_size, config.embed_dim // config.num_heads)[cells]
    rope_TK2[0] = 0
    x_BTD, _ = model.blocks(jnp.asarray(x_BTD), mask_TT, rope_TK2, False)
    logits_BTV = model.head(model.norm(x_BTD))
    row_of = {cell: cell for cell in range(num_tokens)}  # the row before a cell's, class in front
    row_of |= {row * width: 1 + num_tokens + i for i, row in enumerate(early)}
    order_N = wavefront_order(config.grid_size, window)
    return logits_BTV[:, [row_of[cell] for cell in order_N.tolist()]]


@pytest.mark.parametrize("config", [LLAMAGEN, WIDE, CLIP], ids=["4x4", "5x6", "2x3x4"])
@pytest.mark.parametrize("window", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 3))])
def test_it_draws_what_one_masked_pass_predicts(config, window):
    num_steps = wavefront_schedule(config.grid_size, window).num_steps
    tokens_BN, logits_BNV = draw(config, num_steps)
    want_BNV = reference_logits(config, window, tokens_BN, np.array([0, 2]))
    np.testing.assert_allclose(logits_BNV, want_BNV, atol=1e-4)


@pytest.mark.slow
def test_padding_and_guidance_change_nothing():
    num_steps = wavefront_schedule((5, 6), 2).num_steps
    tokens_BN, logits_BNV = draw(WIDE, num_steps, num_segments=3)
    exact_BN, exact_BNV = draw(WIDE, num_steps, num_segments=6)
    np.testing.assert_array_equal(tokens_BN, exact_BN)
    np.testing.assert_allclose(logits_BNV, exact_BNV, atol=1e-5)
    guided_BN, guided_BNV = draw(WIDE, num_steps, Guidance.make(2.0, "constant"))
    labels_B, null_B = np.array([0, 2]), np.full(2, WIDE.null_class)
    cond_BNV, null_BNV = (reference_logits(WIDE, 2, guided_BN, x) for x in (labels_B, null_B))
    np.testing.assert_allclose(guided_BNV, null_BNV + 2 * (cond_BNV - null_BNV), atol=1e-4)


@pytest.mark.slow
def test_as_many_steps_as_tokens_are_plain_raster_order():
    tokens_BN, logits_BNV = draw(LLAMAGEN, 16)
    same_BN, same_BNV = draw(LLAMAGEN, None)
    np.testing.assert_array_equal(tokens_BN, same_BN)
    np.testing.assert_allclose(
        logits_BNV, reference_logits(LLAMAGEN, 4, tokens_BN, np.array([0, 2])), atol=1e-4
    )


def test_what_stands_in_is_what_the_released_code_takes():
    """Of the row above the one that is not done, the last token that it has by then."""
    plan = make_plan((5, 6), 2)
    order_N = wavefront_order((5, 6), 2).tolist()
    slots = {cell: rank + 1 for rank, cell in enumerate(order_N)}
    begins = [rank for rank, cell in enumerate(order_N) if plan.left_slot[rank] == -1]
    assert [order_N[rank] for rank in begins] == [12, 18, 24]
    # Row 0 is whole; of rows 1 and 2 there are twice the window.
    wanted = [slots[5], slots[6 + 3], slots[12 + 3]]
    assert plan.stand_in_slot[begins].tolist() == wanted
    assert plan.stand_in_cell[begins].tolist() == [11, 17, 23]
    assert (np.delete(plan.left_slot, begins) >= 0).all()


def test_a_step_feeds_one_row_more_than_it_fed_back():
    family = transformer_of(PAR_MODELS["llamagen_l"])
    schedule = family.schedule(400)
    rows = family.count_rows(schedule)
    assert rows.exact == 576 + 22 and rows.padded >= 576 + 400
    assert family.decoding_flops(schedule) > 0
    assert family.count_rows(family.schedule()).padded == 576


@pytest.mark.slow
def test_it_is_asked_for_by_its_number_of_steps(tmp_path):
    path = tiny.write_model_directory(
        tmp_path / "llamagen", transformer=LLAMAGEN, order="raster", num_steps=None
    )
    pipe = lpd_jax.Pipeline.from_pretrained(path)
    num_steps = wavefront_schedule((4, 4), 2).num_steps  # 12
    few_BN = pipe.generate_tokens([0, 1], num_steps=num_steps)
    assert few_BN.shape == (2, 16) and (few_BN != pipe.generate_tokens([0, 1])).any()
    sizes = wavefront_schedule((4, 4), 2).group_sizes
    np.testing.assert_array_equal(pipe.generate_tokens([0, 1], group_sizes=sizes), few_BN)
    with pytest.raises(
        ValueError,
        match="^num_steps: got 11, allowed are 16, a token at a time, and 10, 12, 14, with rows",
    ):
        pipe.generate_tokens([0, 1], num_steps=11)
    assert Generation.published(LLAMAGEN, num_steps).num_steps == num_steps


def test_other_pars_know_one_schedule():
    for config in (tiny.PAR, dataclasses.replace(LLAMAGEN, num_regions=4)):
        family = PARFamily(config)
        with pytest.raises(ValueError, match="^num_steps: got 12, allowed is"):
            family.schedule(12)
        with pytest.raises(ValueError, match="^group_sizes: got .*, allowed are this PAR"):
            family.schedule(None, wavefront_schedule((4, 4), 2).group_sizes)
