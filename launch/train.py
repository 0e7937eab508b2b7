"""Trains a tokenizer or a transformer, or goes on with it where a run in the same workdir ended.

    python launch/train.py --config=configs/avatars_vq.py --workdir=runs/avatars_vq

Any field of the config can be given here: --config.batch_size=32. The workdir gets checkpoints,
sample pictures, train.log and TensorBoard events. Stop it with Ctrl-C at any time.
"""

import sys

from absl import flags, logging
from ml_collections import config_flags

from lpd_jax import command_line
from lpd_jax.training.config import read_config
from lpd_jax.training.train import train

CONFIG = config_flags.DEFINE_config_file("config", None, "File with get_config().")
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder for checkpoints, samples and logs.", required=True
)
flags.mark_flag_as_required("config")


def main() -> None:
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.ERROR)  # Orbax reports every file it opens
    model, config = read_config(CONFIG.value.to_dict())
    try:
        train(model, config, WORKDIR.value)
    except FloatingPointError as error:
        sys.exit(f"train.py: {error}; the newest checkpoint is from before")
    except KeyboardInterrupt:
        sys.exit("train.py: stopped; the same command goes on from the newest checkpoint")


if __name__ == "__main__":
    command_line.run(main)
