"""The pictures that show how far a training has come."""

import jax.numpy as jnp
import numpy as np

from lpd_jax.training import task
from lpd_jax.training.config import TrainConfig
from lpd_jax.weights.loading import Weights
from tests import tiny


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
