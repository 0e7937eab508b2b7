"""Configs by name and as mappings, parameter counts of the published models."""

import pytest

from lpd_jax.models import family
from lpd_jax.models.lpd import LPDConfig
from lpd_jax.models.parameters import count_params
from lpd_jax.models.vq_tokenizer import VQConfig
from tests import tiny

FAMILIES = "arpg, lpd, par, randar, video, video_pictures, vq"
SMALL = {"num_layers": 2, "embed_dim": 16, "num_heads": 2}


# Published, or the size of the released checkpoints.
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("lpd_l", 337_157_120),
        ("lpd_xl", 751_947_520),
        ("lpd_xxl", 1_412_184_576),
        ("lpd_l_512", 337_943_552),
        ("lpd_xl_512", 752_930_560),
        ("lpd_xxl_512", 1_413_364_224),
        ("vq16", 71_883_403),
        ("vq8", 70_109_835),
        ("nbp_video", 370_372_105),
    ],
)
def test_parameter_counts(name, count):
    assert count_params(family.find_model(name)) == count


def test_an_unknown_model_gets_the_nearest_name():
    with pytest.raises(ValueError, match=r"got 'lpd-xl', allowed are .*; did you mean 'lpd_xl'\?"):
        family.find_model("lpd-xl")
    with pytest.raises(ValueError, match="got 'zebra', allowed are arpg_l, "):
        family.find_model("zebra")


@pytest.mark.parametrize("config", [tiny.LPD, tiny.VQ, LPDConfig(**SMALL, grid_size=(3, 5))])
def test_configs_come_back_from_their_mapping(config):
    mapping = family.config_to_dict(config)
    assert family.config_from_dict(mapping) == config
    assert mapping["family"] == ("vq" if isinstance(config, VQConfig) else "lpd")


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({}, f"model.family: got None, allowed are {FAMILIES}"),
        (
            {"family": "gpt"},
            f"model.family: got 'gpt', allowed are {FAMILIES}",
        ),
        ({"family": "lpd", **SMALL, "num_layer": 3}, "model.num_layer: got an unknown field"),
        ({"family": "lpd", "num_layers": 2}, "model.embed_dim: missing"),
        ({"family": "lpd", **SMALL, "grid_size": 4}, "model.grid_size: got 4"),
        ({"family": "lpd", **SMALL, "grid_size": [4, 0]}, r"grid_size: got \(4, 0\), allowed is"),
        ({"family": "lpd", **SMALL, "num_heads": 3}, "num_heads: got 3, allowed are divisors"),
        (
            {"family": "lpd", **SMALL, "num_heads": 0},
            "num_heads: got 0, allowed are whole numbers from 1",
        ),
        ({"family": "lpd", **SMALL, "num_classes": 0}, "num_classes: got 0"),
        ({"family": "lpd", **SMALL, "dropout_rate": 1.0}, "dropout_rate: got 1.0, allowed are"),
        ({"family": "lpd", **SMALL, "label_drop_rate": -0.1}, "label_drop_rate: got -0.1"),
        ({"family": "vq", "base_channels": 48}, "got 48 x 1, allowed are positive multiples of 32"),
        ({"family": "vq", "base_channels": 16, "channel_multipliers": [2]}, "got 16 x 1"),
        ({"family": "vq", "channel_multipliers": []}, "channel_multipliers: got none"),
        ({"family": "vq", "channel_multipliers": [1, 0]}, "got 128 x 0"),
        ({"family": "vq", "patch_size": 0}, "patch_size: got 0, allowed are whole numbers from 1"),
    ],
)
def test_bad_configs_are_refused_by_field(mapping, message):
    with pytest.raises(ValueError, match=message):
        family.config_from_dict(mapping)
