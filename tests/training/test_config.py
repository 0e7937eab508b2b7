"""Config files become dataclasses; what they get wrong is named."""

import importlib.util
import json
import pathlib

import pytest

from lpd_jax.models.family import published_models
from lpd_jax.models.lpd import LPDConfig
from lpd_jax.models.vq_tokenizer import VQConfig
from lpd_jax.training.config import check_read, config_to_json, read_config
from lpd_jax.training.from_data import fill_in
from lpd_jax.training.optimizer import make_learning_rate

CONFIGS = sorted((pathlib.Path(__file__).parents[2] / "configs").glob("*.py"))
LPD = {"family": "lpd", "num_layers": 2, "embed_dim": 16, "num_heads": 2}
RUN = {"num_steps": 10, "batch_size": 8, "model": LPD}


def test_sections_become_dataclasses():
    model, config = read_config(
        RUN | {"optimizer": {"learning_rate": 1}, "mesh": {"fsdp": 2}, "data": {}}
    )
    assert model == LPDConfig(num_layers=2, embed_dim=16, num_heads=2)
    assert config.optimizer.learning_rate == 1.0 and config.mesh.fsdp == 2
    assert config.data.dataset == "avatars12"


def test_what_checkpoints_keep_is_read_back():
    model, config = read_config(RUN | {"model": {"family": "vq", "channel_multipliers": [1, 2]}})
    assert isinstance(model, VQConfig) and model.channel_multipliers == (1, 2)
    saved = json.loads(json.dumps(config_to_json(model, config)))
    assert read_config(saved) == (model, config)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configs_of_the_repository_are_complete(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    mapping = module.get_config().to_dict()
    if "num_epochs" in mapping:  # what it leaves to the data: see tests/training/test_from_data.py
        del mapping["num_epochs"]
        mapping["num_steps"] = 1000
        facts = {"grid_size": (16, 16), "codebook_size": 1024, "num_classes": 3}
        mapping["model"] |= {name: fact for name, fact in facts.items() if name in mapping["model"]}
    model, config = read_config(fill_in(mapping))
    make_learning_rate(config.optimizer, config.num_steps)
    if path.stem in published_models():
        assert model == published_models()[path.stem]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_stepz": 3}, "num_stepz: got an unknown field, allowed are "),
        ({"optimizer": {"lr": 1.0}}, "optimizer.lr: got an unknown field, allowed are "),
        ({"model": LPD | {"num_layrs": 2}}, "model.num_layrs: got an unknown field, allowed are "),
        (
            {"model": LPD | {"family": "gpt"}},
            "model.family: got 'gpt', allowed are arpg, lpd, par, randar, video, video_pi",
        ),
        (
            {"model": LPD | {"grid_size": [4] * 4}},
            "model.grid_size: got (4, 4, 4, 4), allowed is (height",
        ),
        ({"model": LPD | {"grid_size": [4, 0.5]}}, "model.grid_size[1]: got 0.5, allowed is an "),
        ({"model": 3}, "model: got 3, allowed is a mapping of fields"),
        ({"batch_size": "8"}, "batch_size: got '8', allowed is an int"),
        ({"batch_size": 0}, "batch_size: got 0, allowed are whole numbers from 1"),
        ({"num_steps": -1}, "num_steps: got -1, allowed are whole numbers from 1"),
        ({"keep_checkpoints": 0}, "keep_checkpoints: got 0, allowed are whole numbers from 1"),
        ({"every": {"save": -5}}, "every.save: got -5, allowed is 0 (at the end only) or more"),
        ({"every": 3}, "every: got 3, allowed is a mapping of fields"),
        ({"ema_decay": 1.0}, "ema_decay: got 1.0, allowed are [0, 1)"),
        ({"seed": -1}, "seed: got -1, allowed are 0 to 4294967295"),
        ({"num_steps": 2**31}, "num_steps: got 2147483648, allowed are whole numbers from 1 to 2"),
        ({"batch_size": 10**9}, "batch_size: got 1000000000, allowed are whole numbers from 1 to"),
        ({"adversarial": {"start_step": 2**31}}, "adversarial.start_step: got 2147483648, allow"),
        (
            {"tokenizer_loss": {"entropy_weight": 0.1, "entropy_temperature": 0}},
            "tokenizer_loss.entropy_temperature: got 0.0, allowed with an entropy_weight is 0.0001",
        ),
    ],
)
def test_what_is_wrong_is_named(fields, message):
    with pytest.raises(ValueError) as error:
        read_config(RUN | fields)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("name", ["num_steps", "batch_size", "model"])
def test_what_has_no_default_must_be_given(name):
    with pytest.raises(ValueError, match=f"^{name}: missing"):
        read_config({key: value for key, value in RUN.items() if key != name})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"trained_parts": ["head"]}, "trained_parts: was set, allowed for a transformer is to"),
        ({"adversarial": {"weight": 0.1}}, "adversarial: was set, allowed for a transformer is"),
        (
            {"model": {"family": "vq"}, "locality_share": 0.5},
            "locality_share: was set, allowed for a tokenizer is to leave it out",
        ),
        (
            {"model": {"family": "vq"}, "optimizer": {"name": "muon"}},
            "optimizer.name: got 'muon', allowed are adamw",
        ),
    ],
)
def test_what_a_model_does_not_look_at_is_refused_where_it_trains_and_read_elsewhere(
    fields, message
):
    model, config = read_config(RUN | fields)
    with pytest.raises(ValueError, match=f"^{message}"):
        check_read(model, config)
    check_read(*read_config(RUN))
