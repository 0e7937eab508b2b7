"""Turns a training run into a model directory, the form in which models are used and shared.

    python launch/export.py --workdir=runs/avatars_lpd --output=models/avatars --dtype=float16

Takes the newest checkpoint. A transformer is joined by the tokenizer it was trained with, or by
that of --tokenizer_workdir; a tokenizer's run makes a directory with only a tokenizer. An existing
model directory is replaced; other files in it, such as licences, are kept.
"""

import jax
from absl import flags, logging

from lpd_jax.runtime import command_line
from lpd_jax.weights.model_directory import DTYPES

with command_line.imports_of("train"):
    from lpd_jax.training.export import export_run

WORKDIR = flags.DEFINE_string(
    "workdir", None, "Training run of a transformer or a tokenizer; gs://... too."
)
TOKENIZER_WORKDIR = flags.DEFINE_string(
    "tokenizer_workdir", None, "Training run, or model directory, of the transformer's tokenizer."
)
OUTPUT = flags.DEFINE_string("output", None, "Model directory to write; gs://... too.")
DTYPE = flags.DEFINE_enum("dtype", "float32", list(DTYPES), "What the weights are stored as.")


def main() -> None:
    logging.set_verbosity(logging.ERROR)  # Orbax reports every file it opens
    choices = [flag.value or "" for flag in (OUTPUT, WORKDIR, TOKENIZER_WORKDIR, DTYPE)]
    for part, (source, weights) in export_run(*choices).items():
        count = sum(leaf.size for leaf in jax.tree.leaves(weights.params))
        print(f"{part}: {count:,} parameters from {source}")
    print(f"wrote {OUTPUT.value}")


def run() -> None:
    command_line.run(main, module=__name__)
