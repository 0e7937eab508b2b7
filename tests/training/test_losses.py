"""The losses, against what they are defined to be."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.decoding.order import region_order
from lpd_jax.decoding.schedule import training_schedules
from lpd_jax.models import vq_loss
from lpd_jax.models.family import tokenizer_of, transformer_of
from lpd_jax.models.lpd import LPD
from lpd_jax.models.par import PAR
from lpd_jax.models.token_loss import cross_entropy, judge_in_chunks, judge_tokens, random_orders
from lpd_jax.models.tokenizer_loss import batch_codes
from lpd_jax.models.vq_loss import TokenizerLossConfig, codebook_entropy_loss
from lpd_jax.models.vq_tokenizer import VQTokenizer
from tests import tiny
from tests.training import toy

quick_jit = functools.partial(jax.jit, compiler_options=toy.QUICK_COMPILE)
PICTURES = np.random.default_rng(0).integers(256, size=(2, 8, 8, 3)).astype(np.uint8)


def test_cross_entropy_is_the_mean_over_all_queries():
    logits_BNV = jnp.log(jnp.array([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]]))
    targets_BN = jnp.array([[0, 1]])
    np.testing.assert_allclose(
        cross_entropy(logits_BNV, targets_BN), -(np.log(0.5) + np.log(0.1)) / 2, rtol=1e-6
    )


def test_in_chunks_no_more_logits_are_there_than_those_of_a_chunk():
    """Neither forward nor backward; the loss alone is what is asked of one that is not trained."""
    B, N, D, V = 2, 12, 3, 500
    read_BND = jax.random.normal(jax.random.key(0), (B, N, D))
    head_DV = jax.random.normal(jax.random.key(1), (D, V))
    targets_BN = jax.random.randint(jax.random.key(2), (B, N), 0, V)

    def judge(head_DV, read_BND):
        return judge_in_chunks(lambda head, read: read @ head, head_DV, read_BND, targets_BN, 4)

    whole, _ = judge_tokens(read_BND @ head_DV, targets_BN)
    np.testing.assert_allclose(judge(head_DV, read_BND)[0], whole, rtol=1e-6)
    gradient = jax.value_and_grad(judge, argnums=(0, 1), has_aux=True)
    for function in (judge, gradient):
        text = str(jax.make_jaxpr(function)(head_DV, read_BND))
        assert f"{B},4,{V}" in text and f"{B},{N},{V}" not in text and f"3,{B},4,{V}" not in text


def test_each_picture_gets_its_own_order():
    orders_BN = np.asarray(random_orders(jax.random.key(0), (6, 16)))
    np.testing.assert_array_equal(np.sort(orders_BN), np.arange(16) + np.zeros((6, 1), int))
    assert len({tuple(order) for order in orders_BN}) == 6


@pytest.fixture
def seen(monkeypatch):
    """What the loss gives to the transformer."""
    seen = []

    def apply(self, variables, tokens, labels, order, group, train, rngs):
        jax.debug.callback(lambda *x: seen.append([np.asarray(y) for y in x]), labels, group)
        # Certain of token 7, wherever it is.
        return 50.0 * jax.nn.one_hot(jnp.full(tokens.shape, 7), tiny.LPD.codebook_size)

    monkeypatch.setattr(LPD, "apply", apply)
    return seen


def test_labels_are_dropped_in_training_only_and_sizes_come_from_the_published_lists(seen):
    model = dataclasses.replace(tiny.LPD, label_drop_rate=0.5)
    labels_B = jnp.array([0, 1, 2, 0] * 8)
    batch = {"tokens": jnp.full((32, model.num_tokens), 7), "labels": labels_B}
    loss_function = quick_jit(transformer_of(model).loss(train=True))
    for i in range(12):
        loss, metrics = loss_function({}, batch, jax.random.key(i))
        assert loss < 1e-6 and metrics["token_accuracy"] == 1
    jax.effects_barrier()
    labels = np.stack([x[0] for x in seen])
    dropped = labels == model.null_class
    assert 0.4 < dropped.mean() < 0.6
    np.testing.assert_array_equal(labels[~dropped], np.broadcast_to(labels_B, (12, 32))[~dropped])
    groups = {tuple(x[1].tolist()) for x in seen}
    lists = {tuple(s.group_of_rank().tolist()) for s in training_schedules(model.num_tokens)}
    assert groups <= lists and len(groups) > 1

    seen.clear()
    transformer_of(model).loss(train=False)({}, batch, jax.random.key(0))
    jax.effects_barrier()
    np.testing.assert_array_equal(seen[0][0], labels_B)


@pytest.mark.parametrize(("batch_size", "num_lists"), [(8, 4), (7, 3), (3, 8)])
def test_each_part_of_a_batch_has_a_list_of_its_own(batch_size, num_lists):
    """The published runs draw one on each GPU; parts are as equal as can be."""
    family, allowed = transformer_of(tiny.LPD), training_schedules(tiny.LPD.num_tokens)
    lists = {tuple(s.group_of_rank().tolist()) for s in allowed}
    tokens_BN = jnp.zeros((batch_size, tiny.LPD.num_tokens), jnp.int32)
    part_B, together = np.arange(batch_size) * num_lists // batch_size, []
    for seed in range(8):
        key = jax.random.key(seed)
        inputs, _ = family.training_inputs(key, tokens_BN, tokens_BN[:, 0], True, num_lists)
        groups = [tuple(group.tolist()) for group in np.asarray(inputs.group_N)]
        assert len(groups) == batch_size and set(groups) <= lists
        for part in set(part_B):
            assert len({groups[b] for b in np.flatnonzero(part_B == part)}) == 1
        together.append(len(set(groups)) == 1)
    assert not all(together)


@pytest.mark.slow
def test_the_loss_of_several_lists_is_the_mean_of_their_parts():
    """Each image is predicted as if all had its list."""
    model = dataclasses.replace(tiny.LPD, dropout_rate=0, label_drop_rate=0)
    family, params = transformer_of(model), tiny.random_params(model)
    tokens_BN = np.random.default_rng(0).integers(0, model.codebook_size, (6, 16), dtype=np.int32)
    batch, key = {"tokens": tokens_BN, "labels": jnp.arange(6) % 3}, jax.random.key(5)
    inputs, _ = family.training_inputs(key, tokens_BN, batch["labels"], False, 3)
    assert len({tuple(group.tolist()) for group in np.asarray(inputs.group_N)}) > 1
    logits_BNV = family.logits(params, inputs)
    for b in range(6):
        alone_BNV = family.logits(params, inputs._replace(group_N=inputs.group_N[b]))
        np.testing.assert_allclose(logits_BNV[b], alone_BNV[b], atol=1e-4)
    log_probs_BNV = jax.nn.log_softmax(logits_BNV)
    targets_BN = np.take_along_axis(tokens_BN, np.asarray(inputs.order_BN), axis=1)
    want = -np.take_along_axis(np.asarray(log_probs_BNV), targets_BN[..., None], axis=-1).mean()
    loss, _ = family.loss(train=False, num_size_lists=3)(params, batch, key)
    np.testing.assert_allclose(loss, want, rtol=1e-5)


def test_accuracy_counts_the_right_tokens(seen):
    tokens = jnp.full((4, tiny.LPD.num_tokens), 7).at[:, :4].set(3)  # a quarter is wrong
    batch = {"tokens": tokens, "labels": jnp.zeros(4, jnp.int32)}
    loss, metrics = transformer_of(tiny.LPD).loss(train=False)({}, batch, jax.random.key(0))
    assert metrics["token_accuracy"] == 0.75
    np.testing.assert_allclose(loss, 50 / 4, rtol=1e-5)


def test_par_learns_the_tokens_of_its_order_and_drops_labels_in_training_only():
    model = dataclasses.replace(tiny.PAR, label_drop_rate=0.5, token_drop_rate=0, dropout_rate=0)
    params, rng = tiny.random_params(model), np.random.default_rng(0)
    tokens_BN = rng.integers(0, model.codebook_size, (8, 16))
    batch = {"tokens": jnp.asarray(tokens_BN, jnp.uint16), "labels": jnp.arange(8) % 3}

    def nats(labels_B):
        logits_BNV = PAR(model).apply({"params": params}, tokens_BN, labels_B)
        log_probs_BNV = np.asarray(jax.nn.log_softmax(logits_BNV))
        targets_BN = tokens_BN[:, region_order(model.grid_size, 4)]
        return -np.take_along_axis(log_probs_BNV, targets_BN[..., None], axis=-1).mean((1, 2))

    given_B, none_B = nats(batch["labels"]), nats(jnp.full(8, model.null_class))
    loss, metrics = transformer_of(model).loss(train=False)(params, batch, jax.random.key(0))
    np.testing.assert_allclose(loss, given_B.mean(), rtol=1e-5)
    assert 0 <= metrics["token_accuracy"] < 0.5

    sums = {given_B[~dropped].sum() + none_B[dropped].sum() for dropped in every_choice(8)}
    loss_function, losses = quick_jit(transformer_of(model).loss(train=True)), set()
    for seed in range(4):
        loss, _ = loss_function(params, batch, jax.random.key(seed))
        assert min(abs(8 * loss - total) for total in sums) < 1e-3
        losses.add(float(loss))
    assert len(losses) > 1


def every_choice(count):
    """All bool [count]."""
    return (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(bool)


def test_the_tokenizers_loss_is_the_weighted_sum_of_its_parts():
    weights = TokenizerLossConfig(
        l2_weight=2.0, l1_weight=0.5, codebook_weight=0.7, commitment_weight=0.3
    )
    params = tiny.random_params(tiny.VQ)
    loss_function = quick_jit(tokenizer_of(tiny.VQ).loss(weights))
    loss, metrics = loss_function(params, {"images": PICTURES}, None)
    images = PICTURES / 127.5 - 1.0
    outputs = VQTokenizer(tiny.VQ).apply({"params": params}, images.astype(np.float32))
    rebuilt, latents, quantized, tokens = (np.asarray(x, np.float64) for x in outputs)
    l1, l2 = np.abs(rebuilt - images).mean(), np.square(rebuilt - images).mean()
    distance = np.square(latents - quantized).mean()
    np.testing.assert_allclose(loss, 2 * l2 + 0.5 * l1 + (0.7 + 0.3) * distance, rtol=1e-4)
    np.testing.assert_allclose(metrics["l1"], l1, rtol=1e-4)
    np.testing.assert_allclose(metrics["psnr"], 10 * np.log10(4 / l2), rtol=1e-4)
    assert batch_codes(metrics["code_shares"])["codes_in_batch"] == len(np.unique(tokens))


def test_gradients_reach_the_encoder_through_the_codebook():
    weights = TokenizerLossConfig(codebook_weight=0.0, commitment_weight=0.0)
    loss = tokenizer_of(tiny.VQ).loss(weights)
    params = tiny.random_params(tiny.VQ)
    grads = quick_jit(jax.grad(lambda p: loss(p, {"images": PICTURES}, None)[0]))(params)
    assert np.abs(grads["encoder"]["conv_in"]["kernel"]).max() > 0
    assert np.abs(grads["codebook"]).max() == 0  # reconstruction does not move the codes


def test_entropy_prefers_sure_latents_that_use_all_codes():
    codes_VE = jnp.eye(4)
    spread, collapsed, unsure = codes_VE, codes_VE[:1].repeat(4, 0), jnp.full((4, 4), 0.5)
    values = [
        float(codebook_entropy_loss({"codebook": codes_VE}, x, temperature=0.1))
        for x in (spread, collapsed, unsure)
    ]
    np.testing.assert_allclose(values[0], -np.log(4), atol=1e-3)
    np.testing.assert_allclose(values[1:], 0.0, atol=1e-3)


def test_entropy_of_many_latents_looks_at_some(monkeypatch):
    monkeypatch.setattr(vq_loss, "ENTROPY_LATENTS", 2)
    latents_TE = jnp.eye(4)  # rows 0 and 2 are looked at
    value = codebook_entropy_loss({"codebook": jnp.eye(4)}, latents_TE, temperature=0.1)
    np.testing.assert_allclose(value, -np.log(2), atol=1e-3)


def test_entropy_of_signs_prefers_sure_ones_that_are_equally_frequent():
    sure = 5.0 * jnp.array([[1.0, -1.0], [-1.0, 1.0]])[None, None]
    values = [float(vq_loss.bit_entropy_loss(x)) for x in (sure, 0 * sure, jnp.abs(sure))]
    np.testing.assert_allclose(values[0], -2 * np.log(2), atol=1e-3)  # two bits, all in use
    np.testing.assert_allclose(values[1:], 0.0, atol=1e-3)


@pytest.mark.slow
def test_only_a_codebook_has_the_terms_of_one():
    """FSQ's latents are never far from a code, and LFQ learns none."""
    sizes = {
        "vq": {},
        "fsq": {"fsq_levels": (4, 4), "codebook_size": 16, "codebook_dim": 2},
        "lfq": {"codebook_size": 16, "codebook_dim": 4},
    }
    for quantizer, fields in sizes.items():
        model = dataclasses.replace(tiny.VQ, quantizer=quantizer, **fields)
        params = tiny.random_params(model)
        losses = {}
        for name in ("codebook_weight", "commitment_weight", "entropy_weight"):
            none = {"l2_weight": 0.0, "codebook_weight": 0.0, "commitment_weight": 0.0}
            loss = tokenizer_of(model).loss(TokenizerLossConfig(**{**none, name: 1.0}))
            losses[name] = float(quick_jit(loss)(params, {"images": PICTURES}, None)[0])
        counted = {name.removesuffix("_weight") for name, loss in losses.items() if loss != 0}
        want = {"vq": {"codebook", "commitment", "entropy"}, "lfq": {"commitment", "entropy"}}
        assert counted == want.get(quantizer, set())


def test_weights_of_losses_are_not_negative():
    with pytest.raises(ValueError, match="^tokenizer_loss.l1_weight: got -1.0, allowed is 0 or mo"):
        TokenizerLossConfig(l1_weight=-1.0)
