"""PAR on clips against tests/golden/par_video_dev.npz: no code was released, README_video says how.

The tables are those of the paper as read there; the logits are the official model's with them.
"""

import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lpd_jax.decoding.order import make_order
from lpd_jax.decoding.sampling import Guidance, Sampling
from lpd_jax.decoding.scan import to_raster
from lpd_jax.decoding.step_table import causal_group_mask
from lpd_jax.generation.generate import generate_ranked_tokens, image_keys
from lpd_jax.models.par import PAR
from lpd_jax.models.par_layout import (
    PARConfig,
    par_order,
    par_schedule,
    rope_table,
    slot_mask,
    slot_ranks,
)
from lpd_jax.models.rotary import axis_pairs, cell_rope
from lpd_jax.weights.from_torch.conversion import from_torch, to_torch_names

GOLDEN = dict(np.load(pathlib.Path(__file__).parents[1] / "golden" / "par_video_dev.npz"))
CASES = [name.removesuffix("/order") for name in GOLDEN if name.endswith("/order") and "_n" in name]


def config_of(case: str, head_dim: int = 64) -> PARConfig:
    grid, n = case.split("_n")
    grid_size = tuple(map(int, grid.split("x")))
    return PARConfig(1, head_dim, 1, num_parallel=int(n), grid_size=grid_size)


@functools.cache
def converted():
    weights = {name[6:]: array for name, array in GOLDEN.items() if name.startswith("lm/sd/")}
    grid = tuple(int(GOLDEN[f"lm/meta/{side}"]) for side in ("frames", "height", "width"))
    config, params = from_torch(weights, int(GOLDEN["lm/meta/n_head"]), grid)
    return config, jax.tree.map(jnp.asarray, params)


@pytest.mark.parametrize("case", CASES)
def test_orders_steps_masks_and_slots(case):
    config = config_of(case)
    n, num_tokens = config.num_parallel, config.num_tokens
    np.testing.assert_array_equal(par_order(config), GOLDEN[f"{case}/order"])
    schedule = par_schedule(config)
    np.testing.assert_array_equal(schedule.group_sizes, GOLDEN[f"{case}/step_sizes"])
    order_BN = make_order("region", config.grid_size, schedule, num_orders=2, num_regions=n)
    np.testing.assert_array_equal(order_BN, np.tile(GOLDEN[f"{case}/order"], (2, 1)))
    wanted = GOLDEN[f"{case}/mask"][:num_tokens, :num_tokens]
    np.testing.assert_array_equal(causal_group_mask(schedule), wanted)
    np.testing.assert_array_equal(slot_mask(config), wanted)
    ranks = slot_ranks(config)
    cells = np.stack(np.unravel_index(par_order(config)[ranks], config.grid_size), axis=-1)
    places = np.where(ranks[:, None] < 0, -1, cells)
    np.testing.assert_array_equal(places, GOLDEN[f"{case}/slot_positions"][:num_tokens])


def test_steps_are_the_published_ones():
    steps = {n: par_schedule(config_of(f"5x16x16_n{n}")).num_steps for n in (1, 4, 16)}
    assert steps == {1: 1280, 4: 323, 16: 95}


@pytest.mark.parametrize("head_dim", [64, 48])
def test_pairs_of_a_head_turn_with_time_rows_and_columns(head_dim):
    pairs = axis_pairs(3, head_dim)
    assert list(pairs) == GOLDEN[f"split/hd{head_dim}"].tolist()
    for axis, name in enumerate("tyx"):
        grid = [1, 1, 1]
        grid[axis] = 32
        start = sum(pairs[:axis])
        table = cell_rope(tuple(grid), head_dim)[:, start : start + pairs[axis]]
        angles = GOLDEN[f"axis/hd{head_dim}_{name}_angle"]
        np.testing.assert_allclose(table[..., 0], np.cos(angles), atol=1e-5)
        np.testing.assert_allclose(table[..., 1], np.sin(angles), atol=1e-5)


@pytest.mark.parametrize("name", ["5x8x8_n4/rope_hd64", "5x8x8_n4/rope_hd48", "3x4x8_n4/rope_hd64"])
def test_rotary_tables_of_slots(name):
    config = config_of(name.split("/")[0], int(name[-2:]))
    np.testing.assert_allclose(rope_table(config), GOLDEN[name][: config.num_tokens], atol=1e-6)


def test_a_clip_of_one_frame_is_drawn_as_the_picture():
    clip, picture = config_of("1x8x8_n4"), config_of("8x8_n4")
    np.testing.assert_array_equal(par_order(clip), par_order(picture))
    np.testing.assert_array_equal(slot_mask(clip), slot_mask(picture))
    assert par_schedule(clip) == par_schedule(picture)


def test_training_logits_loss_and_gradients():
    config, params = converted()
    tokens_BN = jnp.asarray(GOLDEN["lm/tokens"], jnp.int32)
    targets_BN = jnp.asarray(GOLDEN["lm/tokens_genorder"])
    np.testing.assert_allclose(rope_table(config), GOLDEN["lm/rope"][:80], atol=1e-6)

    def loss(params, labels_B):
        logits_BNV = PAR(config).apply({"params": params}, tokens_BN, labels_B)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits_BNV, targets_BN)
        return losses.mean(), logits_BNV

    run = jax.jit(jax.value_and_grad(loss, has_aux=True))
    labels_B = jnp.asarray(GOLDEN["lm/labels"], jnp.int32)
    for name, given_B in (
        ("lm/train_null", jnp.full_like(labels_B, config.null_class)),
        ("lm/train", labels_B),
    ):
        (loss_value, logits_BNV), grads = run(params, given_B)
        np.testing.assert_allclose(logits_BNV, GOLDEN[f"{name}/logits"], atol=1e-4)
        np.testing.assert_allclose(loss_value, GOLDEN[f"{name}/loss"], atol=1e-5)
    np.testing.assert_allclose(
        optax.tree.norm(grads), GOLDEN["lm/train/grad_global_norm"], rtol=1e-4
    )
    got = to_torch_names(config, grads)
    for name in [name for name in GOLDEN if name.startswith("lm/grad/")]:
        np.testing.assert_allclose(got[name[8:]], GOLDEN[name], atol=1e-5, err_msg=name)


@pytest.mark.parametrize("scale", [1, 2])
def test_cached_argmax_decoding(scale):
    config, params = converted()
    order_BN = np.tile(par_order(config), (2, 1))
    tokens_BN, logits_BNV = generate_ranked_tokens(
        config,
        params,
        jnp.asarray(GOLDEN["lm/labels"], jnp.int32),
        jnp.asarray(order_BN),
        image_keys(0, 0, 2),
        schedule=par_schedule(config),
        sampling=Sampling.make(temperature=0),
        guidance=Guidance.make(scale, "constant"),
        keep_logits=True,
    )
    run = f"lm/decode/cfg{scale}"
    np.testing.assert_array_equal(tokens_BN, GOLDEN[f"{run}/tokens_genorder"])
    np.testing.assert_array_equal(to_raster(tokens_BN, order_BN), GOLDEN[f"{run}/tokens"])
    np.testing.assert_allclose(logits_BNV, GOLDEN[f"{run}/logits"], atol=1e-4)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("grid_size", (5, 6, 16), "num_parallel: got 16, allowed are squares whose root divides"),
        ("grid_size", (5, 8, 8, 8), r"grid_size: got \(5, 8, 8, 8\), allowed is \(height"),
        ("num_heads", 16, "multiples of 2, of at least 6"),
    ],
)
def test_what_no_clip_is_drawn_with_is_named(field, value, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(config_of("5x16x16_n16"), **{field: value})
