"""The peer in PyTorch is the same model: equal tokens, pictures, losses and gradients."""

import dataclasses

import jax
import numpy as np
import pytest

from lpd_jax.decoding.sampling import Guidance, Sampling
from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.generation import generate
from lpd_jax.models.lpd import LPD
from lpd_jax.models.pixels import decode_images, encode_images
from lpd_jax.models.token_loss import cross_entropy
from lpd_jax.performance.benchmark_case import TASKS, BenchmarkCase, make_inputs
from lpd_jax.performance.benchmark_model import find_benchmark_model
from lpd_jax.weights.from_torch.conversion import to_torch_names
from tests import tiny

torch = pytest.importorskip("torch")
torch_lpd = pytest.importorskip("benchmarks.torch_lpd")
torch_peer = pytest.importorskip("benchmarks.torch_peer")

SCHEDULE = GroupSchedule((1, 3, 5, 7))
LABELS = np.array([0, 1, 2, tiny.LPD.null_class], np.int32)
ORDER = np.array([np.random.default_rng(i).permutation(16) for i in range(4)], np.int32)
TOKENS = np.random.default_rng(9).integers(0, tiny.LPD.codebook_size, (4, 16), np.int32)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads of PyTorch wait for each other by spinning: beside other tests, for long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def params():
    return tiny.random_params(tiny.LPD)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tiny.write_model_directory(tmp_path_factory.mktemp("models") / "tiny")


def tensors(*arrays):
    return [torch_peer.to_device(array) for array in arrays]


@pytest.mark.parametrize(("scale", "name"), [(1, "linear"), (3, "linear"), (3, "constant")])
def test_argmax_tokens_of_a_model_directory_are_ours(directory, params, scale, name):
    module, _ = torch_peer.load_directory(directory)
    want_BN = generate.generate_tokens(
        tiny.LPD,
        params,
        LABELS,
        ORDER,
        generate.image_keys(0, 0, 4),
        schedule=SCHEDULE,
        sampling=Sampling.make(0),
        guidance=Guidance.make(scale, name),
    )
    got_BN = module.generate(*tensors(LABELS, ORDER), SCHEDULE, scale, name, greedy=True)
    np.testing.assert_array_equal(got_BN.cpu(), want_BN)
    assert len(np.unique(want_BN)) > 8


def test_sampled_tokens_follow_the_probabilities():
    logits_BQV = torch.log(torch.tensor([0.5, 0.3, 0.2])).expand(1, 20000, 3)
    torch.manual_seed(0)
    drawn_BQ = torch_lpd.sample(logits_BQV, greedy=False)
    shares = np.bincount(drawn_BQ.numpy().ravel()) / 20000
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.2], atol=0.02)


def test_loss_and_gradients_are_ours_without_dropout(params):
    def loss_function(params):
        inputs = TOKENS, LABELS, ORDER, SCHEDULE.group_of_rank()
        logits_BNV = LPD(tiny.LPD).apply({"params": params}, *inputs)
        return cross_entropy(logits_BNV, np.take_along_axis(TOKENS, ORDER, axis=1))

    want, want_gradients = jax.jit(jax.value_and_grad(loss_function))(params)
    module = torch_peer.load_lpd(tiny.LPD, params)
    got = module(*tensors(TOKENS, LABELS, ORDER), SCHEDULE)
    got.backward()
    np.testing.assert_allclose(got.item(), want, atol=1e-5)
    for name, gradient in to_torch_names(tiny.LPD, want_gradients).items():
        mine = dict(module.named_parameters())[name].grad
        np.testing.assert_allclose(mine.cpu(), gradient, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    "config",
    [
        dataclasses.replace(tiny.VQ, patch_size=1, channel_multipliers=(1, 1)),
        dataclasses.replace(tiny.VQ, patch_size=2, channel_multipliers=(1, 2, 2)),
    ],
    ids=["plain", "folded"],
)
def test_pictures_and_tokens_of_the_tokenizer_are_ours(config):
    params = tiny.random_params(config)
    module = torch_peer.load_vq(config, params)
    side = 4 * config.downsample_factor
    images_BHWC = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), np.uint8)
    want_BN = encode_images(config, params, images_BHWC)
    got_BN = module.encode(torch.from_numpy(images_BHWC).to(torch_peer.DEVICE))
    np.testing.assert_array_equal(got_BN.cpu(), want_BN)
    want_BHWC = np.asarray(decode_images(config, params, TOKENS, (4, 4)), int)
    got_BHWC = module.decode(*tensors(TOKENS), (4, 4)).cpu().numpy()
    # Truncation may fall either side of a whole number.
    assert np.abs(got_BHWC - want_BHWC).max() <= 1 and want_BHWC.std() > 10


def test_every_task_runs_on_the_inputs_of_the_benchmark(directory):
    peer = torch_peer.TorchPeer()
    for task in TASKS:
        case = BenchmarkCase(str(directory), task, batch_size=2, guidance_scale=3.0)
        model = find_benchmark_model(case.model, case.tokenizer)
        output = peer.runner(case, model, make_inputs(case, model))()
        wanted = {"encode": (2, 16), "tokens": (2, 16), "gradient": (), "train": ()}
        assert tuple(output.shape) == wanted.get(task, (2, 8, 8, 3)), task
        assert torch.isfinite(output.float()).all()


def test_a_train_step_changes_the_weights_and_lowers_the_loss(directory):
    case = BenchmarkCase(str(directory), "train", batch_size=4)
    model = find_benchmark_model(case.model, case.tokenizer)
    torch.manual_seed(0)
    run = torch_peer.TorchPeer().runner(case, model, make_inputs(case, model))
    losses = [run().item() for _ in range(200)]
    assert np.mean(losses[-20:]) < np.mean(losses[:20]) - 0.5


def test_bfloat16_draws_nearly_the_same(directory):
    tokens = []
    for dtype in ("float32", "bfloat16"):
        module = torch_peer.load_lpd(tiny.LPD, tiny.random_params(tiny.LPD), dtype)
        assert module.head.weight.dtype == getattr(torch, dtype)
        tokens.append(module.generate(*tensors(LABELS, ORDER), SCHEDULE, greedy=True).cpu())
    # One token that differs changes those after it.
    assert (tokens[0][:, :1] == tokens[1][:, :1]).float().mean() > 0.5


def test_other_families_have_no_peer(tmp_path):
    tiny.write_model_directory(tmp_path / "par", tiny.PAR, order="region", num_steps=None)
    with pytest.raises(ValueError, match="family: got 'par', allowed is 'lpd'"):
        torch_peer.load_directory(tmp_path / "par")
    model = find_benchmark_model(str(tmp_path / "par"), "")
    case = BenchmarkCase(model.name)
    assert torch_peer.TorchPeer().runner(case, model, make_inputs(case, model)) is None
