"""A new family is one class: a toy is defined here alone, trained, drawn from, saved and loaded."""

import dataclasses

import jax
import numpy as np
import pytest

import lpd_jax
from lpd_jax.data.data_config import DataConfig
from lpd_jax.models import family
from lpd_jax.models.family import Family
from lpd_jax.training import train
from lpd_jax.training.config import EveryConfig, TrainConfig
from lpd_jax.training.export import export_run
from lpd_jax.training.optimizer import OptimizerConfig
from tests import tiny
from tests.data import photos


@dataclasses.dataclass(frozen=True)
class ToyConfig:
    grid_size: tuple[int, int] = (4, 4)
    codebook_size: int = 32
    num_classes: int = 3
    label_drop_rate: float = 0.1
    num_tokens = property(lambda self: self.grid_size[0] * self.grid_size[1])
    null_class = property(lambda self: self.num_classes)


class Toy(Family):
    """Each class has logits for every place; nothing is looked at."""

    name, title, config_type = "toy", "Toy", ToyConfig

    def init(self, key):
        sizes = (self.config.num_classes + 1, self.config.num_tokens, self.config.codebook_size)
        return {"table": 0.1 * jax.random.normal(key, sizes)}

    def logits(self, params, inputs, train=False, dropout_key=None, **options):
        return params["table"][inputs.labels_B[:, None], inputs.order_BN]

    def decoder(self, params, labels_R, schedule, dtype):
        def step(rows, cache):
            return params["table"][labels_R[:, None], rows.query_positions_RQ], cache

        return step, ()


@pytest.fixture
def toy():
    family.register(Toy)
    yield ToyConfig()
    family.forget("toy")


def test_a_toy_is_trained_exported_loaded_and_draws(toy, tmp_path):
    for split in ("train", "val"):
        photos.write_folder(tmp_path / "photos" / split, per_class=3)
    tiny.write_model_directory(tmp_path / "vq", transformer=None)
    config = TrainConfig(
        num_steps=2,
        batch_size=8,
        tokenizer=str(tmp_path / "vq"),
        data=DataConfig("folder", path=str(tmp_path / "photos"), image_size=8),
        optimizer=OptimizerConfig(learning_rate=0.1),
        every=EveryConfig(log=0, evaluate=0, save=0, sample=0),
    )
    state = train(toy, config, tmp_path / "run")
    export_run(str(tmp_path / "model"), str(tmp_path / "run"))
    pipe = lpd_jax.Pipeline.from_pretrained(tmp_path / "model")
    assert pipe.config.transformer == toy
    tokens_BN = pipe.generate_tokens([2, 1], temperature=0)
    table = np.asarray(state.params["table"])
    np.testing.assert_array_equal(tokens_BN, table[[2, 1]].argmax(axis=-1))
    assert pipe(["bee"], num_steps=4).shape == (1, 8, 8, 3)
    pipe.save_pretrained(tmp_path / "again")
    again = lpd_jax.Pipeline.from_pretrained(tmp_path / "again")
    np.testing.assert_array_equal(again.generate_tokens([2, 1], temperature=0), tokens_BN)


def test_an_unknown_family_is_one_clear_error(toy):
    family.forget("toy")
    with pytest.raises(
        ValueError, match="^model: got a ToyConfig, allowed are the configs of arpg"
    ):
        family.family_of(toy)
    known = "arpg, lpd, par, randar, video, video_pictures, vq"
    with pytest.raises(ValueError, match=f"^model.family: got 'toy', allowed are {known}"):
        family.config_from_dict({"family": "toy"})


def test_a_name_belongs_to_one_family(toy):
    class Other(Toy):
        name = "lpd"

    family.register(Toy)  # again: the same
    with pytest.raises(ValueError, match="family 'lpd' is registered already, as LPDFamily"):
        family.register(Other)
