"""Starts a toy training run again and again, each in a child of its own; the test kills them.

    python kill_worker.py NUM_STEPS [adversarial]

The toy is one matrix, or one against a discriminator.

A line with a workdir on standard input starts a child, whose process id is answered; its exit
status follows when it has ended. The children share the imports of this process, which never starts
a JAX backend.
"""

import os
import sys
import time

from lpd_jax.training import loop as train_module
from lpd_jax.training.config import EveryConfig
from tests.training import toy, toy_tokenizer

STEP_SECONDS = 0.01


def slowly(batches):
    """Batches at a pace that leaves kills the time to hit."""

    class Slow(batches):
        def __next__(self):
            time.sleep(STEP_SECONDS)
            return super().__next__()

    return Slow


def run(workdir: str, num_steps: int, adversarial: bool) -> None:
    chosen = toy_tokenizer if adversarial else toy
    if adversarial:
        train_module.make_task = lambda model, config, *_: toy_tokenizer.make_task(config)
    else:
        train_module.make_task = lambda *_: toy.make_task()
    train_module.init_boxed = chosen.init_boxed
    train_module.TrainingBatches = slowly(train_module.TrainingBatches)
    every = EveryConfig(log=1, evaluate=0, save=5, sample=0)
    train_module.train(chosen.MODEL, chosen.config(num_steps, every=every), workdir)


def main() -> None:
    num_steps = int(sys.argv[1])
    for workdir in map(str.strip, sys.stdin):
        child = os.fork()
        if child == 0:
            sys.stdin.close()
            os.dup2(2, 1)  # standard output is for answers
            run(workdir, num_steps, adversarial=sys.argv[2:] == ["adversarial"])
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
