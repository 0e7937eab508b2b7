"""PatchGAN discriminators out of LlamaGen's, taming's and Open-MAGVIT2's names.

They count convolutions, norms and leaky ReLUs of one list, `main`. In LlamaGen's checkpoints the
weights are the entry "discriminator".
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from lpd_jax.models.discriminator import DiscriminatorConfig, init_discriminator
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.weights.from_torch.networks import network_from_torch
from lpd_jax.weights.from_torch.state_dict_shapes import Weight

LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


def official_weights(config: DiscriminatorConfig) -> list[Weight]:
    """Every weight that an official state dict has, counters aside; paths begin with the
    collection.

    Raises:
        UserError: a discriminator without batch norms, or with spectral ones; none is published.
    """
    if config.norm != "batch" or config.spectral_norm:
        raise UserError(
            f"discriminator.norm: got {shown(config.norm)}"
            f"{' with spectral_norm' if config.spectral_norm else ''}, allowed in converting "
            "weights is 'batch' alone; no others are published"
        )
    variables = jax.eval_shape(lambda key: init_discriminator(config, key), jax.random.key(0))
    return [
        _official_weight(path, leaf.shape)
        for path, leaf in flatten_dict(variables, sep="/").items()
    ]


def _official_weight(path: str, shape: tuple[int, ...]) -> Weight:
    """conv_0 is main.0 and a ReLU follows; from 1 on, conv_i, norm_i and a ReLU are three."""
    _, module, leaf = path.split("/")
    kind, number = module.split("_")
    place = max(3 * int(number) - 1, 0) + (kind == "norm")
    if leaf == "kernel":
        shape = (shape[-1], shape[-2], *shape[:-2])
    return Weight(f"main.{place}.{LEAVES[leaf]}", shape, path)


def discriminator_from_torch(
    state_dict: Mapping[str, np.ndarray], config: DiscriminatorConfig
) -> dict[str, Any]:
    """Converts an official state dict to the variables that `init_discriminator` makes.

    Raises:
        UserError: missing, unexpected or misshapen weights, each named.
    """
    return network_from_torch(state_dict, official_weights(config))
