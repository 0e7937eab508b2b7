"""RandAR and ARPG checkpoints: names, sizes off shapes, what is assumed, what is refused."""

import dataclasses
import math

import chex
import numpy as np
import pytest
import safetensors.numpy

import lpd_jax
from lpd_jax.models.arpg_sizes import ARPG_MODELS
from lpd_jax.models.family import find_model
from lpd_jax.models.parameters import count_params
from lpd_jax.models.randar import RANDAR_MODELS
from lpd_jax.models.vq_tokenizer import VQ_MODELS
from lpd_jax.weights.from_torch.conversion import (
    convert_file,
    directory_config,
    from_torch,
    to_torch_names,
)
from lpd_jax.weights.from_torch.official import config_of_shapes, official_weights
from tests import golden_models as official
from tests import tiny

FAMILIES = {"randar": tiny.RANDAR, "arpg": tiny.ARPG}
every_family = pytest.mark.parametrize("name", FAMILIES)


@pytest.fixture
def weights(name):
    """Of a tiny model, under the official names."""
    return to_torch_names(FAMILIES[name], tiny.random_params(FAMILIES[name]))


@every_family
def test_sizes_are_read_off_the_weights(name):
    golden, (config, _) = official.load(f"{name}_dev"), official.converted(f"{name}_dev")
    meta = {key[5:]: int(value) for key, value in golden.items() if key.startswith("meta/")}
    assert config.mlp_dim == meta["ffn_hidden"] and count_params(config) == meta["n_params"]
    assert (config.num_layers, config.embed_dim) == (meta["n_layer"], meta["dim"])
    assert (config.codebook_size, config.num_classes) == (meta["vocab"], meta["num_classes"])
    assert (config.num_heads, config.grid_size) == (meta["n_head"], (meta["grid"],) * 2)


@every_family
def test_there_and_back_is_the_same_state_dict(name):
    golden = official.load(f"{name}_dev")
    state_dict = {key[3:]: value for key, value in golden.items() if key.startswith("sd/")}
    config, params = lpd_jax.from_torch(state_dict, num_heads=4, grid_size=8)
    back = to_torch_names(config, params)
    assert back.keys() == state_dict.keys()
    for key, array in back.items():
        np.testing.assert_array_equal(array, state_dict[key], key)


@pytest.mark.parametrize(
    ("name", "title", "model", "count"),
    [
        ("randar", "RandAR-L (0.3b), LlamaGen tokens", "randar_l", 342_912_000),
        ("arpg", "ARPG-L", "arpg_l", 319_845_376),
    ],
)
def test_the_released_names_are_those_of_the_published_model(name, title, model, count):
    shapes, told = official.released_shapes(name, title), []
    config = config_of_shapes(shapes, tell=told.append)
    assert config == find_model(model)
    assert {w.name: w.shape for w in official_weights(config)} == shapes
    assert sum(map(math.prod, shapes.values())) == count
    assert [line.split(",")[0] for line in told] == [
        "num_heads: assumed 16",
        "grid_size: assumed 16x16",
    ]


@pytest.mark.parametrize("model", [*RANDAR_MODELS, *ARPG_MODELS])
def test_published_models_come_from_their_shapes(model):
    config = find_model(model)
    shapes = {weight.name: weight.shape for weight in official_weights(config)}
    assert config_of_shapes(shapes, grid_size=config.grid_size) == config


@every_family
def test_a_file_of_safetensors_is_read(name, weights, tmp_path):
    file = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(weights, file)
    config, params = convert_file(file, num_heads=2, grid_size=4)
    # The power of two that makes an MLP as wide.
    assert config == dataclasses.replace(FAMILIES[name], mlp_multiple=config.mlp_multiple)
    chex.assert_trees_all_equal(params, tiny.random_params(FAMILIES[name]))


@every_family
def test_heads_and_grid_of_no_published_width_are_asked_for(name, weights):
    with pytest.raises(ValueError, match="^num_heads: missing; no published .* 16 wide"):
        from_torch(weights)
    with pytest.raises(ValueError, match="^grid_size: missing; no published .* 16 wide"):
        from_torch(weights, num_heads=2)
    with pytest.raises(ValueError, match="^num_heads: got 3, allowed are numbers that cut"):
        from_torch(weights, num_heads=3, grid_size=4)
    with pytest.raises(ValueError, match="^grid_size: got 0x0, allowed is height x width"):
        from_torch(weights, num_heads=2, grid_size=0)


@every_family
def test_what_is_missing_or_too_much_is_named(name, weights):
    head = {"randar": "output.weight", "arpg": "head.weight"}[name]
    without = {key: value for key, value in weights.items() if key != "norm.weight"}
    with pytest.raises(ValueError, match=r"missing norm\.weight"):
        from_torch(without, num_heads=2, grid_size=4)
    with pytest.raises(ValueError, match="unexpected pos_embed"):
        from_torch(weights | {"pos_embed": np.zeros((1, 16), np.float32)}, 2, 4)
    with pytest.raises(ValueError, match=rf"{head}: got shape \(32, 15\), allowed is \(32, 16\)"):
        from_torch(weights | {head: np.zeros((32, 15), np.float32)}, 2, 4)


def test_arpg_halves_are_as_deep():
    weights = to_torch_names(tiny.ARPG, tiny.random_params(tiny.ARPG))
    odd = {key: value for key, value in weights.items() if "cross_dec.1" not in key}
    with pytest.raises(ValueError, match="^layers: got 2 in layers.self_dec and 1 in layers.cross"):
        from_torch(odd, num_heads=2, grid_size=4)


def test_randar_of_grouped_queries_is_refused():
    weights = to_torch_names(tiny.RANDAR, tiny.random_params(tiny.RANDAR))
    names = [f"layers.{i}.attention.wqkv.weight" for i in range(2)]
    weights |= {name: np.zeros((32, 16), np.float32) for name in names}
    with pytest.raises(ValueError, match="got 32 rows, allowed are 48: grouped queries"):
        from_torch(weights, num_heads=2, grid_size=4)


@pytest.mark.parametrize(
    ("model", "scale", "num_steps"), [("randar_xl", 4.0, 88), ("arpg_xl", 6.0, 64)]
)
def test_directory_config_has_the_published_settings(model, scale, num_steps):
    config = directory_config(find_model(model), VQ_MODELS["vq16"])
    assert config.image_size == (256, 256)
    generation = config.generation
    assert (generation.guidance_scale, generation.num_steps) == (scale, num_steps)
    assert generation.order == "random"
