"""Maps how tokens depend on each other, from a trained model and real pictures.

    python launch/analyze.py
    python launch/analyze.py --num_images=200 --references=0:0,7:5 --num_parallel=4
    python launch/analyze.py --model=DIR --data=data/tokens/validation --output=maps

What one token tells of every other, and what is lost where n tokens are drawn at once, in PAR's
order and in raster order. Writes two plots, a text and the numbers as JSON into the folder OUTPUT.
Without --data: the bundled validation pictures, as tokens of the model's tokenizer. The model must
be of a family that draws in any order: LPD, RandAR or ARPG.
"""

import shlex
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

from lpd_jax import bundled
from lpd_jax.models.settings import MAX_SEED
from lpd_jax.pipeline import Pipeline
from lpd_jax.runtime import command_line, provenance
from lpd_jax.runtime.arguments import as_path, check_whole, parse_whole
from lpd_jax.runtime.atomic_files import check_output_file
from lpd_jax.runtime.buckets import located
from lpd_jax.runtime.errors import UserError, shown, shown_path
from lpd_jax.weights.hub import DEFAULT_MODEL, find_model_directory
from lpd_jax.weights.model_directory import (
    ModelFiles,
    load_model_directory,
    read_directory_config,
)
from lpd_jax.weights.parameters import put_on_device, weights_digest

with command_line.imports_of("train"):
    from lpd_jax.data.token_cache import check_cache, open_token_cache
    from lpd_jax.studies import avatars_study, dependency_report, dependency_study
    from lpd_jax.studies.dependency_study import Plan
    from lpd_jax.studies.likelihoods import Likelihoods
    from lpd_jax.studies.steps_study import model_digest

MODEL = flags.DEFINE_string("model", DEFAULT_MODEL, "A bundled model, or a model directory.")
DATA = flags.DEFINE_string("data", None, "A token cache. Default: the bundled validation pictures.")
NUM_IMAGES = flags.DEFINE_integer(
    "num_images", 600, "Drawn from the data by the seed.", upper_bound=10**6
)
REFERENCES = flags.DEFINE_list("references", None, "Tokens that are given, as ROW:COLUMN.")
NUM_PARALLEL = flags.DEFINE_list("num_parallel", ["4", "16"], "Numbers of tokens at a time.")
SEED = flags.DEFINE_integer("seed", 0, "Of the images, and of shuffled groups.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Images at once.", upper_bound=10**6)
OUTPUT = flags.DEFINE_string("output", "results/token_dependency", "Folder for the files.")


def main() -> None:
    # All that can be wrong is found before anything is measured.
    folder = check_output_folder(as_path("output", OUTPUT.value))
    directory = find_model_directory(MODEL.value)
    config = read_directory_config(directory).need("transformer")
    dependency_study.check_model(config, MODEL.value)
    plan = make_plan(config.grid_size)
    batch_size = check_whole("batch_size", BATCH_SIZE.value, 1)
    files = load_model_directory(directory)
    assert files.transformer is not None  # its config is there
    params = put_on_device(files.transformer, config, MODEL.value)
    if DATA.value is None:
        data, tokens_MN, labels_M = avatar_tokens(files, plan.seed)
    else:
        data, tokens_MN, labels_M = cached_tokens(DATA.value, files, plan.seed)

    likelihoods = Likelihoods(config, params, tokens_MN, labels_M, batch_size)
    study: dict[str, Any] = {"title": f"{Path(MODEL.value).name}, {len(tokens_MN)} images"}
    study["protocol"] = {
        "command": shlex.join(["python", "launch/analyze.py", *sys.argv[1:]]),
        "model": MODEL.value,
        "model_digest": model_digest(files),
        "data": data,
        "num_images": len(tokens_MN),
        "seed": plan.seed,
        "device": jax.devices()[0].device_kind,
        "commit": provenance.git_commit(),
    }
    study |= dependency_study.run(likelihoods, plan)
    folder.mkdir(exist_ok=True)
    dependency_report.write(study, folder)
    for name in dependency_report.FILES:
        print(f"wrote {folder / name}")


def check_output_folder(folder: Path) -> Path:
    """A folder to write to, or that can be made; raises UserError for what is neither."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"output: got {shown_path(folder)}, which is a file; allowed is a folder")
    if not folder.exists():
        return check_output_file("output", folder)  # what can be written there can be a folder
    for name in dependency_report.FILES:
        check_output_file("output", folder / name)
    return folder


def make_plan(grid: tuple[int, int]) -> Plan:
    references = dependency_study.default_references(grid)
    if REFERENCES.value is not None:
        references = tuple(dict.fromkeys(map(parse_cell, REFERENCES.value)))
    sizes = [parse_whole("num_parallel", text) for text in NUM_PARALLEL.value]
    return Plan(
        grid=grid,
        references=references,
        num_parallel=tuple(dict.fromkeys(sizes)),
        seed=check_whole("seed", SEED.value, 0, MAX_SEED),
    )


def parse_cell(text: str) -> tuple[int, int]:
    """ "7:5" -> (7, 5)."""
    row, colon, column = text.partition(":")
    if not colon:
        raise UserError(f"references: got {shown(text)}, allowed are cells such as 7:5, ROW:COLUMN")
    return parse_whole("references", row), parse_whole("references", column)


def avatar_tokens(files: ModelFiles, seed: int) -> tuple[str, np.ndarray, np.ndarray]:
    """The bundled validation pictures: what they are, tokens `[M, N]` and labels `[M]`.

    Raises:
        UserError: a model of other pictures, or without a tokenizer; too many images.
    """
    avatars_study.check_pictures(files.config, MODEL.value, " without --data")
    images_BHWC, labels_B = bundled.load_avatars("validation")
    chosen = dependency_study.choose_images(NUM_IMAGES.value, len(labels_B), seed)
    tokens_MN = Pipeline(files).encode(images_BHWC[chosen])
    return "avatars12 validation", tokens_MN, labels_B[chosen]


def cached_tokens(folder: str, files: ModelFiles, seed: int) -> tuple[str, np.ndarray, np.ndarray]:
    """The same of a token cache: the first view of each image.

    Raises:
        UserError: no cache, one of another tokenizer or of other sizes, or too many images.
    """
    source = open_token_cache(located("data", folder))
    digest = source.settings.tokenizer
    if files.tokenizer is not None:
        digest = weights_digest(files.tokenizer, files.config.tokenizer)
    check_cache(source.settings, files.config.transformer, digest)
    chosen = dependency_study.choose_images(NUM_IMAGES.value, len(source), seed)
    records = [source[int(index)] for index in chosen]
    tokens_MN = np.stack([record["tokens"] for record in records])
    labels_M = np.stack([record["label"] for record in records])
    return f"tokens of {source.settings.dataset}", tokens_MN, labels_M


if __name__ == "__main__":
    command_line.run(main)
