"""Attention through a mask: whole and in two parts, by every kernel."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.decoding.device_choices import DeviceChoices
from lpd_jax.decoding.schedule import GroupSchedule, make_schedule
from lpd_jax.decoding.step_table import teacher_forcing_mask
from lpd_jax.models import attention
from lpd_jax.models.attention import attend, attend_in_two, choose_attention
from lpd_jax.runtime.mesh import MeshConfig, make_mesh


def random_rows(*shape: int, scale: float = 1.0) -> np.ndarray:
    return (scale * np.random.default_rng(sum(shape)).standard_normal(shape)).astype(np.float32)


def test_attention_is_softmax_over_what_the_mask_allows():
    q_BNTK, k_BNMK = random_rows(2, 3, 4, 8, scale=3), random_rows(2, 3, 6, 8, scale=3)
    v_BNMK = random_rows(2, 3, 6, 8)
    mask_TM = np.arange(6)[None] <= np.arange(4)[:, None]
    scores_BNTM = np.einsum("BNTK,BNMK->BNTM", q_BNTK, k_BNMK).astype(np.float64) / np.sqrt(8)
    weights_BNTM = np.where(mask_TM, np.exp(scores_BNTM), 0)
    weights_BNTM /= weights_BNTM.sum(-1, keepdims=True)
    want_BNTK = np.einsum("BNTM,BNMK->BNTK", weights_BNTM, v_BNMK)
    np.testing.assert_allclose(attend(q_BNTK, k_BNMK, v_BNMK, mask_TM), want_BNTK, atol=1e-5)
    # What nobody sees may be anything, and large scores do not overflow.
    v_BNMK[:, :, 4:] = 1e30
    huge_BNTK = attend(q_BNTK * 1e4, k_BNMK, v_BNMK, mask_TM)
    best = np.where(mask_TM, scores_BNTM, -np.inf).argmax(-1)
    np.testing.assert_allclose(huge_BNTK, np.take_along_axis(v_BNMK, best[..., None], 2), atol=1e-5)


@pytest.mark.parametrize("num_masks", [(), (2,)])
def test_a_lone_row_in_bfloat16_is_as_any_row(num_masks):
    q_BNTK, k_BNMK, v_BNMK = (
        jnp.asarray(random_rows(2, 3, n, 8), jnp.bfloat16) for n in (2, 12, 12)
    )
    mask_TM = np.random.default_rng(0).random((*num_masks, 2, 12)) < 0.6
    both_BNTK = attend(q_BNTK, k_BNMK, v_BNMK, mask_TM)
    first_BNTK = attend(q_BNTK[:, :, :1], k_BNMK, v_BNMK, mask_TM[..., :1, :])
    assert (first_BNTK.shape, first_BNTK.dtype) == ((2, 3, 1, 8), jnp.bfloat16)
    np.testing.assert_array_equal(first_BNTK, both_BNTK[:, :, :1])


def test_attention_in_two_is_attention():
    mask_TT = teacher_forcing_mask(GroupSchedule((1, 2, 3)).group_of_rank())
    q_BNTK, k_BNTK, v_BNTK = (random_rows(2, n, 12, 8)[:, :2] for n in (2, 3, 4))
    whole_BNTK = attend(q_BNTK, k_BNTK, v_BNTK, mask_TT)
    in_two_BNTK = attend_in_two(q_BNTK, k_BNTK, v_BNTK, mask_TT, num_context=6)
    np.testing.assert_allclose(in_two_BNTK, whole_BNTK, atol=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        "einsum",
        pytest.param("xla", marks=pytest.mark.slow),
        pytest.param("cudnn", marks=pytest.mark.gpu),
    ],
)
def test_images_with_masks_of_their_own_are_as_if_alone(name):
    dtype, tolerance = (jnp.bfloat16, 0.03) if name == "cudnn" else (jnp.float32, 1e-5)
    schedules = [make_schedule(64, steps) for steps in (9, 2)]
    mask_BTT = teacher_forcing_mask(np.stack([s.group_of_rank() for s in schedules]))
    rows = [jnp.asarray(random_rows(2, n, 128, 16)[:, :2], dtype) for n in (2, 3, 4)]
    upstream_BNTK = jnp.asarray(random_rows(2, 2, 128, 16), dtype)

    def with_gradients(function, rows, upstream_BNTK):
        mixed_BNTK, backward = jax.vjp(function, *rows)
        return [x.astype(jnp.float32) for x in (mixed_BNTK, *backward(upstream_BNTK))]

    both = with_gradients(lambda *r: attend_in_two(*r, mask_BTT, 64, name), rows, upstream_BNTK)
    for b, schedule in enumerate(schedules):
        mask_TT = teacher_forcing_mask(schedule.group_of_rank())
        np.testing.assert_array_equal(mask_BTT[b], mask_TT)
        own = [x[b : b + 1].astype(jnp.float32) for x in (*rows, upstream_BNTK)]
        alone = with_gradients(functools.partial(attend, mask_TM=mask_TT), own[:3], own[3])
        for got, want in zip(both, alone, strict=True):
            np.testing.assert_allclose(got[b : b + 1], want, atol=tolerance)


def test_attention_keeps_the_dtype_of_the_values():
    rows = jnp.asarray(random_rows(1, 1, 3, 4), jnp.bfloat16)
    assert attend(rows, rows, rows, jnp.ones((3, 3), bool)).dtype == jnp.bfloat16


@pytest.mark.parametrize("name", ["xla", pytest.param("cudnn", marks=pytest.mark.gpu)])
def test_the_library_gives_the_same(name):
    mask_TT = teacher_forcing_mask(make_schedule(64, 9).group_of_rank())
    dtype, tolerance = (jnp.bfloat16, 0.03) if name == "cudnn" else (jnp.float32, 1e-5)
    rows = [jnp.asarray(random_rows(2, n, 128, 16)[:, :2], dtype) for n in (2, 3, 4)]
    whole_BNTK = attend(*(x.astype(jnp.float32) for x in rows), mask_TT)
    in_two_BNTK = attend_in_two(*rows, mask_TT, 64, name)
    np.testing.assert_allclose(in_two_BNTK.astype(jnp.float32), whole_BNTK, atol=tolerance)


@pytest.mark.parametrize("lists", [1, 2])
def test_what_keeps_no_scores_gives_about_the_same_and_so_do_its_gradients(lists):
    groups = np.stack([make_schedule(64, steps).group_of_rank() for steps in (9, 2)])
    mask_TT = teacher_forcing_mask(groups[0] if lists == 1 else groups)
    rows = [random_rows(2, n, 128, 16)[:, :2] for n in (2, 3, 4)]
    upstream_BNTK = random_rows(2, 5, 128, 16)[:, :2]

    def with_gradients(kernel):
        mixed_BNTK, backward = jax.vjp(
            lambda *rows: attend_in_two(*rows, mask_TT, 64, kernel), *rows
        )
        return mixed_BNTK, *backward(upstream_BNTK)

    for got, want in zip(with_gradients("recompute"), with_gradients("einsum"), strict=True):
        assert got.dtype == jnp.float32
        assert np.linalg.norm(got - want) < 0.01 * np.linalg.norm(want)


@pytest.mark.devices(4)
def test_splash_gives_the_same_and_so_do_its_gradients():
    mask_TM = teacher_forcing_mask(make_schedule(128, 7).group_of_rank())[128:]
    q_BNTK = random_rows(2, 2, 128, 16)
    k_BNMK, v_BNMK = random_rows(2, 2, 256, 16), random_rows(3, 2, 256, 16)[:2]

    def run(kernel):
        def total(*rows):
            return (kernel(*rows, mask_TM) ** 2).sum()

        return jax.jit(jax.value_and_grad(total, (0, 1, 2)))(q_BNTK, k_BNMK, v_BNMK)

    want, want_grads = run(attend)
    with jax.set_mesh(make_mesh(MeshConfig(2, 1, 2), num_devices=4)):
        got, grads = run(functools.partial(attention.attend_splash, interpret=True))
    np.testing.assert_allclose(got, want, rtol=1e-4)
    for grad, want_grad in zip(grads, want_grads, strict=True):
        np.testing.assert_allclose(grad, want_grad, atol=1e-4 * np.abs(want_grad).max())


@pytest.mark.parametrize(
    ("name", "platform", "dtype", "head_dim", "want"),
    [
        ("auto", "cpu", "float32", 64, "einsum"),
        ("auto", "tpu", "bfloat16", 64, "einsum"),
        ("auto", "gpu", "bfloat16", 64, "cudnn"),
        ("auto", "gpu", "float32", 64, "einsum"),
        ("auto", "gpu", "bfloat16", 100, "einsum"),
        ("xla", "cpu", "float32", 64, "xla"),
        ("splash", "tpu", "float32", 64, "splash"),
    ],
)
def test_auto_takes_what_runs(name, platform, dtype, head_dim, want):
    assert choose_attention(name, platform, jnp.dtype(dtype), head_dim, 256) == want


@pytest.mark.parametrize(
    ("name", "platform", "dtype", "num_tokens", "message"),
    [
        ("flash", "cpu", "float32", 256, "'flash', allowed are auto, einsum, xla, cudnn, splash"),
        ("cudnn", "cpu", "bfloat16", 256, "'cudnn' on cpu"),
        ("cudnn", "gpu", "float32", 256, "with float32"),
        ("splash", "gpu", "bfloat16", 256, "only with a TPU"),
        ("splash", "tpu", "bfloat16", 100, "100 tokens"),
    ],
)
def test_what_cannot_run_is_refused(name, platform, dtype, num_tokens, message):
    with pytest.raises(ValueError, match=message):
        choose_attention(name, platform, jnp.dtype(dtype), 64, num_tokens)


@pytest.mark.parametrize("works", [True, False])
def test_a_gpu_without_the_flash_kernel_draws_without_it(works, monkeypatch, caplog):
    def missing(*_):
        raise NotImplementedError("cuDNN 8.9 is too old\nmore")

    nvidia = DeviceChoices(flash_attention=True)
    monkeypatch.setattr(attention, "device_choices", lambda: nvidia)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setitem(attention.ATTENTION, "cudnn", attend if works else missing)
    attention.cudnn_runs.cache_clear()
    seen = []

    @jax.jit  # it is asked while a pass is traced
    def trace(x):
        seen.append(attention.cached_attention(jnp.bfloat16, 64))
        return x

    trace(jnp.ones(2))
    attention.cudnn_runs.cache_clear()
    assert seen == ["flash" if works else "einsum"]
    assert ("cuDNN 8.9 is too old" in caplog.text) is not works and "more" not in caplog.text
