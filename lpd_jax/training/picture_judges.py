"""Pictures judged as a model trains: `fid`, and `evaluation` by the protocol of launch/evaluate.py.

Each is opened before the first step, so that what cannot work is refused then.
"""

import functools
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np

from lpd_jax.data.data_config import DataConfig
from lpd_jax.data.pictures import image_shape
from lpd_jax.evaluation.fid import FID, measure_fid, open_fid, with_reference
from lpd_jax.evaluation.while_training import (
    PictureTest,
    check_sees,
    measure_pictures,
    open_test,
)
from lpd_jax.models.family import is_tokenizer
from lpd_jax.runtime.mesh import batch_sharding
from lpd_jax.training.config import TrainConfig, check_clips
from lpd_jax.training.task import Draw, Task


class PictureJudges(NamedTuple):
    """What judges, each None where it is not asked for."""

    fid: FID | None = None
    test: PictureTest | None = None


def open_judges(model: Any, config: TrainConfig, workdir: pathlib.Path) -> PictureJudges:
    """Networks and references, before any image is encoded; UserError for wrong ones."""
    check_clips(config, len(image_shape(config.data)) > 2)
    fid, size = open_fid(config.fid, config.data), shape(model, config)
    return PictureJudges(fid, open_test(config.evaluation, config.data, size, workdir))


def shape(model: Any, config: TrainConfig) -> tuple[int, ...] | None:
    """Of the images that `evaluation` judges; None where only the tokenizer tells."""
    out = config.generation.output_size
    if config.data.dataset == "tokens":
        return (out, out) if out and len(model.grid_size) == 2 else None
    *frames, height, width = image_shape(config.data)
    return (*frames, out or height, out or width)


def with_references(
    judges: PictureJudges, data: DataConfig, workdir: pathlib.Path, size: tuple[int, ...] | None
) -> PictureJudges:
    """The same, training images measured where FID has no reference.

    Args:
        size: of the images that `evaluation` judges, where the task tells.

    Raises:
        UserError: images that its network cannot judge.
    """
    if judges.test:
        check_sees(judges.test.judge, size)
    return judges._replace(fid=with_reference(judges.fid, data, workdir))


def judge_pictures(
    judges: PictureJudges,
    events: set[str],
    task: Task,
    batch_size: int,
    mesh: jax.sharding.Mesh,
    params: Any,
) -> dict[str, float]:
    """Numbers by name, of those judges that `events` call; every process calls it."""
    judged: dict[str, float] = {}
    draw = functools.partial(draw_batch, task.draw, batch_size, mesh)
    if "fid" in events and judges.fid:
        judged["fid"] = measure_fid(judges.fid, draw, params)
    if "evaluate_pictures" in events and judges.test:
        names = () if is_tokenizer(task.model) else tuple(task.training.class_names)
        draw = functools.partial(draw_batch, task.draw_judged or task.draw, batch_size, mesh)
        judged |= measure_pictures(judges.test, draw, params, names)
    return judged


def draw_batch(
    draw: Draw, batch_size: int, mesh: jax.sharding.Mesh, params: Any, first: int
) -> np.ndarray:
    """A global batch of images, drawn on all devices: image `first` and those after it."""
    with jax.set_mesh(mesh):
        return draw(params, first, batch_size, batch_sharding(mesh))
