"""Turns released PyTorch weights into a model directory; needs no PyTorch, runs no code of theirs.

    python launch/convert.py --input=lpd_l_256.pth --output=models/lpd_l
    python launch/convert.py --input=PAR-XL-4x.pt --tokenizer=vq_ds16_c2i.pt --output=models/par_xl

Reads .pth, .pt and .safetensors of LPD, PAR, LlamaGen, RandAR, ARPG and LlamaGen's VQ tokenizers,
alone or together. What the checkpoint holds besides its weights, such as optimizer state, is not
read. Of several sets of weights it takes the one that the official sampler loads, and says so;
--key=ema takes another. No weight tells the heads of a transformer, nor the grid of any but LPD:
what is assumed is said.
"""

import os
import time
from collections.abc import Callable
from typing import Any

import jax
from absl import flags

from lpd_jax.models.family import is_tokenizer
from lpd_jax.runtime import command_line
from lpd_jax.runtime.atomic_files import check_output_folder
from lpd_jax.runtime.errors import UserError, shown, shown_path
from lpd_jax.weights.from_torch import convert_file, directory_config
from lpd_jax.weights.model_directory import DTYPES, save_model_directory
from lpd_jax.weights.published import find_published

INPUT = flags.DEFINE_string("input", None, "Checkpoint of a transformer or of a VQ tokenizer.")
TOKENIZER = flags.DEFINE_string("tokenizer", None, "VQ checkpoint to go with --input.")
OUTPUT = flags.DEFINE_string("output", None, "Model directory, gs://... too; new or empty.")
KEY = flags.DEFINE_string("key", None, "Entry of --input with the weights. Default: model ...")
NUM_HEADS = flags.DEFINE_integer("num_heads", None, "Heads of a transformer of no published width.")
GRID_SIZE = flags.DEFINE_string("grid_size", None, "Tokens: 16, or 16x24 for height x width.")
DTYPE = flags.DEFINE_enum("dtype", "float32", list(DTYPES), "What the weights are stored as.")


def main() -> None:
    source, output = given(INPUT), new_folder(given(OUTPUT))
    check_no_published_name(INPUT, TOKENIZER)
    start = time.perf_counter()
    notes: list[str] = []
    transformer, tokenizer, weights = convert(source, notes.append)
    config = directory_config(transformer, tokenizer)
    save_model_directory(output, config, **weights, dtype=DTYPE.value)
    for note in notes:
        print(note)
    for part, params in weights.items():
        count = sum(leaf.size for leaf in jax.tree.leaves(params))
        print(f"{part}: {count:,} parameters, {getattr(config, part)}")
    print(f"wrote {output} in {time.perf_counter() - start:.1f} s")


def convert(source: str, tell: Callable[[str], object]) -> tuple[Any, Any, dict[str, Any]]:
    """The config of either model, None for one that is not there, and weights by part."""
    model, params = convert_file(source, NUM_HEADS.value, checked_grid(), KEY.value, tell)
    if is_tokenizer(model):
        if TOKENIZER.value is not None:
            raise UserError(
                f"input: got {shown_path(source)}, a tokenizer; allowed beside --tokenizer is a "
                "transformer"
            )
        return None, model, {"tokenizer": params}
    if TOKENIZER.value is None:
        return model, None, {"transformer": params}
    tokenizer, tokenizer_params = convert_file(TOKENIZER.value, tell=tell)
    if not is_tokenizer(tokenizer):
        raise UserError(
            f"tokenizer: got {shown_path(TOKENIZER.value)}, a transformer; allowed is a tokenizer"
        )
    return model, tokenizer, {"transformer": params, "tokenizer": tokenizer_params}


def given(flag: flags.FlagHolder) -> str:
    if not flag.value:
        raise UserError(f"{flag.name}: missing; give a path with --{flag.name}=PATH")
    return flag.value


def check_no_published_name(*checkpoints: flags.FlagHolder) -> None:
    """Raises UserError where one is the name of a published model, which needs no conversion."""
    for flag in checkpoints:
        if flag.value and find_published(flag.value) and not os.path.exists(flag.value):
            raise UserError(
                f"{flag.name}: got {shown(flag.value)}, a published model, which is fetched and "
                "converted where it is first used by that name (--model); allowed is the file of a "
                "checkpoint"
            )


def new_folder(output: str) -> Any:
    path = check_output_folder("output", output)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(
            f"output: got {shown_path(path)}, which exists; allowed is a new or an empty folder"
        )
    return path


def checked_grid() -> tuple[int, ...] | None:
    if GRID_SIZE.value is None:
        return None
    sides = GRID_SIZE.value.split("x")
    if len(sides) > 3 or not all(side.isascii() and side.isdigit() for side in sides):
        raise UserError(
            f"grid_size: got {shown(GRID_SIZE.value)}, allowed are 16, 16x24, 5x16x16 and the like"
        )
    numbers = tuple(map(int, sides))
    return numbers * 2 if len(numbers) == 1 else numbers


def run() -> None:
    command_line.run(main, module=__name__)
