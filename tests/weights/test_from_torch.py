"""Official weights become ours: sizes from shapes, parity with the reference, one error for all."""

import math
import pathlib
import re

import chex
import jax
import ml_dtypes
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.models.lpd import LPD_MODELS, LPDConfig, resize_position_embedding
from lpd_jax.models.parameters import abstract_params, count_params
from lpd_jax.models.vq_tokenizer import VQ_MODELS, VQConfig, VQTokenizer
from lpd_jax.weights.from_torch.conversion import (
    convert_file,
    directory_config,
    from_torch,
    to_torch_names,
)
from lpd_jax.weights.from_torch.official import config_of_shapes, official_weights, recognised
from lpd_jax.weights.loading import load_weights
from tests import tiny, torch_writer

# Made by running the official code on small random models. They change only with that code.
GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
BUFFER = "quantize.codebook_used"


@pytest.fixture(scope="module")
def lpd_golden():
    return dict(np.load(GOLDEN / "lpd_tiny16.npz"))


@pytest.fixture(scope="module")
def vq_golden():
    return dict(np.load(GOLDEN / "vq_tiny.npz"))


@pytest.fixture
def lpd_weights(lpd_golden):
    return state_dict_of(lpd_golden)


def state_dict_of(golden):
    return {name[3:]: value for name, value in golden.items() if name.startswith("sd/")}


def published_shapes(model: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a released checkpoint."""
    text = (GOLDEN / "state_dict_names.txt").read_text(encoding="utf-8")
    section = re.search(rf"^## {re.escape(model)}.*?\n(.*?)(?=^#|\Z)", text, re.M | re.S)
    rows = [line.split("\t") for line in section[1].strip().splitlines()]
    return {name: tuple(map(int, re.findall(r"\d+", shape))) for name, shape in rows}


def test_config_of_the_released_lpd():
    shapes = published_shapes("lpd_l img_size=256")
    config = config_of_shapes(shapes)
    assert config == LPD_MODELS["lpd_l"]
    assert {w.name: w.shape for w in official_weights(config)} == shapes
    assert sum(map(math.prod, shapes.values())) == count_params(config) == 337_157_120


@pytest.mark.parametrize(
    ("name", "num_heads", "rows", "count"),
    [
        ("lpd_l", 16, 1025, 337_943_552),
        ("lpd_xl", 20, 257, 751_947_520),
        ("lpd_xxl", 24, 257, 1_412_184_576),
    ],
)
def test_published_heads_and_grids(name, num_heads, rows, count):
    """The sizes of a released state dict lead back to the model they were read from."""
    config = LPD_MODELS[name]
    shapes = {w.name: w.shape for w in official_weights(config)}
    shapes["pos_embed"] = (1, rows, config.embed_dim)
    found = config_of_shapes(shapes)
    assert (found.num_heads, math.prod(found.grid_size)) == (num_heads, rows - 1)
    assert sum(map(math.prod, shapes.values())) == count_params(found) == count


def test_config_of_the_released_tokenizer():
    shapes = published_shapes("VQ-16")
    zeros = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}
    config, params = from_torch(zeros)
    assert config == VQ_MODELS["vq16"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 71_883_403
    chex.assert_trees_all_equal_shapes_and_dtypes(params, abstract_params(config))


def test_config_of_vq8_from_its_shapes():
    config = VQ_MODELS["vq8"]
    weights = official_weights(config)
    assert (
        recognised(["quantize.embedding.weight"]).draft({w.name: w.shape for w in weights})
        == config
    )
    # 300 entries of the released file, of which one is the record of used codes.
    assert (len(weights), sum(math.prod(w.shape) for w in weights)) == (299, 70_109_835)


def test_lpd_logits_match_the_reference(lpd_golden, lpd_weights):
    from lpd_jax.models import lpd

    config, params = from_torch(lpd_weights, num_heads=4)
    want = LPDConfig(
        num_layers=3,
        embed_dim=64,
        num_heads=4,
        grid_size=(4, 4),
        codebook_size=128,
        num_classes=10,
    )
    assert config == want
    chex.assert_trees_all_equal_shapes_and_dtypes(params, abstract_params(config))
    schedule = GroupSchedule(tuple(lpd_golden["group_sizes"].tolist()))
    logits_BNV = lpd.LPD(config).apply(
        {"params": params},
        lpd_golden["tokens"],
        lpd_golden["labels"],
        lpd_golden["orders"],
        schedule.group_of_rank(),
    )
    np.testing.assert_allclose(logits_BNV, lpd_golden["train/logits"], atol=1e-4, rtol=0)


def test_tokenizer_matches_the_reference(vq_golden):
    config, params = from_torch(state_dict_of(vq_golden))
    assert config == VQConfig(32, (1, 1, 2, 2, 2), 2, z_channels=32, codebook_size=64)
    chex.assert_trees_all_equal_shapes_and_dtypes(params, abstract_params(config))
    run = jax.jit(VQTokenizer(config).apply, static_argnames="method")
    images_BHWC = vq_golden["image"].transpose(0, 2, 3, 1)
    tokens_BHW = run({"params": params}, images_BHWC, method="encode")
    np.testing.assert_array_equal(tokens_BHW, vq_golden["indices"])
    pixels_BHWC = run({"params": params}, tokens_BHW, method="decode")
    want_BHWC = vq_golden["decoded"].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(pixels_BHWC, want_BHWC, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", ["lpd", "vq"])
def test_there_and_back_is_the_same_state_dict(family, lpd_golden, vq_golden):
    state_dict = state_dict_of(lpd_golden if family == "lpd" else vq_golden)
    config, params = from_torch(state_dict, num_heads=4 if family == "lpd" else None)
    back = to_torch_names(config, params)
    assert back.keys() == state_dict.keys()
    for name in back.keys() - {BUFFER}:
        assert back[name].flags.c_contiguous and back[name].dtype == np.float32
        np.testing.assert_array_equal(back[name], state_dict[name].astype(np.float32), name)
    params["surplus"] = np.zeros(3)
    with pytest.raises(ValueError, match="unexpected surplus"):
        to_torch_names(config, params)


def test_prefixes_and_half_precision(lpd_weights):
    half = {f"module.{k}": v.astype(ml_dtypes.bfloat16) for k, v in lpd_weights.items()}
    _, params = from_torch(half, num_heads=4)
    kernel = params["head"]["kernel"]
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel.T, half["module.head.weight"].astype(np.float32))


def test_every_wrong_weight_is_named_in_one_error(lpd_weights):
    del lpd_weights["head.weight"], lpd_weights["blocks.1.mlp.fc1.bias"]
    lpd_weights["extra.weight"] = np.zeros(3, np.float32)
    lpd_weights["class_emb.weight"] = np.zeros((10, 63), np.float32)
    lpd_weights["blocks.2.norm1.weight"] = np.zeros(65, np.float32)
    lpd_weights["norm.bias"] = np.zeros(64, np.int64)
    with pytest.raises(ValueError, match="the checkpoint does not fit the model") as caught:
        from_torch(lpd_weights, num_heads=4)
    assert [line.strip() for line in str(caught.value).splitlines()[1:]] == [
        "blocks.2.norm1.weight: got shape (65,), allowed is (64,)",
        "class_emb.weight: got shape (10, 63), allowed is (10, 64)",
        "missing blocks.1.mlp.fc1.bias",
        "missing head.weight",
        "norm.bias: got int64 values, allowed are floats",
        "unexpected extra.weight",
    ]


def test_many_wrong_weights_are_a_few_and_a_number(lpd_weights):
    lpd_weights |= {f"extra.{i}": np.zeros(3, np.float32) for i in range(1000)}
    with pytest.raises(ValueError, match="the checkpoint does not fit the model") as caught:
        from_torch(lpd_weights, num_heads=4)
    lines = [line.strip() for line in str(caught.value).splitlines()[1:]]
    assert lines[0] == "unexpected extra.0" and lines[-1] == "and 994 more" and len(lines) == 7


@pytest.mark.parametrize(
    "name", ["fake_latent", "pos_embed", "token_emb.weight", "class_emb.weight", "norm.weight"]
)
def test_a_missing_weight_is_named_whichever_it_is(lpd_weights, name):
    del lpd_weights[name]
    with pytest.raises(ValueError, match=rf"missing {re.escape(name)}"):
        from_torch(lpd_weights)


@pytest.mark.parametrize(
    "name", ["encoder.conv_in.weight", "quantize.embedding.weight", "decoder.mid.1.q.weight"]
)
def test_wrong_tokenizer_weights_are_named(vq_golden, name):
    state_dict = state_dict_of(vq_golden)
    shape = (*state_dict[name].shape[:-1], state_dict[name].shape[-1] + 1)
    del state_dict["decoder.norm_out.bias"]
    with pytest.raises(ValueError, match=r"missing decoder\.norm_out\.bias") as caught:
        from_torch({**state_dict, name: np.zeros(shape, np.float32)})
    assert f"{name}: got shape" in str(caught.value)
    del state_dict[name]
    with pytest.raises(ValueError, match=rf"missing {re.escape(name)}"):
        from_torch(state_dict)


def test_heads_that_no_shape_tells_are_asked_for(lpd_weights):
    with pytest.raises(ValueError, match="num_heads: missing; no published LPD is 64 wide"):
        from_torch(lpd_weights)
    with pytest.raises(ValueError, match="num_heads: got 5, allowed are divisors of 64"):
        from_torch(lpd_weights, num_heads=5)


def test_grids(lpd_weights):
    config, _ = from_torch(lpd_weights, num_heads=4, grid_size=(2, 8))
    assert config.grid_size == (2, 8)
    config, _ = from_torch(lpd_weights, num_heads=4, grid_size=4)
    assert config.grid_size == (4, 4)
    with pytest.raises(ValueError, match="grid_size: got 3x3, allowed is a height x width of 16"):
        from_torch(lpd_weights, num_heads=4, grid_size=3)
    lpd_weights["pos_embed"] = lpd_weights["pos_embed"][:, :13]
    with pytest.raises(
        ValueError, match="grid_size: missing; the 12 tokens.*give its height and width"
    ):
        from_torch(lpd_weights, num_heads=4)
    config, _ = from_torch(lpd_weights, num_heads=4, grid_size=(3, 4))
    assert config.grid_size == (3, 4)


def test_options_of_a_transformer_do_not_fit_a_tokenizer(vq_golden):
    with pytest.raises(ValueError, match="num_heads, grid_size: got 4, None, allowed is none"):
        from_torch(state_dict_of(vq_golden), num_heads=4)


def test_other_models_are_refused_in_one_line():
    zero = np.zeros((2, 2), np.float32)
    with pytest.raises(
        ValueError, match=r"of no known model \(conv1.weight\), allowed are ARPG, LPD, "
    ):
        from_torch({"conv1.weight": zero})
    with pytest.raises(ValueError, match="no known model"):
        from_torch({})
    with pytest.raises(ValueError, match="are a model directory's, which needs no conversion$"):
        from_torch({"blocks/up/kernel": zero})


def test_checkpoint_file(tmp_path, lpd_weights):
    file = tmp_path / "lpd.pth"
    beside = {"optimizer": {"state": {}}, "args": torch_writer.Call("argparse Namespace")}
    torch_writer.write_zip(file, {"model": lpd_weights, **beside})
    config, params = convert_file(file, num_heads=4)
    chex.assert_trees_all_equal(params, from_torch(lpd_weights, num_heads=4)[1])
    assert config.num_heads == 4
    with pytest.raises(ValueError, match=f"checkpoint: got '{file}': num_heads"):
        convert_file(file)


def test_directory_config_has_the_published_settings(lpd_weights):
    large = directory_config(LPD_MODELS["lpd_xxl"], VQ_MODELS["vq16"])
    assert large.image_size == (256, 256)
    settings = {"num_steps": 20, "guidance_scale": 5.9, "repulsion_threshold": 3}
    assert settings.items() <= vars(large.generation).items()
    ours, _ = from_torch(lpd_weights, num_heads=4)
    small = directory_config(ours, None)
    assert small.tokenizer is None and small.generation.guidance_scale == 1.0
    assert small.transformer == ours
    with pytest.raises(ValueError, match="codebook_size: got 128 .* allowed is the tokenizer's 16"):
        directory_config(ours, VQ_MODELS["vq16"])


def test_position_table_resizes_like_an_image():
    random = np.random.default_rng(0)
    table = random.normal(size=(1 + 2 * 3, 5)).astype(np.float32)
    # Row by row of the grid: a table that varies only downwards, resized, does so still.
    table[1:] = np.repeat(table[[1, 4]], 3, axis=0)
    resized = np.asarray(resize_position_embedding(table, (2, 3), (4, 6)))
    assert resized.shape == (25, 5)
    np.testing.assert_array_equal(resized[0], table[0])
    grid_HWD = resized[1:].reshape(4, 6, 5)
    np.testing.assert_allclose(grid_HWD, np.repeat(grid_HWD[:, :1], 6, axis=1), atol=1e-6)
    # Keys' kernel with a = -0.75 a quarter of the way between two rows, edges repeated.
    near, far = 0.87890625 - 0.10546875, 0.26171875 - 0.03515625
    np.testing.assert_allclose(grid_HWD[1, 0], near * table[1] + far * table[4], atol=1e-5)
    np.testing.assert_array_equal(resize_position_embedding(table, (2, 3), (2, 3)), table)


def test_fine_tuning_starts_from_the_weights_of_a_smaller_grid(lpd_weights):
    config, params = from_torch(lpd_weights, num_heads=4)
    larger = resize_position_embedding(params, config.grid_size, (8, 8))
    assert larger["position_embed"].shape == (65, 64)
    assert params["position_embed"].shape == (17, 64)
    before, after = (flatten_dict(tree, sep="/") for tree in (params, larger))
    assert all(after[path] is before[path] for path in after.keys() - {"position_embed"})
    for table, to_grid in (
        (params["position_embed"][1:], (8, 8)),
        (params["position_embed"], (0, 8)),
    ):
        with pytest.raises(ValueError, match="position_embed: got shape|to_grid: got"):
            resize_position_embedding(table, (4, 4), to_grid)


def test_a_tokenizer_of_our_own_options_has_names_but_cannot_be_told_by_shapes(tmp_path):
    bundled = load_weights(str(tiny.REPOSITORY / "lpd_jax/bundled/model"), "tokenizer", "tokenizer")
    weights = to_torch_names(bundled.config, bundled.params)
    file = tmp_path / "ours.pt"
    torch_writer.write_zip(file, {"model": weights, "ema": weights})
    # What shapes tell does not fit, and which entry was looked at is said.
    with pytest.raises(
        ValueError, match=r"(?s)ours.pt': the checkpoint does not fit .*--key chooses\)"
    ):
        convert_file(file)
