"""Whether a run may go on in a workdir: only one of the same config, but for the free fields."""

from typing import Any

from flax.traverse_util import flatten_dict

from lpd_jax.runtime.errors import UserError
from lpd_jax.training.config import config_to_json, read_config

# What may change between parts of a run: how long, how often, where, and by which means.
FREE_FIELDS = (
    "num_steps",
    "every",
    "mesh",
    "keep_checkpoints",
    "keep_every",
    "generation",
    "fid",
    "init_from",
    "new_classes",
    "wandb_project",
    "compute.remat",
    "compute.attention",
    "compute.accumulate_steps",
    "data.path",
    "data.num_threads",
    "optimizer.stop_grad_norm",
)


def check_same_config(wanted: dict[str, Any], saved: dict[str, Any]) -> None:
    """Raises UserError naming the fields in which a workdir's run differs from the one asked for.

    Fields that the saved config lacks, since they are newer than it, count as their defaults.
    """
    there, here = (
        {
            name.replace("/", "."): value
            for name, value in flatten_dict(fields, sep="/").items()
            if not is_free(name.replace("/", "."))
        }
        for fields in (config_to_json(*read_config(saved)), wanted)
    )
    differing = [
        f"{name} (there {there.get(name)!r}, here {here.get(name)!r})"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    ]
    if differing:
        raise UserError(f"workdir: got a run of another config; differing: {'; '.join(differing)}")


def is_free(name: str) -> bool:
    return any(name == free or name.startswith(f"{free}.") for free in FREE_FIELDS)
