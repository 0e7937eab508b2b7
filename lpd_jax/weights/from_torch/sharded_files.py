"""Weights in several files, as the Hugging Face hub has large ones: an index says which is where.

model.safetensors.index.json    {"weight_map": {"norm.weight": "model-00001-of-00002.safetensors"}}
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from lpd_jax.runtime.errors import UserError, listed, shown
from lpd_jax.runtime.json_files import read_json
from lpd_jax.weights.from_torch.checkpoint_entries import clean_names

ENDING = ".json"
PART = re.compile(r"(.*)-\d{5}-of-\d{5}(\.\w+)")  # what one of several files is called


def read_sharded(
    index: Path, read: Callable[[Path], Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """All weights that an index names, by their clean names.

    Args:
        index: the JSON file; the others lie beside it.
        read: gives the weights of one of them.

    Raises:
        ValueError: no such index.
        UserError: a file or a weight of it that is missing; what `read_places` and `read` raise.
    """
    places = read_places(index)
    files = sorted(set(places.values()))
    if missing := [name for name in files if not (index.parent / name).is_file()]:
        raise UserError(f"its weight_map names files that are not beside it: {listed(missing)}")
    found = {name: x for file in files for name, x in read(index.parent / file).items()}
    if lacking := sorted(clean_names(places).keys() - found.keys()):
        raise UserError(f"its files lack weights that it names: {listed(lacking)}")
    return found


def read_places(index: Path) -> dict[str, str]:
    """The file of every weight that an index names; all of them lie beside it.

    Raises:
        ValueError: no such index.
        UserError: an index of nothing, or of files that do not lie beside it.
    """
    mapping = read_json(index)
    places = mapping.get("weight_map") if isinstance(mapping, dict) else None
    if not isinstance(places, dict) or not places:
        raise UserError("a JSON file without a weight_map; allowed is the index of sharded weights")
    places = {str(name): str(file) for name, file in places.items()}
    if others := sorted(file for file in places.values() if Path(file).name != file):
        raise UserError(f"its weight_map names {shown(others[0])}, allowed are files beside it")
    return places


def hint_of(file: Path) -> str:
    """What to give in place of one of several files; "" where it is the only one."""
    match = PART.fullmatch(file.name)
    return f"; it is one of several: give {match[1]}{match[2]}.index.json" if match else ""
