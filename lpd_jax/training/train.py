"""The training run: set up, restore, loop over cadences. `task` says what is trained."""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from absl import logging
from tensorboardX import SummaryWriter
from tqdm import tqdm

from lpd_jax.checkpoint import Checkpoints
from lpd_jax.models.registry import ModelConfig, init_boxed
from lpd_jax.sharding import (
    batch_sharding,
    check_batch_size,
    init_sharded,
    make_mesh,
    state_shardings,
)
from lpd_jax.training.config import TrainConfig, config_to_json, read_config
from lpd_jax.training.data import to_devices, training_batches, validation_batches
from lpd_jax.training.optimizer import make_learning_rate, make_optimizer
from lpd_jax.training.task import Task, make_task
from lpd_jax.training.train_step import TrainState, init_state, train_step
from lpd_jax.training.weights import initial_params


def train(model: ModelConfig, config: TrainConfig, workdir: str | pathlib.Path) -> TrainState:
    """Trains from scratch, or goes on from the newest checkpoint in `workdir`.

    Args:
        model: what to train.
        config: the run.
        workdir: gets `checkpoints/`, `samples/` and TensorBoard events.

    Returns:
        The final state.

    Raises:
        ValueError: a workdir of another config, or a batch that the mesh does not divide.
        FloatingPointError: the loss is not finite.
    """
    workdir = pathlib.Path(workdir)
    mesh = make_mesh(config.mesh)
    check_batch_size(config.batch_size, mesh)
    optimizer = make_optimizer(config.optimizer, config.num_steps)
    saved_config = config_to_json(model, config)
    checkpoints = Checkpoints(workdir / "checkpoints", config.keep_checkpoints)
    if checkpoints.latest_step() is not None:
        check_same_config(saved_config, checkpoints.config())
    task = make_task(model, config, workdir)
    batches = training_batches(task.training_arrays, config.batch_size, config.seed)

    def init(key: jax.Array) -> TrainState:
        return init_state(init_boxed(model, key), optimizer)

    key = jax.random.key(config.seed)
    shardings = state_shardings(init, mesh, key)
    if checkpoints.latest_step() is None:
        state = init_sharded(init, mesh, key)
        if config.init_from:
            params = initial_params(config.init_from, model)
            # A jitted copy: the first step may overwrite the state, never what was loaded.
            copy = jax.jit(lambda tree: tree, out_shardings=shardings.params)
            state = state._replace(params=copy(params))
    else:
        state, position = checkpoints.restore(abstract_state(init, shardings, key))
        batches.set_state(position)
    run_step = jax.jit(
        functools.partial(train_step, loss_function=task.training_loss, optimizer=optimizer),
        donate_argnums=0,
        out_shardings=(shardings, None),
    )
    with jax.set_mesh(mesh):
        state = train_loop(state, batches, run_step, task, config, checkpoints, workdir, mesh)
    checkpoints.close()
    return state


def train_loop(
    state: TrainState,
    batches: Any,
    run_step: Callable,
    task: Task,
    config: TrainConfig,
    checkpoints: Checkpoints,
    workdir: pathlib.Path,
    mesh: jax.sharding.Mesh,
) -> TrainState:
    """Runs to `config.num_steps`. Metrics are fetched one step late, so nothing waits for them."""
    key = jax.random.key(config.seed + 1)
    sharding = batch_sharding(mesh)
    learning_rate = make_learning_rate(config.optimizer, config.num_steps)
    evaluate = jax.jit(task.validation_loss)
    first, last = int(state.step) + 1, config.num_steps
    writer = SummaryWriter(str(workdir))
    bar = tqdm(total=last * config.batch_size, initial=(first - 1) * config.batch_size,
               unit="image", unit_scale=True, dynamic_ncols=True)  # fmt: skip
    saved_config = config_to_json(task.model, config)
    pending = None

    def log(step: int, prefix: str, metrics: dict) -> None:
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        if not np.isfinite(values["loss"]):
            raise FloatingPointError(f"the loss of step {step} is {values['loss']}; training stops")
        for name, value in values.items():
            writer.add_scalar(f"{prefix}/{name}", value, step)
        text = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        logging.info("step %d %s: %s", step, prefix, text)
        bar.set_postfix_str(f"loss {values['loss']:.3f}")

    for step in range(first, last + 1):
        state, metrics = run_step(state, to_devices(next(batches), sharding), key)
        if pending is not None and due(step - 1, config.every.log, last):
            log(step - 1, "train", {**pending, "learning_rate": learning_rate(step - 2)})
        pending = metrics
        bar.update(config.batch_size)
        if due(step, config.every.save, last):
            checkpoints.save(step, state, batches.get_state(), saved_config)
        if due(step, config.every.evaluate, last):
            log(step, "validation", mean_metrics(task, evaluate, state.params, config, sharding))
        if due(step, config.every.sample, last):
            task.write_samples(state.params, step)
    if pending is not None:
        log(last, "train", {**pending, "learning_rate": learning_rate(last - 1)})
    bar.close()
    writer.close()
    return state


def mean_metrics(
    task: Task, evaluate: Callable, params: Any, config: TrainConfig, sharding: Any
) -> dict[str, np.ndarray]:
    """Mean of the validation metrics over the validation set, the same random numbers each time."""
    results = []
    for i, batch in enumerate(validation_batches(task.validation_arrays, config.batch_size)):
        key = jax.random.fold_in(jax.random.key(0), i)
        loss, metrics = evaluate(params, to_devices(batch, sharding), key)
        results.append(jax.device_get({"loss": loss, **metrics}))
    return jax.tree.map(lambda *values: np.mean(values), *results)


def due(step: int, every: int, last: int) -> bool:
    """Whether something that happens `every` so many steps, and at the end, happens now."""
    return step == last or (every > 0 and step % every == 0)


def abstract_state(init: Callable, shardings: Any, *args: Any) -> Any:
    """Shapes of the state with the shardings it is to be restored with."""
    shapes = nn.unbox(jax.eval_shape(init, *args))
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        shardings,
    )


def check_same_config(wanted: dict, saved: dict) -> None:
    """Raises ValueError naming the fields in which a workdir's run differs from the one asked for.

    A longer or shorter run, other cadences and another mesh are still the same run. Fields that
    the saved config lacks, since they are newer than it, count as their defaults.
    """
    free = ("num_steps", "every", "mesh", "keep_checkpoints", "generation", "init_from")
    saved = config_to_json(*read_config(saved))
    differing = [
        f"{name} (there {saved.get(name)!r}, here {wanted.get(name)!r})"
        for name in sorted({*wanted, *saved} - set(free))
        if wanted.get(name) != saved.get(name)
    ]
    if differing:
        raise ValueError(
            f"workdir holds a run of another config; differing: {'; '.join(differing)}"
        )
