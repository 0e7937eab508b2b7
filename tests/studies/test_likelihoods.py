"""Every likelihood is that of a separate pass, for models of any family."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.decoding.order import region_order
from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.models.family import transformer_of
from lpd_jax.models.lpd import LPD
from lpd_jax.models.par import PAR
from lpd_jax.models.par_layout import par_order
from lpd_jax.models.transformer_family import TeacherForced
from lpd_jax.studies.likelihoods import NOTHING, Likelihoods, nats_given_one
from tests import tiny

NUM_TOKENS, NUM_CODES = tiny.LPD.num_tokens, tiny.LPD.codebook_size
PARAMS = tiny.random_params(tiny.LPD)
TOKENS_MN = np.random.default_rng(0).integers(0, NUM_CODES, (3, NUM_TOKENS)).astype(np.int32)
LABELS_M = np.array([0, 2, 1], np.int32)


def likelihoods(batch_size=2):
    return Likelihoods(tiny.LPD, PARAMS, TOKENS_MN, LABELS_M, batch_size)


@jax.jit
def log_probs(labels_B, order_BN, group_N):
    """The plain teacher-forced pass, in generation order."""
    params, tokens_MN = jax.tree.map(jnp.asarray, (PARAMS, TOKENS_MN))
    logits = LPD(tiny.LPD).apply({"params": params}, tokens_MN, labels_B, order_BN, group_N)
    return jax.nn.log_softmax(logits)


def starting_with(positions):
    rest = [i for i in range(NUM_TOKENS) if i not in positions]
    return np.tile(np.array([*positions, *rest], np.int32), (len(TOKENS_MN), 1))


@pytest.mark.parametrize("class_given", [False, True])
@pytest.mark.parametrize("reference", [NOTHING, 0, 9])
def test_one_pass_says_what_a_pass_for_each_token_says(reference, class_given):
    labels = LABELS_M if class_given else np.full_like(LABELS_M, tiny.LPD.null_class)
    got = likelihoods().given_one(reference, class_given)
    for i in set(range(NUM_TOKENS)) - {reference}:
        context = [] if reference == NOTHING else [reference]
        found = log_probs(labels, starting_with([*context, i]), np.arange(NUM_TOKENS))
        wanted = [-found[m, len(context), TOKENS_MN[m, i]] for m in range(len(TOKENS_MN))]
        np.testing.assert_allclose(got[:, i], wanted, atol=1e-4)
    if reference != NOTHING:
        assert (got[:, reference] == 0).all()


@pytest.mark.parametrize("config", [tiny.RANDAR, tiny.ARPG], ids=["randar", "arpg"])
def test_so_it_is_in_other_families_of_any_order(config):
    params, family = jax.device_put(tiny.random_params(config)), transformer_of(config)
    judge = Likelihoods(config, params, TOKENS_MN, LABELS_M, batch_size=3)

    @jax.jit
    def log_probs(order_MN):
        inputs = TeacherForced(TOKENS_MN, LABELS_M, order_MN, jnp.arange(NUM_TOKENS))
        return jax.nn.log_softmax(family.logits(params, inputs))

    for context in ([], [9]):
        got = judge.given_one(*context or [NOTHING], class_given=True)
        for i in (0, 5, 15):
            found = log_probs(starting_with([*context, i]))
            wanted = [-found[m, len(context), TOKENS_MN[m, i]] for m in range(len(TOKENS_MN))]
            np.testing.assert_allclose(got[:, i], wanted, atol=1e-4)


def test_a_reference_and_the_size_of_a_batch_change_no_program_and_no_number():
    before = nats_given_one._cache_size()
    three = likelihoods(batch_size=3)
    first = three.given_one(4, class_given=True)
    compiled = nats_given_one._cache_size()
    three.given_one(11, class_given=False)
    assert nats_given_one._cache_size() == compiled <= before + 1
    np.testing.assert_allclose(likelihoods(2).given_one(4, class_given=True), first, atol=1e-4)


def test_in_order_is_the_teacher_forced_pass_put_back_in_raster_order():
    order_N = region_order((4, 4), 4)
    schedule = GroupSchedule((1, 1, 1, 1, 4, 4, 4))
    order_MN = np.stack([order_N, order_N[::-1], np.roll(order_N, 3)])
    got = likelihoods().in_order(order_MN, schedule, class_given=True)
    found = log_probs(LABELS_M, order_MN, schedule.group_of_rank())
    for m in range(3):
        for rank, position in enumerate(order_MN[m]):
            wanted = -found[m, rank, TOKENS_MN[m, position]]
            np.testing.assert_allclose(got[m, position], wanted, atol=1e-4)


def test_a_batch_of_no_images_is_refused():
    with pytest.raises(ValueError, match="batch_size: got 0, allowed are whole numbers from 1"):
        likelihoods(batch_size=0)


def test_a_family_of_one_order_is_judged_by_its_own_logits():
    """Three images in batches of two: the padding of the last is left out."""
    params = tiny.random_params(tiny.PAR)
    logits_MNV = PAR(tiny.PAR).apply({"params": params}, TOKENS_MN, LABELS_M)
    order_MN = np.tile(par_order(tiny.PAR), (len(TOKENS_MN), 1))
    targets_MN = np.take_along_axis(TOKENS_MN, order_MN, axis=1)
    log_probs_MNV = np.asarray(jax.nn.log_softmax(logits_MNV))
    ranked_MN = -np.take_along_axis(log_probs_MNV, targets_MN[..., None], axis=-1)[..., 0]
    judge = Likelihoods(tiny.PAR, params, TOKENS_MN, LABELS_M, batch_size=2)
    got = judge.in_order(order_MN, transformer_of(tiny.PAR).schedule(), class_given=True)
    np.testing.assert_allclose(np.take_along_axis(got, order_MN, axis=1), ranked_MN, rtol=1e-4)
