"""PAR and LlamaGen checkpoints: names, sizes off shapes, what is assumed, what is refused."""

import dataclasses
import pathlib
import re

import chex
import ml_dtypes
import numpy as np
import pytest

from lpd_jax.decoding.sampling import Guidance
from lpd_jax.generation.request import make_request
from lpd_jax.models.par_layout import PAR_MODELS, PARConfig, par_order, par_schedule
from lpd_jax.models.parameters import abstract_params
from lpd_jax.models.vq_tokenizer import VQ_MODELS
from lpd_jax.weights.from_torch.conversion import (
    convert_file,
    directory_config,
    from_torch,
    to_torch_names,
)
from lpd_jax.weights.from_torch.official import config_of_shapes, official_weights
from tests import tiny, torch_writer

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
TRANSITIONS = "spe_tok_embeddings.special_embeddings.weight"
CLASSES = "cls_embedding.embedding_table.weight"
# Of the multiples that make an MLP as wide, the power of two that the converter finds.
PAR = dataclasses.replace(tiny.PAR, mlp_multiple=16)


@pytest.fixture(scope="module", params=["par_n4_dev", "par_n16_dev", "llamagen_dev"])
def golden(request):
    with np.load(GOLDEN / f"{request.param}.npz") as file:
        return dict(file)


def state_dict_of(golden) -> dict[str, np.ndarray]:
    return {name[3:]: value for name, value in golden.items() if name.startswith("sd/")}


@pytest.fixture
def weights():
    """A PAR of four at a time, on a grid of 4x4, under the official names."""
    return to_torch_names(PAR, tiny.random_params(PAR))


def test_sizes_are_read_off_the_weights(golden):
    meta = {name[5:]: int(value) for name, value in golden.items() if name.startswith("meta/")}
    config, params = from_torch(state_dict_of(golden), meta["n_head"], meta["grid"])
    assert config.mlp_dim == meta["ffn_hidden"]
    assert dataclasses.replace(config, mlp_multiple=256) == PARConfig(
        num_layers=meta["n_layer"],
        embed_dim=meta["dim"],
        num_heads=meta["n_head"],
        num_parallel=meta["n_parallel"],
        grid_size=(meta["grid"], meta["grid"]),
        codebook_size=meta["vocab"],
        num_classes=meta["num_classes"],
    )
    chex.assert_trees_all_equal_shapes_and_dtypes(params, abstract_params(config))
    np.testing.assert_array_equal(par_order(config), golden["order"])
    np.testing.assert_array_equal(par_schedule(config).group_sizes, golden["decode/step_sizes"])


def test_there_and_back_is_the_same_state_dict(golden):
    state_dict = state_dict_of(golden)
    config, params = from_torch(state_dict, num_heads=4, grid_size=8)
    back = to_torch_names(config, params)
    assert back.keys() == state_dict.keys()
    for name, array in back.items():
        assert array.flags.c_contiguous and array.dtype == np.float32
        np.testing.assert_array_equal(array, state_dict[name], name)


def test_the_rotary_table_tells_heads_and_grid(golden):
    told = []
    with_table = state_dict_of(golden) | {"freqs_cis": golden["rope"]}
    config, params = from_torch(with_table, tell=told.append)
    assert (config.num_heads, config.grid_size, told) == (4, (8, 8), [])
    chex.assert_trees_all_equal(params, from_torch(state_dict_of(golden), 4, 8)[1])
    with pytest.raises(ValueError, match="^num_heads: got 8, allowed is 4, as freqs_cis tells"):
        from_torch(with_table, num_heads=8)
    config, _ = from_torch(with_table, grid_size=(12, 8), tell=told.append)
    assert config.grid_size == (12, 8)
    assert told == ["grid_size: 12x8 as asked, though freqs_cis is of 64 tokens"]
    with_table["freqs_cis"] = golden["rope"][:-1]
    with pytest.raises(
        ValueError, match="^grid_size: missing; the 63 tokens that freqs_cis has are no square"
    ):
        from_torch(with_table)


@pytest.mark.parametrize(
    "name", ["par_xl_4x", "par_xxl_4x", "par_3b_4x", "par_3b_16x", "llamagen_b", "llamagen_7b"]
)
def test_published_models_come_from_their_shapes(name):
    config, told = PAR_MODELS[name], []
    shapes = {weight.name: weight.shape for weight in official_weights(config)}
    assert config_of_shapes(shapes, tell=told.append) == config
    assert [line.split(",")[0] for line in told] == [
        f"num_heads: assumed {config.num_heads}",
        "grid_size: assumed 24x24",
    ]
    assert ("16x16 is for 256" in told[1]) == (config.num_parallel == 1)
    smaller = config_of_shapes(shapes, grid_size=16)
    assert smaller == dataclasses.replace(config, grid_size=(16, 16))


def test_the_names_are_the_official_ones():
    config = PAR_MODELS["par_xl_4x"]
    shapes = {weight.name: weight.shape for weight in official_weights(config)}
    layer = {
        "attention.wqkv.weight": (3840, 1280),
        "attention.wo.weight": (1280, 1280),
        "feed_forward.w1.weight": (3584, 1280),
        "feed_forward.w3.weight": (3584, 1280),
        "feed_forward.w2.weight": (1280, 3584),
        "attention_norm.weight": (1280,),
        "ffn_norm.weight": (1280,),
    }
    assert shapes == {
        CLASSES: (1001, 1280),
        "tok_embeddings.weight": (16384, 1280),
        TRANSITIONS: (3, 1280),
        "norm.weight": (1280,),
        "output.weight": (16384, 1280),
        **{f"layers.{i}.{name}": shape for i in range(36) for name, shape in layer.items()},
    }


ARGS = torch_writer.Call("argparse Namespace", (), {"gpt_model": "GPT-XL"})
WRAPPERS = {
    "fsdp": lambda weights: weights,
    "ddp": lambda weights: {
        "model": {f"module.{name}": array for name, array in weights.items()},
        "optimizer": {"state": {0: {"exp_avg": weights["norm.weight"]}}, "param_groups": []},
        "steps": 1500,
        "args": ARGS,
    },
    "deepspeed": lambda weights: {"module": weights, "global_steps": 7},
    "lightning": lambda weights: {"state_dict": weights, "epoch": 3},
    "compiled": lambda weights: {
        "model": {f"_orig_mod.{name}": array for name, array in weights.items()}
    },
    "angles": lambda weights: {
        "model": weights | {"freqs_cis": np.zeros((20, 4, 2), np.float32)},
        "steps": 1500,
    },
    "sampled": lambda weights: (
        weights
        | {
            f"layers.{layer}.attention.kv_cache.{name}_cache": np.zeros((2, 2, 20, 4), np.float32)
            for layer in range(2)
            for name in "kv"
        }
    ),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_checkpoint_files(tmp_path, weights, wrapper):
    file = tmp_path / "par.pt"
    torch_writer.write_zip(file, WRAPPERS[wrapper](weights))
    sizes = {} if wrapper == "angles" else {"num_heads": 2, "grid_size": 4}
    config, params = convert_file(file, **sizes)
    assert config == PAR
    chex.assert_trees_all_equal(params, tiny.random_params(PAR))


def test_half_precision(weights):
    half = {name: array.astype(ml_dtypes.bfloat16) for name, array in weights.items()}
    _, params = from_torch(half, num_heads=2, grid_size=4)
    head = params["head"]["kernel"]
    assert head.dtype == np.float32
    np.testing.assert_array_equal(head.T, half["output.weight"].astype(np.float32))


def test_heads_and_grid_of_no_published_width_are_asked_for(weights):
    with pytest.raises(ValueError, match="^num_heads: missing; no published PAR .* 16 wide"):
        from_torch(weights)
    with pytest.raises(ValueError, match="^grid_size: missing; no published PAR .* 16 wide"):
        from_torch(weights, num_heads=2)
    config, _ = from_torch(weights, num_heads=2, grid_size=4)
    assert config == PAR


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"num_heads": 3}, "^num_heads: got 3, allowed are numbers that cut embed_dim 16"),
        ({"num_heads": 0}, "^num_heads: got 0, allowed are whole numbers from 1"),
        ({"grid_size": 0}, "^grid_size: got 0x0, allowed is height x width or frames"),
        ({"grid_size": (4, 4, 4, 4)}, "^grid_size: got 4x4x4x4, allowed"),
        ({"grid_size": (6, 9)}, f"^{TRANSITIONS}: got 3 rows, .* grid of 6x9 are .* n = 1, 9$"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(weights, sizes, words):
    with pytest.raises(ValueError, match=words):
        from_torch(weights, **{"num_heads": 2, "grid_size": 4} | sizes)


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        (TRANSITIONS, (2, 16), f"^{TRANSITIONS}: got 2 rows, allowed are n - 1 for n = 4, 9, 16"),
        (TRANSITIONS, (0, 16), f"^{TRANSITIONS}: got 0 rows"),
        (
            "layers.{}.attention.wqkv.weight",
            (32, 16),
            "got 32 rows, allowed are 48: grouped queries",
        ),
        ("layers.{}.feed_forward.w{}.weight", (41, 16), "w1.weight: got 41 rows, .* 16 are 42"),
        (
            "cls_embedding.uncond_embedding",
            (120, 2048),
            "got a LlamaGen that draws from text; allowed",
        ),
        ("cls_embedding.cap_proj.fc1.weight", (16, 2048), "cap_proj.fc1.weight: got a LlamaGen"),
        ("pos_instruct_embeddings", (1, 16), "unexpected pos_instruct_embeddings"),
        (CLASSES, (4, 12), rf"{CLASSES}: got shape \(4, 12\), allowed is \(4, 16\)"),
        (
            "layers.1.attention.wqkv.weight",
            (32, 16),
            r"1.+wqkv.weight: got .* is \(48, 16\)",
        ),
    ],
)
def test_checkpoints_of_other_models_are_refused(weights, name, shape, words):
    names = {name.format(i, j) for i in range(2) for j in (1, 3)}
    with pytest.raises(ValueError, match=words) as caught:
        from_torch(weights | {name: np.zeros(shape, np.float32) for name in names}, 2, 4)
    assert str(caught.value).count("\n") <= 1


@pytest.mark.parametrize("name", [CLASSES, "tok_embeddings.weight", "norm.weight", "output.weight"])
def test_a_missing_weight_is_named_whichever_it_is(weights, name):
    del weights[name]
    with pytest.raises(ValueError, match=rf"missing {re.escape(name)}"):
        from_torch(weights)


def test_without_its_transitions_it_is_a_llamagen(weights):
    del weights[TRANSITIONS]
    config, _ = from_torch(weights, num_heads=2, grid_size=4)
    assert config == dataclasses.replace(PAR, num_parallel=1)


def test_an_mlp_of_any_larger_width_is_kept(weights):
    for i in range(2):
        for name, shape in (("w1", (77, 16)), ("w3", (77, 16)), ("w2", (16, 77))):
            weights[f"layers.{i}.feed_forward.{name}.weight"] = np.ones(shape, np.float32)
    config, params = from_torch(weights, num_heads=2, grid_size=4)
    assert config.mlp_dim == 77 and params["blocks"]["gate"]["kernel"].shape == (2, 16, 77)


@pytest.mark.parametrize(
    ("name", "grid", "scale", "order"),
    [
        ("par_l_4x", 24, 1.6, "region"),
        ("par_xl_4x", 24, 1.5, "region"),
        ("par_xxl_4x", 24, 1.435, "region"),
        ("par_3b_4x", 24, 1.345, "region"),
        ("par_3b_16x", 24, 1.5, "region"),
        ("par_xxl_16x", 24, 1.435, "region"),  # that of 4x
        ("par_xl_4x", 16, 1.0, "region"),
        ("llamagen_b", 16, 2.0, "raster"),
        ("llamagen_xl", 24, 1.75, "raster"),
        ("llamagen_3b", 24, 1.65, "raster"),
    ],
)
def test_directory_config_has_the_published_settings(name, grid, scale, order):
    model = dataclasses.replace(PAR_MODELS[name], grid_size=(grid, grid))
    config = directory_config(model, VQ_MODELS["vq16"])
    assert config.image_size == (16 * grid, 16 * grid)
    assert config.generation.order == order
    request = make_request(config, [0])
    assert request.schedule == par_schedule(model)
    np.testing.assert_array_equal(request.order, par_order(model)[None])
    assert request.guidance == Guidance.make(scale, "constant")


def test_another_vocabulary_than_the_tokenizers_is_refused():
    with pytest.raises(ValueError, match="codebook_size: got 32 .* allowed is the tokenizer's 16"):
        directory_config(PAR, VQ_MODELS["vq16"])
