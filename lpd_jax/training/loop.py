"""The training run: set up, restore, loop over cadences. `task` says what is trained."""

import collections
import contextlib
import functools
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from lpd_jax.data.batches import TrainingBatches, batch_rows, to_devices
from lpd_jax.data.image_folder import check_apart
from lpd_jax.models.parameters import init_boxed
from lpd_jax.runtime.bound_arrays import compile_with
from lpd_jax.runtime.jax_settings import own_settings
from lpd_jax.runtime.mesh import (
    batch_sharding,
    check_batch_size,
    check_mesh_divides,
    first_process_says,
    init_sharded,
    make_mesh,
    state_shardings,
)
from lpd_jax.runtime.random_keys import random_key
from lpd_jax.training.config import TrainConfig, check_read, config_to_json
from lpd_jax.training.endings import naming_the_newest
from lpd_jax.training.health import check_health
from lpd_jax.training.metric_writers import check_wandb, open_writers, was_judged
from lpd_jax.training.optimizer import make_learning_rate
from lpd_jax.training.picture_judges import (
    PictureJudges,
    judge_pictures,
    open_judges,
    with_references,
)
from lpd_jax.training.preemption import Preemption
from lpd_jax.training.profiling import NO_PROFILE, Profiler, ProfileWindow
from lpd_jax.training.progress import Progress
from lpd_jax.training.resume import check_same_learned
from lpd_jax.training.run_record import record_start
from lpd_jax.training.start import find_start
from lpd_jax.training.task import Task, make_task, rule_of
from lpd_jax.training.train_step import TrainState, abstract_state
from lpd_jax.training.update_rule import UpdateRule, jit_step
from lpd_jax.training.utilization import training_flops
from lpd_jax.training.validation import mean_metrics, validation_batch_size
from lpd_jax.training.workdir import Workdir, write_data
from lpd_jax.weights.checkpoint import Checkpoints
from lpd_jax.weights.checkpoint_faults import check_two_fit


class Run(NamedTuple):
    """What stays the same from the first step to the last."""

    config: TrainConfig
    task: Task
    rule: UpdateRule
    mesh: jax.sharding.Mesh
    batches: TrainingBatches
    checkpoints: Checkpoints
    profiler: Profiler
    judges: PictureJudges = PictureJudges()


@own_settings("train")
def train(
    model: Any,
    config: TrainConfig,
    workdir: str | os.PathLike,
    profile: ProfileWindow = NO_PROFILE,
) -> TrainState:
    """Trains from scratch, or goes on from the newest checkpoint in `workdir`.

    With several processes, each calls it with the same arguments.

    Args:
        model, config: what to train, and how.
        workdir: local, or of a bucket (`gs://...`); all processes must reach it. It gets
            `checkpoints/`, `samples/`, train.log, metrics.jsonl and TensorBoard events.
        profile: steps to record.

    Returns:
        The final state, or the one that SIGTERM made it save.

    Raises:
        UserError: a workdir of another config, that cannot be written to, or that another process
            writes to; a batch that the mesh does not divide; a tokenizer or initial weights that
            do not fit. Nothing is written then.
        FloatingPointError: the loss or its gradient is not finite, or explodes.
        DiskError: the disk is full, read-only or gone. It names the newest checkpoint; so does the
            KeyboardInterrupt of Ctrl-C and of SIGTERM outside of the steps.
    """
    mesh = checked_mesh(model, config)
    profile.check_within(config.num_steps)
    with contextlib.ExitStack() as stack:
        stack.enter_context(naming_the_newest(workdir))
        place = stack.enter_context(contextlib.closing(Workdir(workdir)))
        check_apart("workdir", place.path, config.data)
        stack.enter_context(place.sole_writer())
        start = find_start(model, config, place)
        run = open_run(model, config, mesh, place, start.saved, profile, stack)
        state = start_state(run, start.params)
        done = int(state.step)
        notes = [*start.notes, *filter(None, [profile.past(done, config.num_steps)])]
        progress = stack.enter_context(open_progress(run, place, done + 1, notes))
        for line in (*notes, describe(run, state, workdir)):
            progress.line(line)
        return train_loop(state, run, progress)


def open_run(
    model: Any,
    config: TrainConfig,
    mesh: jax.sharding.Mesh,
    place: Workdir,
    saved: dict[str, Any] | None,
    profile: ProfileWindow,
    stack: contextlib.ExitStack,
) -> Run:
    """What a run is made of, closed by `stack`; `saved` is the config of what it goes on from."""
    judges = open_judges(model, config, place.local)
    learned = functools.partial(check_same_learned, saved, config.tokenizer, place.path)
    task = make_task(model, config, place.local, place, learned)
    rule = rule_of(task, config)
    init = fresh_state(model, rule)
    needed = check_two_fit(place.checkpoints, jax.eval_shape(init, random_key(config.seed)))
    validation_batch_size(len(task.validation), config.batch_size, mesh)  # there is one
    batches = stack.enter_context(contextlib.closing(open_batches(task, config, mesh)))
    checkpoints = Checkpoints(place.checkpoints, config.keep_checkpoints, config.keep_every)
    checkpoints.needed = needed
    stack.enter_context(contextlib.closing(checkpoints))
    profiler = stack.enter_context(contextlib.closing(Profiler(profile, place.local)))
    judges = with_references(judges, config.data, place.local, task.judged_size)
    place.push()  # it took long to measure
    return Run(config, task, rule, mesh, batches, checkpoints, profiler, judges)


def checked_mesh(model: Any, config: TrainConfig) -> jax.sharding.Mesh:
    """The mesh of a run, once all fits that needs neither data nor workdir to be judged."""
    check_read(model, config)
    mesh = make_mesh(config.mesh)
    make_learning_rate(config.optimizer, config.num_steps)  # refuses what does not fit
    check_batch_size(config.batch_size, mesh, config.compute.accumulate_steps)
    check_mesh_divides(functools.partial(init_boxed, model), mesh, random_key(config.seed))
    check_wandb(config.wandb_project)
    return mesh


def fresh_state(model: Any, rule: UpdateRule) -> Callable[[jax.Array], TrainState]:
    """A function of a key that makes the state before the first step, of random weights."""
    return lambda key: rule.init(init_boxed(model, key), key)


def open_progress(run: Run, place: Workdir, first_step: int, notes: list[str]) -> Progress:
    """What tells of a run from `first_step` on; adds to the lines that it begins with."""
    place.local.mkdir(parents=True, exist_ok=True)
    if jax.process_index() == 0:
        write_data(place.local, run.task.training.class_names, run.task.tokenizer)
        written = config_to_json(run.task.model, run.config)
        finished = record_start(place.local, written, first_step - 1, run.config.num_steps)
        notes.extend(filter(None, [finished]))
    return Progress(
        place.local,
        first_step,
        run.config.num_steps,
        run.config.batch_size,
        writers=open_writers(run.task.model, run.config, place, first_step),
        image_flops=training_flops(run.task.model),
        push=place.push,
        checkpoints=run.checkpoints,
    )


def open_batches(task: Task, config: TrainConfig, mesh: jax.sharding.Mesh) -> TrainingBatches:
    """This process's part of the training batches."""
    return TrainingBatches(
        task.training,
        config.batch_size,
        config.seed,
        random_views=config.data.random_views,
        num_threads=config.data.num_threads,
        rows=batch_rows(batch_sharding(mesh), config.batch_size),
    )


def start_state(run: Run, params: Any = None) -> TrainState:
    """The newest checkpoint, whose place in the data is taken up too; else a fresh state.

    Args:
        params: what a fresh state starts from; None makes random ones.
    """
    init = fresh_state(run.task.model, run.rule)
    key = random_key(run.config.seed)
    if run.checkpoints.latest_step() is not None:
        shardings = state_shardings(init, run.mesh, key)
        state, position = run.checkpoints.restore(abstract_state(init, shardings, key))
        run.batches.set_state(position)
        return state
    if params is None:
        return init_sharded(init, run.mesh, key)
    return jax.jit(run.rule.init, out_shardings=state_shardings(init, run.mesh, key))(params, key)


def train_loop(state: TrainState, run: Run, progress: Progress) -> TrainState:
    """Runs to `num_steps`. Metrics are fetched one step late: a device never waits for the host."""
    config, last = run.config, run.config.num_steps
    key = random_key(config.seed + 1)
    sharding = batch_sharding(run.mesh)
    learning_rate = make_learning_rate(config.optimizer, last)
    evaluate = compile_with(run.task.validation_loss, run.mesh)
    run_step = jit_step(run.rule, jax.tree.map(lambda leaf: leaf.sharding, state), run.mesh)

    def finish(step: int, metrics: dict) -> None:
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        check_health(step, values, config.optimizer.stop_grad_norm)
        run.checkpoints.check()
        progress.advance()
        if due(step, config.every.log, last):
            values["learning_rate"] = float(learning_rate(step - 1))
            progress.report(step, "train", values)

    if int(state.step) == last and not first_process_says(was_judged(progress.workdir, last)):
        # It was stopped when it had saved its last step, and before that was judged.
        judging = vars(config.every).keys() - {"log", "save"}
        keep_and_show(judging, last, state, run, evaluate, progress)

    running: collections.deque = collections.deque()
    with Preemption() as preemption:
        for step in range(int(state.step) + 1, last + 1):
            run.profiler.before(step)
            with progress.stopwatch.input():
                batch = to_devices(next(run.batches), sharding)
            with jax.set_mesh(run.mesh):
                state, metrics = run_step(state, batch, key)
            running.append((step, metrics))
            run.profiler.after(step, metrics)
            events = {name for name, every in vars(config.every).items() if due(step, every, last)}
            if leaves := preemption.requested(step):
                events = events & {"log"} | {"save"}
            # What is saved or judged has to be known to be finite.
            while len(running) > (0 if events else 1):
                finish(*running.popleft())
            keep_and_show(events, step, state, run, evaluate, progress)
            if leaves:
                run.checkpoints.wait()  # before it is said
                how = f"saved, and stopped by {preemption.name}"
                progress.line(f"step {step}: {how}; run it again to go on")
                break
    return state


def keep_and_show(
    events: set[str],
    step: int,
    state: TrainState,
    run: Run,
    evaluate: Callable,
    progress: Progress,
) -> None:
    """Saves, judges and draws, as far as `events` say so."""
    config, shown = run.config, state.evaluated_params
    at_once = config.batch_size // config.compute.accumulate_steps  # what a step takes at once
    if "save" in events:
        progress.push()  # refused where another run has taken the folder over
        written_config = config_to_json(run.task.model, config)
        run.checkpoints.save(step, state, run.batches.get_state(), written_config)
    judged = {}
    if "evaluate" in events:
        source, threads = run.task.validation, config.data.num_threads
        summarize = run.task.summarize
        judged = mean_metrics(evaluate, shown, source, at_once, run.mesh, threads, summarize)
    judged |= judge_pictures(run.judges, events, run.task, at_once, run.mesh, shown)
    if judged:
        progress.report(step, "validation", judged)
    if "sample" in events:
        progress.picture(step, run.task.draw_samples(shown))
    if events - {"log"}:
        progress.push()
        progress.stopwatch.pause()


def describe(run: Run, state: TrainState, workdir: str | os.PathLike) -> str:
    """One line on what begins: sizes, devices, and where it goes."""
    count = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    examples = len(run.task.training)
    done, last = int(state.step), run.config.num_steps
    where = f"from step {done} of {last}" if done else f"{last} steps"
    return (
        f"{type(run.task.model).__name__}: {count:,} parameters, {examples:,} examples, batch "
        f"{run.config.batch_size} on {run.mesh.size} devices, {where}; workdir {workdir}"
    )


def due(step: int, every: int, last: int) -> bool:
    """Whether something that happens `every` so many steps, and at the end, happens now."""
    return step == last or (every > 0 and step % every == 0)
