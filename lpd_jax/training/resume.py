"""Whether a run may go on in a workdir: only one of the same config, but for the free fields."""

import pathlib
from collections.abc import Sequence
from typing import Any

from etils import epath
from flax.traverse_util import flatten_dict

from lpd_jax.runtime.errors import UserError, shown, shown_path
from lpd_jax.training.config import TrainConfig, config_to_json, read_config
from lpd_jax.training.optimizer import make_learning_rate
from lpd_jax.training.workdir import TOKENIZER, read_class_names, read_data

# What may change between parts of a run: how long, how often, where, and by which means.
FREE_FIELDS = (
    "num_steps",
    "every",
    "mesh",
    "keep_checkpoints",
    "keep_every",
    "generation",
    "fid",
    "evaluation",
    "init_from",
    "new_classes",
    "tokenizer",  # wherever it lies: `check_same_tokenizer` compares what it is
    "wandb_project",
    "compute.dtype",  # parameters and their averages are float32 in either
    "compute.remat",
    "compute.attention",
    "compute.products",
    "compute.loss_chunk",
    "compute.unroll_layers",
    "compute.accumulate_steps",
    "data.path",
    "data.lists",
    "data.bad_images",  # else no run could follow the advice that it ends with
    "data.num_threads",
    "optimizer.warmup_steps",  # both follow from how long, where a config leaves them to the data
    "optimizer.cosine_steps",
    # What gets a run past a loss that was no number; `rate_jump` tells of another rate.
    "optimizer.learning_rate",
    "optimizer.final_learning_rate",
    "optimizer.clip_norm",
    "optimizer.stop_grad_norm",
    "perceptual.weights",
    "perceptual.lpips_weights",
)

SAME_RATE = 0.1  # relative


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
        f"{name} (there {shown(there.get(name))}, here {shown(here.get(name))})"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    ]
    if differing:
        raise UserError(f"workdir: got a run of another config; differing: {'; '.join(differing)}")


def check_same_learned(
    saved: dict[str, Any] | None,
    path: str,
    folder: epath.Path | pathlib.Path,
    digest: str,
    class_names: Sequence[str],
) -> None:
    """Raises UserError where a transformer would go on with other tokens, or other classes.

    Args:
        saved: the config of the workdir's checkpoint; None: it has none.
        path, digest: of the tokenizer of now.
        folder: the workdir.
        class_names: of the data, one a class, or none.
    """
    if saved is not None:
        check_same_tokenizer(path, digest, folder, saved)
        check_same_classes(class_names, folder)


def check_same_tokenizer(
    path: str, digest: str, folder: epath.Path | pathlib.Path, saved: dict[str, Any]
) -> None:
    """Raises UserError where a workdir's transformer has learned the tokens of another tokenizer.

    Args:
        path, digest: of the tokenizer of now; no digest: none is used.
        folder: the workdir.
        saved: the config of its checkpoint; its tokenizer's path has to do where the workdir is
            older than its digest.
    """
    learned, before = read_data(folder).get(TOKENIZER), saved.get("tokenizer", "")
    if learned == digest or (learned is None and path == before):
        return
    allowed = learned or f"only {shown_path(before)}"
    raise UserError(
        f"tokenizer: got {shown_path(path)} of digest {digest or 'none'}, allowed is {allowed}, "
        "whose tokens the workdir's run has learned"
    )


def check_same_classes(names: Sequence[str], folder: epath.Path | pathlib.Path) -> None:
    """Raises UserError where the classes of the data are others than a workdir's run has learned.

    Args:
        names: of the data, one a class, or none.
        folder: the workdir.
    """
    learned = read_class_names(folder)
    for number, (here, there) in enumerate(zip(names, learned, strict=False)):
        if here != there:
            raise UserError(
                f"data: got class {shown(here)} as number {number}, allowed is {shown(there)}, as "
                "the workdir's run has learned them"
            )


def rate_jump(config: TrainConfig, saved: dict[str, Any], step: int) -> str | None:
    """A line where a run of another schedule goes on at another learning rate, or None.

    Args:
        config: of now.
        saved: what the workdir's checkpoint says.
        step: the last one taken.
    """
    before = read_config(saved)[1]
    old, new = (float(make_learning_rate(x.optimizer, x.num_steps)(step)) for x in (before, config))
    if abs(new - old) <= SAME_RATE * old:
        return None
    schedules = (
        f"num_steps {x.num_steps}, warmup_steps {x.optimizer.warmup_steps}, cosine_steps "
        f"{x.optimizer.cosine_steps}, learning_rate {x.optimizer.learning_rate:g}"
        for x in (before, config)
    )
    return (
        f"{' before, '.join(schedules)} now: after step {step} the learning rate goes from "
        f"{old:.3g} to {new:.3g}; a new workdir with init_from would start a schedule of its own"
    )


def is_free(name: str) -> bool:
    return any(name == free or name.startswith(f"{free}.") for free in FREE_FIELDS)
