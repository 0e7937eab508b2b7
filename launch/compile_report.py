"""Compiles a config's train step and its decode for TPUs and GPUs that are not there.

    pip install 'libtpu==0.0.42.*'      # the version that jax[tpu] asks for
    python launch/compile_report.py --config=configs/lpd_l.py --topology=v5e-16,v5e-256,v5p-512
    python launch/compile_report.py --config=configs/lpd_xxl.py --topology=v5e-16 \\
        --config.compute.remat=full
    python launch/compile_report.py --config=configs/lpd_xxl.py --topology=v5e-16 --largest
    python launch/compile_report.py --config=configs/par_l_4x.py --topology=v5e-16 --decode_batch=16

    pip install 'jax-cuda13-plugin[with-cuda]==0.10.2'      # of the version that jax has
    python launch/compile_report.py --config=configs/lpd_l.py --topology=h100,8xh100,a100 \\
        --config.batch_size=256
    python launch/compile_report.py --config=configs/lpd_xxl.py --topology=h100 --notrain \\
        --decode_batch=1 --decode_layers=2,4      # a line through both, in a minute

The config is that of a transformer, of any family, whose decode draws as its `generation` says, or
that of a tokenizer, which has a train step only.
Prints, and with --output appends to a file, one row for each program and slice: memory of a device,
arithmetic, bytes sent, predicted time and scaling efficiency. The global batch is the config's.
Of a GPU also the kernels that a run starts and the bytes that they move, once with every matrix
product a kernel of Triton and once with every one of cuBLASLt: a card measures and takes of both.
"""

import os

from lpd_jax.performance.absent_devices import ENVIRONMENT

os.environ.update(ENVIRONMENT | dict(os.environ))

from typing import Any

from absl import flags

from lpd_jax.models.family import is_tokenizer
from lpd_jax.performance.benchmark_model import find_tokenizer, tokenizer_beside
from lpd_jax.performance.gpu_targets import PRODUCTS
from lpd_jax.performance.program_needs import ProgramNeeds, table
from lpd_jax.performance.topology import find_slices
from lpd_jax.runtime import command_line
from lpd_jax.runtime.arguments import as_path
from lpd_jax.runtime.atomic_files import check_output_file
from lpd_jax.runtime.config_files import config_fields
from lpd_jax.runtime.errors import UserError

with command_line.imports_of("train"):
    from lpd_jax.performance.by_layers import check_layers, compile_few
    from lpd_jax.performance.compile_report import (
        compile_decoding,
        compile_training,
        how_to_draw,
    )
    from lpd_jax.performance.largest_model import compile_largest
    from lpd_jax.training.config import read_config

CONFIG = command_line.define_config("File with get_config() of a model.")
TOPOLOGY = flags.DEFINE_list("topology", ["v5e-16"], "Slices, as v5e-16; or h100, 8xa100.")
DECODE_BATCH = flags.DEFINE_integer(
    "decode_batch", 64, "Images of a device; 0 compiles no decode.", lower_bound=0
)
DECODE_LAYERS = flags.DEFINE_list(
    "decode_layers", [], "Two numbers of layers to compile the decode with; the rest is a line."
)
TRAIN = flags.DEFINE_boolean("train", True, "Compile the train step.")
TOKENIZER = flags.DEFINE_string(
    "tokenizer", None, "A published one, whose decoder draws. Default: vq16; of clips, nbp_video."
)
LARGEST = flags.DEFINE_boolean(
    "largest", False, "Find the largest model of its family whose train step fits, instead."
)
MATRIX_PRODUCTS = flags.DEFINE_multi_enum(
    "products", list(PRODUCTS), list(PRODUCTS), "GPUs: the matrix products to compile."
)
OUTPUT = flags.DEFINE_string("output", "", "Markdown file to add the table to.")


def main() -> None:
    model, config = read_config(config_fields(CONFIG.value))
    draws = DECODE_BATCH.value > 0 and not is_tokenizer(model)
    generation = how_to_draw(model, config) if draws else None
    tokenizer = find_tokenizer(tokenizer_beside(model, TOKENIZER.value)) if draws else None
    if is_tokenizer(model) and LARGEST.value:
        raise UserError("largest: got True, allowed for a tokenizer is False")
    check_choices(draws)
    layers = read_layers(model) if DECODE_LAYERS.value else None
    slices = [
        found for name in TOPOLOGY.value for found in find_slices(name, MATRIX_PRODUCTS.value)
    ]
    output = None
    if OUTPUT.value:
        output = check_output_file("output", as_path("output", OUTPUT.value))
    rows = []
    for tpu_slice in slices:
        if LARGEST.value:
            rows.append(compile_largest(model, config, tpu_slice))
            print(table(rows)[-1], flush=True)
            continue
        if TRAIN.value:
            rows.append(compile_training(model, config, tpu_slice))
            print(table(rows)[-1], flush=True)
        if generation:
            options = tokenizer, generation, DECODE_BATCH.value, tpu_slice
            rows.append(compile_drawing(model, options, layers))
            print(table(rows)[-1], flush=True)
    print("\n".join(table(rows)))
    if output:
        with open(output, "a", encoding="utf-8") as file:
            file.write("\n".join(table(rows)) + "\n\n")
        print(f"wrote {output}")


def check_choices(draws: bool) -> None:
    """Raises UserError for options that compile nothing, or that contradict each other."""
    if not TOPOLOGY.value:
        raise UserError("topology: got an empty list, allowed is at least one")
    if not TRAIN.value and LARGEST.value:
        raise UserError("train: got False, allowed with largest is True: it is the train step's")
    if not TRAIN.value and not draws:
        raise UserError(
            "train: got False, allowed is True where there is no decode: of a tokenizer, and with "
            "decode_batch=0"
        )


def read_layers(model: Any) -> tuple[int, int]:
    try:
        fewer, more = map(int, DECODE_LAYERS.value)
    except ValueError:
        raise UserError(
            f"decode_layers: got {','.join(DECODE_LAYERS.value)}, allowed are two numbers: 2,4"
        ) from None
    return check_layers(model, (fewer, more))


def compile_drawing(
    model: Any, options: tuple[Any, ...], layers: tuple[int, int] | None
) -> ProgramNeeds:
    """The decode, of the whole model or of two with few layers."""
    if layers is None:
        return compile_decoding(model, *options)
    tokenizer, generation, batch, tpu_slice = options

    def compile_small(small: Any) -> ProgramNeeds:
        share = small.num_layers / model.num_layers
        return compile_decoding(small, tokenizer, generation, batch, tpu_slice, share)

    return compile_few(compile_small, model, layers, tpu_slice)


if __name__ == "__main__":
    command_line.run(main)
