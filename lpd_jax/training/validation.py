"""The validation set: judged whole batch by whole batch, with the same random numbers each time."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from lpd_jax.data.batches import Source, batch_rows, to_devices, validation_batches
from lpd_jax.runtime.errors import UserError
from lpd_jax.runtime.mesh import batch_sharding
from lpd_jax.runtime.random_keys import random_key

MOST_LEFT_OUT = 0.05  # of the images, because they fill no batch


def validation_batch_size(count: int, batch_size: int, mesh: jax.sharding.Mesh) -> int:
    """Images of one batch: those of a training batch, or fewer where many would be left out.

    Raises:
        UserError: not even an image for each part of the mesh.
    """
    shards = mesh.shape["data"] * mesh.shape["fsdp"]
    if count < shards:
        raise UserError(
            f"data: got {count} validation images, allowed is at least one for each of the "
            f"{shards} parts that a batch is cut into"
        )
    num_batches = max(1, count // batch_size)
    if count - num_batches * batch_size > MOST_LEFT_OUT * count:
        num_batches += 1
    return min(batch_size, max(1, count // num_batches // shards) * shards)


def mean_metrics(
    evaluate: Callable,
    params: Any,
    source: Source,
    batch_size: int,
    mesh: jax.sharding.Mesh,
    num_threads: int = 0,
    summarize: Callable[[dict], dict] = dict,
) -> dict[str, float]:
    """Mean over the validation set of the loss and its metrics.

    Args:
        evaluate: (params, batch, key) -> (loss, metrics), compiled.
        params: of the model to judge.
        source: the validation set.
        batch_size: of all processes together, at most.
        mesh: that the batches are spread over.
        num_threads: that read ahead.
        summarize: makes numbers of mean metrics that are vectors.
    """
    batch_size = validation_batch_size(len(source), batch_size, mesh)
    sharding = batch_sharding(mesh)
    rows = batch_rows(sharding, batch_size)
    batches = validation_batches(source, batch_size, num_threads=num_threads, rows=rows)
    results = []
    for i, batch in enumerate(batches):
        key = jax.random.fold_in(random_key(0), i)
        with jax.set_mesh(mesh):
            loss, metrics = evaluate(params, to_devices(batch, sharding), key)
        results.append(jax.device_get({"loss": loss, **metrics}))
    means = {name: np.mean([result[name] for result in results], axis=0) for name in results[0]}
    return {name: float(value) for name, value in summarize(means).items()}
