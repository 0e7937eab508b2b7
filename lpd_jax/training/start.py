"""What a run begins with: another run's checkpoint, given weights, or nothing."""

from collections.abc import Callable
from typing import Any, NamedTuple

from lpd_jax.runtime.errors import UserError
from lpd_jax.training.config import TrainConfig, config_to_json
from lpd_jax.training.resume import check_same_config, rate_jump
from lpd_jax.training.workdir import Workdir
from lpd_jax.weights.loading import initial_params
from lpd_jax.weights.saved_runs import newest_step, saved_config


class Start(NamedTuple):
    """What a run begins with, before anything is made of it."""

    saved: dict[str, Any] | None  # the config of the run that it goes on from
    params: Any  # of a fresh run that does not begin with random weights
    notes: list[str]  # to be told


def find_start(model: Any, config: TrainConfig, place: Workdir) -> Start:
    """Raises UserError for a workdir of another config, or initial weights that do not fit."""
    notes: list[str] = []
    step = newest_step(place.checkpoints)
    if step is None:
        return Start(None, first_params(model, config, notes.append), notes)
    saved = saved_config(place.checkpoints)
    check_same_config(config_to_json(model, config), saved)
    return Start(saved, None, [*filter(None, [rate_jump(config, saved, step)])])


def first_params(model: Any, config: TrainConfig, tell: Callable[[str], object]) -> Any:
    """What a fresh run starts from; None: random weights."""
    if not config.init_from:
        if config.new_classes:
            raise UserError("new_classes: got True, allowed is that only with init_from")
        return None
    return initial_params(config.init_from, model, config.new_classes, config.seed, tell)
