"""What holds for every registered family: one set of properties, no family left out.

Adding a family adds a tiny config to TRANSFORMERS or TOKENIZERS below, and nothing else here.
"""

import functools
import math
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from lpd_jax.decoding.sampling import Guidance, Sampling
from lpd_jax.decoding.scan import Known
from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.decoding.step_table import make_step_table
from lpd_jax.generation.generate import generate_ranked_tokens, generate_tokens, image_keys
from lpd_jax.models.family import (
    config_from_dict,
    config_to_dict,
    families,
    family_of,
    is_tokenizer,
    published_models,
    tokenizer_of,
    transformer_of,
)
from lpd_jax.models.parameters import abstract_params, count_params, init_params
from lpd_jax.models.pixels import decode_images, encode_images
from lpd_jax.models.settings import Generation
from lpd_jax.models.tokenizer_family import ENCODE_PRECISIONS
from lpd_jax.models.transformer_family import TeacherForced
from lpd_jax.weights.parameters import check_same_shapes, shapes_of, wanted_shapes
from tests import tiny

TRANSFORMERS = {"lpd": tiny.LPD, "par": tiny.PAR, "randar": tiny.RANDAR, "arpg": tiny.ARPG}
TOKENIZERS = {"vq": tiny.VQ, "video": tiny.VIDEO, "video_pictures": tiny.VIDEO_PICTURES}
GRIDS = {
    "vq": ((4, 4), (2, 5)),
    "video": ((2, 2, 3),),
    "video_pictures": ((2, 5),),
}
ANY_ORDER = [name for name, config in TRANSFORMERS.items() if transformer_of(config).any_order]
BATCH = 3
UNGUIDED, GUIDED = Guidance.make(), Guidance.make(3.0)

every_transformer = pytest.mark.parametrize("name", TRANSFORMERS)
# Of what all families share the code for; the others' turn comes at night.
every_transformer_at_night = pytest.mark.parametrize(
    "name",
    [
        name if name in ("lpd", "par") else pytest.param(name, marks=pytest.mark.slow)
        for name in TRANSFORMERS
    ],
)
every_tokenizer = pytest.mark.parametrize("name", TOKENIZERS)
every_tokenizer_at_night = pytest.mark.parametrize(
    "name",
    [name if name == "vq" else pytest.param(name, marks=pytest.mark.slow) for name in TOKENIZERS],
)


@functools.cache
def weights(name):
    config = TRANSFORMERS[name] if name in TRANSFORMERS else TOKENIZERS[name]
    return config, tiny.random_params(config)


@functools.cache
def draw(name, batch=BATCH, seed=0, **choices):
    """Tokens of every image in generation order and their logits, the same order for all calls."""
    config, params = weights(name)
    family = transformer_of(config)
    schedule = family.schedule()
    choices = {"guidance": UNGUIDED, "sampling": Sampling.make(temperature=0)} | choices
    order_BN = family.orders(None, schedule, batch, seed)
    return order_BN, *generate_ranked_tokens(
        config,
        params,
        np.arange(batch) % config.num_classes,
        order_BN,
        image_keys(seed, 0, batch),
        schedule=schedule,
        keep_logits=True,
        **choices,
    )


def teacher_forced(name, labels_B, ranked_BN, order_BN, params=None, group_N=None, **options):
    config, params = weights(name)[0], params or weights(name)[1]
    family = transformer_of(config)
    tokens_BN = np.zeros_like(ranked_BN)
    np.put_along_axis(tokens_BN, order_BN, np.asarray(ranked_BN), axis=1)
    if group_N is None:
        group_N = jnp.asarray(family.schedule().group_of_rank())
    inputs = TeacherForced(tokens_BN, labels_B, order_BN, group_N)
    return family.logits(params, inputs, **options)


def test_no_family_is_left_out():
    assert set(families()) == {*TRANSFORMERS, *TOKENIZERS}
    assert {name for name, cls in families().items() if cls.config_type is not None} == set(
        families()
    )
    for name in families():
        assert is_tokenizer(weights(name)[0]) == (name in TOKENIZERS)


@pytest.mark.parametrize("name", [*TRANSFORMERS, *TOKENIZERS])
def test_a_config_comes_back_from_its_mapping_and_so_do_the_published_ones(name):
    published = families()[name].models.values()
    for config in (weights(name)[0], *published):
        assert config_from_dict(config_to_dict(config)) == config
        assert family_of(config).name == name
        assert config in published_models().values() or config is weights(name)[0]


@pytest.mark.parametrize("name", [*TRANSFORMERS, *TOKENIZERS])
def test_fresh_parameters_are_as_announced_and_counted(name):
    config, _ = weights(name)
    params = init_params(config, jax.random.key(0))
    chex.assert_trees_all_equal_shapes_and_dtypes(params, abstract_params(config))
    with jax.enable_x64(True):  # what JAX is configured to adds no bits
        chex.assert_trees_all_equal_shapes_and_dtypes(params, abstract_params(config))
    chex.assert_tree_all_finite(params)
    for path, leaf in flatten_dict(params, sep="/").items():
        last = path.rpartition("/")[2]
        if last in ("scale", "bias", "beta"):
            np.testing.assert_array_equal(leaf, np.full(leaf.shape, float(last != "bias")))
        elif path != "head/kernel":  # some start from nothing
            assert np.std(leaf) > 0, path
        if last == "kernel" and path.startswith("blocks/"):
            assert not np.array_equal(leaf[0], leaf[1])  # layers start out different
        if last == "token_embed":
            assert 0.015 < np.std(leaf) < 0.025  # small
        if last == "codebook":
            np.testing.assert_allclose(np.linalg.norm(leaf, axis=-1), 1, atol=1e-5)
    assert count_params(config) == sum(leaf.size for leaf in jax.tree.leaves(params))
    check_same_shapes(shapes_of(params), wanted_shapes(config), "these")


@pytest.mark.parametrize("name", [*TRANSFORMERS, *TOKENIZERS])
def test_parameters_come_back_from_how_they_are_drawn_with(name):
    config, params = weights(name)
    family = family_of(config)
    chex.assert_trees_all_equal(family.for_saving(family.for_drawing(params)), params)


@every_transformer
def test_its_defaults_and_published_settings_are_ones_that_it_draws_with(name):
    config, _ = weights(name)
    for model in (config, *families()[name].models.values()):
        family = transformer_of(model)
        for generation in (family.defaults(), Generation.published(model)):
            assert generation.order is not None and generation.guidance_schedule is not None
            schedule = family.schedule(generation.num_steps, generation.group_sizes)
            assert schedule.num_tokens == model.num_tokens
            assert family.orders(generation.order, schedule, 2).shape == (2, model.num_tokens)


@every_transformer
@pytest.mark.parametrize("guidance", [UNGUIDED, GUIDED], ids=["unguided", "guided"])
def test_cached_logits_are_the_teacher_forced_ones(name, guidance):
    config, _ = weights(name)
    order_BN, ranked_BN, logits_BNV = draw(name, guidance=guidance)
    labels_B = np.arange(BATCH) % config.num_classes
    want_BNV = teacher_forced(name, labels_B, ranked_BN, order_BN)
    if guidance.active:
        null_BNV = teacher_forced(
            name, np.full_like(labels_B, config.null_class), ranked_BN, order_BN
        )
        scale_N = guidance.scale_of_rank(jnp.arange(config.num_tokens), config.num_tokens)
        want_BNV = null_BNV + scale_N[None, :, None] * (want_BNV - null_BNV)
    np.testing.assert_allclose(logits_BNV, want_BNV, atol=1e-4)
    np.testing.assert_array_equal(ranked_BN, np.argmax(logits_BNV, axis=-1))


@every_transformer
def test_tokens_depend_neither_on_the_batch_nor_on_the_segments(name):
    _, tokens_BN, logits_BNV = draw(name)
    _, alone_1N, _ = draw(name, batch=1)
    np.testing.assert_array_equal(alone_1N[0], tokens_BN[0])
    _, exact_BN, exact_BNV = draw(name, num_segments=16)
    np.testing.assert_array_equal(exact_BN, tokens_BN)
    np.testing.assert_allclose(exact_BNV, logits_BNV, atol=3e-5)  # a GPU has a kernel for each size


@pytest.mark.parametrize("name", ANY_ORDER)
def test_known_tokens_are_a_group_of_their_own_before_the_others(name):
    """What editing stands on: they come back, and the rest is drawn as if they had been drawn."""
    config, params = weights(name)
    num_known, most_known, sizes = 6, 9, (1, 3, 6)
    order_BN = np.stack([np.random.default_rng(i).permutation(16) for i in range(BATCH)])
    true_BN = np.random.default_rng(7).integers(config.codebook_size, size=(BATCH, 16))
    schedule, labels_B = GroupSchedule(sizes), np.arange(BATCH) % config.num_classes
    ranked_BN, logits_BRV = generate_ranked_tokens(
        config,
        params,
        labels_B,
        order_BN.astype(np.int32),
        image_keys(0, 0, BATCH),
        schedule=schedule,
        sampling=Sampling.make(temperature=0),
        guidance=UNGUIDED,
        keep_logits=True,
        # What lies behind the known tokens is padding.
        known=Known(true_BN[:, :most_known].astype(np.int32), make_step_table(schedule, num_known)),
    )
    np.testing.assert_array_equal(ranked_BN[:, :num_known], true_BN[:, :num_known])
    group_N = jnp.asarray(GroupSchedule((num_known, *sizes)).group_of_rank())
    want_BNV = teacher_forced(name, labels_B, ranked_BN, order_BN, group_N=group_N)
    np.testing.assert_allclose(logits_BRV, want_BNV[:, num_known:], atol=1e-4)


@every_transformer_at_night
def test_an_image_depends_on_its_index_only(name):
    config, params = weights(name)
    family = transformer_of(config)
    schedule = family.schedule()
    choices = {"schedule": schedule, "sampling": Sampling.make(), "guidance": GUIDED}
    labels_B, order_BN = np.zeros(4, np.int32), family.orders(None, schedule, 4, seed=5)
    keys_B = image_keys(5, 0, 4)
    drawn_BN = generate_tokens(config, params, labels_B, order_BN, keys_B, **choices)
    assert len({tuple(row) for row in np.asarray(drawn_BN).tolist()}) > 1
    part = slice(2, 4)
    again_BN = generate_tokens(
        config, params, labels_B[part], order_BN[part], image_keys(5, 2, 2), **choices
    )
    np.testing.assert_array_equal(again_BN, drawn_BN[part])


@every_transformer
def test_its_loss_is_the_mean_nats_of_its_logits_and_reaches_every_weight(name):
    config, params = weights(name)
    family = transformer_of(config)
    rng = np.random.default_rng(0)
    tokens_BN = rng.integers(config.codebook_size, size=(BATCH, config.num_tokens), dtype=np.int32)
    labels_B, key = np.arange(BATCH, dtype=np.int32) % config.num_classes, jax.random.key(3)
    batch = {"tokens": tokens_BN, "labels": labels_B}
    (loss, metrics), grads = jax.jit(jax.value_and_grad(family.loss(train=False), has_aux=True))(
        params, batch, key
    )
    inputs, _ = family.training_inputs(key, tokens_BN, labels_B, train=False)
    log_probs_BNV = jax.nn.log_softmax(family.logits(params, inputs))
    targets_BN = np.take_along_axis(tokens_BN, np.asarray(inputs.order_BN), axis=1)
    nats_BN1 = -np.take_along_axis(np.asarray(log_probs_BNV), targets_BN[..., None], axis=-1)
    np.testing.assert_allclose(loss, nats_BN1.mean(), rtol=1e-5)
    assert 0 <= metrics["token_accuracy"] <= 1
    unreached = [
        path for path, leaf in jax.tree_util.tree_leaves_with_path(grads) if not leaf.any()
    ]
    # In validation no label is the null class.
    assert all("null_class_embed" in str(path) for path in unreached)


@every_transformer_at_night
def test_in_chunks_its_loss_and_gradients_are_the_same(name):
    config, params = weights(name)
    family = transformer_of(config)
    assert family.has_head
    rng = np.random.default_rng(0)
    tokens_BN = rng.integers(config.codebook_size, size=(BATCH, config.num_tokens), dtype=np.int32)
    batch = {"tokens": tokens_BN, "labels": np.arange(BATCH, dtype=np.int32)}

    def run(loss_chunk):
        loss = family.loss(train=True, loss_chunk=loss_chunk)
        # A factor of its own, which must reach the gradients.
        double = lambda *inputs: jax.tree.map(lambda x: 2 * x, loss(*inputs))  # noqa: E731
        step = jax.jit(
            jax.value_and_grad(double, has_aux=True), compiler_options=tiny.QUICK_TO_COMPILE
        )
        return step(params, batch, jax.random.key(3))

    chex.assert_trees_all_close(run(loss_chunk=4), run(loss_chunk=0), rtol=1e-4, atol=1e-6)


@every_transformer_at_night
def test_under_bfloat16_the_sum_through_the_layers_stays_float32(name):
    config, params = weights(name)
    order_BN, ranked_BN, drawn_BNV = draw(name, dtype=jnp.bfloat16)
    inputs = np.arange(BATCH), ranked_BN, order_BN
    half_BNV, full_BNV = (
        teacher_forced(name, *inputs, dtype=dtype) for dtype in (jnp.bfloat16, jnp.float32)
    )
    # What is drawn from the cache is as far from float32 as what training computes.
    drawn, trained = (float(jnp.abs(x_BNV - full_BNV).mean()) for x_BNV in (drawn_BNV, half_BNV))
    assert 0.5 < drawn / trained < 2

    def logits(params):
        return teacher_forced(name, *inputs, params=params, dtype=jnp.bfloat16)

    traced = jax.make_jaxpr(logits)(params)
    through_layers = [
        value.aval.dtype
        for equation in traced.eqns
        if equation.primitive.name == "scan"
        for value, inner in zip(equation.outvars, equation.params["jaxpr"].out_avals, strict=True)
        if value.aval.shape == inner.shape  # not stacked: it goes from layer to layer
        if jnp.issubdtype(value.aval.dtype, jnp.floating)
    ]
    assert through_layers and set(through_layers) == {jnp.dtype("float32")}
    assert "bf16" in str(traced)  # products are made of halves


@every_transformer
def test_it_counts_what_it_computes(name):
    config, params = weights(name)
    family = transformer_of(config)
    schedule = family.schedule()
    rows = family.count_rows(schedule)
    assert config.num_tokens <= rows.exact <= rows.padded
    forward, drawn = family.forward_flops(), family.decoding_flops(schedule)
    assert forward is not None and drawn is not None and 0 < drawn <= 1.1 * forward


@every_tokenizer_at_night
def test_pictures_of_any_whole_size_become_tokens_and_pictures_of_that_size(name):
    config, params = weights(name)
    family = tokenizer_of(config)
    for grid in GRIDS[name]:
        size = family.size_of(grid)
        assert family.grid_of(size) == grid
        images_BHWC = np.random.default_rng(0).integers(256, size=(2, *size, 3), dtype=np.uint8)
        tokens_BN = np.asarray(encode_images(config, params, images_BHWC))
        assert tokens_BN.dtype == np.int32 and tokens_BN.shape == (2, math.prod(grid))
        assert 0 <= tokens_BN.min() <= tokens_BN.max() < config.codebook_size
        decoded_BHWC = decode_images(config, params, tokens_BN, grid)
        assert decoded_BHWC.shape == images_BHWC.shape and decoded_BHWC.dtype == np.uint8
    smaller_BHWC = decode_images(config, params, tokens_BN, grid, size[-2] // 2)
    assert smaller_BHWC.shape == (2, *size[:-2], size[-2] // 2, size[-1] // 2, 3)
    rebuilt_BHWC = family.reconstruct(params, images_BHWC)
    difference = np.abs(np.asarray(rebuilt_BHWC, int) - np.asarray(decoded_BHWC, int))
    assert difference.max() <= 1


@every_tokenizer
@pytest.mark.parametrize("precision", ENCODE_PRECISIONS)
def test_all_products_on_the_way_to_tokens_are_in_the_precision_that_is_named(name, precision):
    """What a TPU or a GPU makes of them; a CPU has float32 alone."""
    config, params = weights(name)
    size = tokenizer_of(config).size_of(GRIDS[name][0])
    images_BHWC = np.zeros((1, *size, 3), np.uint8)
    encode = functools.partial(encode_images, config, precision=precision)
    traced = str(jax.make_jaxpr(encode)(params, images_BHWC))
    asked = re.findall(r"precision=(\S+)", traced)
    wanted = {"float32": "HIGHEST", "tensorfloat32": "HIGH", "bfloat16": "DEFAULT"}[precision]
    # Codes are compared in full whatever is asked for.
    assert len(asked) > 2 and all(wanted in x or "HIGHEST" in x for x in asked)
    assert any(wanted in x for x in asked)


@every_tokenizer
def test_other_sizes_are_named(name):
    family = tokenizer_of(weights(name)[0])
    *frames, height, width = family.size_of(GRIDS[name][0])
    for size in ((*frames, height + 1, width), (height,), (*frames, 0, width)):
        with pytest.raises(ValueError, match="^images: got .* pixels, allowed are"):
            family.grid_of(size)
    for grid in ((4,), (4, *GRIDS[name][0])):
        with pytest.raises(ValueError, match="^grid: got .* tokens, allowed for a"):
            family.size_of(grid)
