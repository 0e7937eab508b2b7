"""Trains a tokenizer or a transformer: python launch/train.py --config=FILE --workdir=DIR."""

from absl import flags
from ml_collections import config_flags

from lpd_jax import command_line
from lpd_jax.training.config import read_config
from lpd_jax.training.train import train

CONFIG = config_flags.DEFINE_config_file("config", None, "File with get_config().")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder for checkpoints, samples and logs.")
flags.mark_flags_as_required(["config", "workdir"])


def main() -> None:
    model, config = read_config(CONFIG.value.to_dict())
    train(model, config, WORKDIR.value)


if __name__ == "__main__":
    command_line.run(main)
