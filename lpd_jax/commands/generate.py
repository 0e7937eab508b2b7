"""Draws pictures and writes them as one labelled grid.

    python launch/generate.py
    python launch/generate.py --labels=micah,lorelei --num_images=8 --animate=drawing.gif
    python launch/generate.py --model=DIR --num_steps=32 --order=halton
    python launch/generate.py --num_images=1000 --output_dir=pictures --npz=pictures.npz

What is left out is what the model was made for. Any other file is written only on request; with
--output_dir or --npz the grid is one of them. PNG files say in a text chunk, "lpd_jax", how they
were drawn.
"""

import contextlib
import itertools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from tqdm import tqdm

from lpd_jax import images
from lpd_jax.generation.animation import replay
from lpd_jax.generation.batches import batch_size_for
from lpd_jax.generation.choices import define_flags, read_flags
from lpd_jax.generation.model_help import model_help
from lpd_jax.generation.picture_sinks import (
    AdmArray,
    PictureFolder,
    PictureSink,
    describe_picture,
)
from lpd_jax.generation.request import MOST_IMAGES, Request, make_request, names_of
from lpd_jax.pipeline import Drawn, Pipeline
from lpd_jax.runtime import command_line
from lpd_jax.runtime.atomic_files import check_output_file, check_output_folder, replacing_file
from lpd_jax.weights.directory_config import DirectoryConfig
from lpd_jax.weights.hub import DEFAULT_MODEL, find_model_directory
from lpd_jax.weights.model_directory import directory_digest, read_directory_config

MODEL = flags.DEFINE_string("model", DEFAULT_MODEL, "A bundled model, a folder, or owner/name.")
LABELS = flags.DEFINE_list("labels", None, "Class numbers or names; used in turn. Default: all.")
NUM_IMAGES = flags.DEFINE_integer(
    "num_images",
    None,
    "Default: one for each label, 16 at most.",
    lower_bound=1,
    upper_bound=MOST_IMAGES,
)
CHOICES = define_flags()
OUTPUT = flags.DEFINE_string("output", "lpd_samples.png", "The grid to write.")
OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "A folder to write: a PNG file a picture.")
NPZ = flags.DEFINE_string("npz", None, "A .npz to write, as ADM's evaluator reads it.")
ANIMATE = flags.DEFINE_string("animate", None, "A .gif to write: the pictures, step by step.")
SAVE_TOKENS = flags.DEFINE_string("save_tokens", None, "A .npy to write: tokens, raster order.")

MAX_DEFAULT_IMAGES = 16
FRAME_MILLISECONDS = 200
LAST_FRAME_MILLISECONDS = 2500


def main() -> None:
    # All that can be wrong is found before the weights are read.
    outputs = checked_outputs()
    directory = find_model_directory(MODEL.value)
    config = read_directory_config(directory)
    config.need("tokenizer")
    request = checked_request(config)

    facts = {
        "model": MODEL.value,
        "weights": directory_digest(directory),
        "class_names": config.class_names,
    }
    start = time.perf_counter()
    pipe = Pipeline.from_pretrained(directory)
    print(f"{MODEL.value}: loaded in {time.perf_counter() - start:.1f} s", flush=True)
    compile_seconds = pipe.compile(request)
    print(f"compiled in {compile_seconds:.1f} s", flush=True)
    start = time.perf_counter()
    drawn = draw(pipe, request, outputs, facts)
    count, seconds = len(request.labels), time.perf_counter() - start
    print(
        f"drew {count} pictures in {request.schedule.num_steps} steps each: "
        f"{seconds:.1f} s, {seconds / count:.2f} s per picture",
        flush=True,
    )
    write_outputs(outputs, pipe, request, drawn, facts)


def checked_outputs() -> dict[str, Path]:
    """The files to write, by flag."""
    many = OUTPUT_DIR.value is not None or NPZ.value is not None
    wanted = (
        ("output", None if many and not flags.FLAGS["output"].present else OUTPUT.value, ".png"),
        ("animate", ANIMATE.value, ".gif"),
        ("save_tokens", SAVE_TOKENS.value, ".npy"),
        ("npz", NPZ.value, ".npz"),
    )
    outputs = {
        name: check_output_file(name, path, (suffix,))
        for name, path, suffix in wanted
        if path is not None
    }
    if OUTPUT_DIR.value is not None:
        outputs["output_dir"] = check_output_folder("output_dir", OUTPUT_DIR.value)
    return outputs


def checked_request(config: DirectoryConfig) -> Request:
    labels: list[str | int]
    if LABELS.value is not None:
        labels = list(LABELS.value)
    else:
        num_classes = config.need("transformer").num_classes
        count = min(num_classes, NUM_IMAGES.value or MAX_DEFAULT_IMAGES)
        labels = [i * num_classes // count for i in range(count)]
    labels = list(itertools.islice(itertools.cycle(labels), NUM_IMAGES.value or len(labels)))
    return make_request(config, labels, **read_flags(CHOICES))


def draw(
    pipe: Pipeline, request: Request, outputs: Mapping[str, Path], facts: Mapping[str, Any]
) -> Drawn:
    """Draws batch by batch and gives each to the files of many pictures.

    Returns:
        All pictures and tokens, as far as a file of all of them is wanted.
    """
    count, parts = len(request.labels), []
    keeps_pictures = not outputs.keys().isdisjoint({"output", "animate"})
    keeps_tokens = not outputs.keys().isdisjoint({"save_tokens", "animate"})
    with contextlib.ExitStack() as stack:
        sinks: list[PictureSink] = []
        if folder := outputs.get("output_dir"):
            sinks.append(stack.enter_context(PictureFolder(folder, request, facts)))
        if file := outputs.get("npz"):
            sinks.append(stack.enter_context(AdmArray(file, request)))
        one_batch = count <= batch_size_for(count)
        # None: shown where standard error is a terminal.
        bar = tqdm(total=count, unit="picture", disable=True if one_batch else None)
        stack.enter_context(bar)
        for images_BHWC, tokens_BN in pipe.batches(request):
            for sink in sinks:
                sink.add(images_BHWC)
            parts.append((images_BHWC[: keeps_pictures * count], tokens_BN[: keeps_tokens * count]))
            bar.update(len(images_BHWC))
    return Drawn(*map(np.concatenate, zip(*parts, strict=True)))


def write_outputs(
    outputs: Mapping[str, Path],
    pipe: Pipeline,
    request: Request,
    drawn: Drawn,
    facts: Mapping[str, Any],
) -> None:
    names = names_of(request.labels, pipe.class_names)
    if "output" in outputs:
        grid = images.labelled_grid(drawn.images, names)
        images.save_png(outputs["output"], grid, describe_picture(request, None, facts))
    if "animate" in outputs:
        start = time.perf_counter()
        steps = replay(pipe, request, drawn)
        frames = [images.labelled_grid(pictures, names) for pictures in steps]
        print(f"decoded {len(frames)} frames in {time.perf_counter() - start:.1f} s", flush=True)
        times = [FRAME_MILLISECONDS] * (len(frames) - 1) + [LAST_FRAME_MILLISECONDS]
        images.save_gif(outputs["animate"], frames, times)
    if "save_tokens" in outputs:
        target = outputs["save_tokens"]
        with replacing_file(target, "the tokens") as temporary, temporary.open("wb") as file:
            np.save(file, drawn.tokens)
    for path in outputs.values():
        print(f"wrote {path}")


def run() -> None:
    command_line.run(main, more_help=model_help, module=__name__)
