"""Cached decoding with the transformer: the official tokens, and the teacher-forced logits."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.decoding.sampling import Guidance, Sampling
from lpd_jax.decoding.scan import Known, to_raster
from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.decoding.step_table import make_step_table
from lpd_jax.generation import generate
from lpd_jax.generation.generate import generate_ranked_tokens, image_keys
from lpd_jax.images import to_model_range, to_uint8
from lpd_jax.models.lpd import LPD, LPDConfig
from lpd_jax.models.pixels import encode_images
from lpd_jax.models.vq_tokenizer import VQTokenizer
from lpd_jax.weights.from_torch.conversion import from_torch
from tests import compilations, tiny

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
SCHEDULE = GroupSchedule((1, 3, 5, 7))
GREEDY, ONE, UNGUIDED = Sampling.make(0), Sampling.make(), Guidance.make()


@pytest.fixture(scope="module")
def golden():
    # Made by running the official code on a small random model. It changes only with that code.
    return dict(np.load(GOLDEN / "lpd_tiny16.npz"))


@pytest.fixture(scope="module")
def golden_model(golden):
    return from_torch({k[3:]: x for k, x in golden.items() if k.startswith("sd/")}, num_heads=4)


@pytest.fixture(scope="module")
def params():
    return tiny.random_params(tiny.LPD)


def batch(size: int, config: LPDConfig = tiny.LPD, seed: int = 0):
    """(labels, order, keys) of images 0, 1, ...; the first ones do not depend on how many."""
    orders = [np.random.default_rng((seed, i)).permutation(config.num_tokens) for i in range(size)]
    labels_B = np.arange(size, dtype=np.int32) % config.num_classes
    return labels_B, np.array(orders, np.int32), image_keys(seed, 0, size)


def decode(params, *rows, config=tiny.LPD, schedule=SCHEDULE, **choices):
    """Ranked tokens and logits, as NumPy arrays."""
    choices = {"sampling": ONE, "guidance": UNGUIDED, "keep_logits": True, **choices}
    return jax.device_get(
        generate_ranked_tokens(config, params, *rows, schedule=schedule, **choices)
    )


def teacher_forced(config, params, ranked_BN, labels_B, order_BN, schedule, dtype=jnp.float32):
    """Logits of the same tokens in one pass."""
    inputs = (to_raster(ranked_BN, order_BN), labels_B, order_BN, schedule.group_of_rank())
    apply = jax.jit(lambda params, *inputs: LPD(config, dtype).apply({"params": params}, *inputs))
    return np.asarray(apply(params, *inputs))


@pytest.mark.parametrize(
    ("run", "num_segments"),
    [
        ("cfg1_linear", 1),
        ("cfg1_constant", 1),
        ("cfg1_linear_nolabel", 4),
        ("cfg3_linear", 2),
        ("cfg3_constant", 2),
    ],
)
def test_argmax_decoding_is_the_official_one(golden, golden_model, run, num_segments):
    config, params = golden_model
    labels_B = golden["labels"].astype(np.int32)
    if run.endswith("nolabel"):
        labels_B = np.full_like(labels_B, config.null_class)
    scale, name = float(run[3]), run.split("_")[1]
    order_BN = golden["orders"].astype(np.int32)
    tokens_BN, logits_BNV = decode(
        params,
        labels_B,
        order_BN,
        image_keys(0, 0, 2),
        config=config,
        sampling=GREEDY,
        guidance=Guidance.make(scale, name),
        num_segments=num_segments,
    )
    np.testing.assert_array_equal(tokens_BN, golden[f"decode/{run}/tokens_genorder"])
    np.testing.assert_array_equal(to_raster(tokens_BN, order_BN), golden[f"decode/{run}/tokens"])
    np.testing.assert_allclose(logits_BNV, golden[f"decode/{run}/logits"], atol=1e-4)


@pytest.mark.parametrize(
    ("grid_size", "sizes", "num_segments"),
    [
        ((3, 5), (7, 1, 1, 6), 2),
        ((1, 5), (5,), None),
    ],
)
def test_sampled_logits_are_the_teacher_forced_ones(grid_size, sizes, num_segments):
    config = LPDConfig(2, 16, 2, 2, grid_size, codebook_size=32, num_classes=3)
    params, schedule = tiny.random_params(config), GroupSchedule(sizes)
    labels_B, order_BN, keys_B = batch(3, config)
    tokens_BN, logits_BNV = decode(
        params,
        *(labels_B, order_BN, keys_B),
        config=config,
        schedule=schedule,
        num_segments=num_segments,
        sampling=Sampling.make(2.0, 20, 0.95),
    )
    want_BNV = teacher_forced(config, params, tokens_BN, labels_B, order_BN, schedule)
    np.testing.assert_allclose(logits_BNV, want_BNV, atol=2e-5)
    assert len(np.unique(tokens_BN)) > 3


@pytest.mark.parametrize(("num_known", "most_known"), [(1, 1), (6, 9)])
def test_known_tokens_are_one_group_of_the_teacher_forced_pass(params, num_known, most_known):
    labels_B, order_BN, keys_B = batch(3)
    true_BN = np.random.default_rng(5).integers(0, 32, (3, 16), dtype=np.int32)
    schedule = GroupSchedule((1, 3, 12 - num_known))
    known = Known(true_BN[:, :most_known], make_step_table(schedule, num_known))
    tokens_BN, logits_BRV = decode(
        params, labels_B, order_BN, keys_B, schedule=schedule, known=known, num_segments=2
    )
    np.testing.assert_array_equal(tokens_BN[:, :num_known], true_BN[:, :num_known])
    together = GroupSchedule((num_known, *schedule.group_sizes))
    want_BNV = teacher_forced(tiny.LPD, params, tokens_BN, labels_B, order_BN, together)
    np.testing.assert_allclose(logits_BRV, want_BNV[:, num_known:], atol=2e-5)
    # What lies behind the known tokens is padding.
    other = known._replace(
        tokens_BK=np.where(np.arange(most_known) < num_known, true_BN[:, :most_known], 0)
    )
    again_BN, _ = decode(
        params, labels_B, order_BN, keys_B, schedule=schedule, known=other, num_segments=2
    )
    np.testing.assert_array_equal(again_BN, tokens_BN)


def test_par_knows_no_known_tokens():
    rows = batch(1, tiny.PAR)
    known = Known(np.zeros((1, 4), np.int32), make_step_table(SCHEDULE, 4))
    with pytest.raises(ValueError, match="known: got tokens, .* PAR draws in one order only"):
        decode(tiny.random_params(tiny.PAR), *rows, config=tiny.PAR, known=known)


def test_one_token_a_step_in_raster_order_is_next_token_decoding():
    config = LPDConfig(2, 16, 2, 2, (2, 3), codebook_size=32, num_classes=3)
    params, schedule = tiny.random_params(config), GroupSchedule((1,) * 6)
    labels_B, _, keys_B = batch(3, config)
    order_BN = np.tile(np.arange(6, dtype=np.int32), (3, 1))
    rows = (labels_B, order_BN, keys_B)
    tokens_BN, _ = decode(params, *rows, config=config, schedule=schedule, sampling=GREEDY)
    forward = jax.jit(
        lambda tokens_BN: LPD(config).apply(
            {"params": jax.device_put(params)}, tokens_BN, labels_B, order_BN, np.arange(6)
        )
    )
    plain_BN = np.zeros((3, 6), np.int32)
    for position in range(6):
        plain_BN[:, position] = forward(plain_BN)[:, position].argmax(-1)
    np.testing.assert_array_equal(tokens_BN, plain_BN)


@pytest.mark.slow
def test_choices_without_effect(params):
    rows = batch(3)
    greedy_BN, greedy_logits_BNV = decode(params, *rows, sampling=GREEDY)
    np.testing.assert_array_equal(
        decode(params, *rows, sampling=Sampling.make(top_k=1))[0], greedy_BN
    )
    constant_BN, logits_BNV = decode(
        params, *rows, sampling=GREEDY, guidance=Guidance.make(1, "constant")
    )
    np.testing.assert_array_equal(constant_BN, greedy_BN)
    np.testing.assert_array_equal(logits_BNV, greedy_logits_BNV)
    # More codes kept than there are.
    sampled_BN = decode(params, *rows)[0]
    np.testing.assert_array_equal(
        decode(params, *rows, sampling=Sampling.make(top_k=99))[0], sampled_BN
    )
    assert (sampled_BN != greedy_BN).any()


def test_what_is_data_does_not_compile_again(params):
    # A schedule that no other test has, so that nothing is compiled yet.
    schedule = GroupSchedule((2, 2, 5, 7))
    outputs = []
    for seed, label, temperature, top_p, scale in (
        (0, 0, 1.0, 0.9, 2.0),
        (1, 0, 1.0, 0.9, 2.0),
        (1, 1, 1.0, 0.9, 2.0),
        (1, 1, 3.0, 0.8, 2.0),
        (1, 1, 3.0, 0.8, 5),
    ):
        labels_B, order_BN, keys_B = batch(3, seed=seed)
        with compilations.counted() as compiled:
            tokens_BN, _ = decode(
                params,
                np.full_like(labels_B, label),
                order_BN,
                keys_B,
                schedule=schedule,
                sampling=Sampling.make(temperature, 0, top_p),
                guidance=Guidance.make(scale),
            )
        assert bool(compiled) == (not outputs)
        outputs.append(tokens_BN.tobytes())
    assert len(set(outputs)) == 5  # and each of them matters


def test_bfloat16_decodes_as_it_trains(params):
    labels_B, order_BN, keys_B = batch(3)
    tokens_BN, logits_BNV = decode(params, labels_B, order_BN, keys_B, dtype=jnp.bfloat16)
    assert logits_BNV.dtype == np.float32
    inputs = (tokens_BN, labels_B, order_BN, SCHEDULE)
    half_BNV = teacher_forced(tiny.LPD, params, *inputs, dtype=jnp.bfloat16)
    full_BNV = teacher_forced(tiny.LPD, params, *inputs)
    np.testing.assert_allclose(logits_BNV, half_BNV, atol=0.1)
    # As far from float32 as the training pass is, and not equal to it.
    errors = [np.abs(x_BNV - full_BNV).mean() for x_BNV in (logits_BNV, half_BNV)]
    assert 0.5 < errors[0] / errors[1] < 2


def sub_jaxpr(value):
    """The jaxpr in a parameter of an equation, or None."""
    inner = getattr(value, "jaxpr", value)
    return inner if hasattr(inner, "eqns") else None


def every_equation(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for inner in filter(None, map(sub_jaxpr, equation.params.values())):
            yield from every_equation(inner)


def scan_bodies(jaxpr):
    """The bodies of all scans, those of scans inside them left out."""
    for equation in every_equation(jaxpr):
        if equation.primitive.name == "scan":
            yield equation.params["jaxpr"].jaxpr


@pytest.mark.parametrize("num_known", [0, 4])
@pytest.mark.parametrize(
    "config", [tiny.LPD, tiny.RANDAR, tiny.ARPG], ids=["lpd", "randar", "arpg"]
)
def test_no_step_copies_the_cache_or_slices_weights(config, num_known):
    rows, params = batch(3), tiny.random_params(config)
    known = Known(np.zeros((3, 4), np.int32), make_step_table(SCHEDULE, 4)) if num_known else None
    choices = {"schedule": SCHEDULE, "sampling": GREEDY, "guidance": UNGUIDED, "num_segments": 2}
    traced = generate_ranked_tokens.trace(config, params, *rows, known=known, **choices)
    stacked = {leaf.shape for leaf in jax.tree.leaves(params["blocks"])}
    bodies = list(scan_bodies(traced.jaxpr.jaxpr))
    assert len(bodies) == (3 if num_known else 2)
    # Known tokens are fed by a scan of one step, whose rows are all the slots there are.
    for body in bodies[1:] if num_known else bodies:
        caches = {v.aval.shape for v in body.invars if len(v.aval.shape) >= 4}
        (shape,) = caches
        if len(shape) == 5:  # a slot has two rows, which are looked at one behind the other
            caches.add((*shape[:2], 2 * shape[2], shape[-1]))
        uses = set()
        for equation in every_equation(body):
            shapes = {getattr(v.aval, "shape", ()) for v in equation.invars}
            assert not stacked & shapes  # layers are taken apart before the loop
            if caches & shapes and not any(map(sub_jaxpr, equation.params.values())):
                uses.add(equation.primitive.name)
        assert uses - {"reshape"} == {"dynamic_update_slice", "dot_general"}


def test_memory_does_not_grow_with_steps(params):
    # As wide, as many slots: twice the steps.
    short, long = (
        generate_ranked_tokens.lower(
            tiny.LPD,
            params,
            *batch(16),
            schedule=GroupSchedule(sizes),
            sampling=GREEDY,
            guidance=UNGUIDED,
            num_segments=1,
        ).compile()
        for sizes in ((4, 4, 8), (4, 1, 1, 1, 1, 8))
    )
    memory = [x.memory_analysis().temp_size_in_bytes for x in (short, long)]
    assert 0 < memory[1] < 1.02 * memory[0]


def test_pictures_are_the_decoded_tokens(params):
    tokenizer_params = tiny.random_params(tiny.VQ)
    choices = {"schedule": SCHEDULE, "sampling": ONE, "guidance": UNGUIDED}
    labels_B, order_BN, keys_B = batch(3)
    images_BHWC, tokens_BN = generate.generate_images(
        tiny.LPD, params, tiny.VQ, tokenizer_params, labels_B, order_BN, keys_B, **choices
    )
    assert images_BHWC.shape == (3, 8, 8, 3) and images_BHWC.dtype == jnp.uint8
    ranked_BN, _ = decode(params, labels_B, order_BN, keys_B)
    np.testing.assert_array_equal(np.take_along_axis(tokens_BN, order_BN, axis=1), ranked_BN)
    tokenizer = VQTokenizer(tiny.VQ).bind({"params": jax.device_put(tokenizer_params)})
    tokens_BHW = np.asarray(tokens_BN).reshape(3, 4, 4)
    want_BHWC = to_uint8(jax.jit(tokenizer.decode)(tokens_BHW)).astype(int)
    assert np.abs(want_BHWC - np.asarray(images_BHWC, int)).max() <= 1
    encoded_BN = encode_images(tiny.VQ, tokenizer_params, images_BHWC)
    want_BHW = jax.jit(tokenizer.encode)(to_model_range(images_BHWC))
    np.testing.assert_array_equal(encoded_BN, np.reshape(want_BHW, (3, 16)))
