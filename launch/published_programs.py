"""Compiles every published transformer for TPUs and GPUs that are not there: one table.

    pip install 'jax-cuda13-plugin[with-cuda]==0.11.2'      # of the version that jax has
    python launch/published_programs.py --output=results/published_programs
    python launch/published_programs.py --topology=v5e-1 --train_topology=v5e-256 \\
        --output=results/published_programs_tpu      # needs libtpu instead
    python launch/published_programs.py --models=lpd_l,par_l_4x --output=trial

One picture or clip of each model on a device of each `--topology`, in its published steps, with
guidance and its tokenizer's decoder, in bfloat16: compiled with few layers twice, and continued by
a line. And the train step of each file in configs/ on each `--train_topology`, whole, cut into as
many parts as fit, or more where they are faster. `compile_report.py` compiles one config, with all
choices.
"""

import os

from lpd_jax.performance.absent_devices import ENVIRONMENT

os.environ.update(ENVIRONMENT | dict(os.environ))

import importlib.util
import itertools
import shlex
import sys
from pathlib import Path
from typing import Any

from absl import flags

from lpd_jax.performance.benchmark_model import published
from lpd_jax.performance.gpu_targets import PRODUCTS
from lpd_jax.performance.topology import Slice, find_slices
from lpd_jax.runtime import command_line, provenance
from lpd_jax.runtime.arguments import nearest
from lpd_jax.runtime.atomic_files import check_output_file
from lpd_jax.runtime.config_files import config_fields
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.runtime.markdown import write_report

with command_line.imports_of("train"):
    from lpd_jax.performance import published_programs
    from lpd_jax.training.config import TrainConfig, read_config

CONFIGS = Path(__file__).parents[1] / "configs"

MODELS = flags.DEFINE_list("models", None, "Published transformers by name. Default: all.")
TOPOLOGY = flags.DEFINE_list("topology", ["h100"], "What decodes are compiled for.")
TRAIN_TOPOLOGY = flags.DEFINE_list(
    "train_topology", ["8xh100"], "What train steps are compiled for; empty for none."
)
MATRIX_PRODUCTS = flags.DEFINE_multi_enum(
    "products", ["cuBLASLt"], list(PRODUCTS), "GPUs: the matrix products to compile."
)
OUTPUT = flags.DEFINE_string("output", "", "Beginning of the names of the two files.")


def main() -> None:
    if not OUTPUT.value:
        raise UserError("output: missing; allowed is the beginning of the names of two files")
    outputs = [check_output_file("output", f"{OUTPUT.value}.{kind}") for kind in ("json", "md")]
    models = chosen_models()
    slices, train_slices = map(slices_of, (TOPOLOGY, TRAIN_TOPOLOGY))
    if not slices and not train_slices:
        raise UserError("topology: got an empty list, allowed is at least one")
    configs = [CONFIGS / f"{name}.py" for name in models]
    runs = {file.stem: read_run(file) for file in configs if file.exists()} if train_slices else {}
    protocol = describe()
    rows: list[published_programs.Program] = []
    for row in itertools.chain(
        published_programs.compile_decodes(models, slices),
        published_programs.compile_train_steps(runs, train_slices),
    ):
        rows.append(row)
        print(published_programs.progress_line(row), flush=True)
        write_report(
            published_programs.to_json(rows, protocol),
            published_programs.to_markdown(rows, protocol),
            *outputs,
        )
    for path in outputs:
        print(f"wrote {path}")


def chosen_models() -> dict[str, Any]:
    known = published(tokenizers=False)
    names = list(known) if MODELS.value is None else MODELS.value
    for name in names:
        if name not in known:
            raise UserError(
                f"models: got {shown(name)}, allowed are {', '.join(known)}{nearest(name, known)}"
            )
    if not names:
        raise UserError("models: got an empty list, allowed is at least one")
    return {name: known[name] for name in names}


def slices_of(flag: flags.FlagHolder[list[str]]) -> list[Slice]:
    found = [find_slices(name, MATRIX_PRODUCTS.value, flag.name) for name in flag.value]
    return list(itertools.chain.from_iterable(found))


def read_run(file: Path) -> tuple[Any, TrainConfig]:
    """The model and the training of a config file."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return read_config(config_fields(module.get_config()))


def describe() -> dict[str, Any]:
    """What the table depends on."""
    return {
        "versions": provenance.version_line(),
        "compiled on": provenance.device_name(),
        "commit": provenance.git_commit(),
        "command": shlex.join(["python", "launch/published_programs.py", *sys.argv[1:]]),
        "kernels": "2.1 microseconds each, one after another; bytes at 72 % of the data sheet's "
        "bandwidth; arithmetic at half of the peak, or what the bytes need where that is longer",
        "TPUs": "at least so long: all weights are read in each step at the data sheet's "
        "bandwidth, or the arithmetic where that is longer",
        "train steps": "totals with all that is sent asynchronously hidden, and with nothing",
    }


if __name__ == "__main__":
    command_line.run(main)
