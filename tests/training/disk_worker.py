"""Starts toy training runs on disks that fail, each in a child of its own, as launch/train.py does.

    python disk_worker.py

A line of JSON on standard input starts a child, whose process id is answered; its exit code follows
when it has ended. The children share the imports of this process, which never starts a JAX backend.
"""

import functools
import json
import os
import pathlib
import shutil
import sys

import numpy as np
from absl import logging

from lpd_jax.runtime import command_line
from lpd_jax.training import loop as train_module
from lpd_jax.training.config import EveryConfig
from tests.training import toy

NUM_STEPS = 12
SAVE_EVERY = 5
PICTURE = np.random.default_rng(0).integers(256, size=(48, 48, 3)).astype(np.uint8)


def filling(batches, filler: pathlib.Path, step: int, left: int):
    """Batches, at one of which another program fills the disk up to `left` bytes."""

    class Filling(batches):
        count = 0

        def __next__(self):
            self.count += 1
            if self.count == step:
                free = shutil.disk_usage(filler.parent).free
                filler.write_bytes(bytes(max(free - left, 0)))
            return super().__next__()

    return Filling


def run(workdir: str, fill: list | None) -> None:
    def make_task(*_):
        return toy.make_task()._replace(draw_samples=lambda params: PICTURE)

    train_module.make_task = make_task
    train_module.init_boxed = toy.init_boxed
    if fill:
        filler, step, left = fill
        batches = filling(train_module.TrainingBatches, pathlib.Path(filler), step, left)
        train_module.TrainingBatches = batches
    every = EveryConfig(log=1, evaluate=0, save=SAVE_EVERY, sample=SAVE_EVERY)
    train_module.train(toy.MODEL, toy.config(NUM_STEPS, every=every), workdir)


def main() -> None:
    for order in map(json.loads, sys.stdin):
        child = os.fork()
        if child == 0:
            log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.environ.update(order.get("environment", {}))
            sys.argv = ["train.py"]
            logging.set_verbosity(logging.ERROR)
            start = functools.partial(run, order["workdir"], order.get("fill"))
            command_line.run(start)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
