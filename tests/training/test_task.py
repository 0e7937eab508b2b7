"""The pictures that show how far a training has come."""

import jax.numpy as jnp
import numpy as np

from lpd_jax import bundled
from lpd_jax.evaluation.fid import FIDConfig
from lpd_jax.evaluation.picture_sets import open_pictures
from lpd_jax.evaluation.while_training import EvaluationConfig
from lpd_jax.models.family import tokenizer_of
from lpd_jax.training import task
from lpd_jax.training.config import TrainConfig
from lpd_jax.weights.loading import Weights
from tests import avatars, tiny


def test_the_order_of_a_picture_does_not_depend_on_those_it_is_drawn_with(monkeypatch):
    monkeypatch.setattr(
        task, "generate_images", lambda *arguments, **_: (jnp.asarray(arguments[5]), None)
    )
    tokenizer = Weights(tiny.VQ, tiny.random_params(tiny.VQ))

    def orders(seed, first, count):
        config = TrainConfig(num_steps=1, batch_size=1, seed=seed)
        return task.make_sampler(tiny.LPD, config, tokenizer)({}, first, count, None)

    together_BN = orders(3, 0, 4)
    np.testing.assert_array_equal(together_BN, [*orders(3, 0, 1), *orders(3, 1, 3)])
    assert not np.array_equal(together_BN, orders(4, 0, 4))


def test_a_tokenizer_is_judged_by_pictures_of_all_classes(monkeypatch, tmp_path):
    family = type(tokenizer_of(avatars.VQ))
    monkeypatch.setattr(family, "reconstruct", lambda self, params, images: images)
    fid, evaluation = FIDConfig(24, "avatars12"), EvaluationConfig(36, "avatars12")
    config = TrainConfig(num_steps=1, batch_size=1, fid=fid, evaluation=evaluation)
    made = task.make_task(avatars.VQ, config, tmp_path)
    images_BHWC, labels_B = bundled.load_avatars("validation")
    for draw, count in ((made.draw, 24), (made.draw_judged, 36)):
        drawn = np.concatenate([draw({}, first, count // 2, None) for first in (0, count // 2)])
        pictures = open_pictures("avatars12", split="validation", num_images=count)
        np.testing.assert_array_equal(drawn, np.concatenate([*pictures.batches(range(count))]))
        rows = np.linspace(0, len(labels_B) - 1, count).astype(int)
        np.testing.assert_array_equal(drawn, images_BHWC[rows])
        assert set(labels_B[rows]) == set(range(12))
