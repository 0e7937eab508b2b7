"""What converting networks has in common that judge pictures or clips, and are never trained here.

Their parameters have the official names but for `kernel`, whose axes are the other way round.
"""

from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from typing import Any

import jax
import numpy as np
from flax.traverse_util import unflatten_dict

from lpd_jax.runtime.errors import UserError, shown_path
from lpd_jax.weights.from_torch.conversion import check_weights
from lpd_jax.weights.from_torch.state_dict_shapes import Weight
from lpd_jax.weights.from_torch.torch_files import read_state_dict

COUNTER = "num_batches_tracked"  # a record of training, in some files and not in others


def official_weight(path: str, shape: tuple[int, ...]) -> Weight:
    """kernel `[*window, in, out]` -> weight `[out, in, *window]`; all else is as it is."""
    name = path.replace("/", ".")
    if not path.endswith("kernel"):
        return Weight(name, shape, path)
    shape = (shape[-1], shape[-2], *shape[:-2])
    return Weight(name.removesuffix("kernel") + "weight", shape, path)


def read_network(
    path: str | PathLike[str], convert: Callable[[Mapping[str, np.ndarray]], dict[str, Any]]
) -> dict[str, Any]:
    """The parameters in a file of official weights, .pt, .pth or .safetensors, on the device.

    Raises:
        FileNotFoundError: no such file.
        UserError: a damaged file, or weights of another network, each named.
    """
    state_dict = read_state_dict(path)
    try:
        return jax.device_put(convert(state_dict))
    except UserError as error:
        raise UserError(f"checkpoint: got {shown_path(path)}: {error}") from None


def network_from_torch(
    state_dict: Mapping[str, np.ndarray], weights: Iterable[Weight]
) -> dict[str, Any]:
    """Converts an official state dict to nested float32 parameters.

    Args:
        state_dict: may hold counters, which are left out.
        weights: every one that it must have.

    Raises:
        UserError: missing, unexpected or misshapen weights, each named.
    """
    arrays = {
        name: np.asarray(value) for name, value in state_dict.items() if not name.endswith(COUNTER)
    }
    weights, flat = list(weights), {}
    check_weights(arrays, weights)
    for weight in weights:
        source = arrays[weight.name]
        if weight.path.endswith("kernel"):
            source = np.moveaxis(source, (0, 1), (-1, -2))
        flat[weight.path] = np.array(source, np.float32, order="C")
    return unflatten_dict(flat, sep="/")
