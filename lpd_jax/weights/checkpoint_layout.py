"""How a training state lies in a checkpoint, and how its average lay there before.

On disk a state is a mapping of its fields, without those that are None. The average of the
parameters is the field `ema_params`. Checkpoints of before hold it as the last part of the
optimizer's state, beside a count of updates that is the state's own `step`.
"""

from collections.abc import Mapping
from typing import Any

AVERAGE = "ema_params"
CHECKPOINTS_FOLDER = "checkpoints"  # in the workdir of a run


def to_saved(state: Any) -> dict[str, Any]:
    """The fields of a NamedTuple, or the entries of a mapping, that hold something."""
    fields = dict(state) if isinstance(state, Mapping) else state._asdict()
    return {name: value for name, value in fields.items() if value is not None}


def from_saved(saved: Mapping[str, Any], like: Any) -> Any:
    """The state again, of the type of `like`."""
    if isinstance(like, Mapping):
        return dict(saved)
    return type(like)(**{name: saved.get(name) for name in like._fields})


def averages_in_optimizer(saved: Any) -> bool:
    """Whether the tree of a checkpoint is one of before, with an average in it."""
    parts = saved.get("opt_state") if isinstance(saved, Mapping) else None
    last = parts[-1] if isinstance(parts, list | tuple) and parts else None
    return isinstance(last, Mapping) and "average" in last


def average_to_optimizer(saved: Mapping[str, Any]) -> dict[str, Any]:
    """A state of today as it lay before."""
    rest = {name: value for name, value in saved.items() if name != AVERAGE}
    average = {"average": saved[AVERAGE], "num_updates": saved["step"]}
    return rest | {"opt_state": (*saved["opt_state"], average)}


def average_from_optimizer(old: Mapping[str, Any]) -> dict[str, Any]:
    """A state of before as it lies today."""
    *parts, last = old["opt_state"]
    return {**old, "opt_state": tuple(parts), AVERAGE: last["average"]}


def params_path(saved: Mapping[str, Any]) -> tuple[Any, ...]:
    """Keys that lead to the average of the parameters, or to themselves where there is none."""
    if AVERAGE in saved:
        return (AVERAGE,)
    return ("opt_state", -1, "average") if averages_in_optimizer(saved) else ("params",)
