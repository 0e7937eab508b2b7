"""One process of a training job on this machine: a tiny LPD on random tokens.

python cluster_worker.py WORKDIR NUM_STEPS JUDGED_EVERY PROCESS_ID NUM_PROCESSES PORT DEVICES

With `preempted` behind them it trains slowly, and after its second step gets a SIGTERM. With
`adversarial` it trains the toy tokenizer against a discriminator.
"""

import os
import pathlib
import signal
import sys
import time

import jax
import numpy as np

from lpd_jax.data.batches import ArraySource, DataConfig
from lpd_jax.evaluation import fid as fid_module
from lpd_jax.evaluation.fid import FIDConfig
from lpd_jax.evaluation.metrics import Statistics, save_statistics
from lpd_jax.images import image_grid
from lpd_jax.models.family import transformer_of
from lpd_jax.models.settings import Generation
from lpd_jax.runtime import processes
from lpd_jax.runtime.mesh import MeshConfig
from lpd_jax.training import loop as train_module
from lpd_jax.training.config import EveryConfig, TrainConfig
from lpd_jax.training.optimizer import OptimizerConfig
from lpd_jax.training.task import Task, make_sampler
from lpd_jax.weights.loading import Weights
from tests import tiny
from tests.training import toy_tokenizer


def make_task(model, config, *_) -> Task:
    rng = np.random.default_rng(0)
    tokens_BN = rng.integers(model.codebook_size, size=(48, model.num_tokens), dtype=np.int32)
    labels_B = rng.integers(model.num_classes, size=48, dtype=np.int32)
    source = ArraySource({"tokens": tokens_BN, "labels": labels_B})
    tokenizer = Weights(tiny.VQ, tiny.random_params(tiny.VQ))
    losses = (transformer_of(model).loss(train=train) for train in (True, False))
    draw = make_sampler(model, config, tokenizer)

    def draw_samples(params):
        return image_grid(draw(params, 0, 6, None))

    return Task(model, source, source, *losses, draw_samples, draw)


class Means:
    """Mean colours in place of a network's features."""

    digest, num_features = "means", 3

    def features(self, images_BHWC):
        return images_BHWC.mean((1, 2)).astype(np.float32)


def preempted(batches):
    """Batches that end in a signal, slowly: it takes a second until JAX has told all processes."""

    class Preempted(batches):
        count = 0

        def __next__(self):
            self.count += 1
            if self.count == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.3)
            return super().__next__()

    return Preempted


def main() -> None:
    workdir, num_steps, judged_every, process_id, num_processes, port, devices = sys.argv[1:8]
    if sys.argv[8:] == ["preempted"]:
        train_module.TrainingBatches = preempted(train_module.TrainingBatches)
    jax.config.update("jax_num_cpu_devices", int(devices))
    if int(num_processes) > 1:
        processes.initialize(f"127.0.0.1:{port}", int(num_processes), int(process_id))
    if sys.argv[8:] == ["adversarial"]:
        train_module.make_task = lambda model, config, *_: toy_tokenizer.make_task(config)
        train_module.init_boxed = toy_tokenizer.init_boxed
        every = EveryConfig(log=1, evaluate=0, save=0, sample=0)
        config = toy_tokenizer.config(
            int(num_steps), batch_size=16, mesh=MeshConfig(-1, 2, 1), every=every
        )
        finish(train_module.train(toy_tokenizer.MODEL, config, workdir))
        return
    train_module.make_task = make_task
    fid_module.load_classifier = Means
    real = pathlib.Path(workdir).with_name(f"real_{process_id}_of_{num_processes}.npz")
    real.parent.mkdir(parents=True, exist_ok=True)
    save_statistics(real, Statistics(np.full(3, 100.0), np.eye(3), 0))
    config = TrainConfig(
        num_steps=int(num_steps),
        batch_size=16,
        data=DataConfig(num_threads=0),
        optimizer=OptimizerConfig(learning_rate=1e-2, final_learning_rate=1e-2),
        mesh=MeshConfig(-1, 2, 2),
        every=EveryConfig(
            log=1, evaluate=2, save=0, sample=int(judged_every), fid=int(judged_every)
        ),
        generation=Generation(num_steps=2),  # each more is compiled
        fid=FIDConfig(20, "avatars12", str(real)),
    )
    finish(train_module.train(tiny.LPD, config, workdir))


def finish(state) -> None:
    print(f"step {int(state.step)} of {jax.process_count()} processes")


if __name__ == "__main__":
    main()
