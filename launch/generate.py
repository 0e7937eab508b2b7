"""Draws pictures and writes them as one labelled grid.

    python launch/generate.py
    python launch/generate.py --labels=micah,lorelei --num_images=8 --animate=drawing.gif
    python launch/generate.py --model=DIR --num_steps=32 --order=halton

What is left out is what the model was made for. Any other file is written only on request.
"""

import itertools
import time
from pathlib import Path

import numpy as np
from absl import flags

from lpd_jax import images
from lpd_jax.generation.choices import define_flags, read_flags
from lpd_jax.generation.request import Request, make_request, names_of
from lpd_jax.pipeline import Pipeline
from lpd_jax.runtime import command_line
from lpd_jax.runtime.atomic_files import check_output_file, replacing_file
from lpd_jax.weights.directory_config import DirectoryConfig
from lpd_jax.weights.hub import DEFAULT_MODEL, find_model_directory
from lpd_jax.weights.model_directory import read_directory_config

MODEL = flags.DEFINE_string("model", DEFAULT_MODEL, "A bundled model, a folder, or owner/name.")
LABELS = flags.DEFINE_list("labels", None, "Class numbers or names; used in turn. Default: all.")
NUM_IMAGES = flags.DEFINE_integer(
    "num_images", None, "Default: one for each label, 16 at most.", lower_bound=1
)
CHOICES = define_flags()
OUTPUT = flags.DEFINE_string("output", "lpd_samples.png", "The picture to write.")
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

    start = time.perf_counter()
    pipe = Pipeline.from_pretrained(directory)
    names = names_of(request.labels, pipe.class_names)
    print(f"{MODEL.value}: loaded in {time.perf_counter() - start:.1f} s", flush=True)
    compile_seconds = pipe.compile(request)
    print(f"compiled in {compile_seconds:.1f} s", flush=True)
    start = time.perf_counter()
    pictures, tokens = pipe.draw(request)
    seconds = time.perf_counter() - start
    print(
        f"drew {len(pictures)} pictures in {request.schedule.num_steps} steps each: "
        f"{seconds:.1f} s, {seconds / len(pictures):.2f} s per picture",
        flush=True,
    )
    frames = animation_frames(pipe, request, tokens, names) if "animate" in outputs else []
    write_outputs(outputs, images.labelled_grid(pictures, names), frames, tokens)


def checked_outputs() -> dict[str, Path]:
    """The files to write, by flag."""
    wanted = (
        ("output", OUTPUT.value, ".png"),
        ("animate", ANIMATE.value, ".gif"),
        ("save_tokens", SAVE_TOKENS.value, ".npy"),
    )
    return {
        name: check_output_file(name, path, (suffix,))
        for name, path, suffix in wanted
        if path is not None
    }


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


def animation_frames(
    pipe: Pipeline, request: Request, tokens: np.ndarray, names: list[str]
) -> list[np.ndarray]:
    start = time.perf_counter()
    steps = pipe.partial_images(tokens, request.order, request.schedule)
    frames = [images.labelled_grid(pictures, names) for pictures in steps]
    print(f"decoded {len(frames)} frames in {time.perf_counter() - start:.1f} s", flush=True)
    return frames


def write_outputs(
    outputs: dict[str, Path], grid: np.ndarray, frames: list[np.ndarray], tokens: np.ndarray
) -> None:
    images.save_png(outputs["output"], grid)
    if "animate" in outputs:
        times = [FRAME_MILLISECONDS] * (len(frames) - 1) + [LAST_FRAME_MILLISECONDS]
        images.save_gif(outputs["animate"], frames, times)
    if "save_tokens" in outputs:
        with replacing_file(outputs["save_tokens"]) as temporary, temporary.open("wb") as file:
            np.save(file, tokens)
    for path in outputs.values():
        print(f"wrote {path}")


if __name__ == "__main__":
    command_line.run(main)
