"""Trains a tokenizer or a transformer, or goes on with it where a run in the same workdir ended.

    python launch/train.py --config=configs/avatars_vq.py --workdir=runs/avatars_vq

Any field of the config can be given here: --config.batch_size=32. The workdir gets checkpoints,
sample pictures, train.log, metrics.jsonl and TensorBoard events. Stop it with Ctrl-C at any time;
on SIGTERM it saves first. The same command goes on from the newest checkpoint.

On many hosts start it once for each process. Slurm, Open MPI, GKE and Cloud TPU tell it of the
others; elsewhere say --coordinator_address=HOST:PORT --num_processes=N --process_id=I.
"""

import os
import sys

from absl import flags, logging

from lpd_jax.runtime import command_line, processes
from lpd_jax.runtime.config_files import config_fields

with command_line.imports_of("train"):
    from lpd_jax.training import train
    from lpd_jax.training.config import read_config
    from lpd_jax.training.from_data import fill_in
    from lpd_jax.training.profiling import ProfileWindow

CONFIG = command_line.define_config("File with get_config().")
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder, gs://... too, for checkpoints, samples, logs.", required=True
)
PROFILE_START = flags.DEFINE_integer("profile_start", 0, "First step to profile.", lower_bound=0)
PROFILE_STEPS = flags.DEFINE_integer("profile_steps", 0, "Steps to profile.", lower_bound=0)
processes.define_host_flags()


def main() -> None:
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.ERROR)  # Orbax reports every file it opens
    profile = ProfileWindow(PROFILE_START.value, PROFILE_STEPS.value)
    try:
        with processes.job():  # first: what is left to a tokenizer is read with JAX
            model, config = read_config(fill_in(config_fields(CONFIG.value)))
            train(model, config, WORKDIR.value, profile)
    except FloatingPointError as error:
        program = os.path.basename(sys.argv[0])
        sys.exit(f"{program}: {error}")


def run() -> None:
    command_line.run(main, module=__name__)
