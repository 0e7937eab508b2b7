"""Draws pictures, or clips, and writes them as one labelled grid.

    python launch/generate.py
    python launch/generate.py --labels=micah,lorelei --num_images=8 --animate=drawing.gif
    python launch/generate.py --model=DIR --num_steps=32 --order=halton
    python launch/generate.py --num_images=1000 --output_dir=pictures --npz=pictures.npz
    python launch/generate.py --model=DIR_OF_CLIPS --output=clips.mp4 --contact_sheet=clips.png

What is left out is what the model was made for. Any other file is written only on request; with
--output_dir or --npz the grid is one of them. PNG files say in a text chunk, "lpd_jax", how they
were drawn.
"""

import contextlib
import itertools
import math
import os
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
from lpd_jax.generation.clip_pictures import ClipFolder, contact_sheet, film
from lpd_jax.generation.model_help import model_help
from lpd_jax.generation.picture_sinks import (
    AdmArray,
    PictureFolder,
    PictureSink,
    describe_picture,
)
from lpd_jax.generation.request import MOST_IMAGES, Request, make_request, names_of
from lpd_jax.models.family import tokenizer_of
from lpd_jax.pipeline import Drawn, Pipeline
from lpd_jax.runtime import clip_files, command_line
from lpd_jax.runtime.arguments import check_number
from lpd_jax.runtime.atomic_files import (
    check_output_file,
    check_output_folder,
    real_path,
    replacing_file,
)
from lpd_jax.runtime.errors import UserError, shown, shown_path
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
OUTPUT = flags.DEFINE_string(
    "output", "lpd_samples.png", "The grid to write; of clips .gif, .webp, .mp4, or .png of frames."
)
CONTACT_SHEET = flags.DEFINE_string("contact_sheet", None, "A .png to write: the clips' frames.")
FRAME_RATE = flags.DEFINE_float("frame_rate", 8.0, "Frames a second of the clips in files.")
OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "A folder to write: a PNG file a picture, an MP4 a clip."
)
NPZ = flags.DEFINE_string("npz", None, "A .npz to write, as ADM's evaluator reads it.")
ANIMATE = flags.DEFINE_string("animate", None, "A .gif to write: the pictures, step by step.")
SAVE_TOKENS = flags.DEFINE_string("save_tokens", None, "A .npy to write: tokens, raster order.")

MAX_DEFAULT_IMAGES = 16
MOST_PIXELS_SIDE_BY_SIDE = 2**30  # while they are put together, three times 3 GB
FRAME_MILLISECONDS = 200
LAST_FRAME_MILLISECONDS = 2500
CLIPS_OUTPUT = "lpd_samples.gif"  # where nobody says
PICTURES_AND_CLIPS = (".png", *clip_files.WRITTEN)
OF_CLIPS = ("contact_sheet", "frame_rate")


def main() -> None:
    # All that can be wrong is found before the weights are read.
    outputs = checked_outputs()
    frame_rate = check_number("frame_rate", FRAME_RATE.value, 0.01, clip_files.HIGHEST_RATE)
    directory = find_model_directory(MODEL.value)
    config = read_directory_config(directory)
    config.need("tokenizer")
    request = checked_request(config)
    outputs = outputs_for(config, outputs)
    check_not_numbered(config, request, outputs)
    check_side_by_side(config, request, outputs)

    facts = {
        "model": MODEL.value,
        "weights": directory_digest(directory),
        "class_names": config.class_names,
        "frame_rate": frame_rate,
    }
    start = time.perf_counter()
    pipe = Pipeline.from_pretrained(directory)
    print(f"{MODEL.value}: loaded in {time.perf_counter() - start:.1f} s", flush=True)
    compile_seconds = pipe.compile(request)
    print(f"compiled in {compile_seconds:.1f} s", flush=True)
    start = time.perf_counter()
    drawn = draw(pipe, request, outputs, facts)
    count, seconds = len(request.labels), time.perf_counter() - start
    noun = "clips" if config.draws_clips else "pictures"
    print(
        f"drew {count} {noun} in {request.schedule.num_steps} steps each: "
        f"{seconds:.1f} s, {seconds / count:.2f} s per {noun[:-1]}",
        flush=True,
    )
    write_outputs(outputs, pipe, request, drawn, facts)


def checked_outputs() -> dict[str, Path]:
    """The files to write, by flag."""
    many = OUTPUT_DIR.value is not None or NPZ.value is not None
    wanted = (
        ("output", None if many and not was_given("output") else OUTPUT.value, PICTURES_AND_CLIPS),
        ("contact_sheet", CONTACT_SHEET.value, (".png",)),
        ("animate", ANIMATE.value, (".gif",)),
        ("save_tokens", SAVE_TOKENS.value, (".npy",)),
        ("npz", NPZ.value, (".npz",)),
    )
    outputs = {
        name: check_output_file(name, path, suffixes)
        for name, path, suffixes in wanted
        if path is not None
    }
    if OUTPUT_DIR.value is not None:
        outputs["output_dir"] = check_output_folder("output_dir", OUTPUT_DIR.value)
    return outputs


def was_given(flag: str) -> bool:
    return flags.FLAGS[flag].present > 0


def outputs_for(config: DirectoryConfig, outputs: dict[str, Path]) -> dict[str, Path]:
    """The same, once it is known whether pictures or clips are drawn."""
    if not config.draws_clips:
        for flag in OF_CLIPS:
            if was_given(flag):
                raise UserError(
                    f"{flag}: got {shown(flags.FLAGS[flag].value)}, allowed with a model of "
                    "clips; this one draws pictures"
                )
        if "output" in outputs:
            check_output_file("output", OUTPUT.value, (".png",))
        return different(outputs)
    if "output" in outputs and not was_given("output"):
        outputs = outputs | {"output": check_output_file("output", CLIPS_OUTPUT)}
    if ".mp4" in {file.suffix.lower() for file in outputs.values()} or "output_dir" in outputs:
        clip_files.import_av()
    return different(outputs)


def different(outputs: dict[str, Path]) -> dict[str, Path]:
    """The same; UserError where two of them are one file."""
    first: dict[str, str] = {}
    for name, path in outputs.items():
        if (other := first.setdefault(real_path(path), name)) != name:
            raise UserError(
                f"{name}: got {shown_path(path)}, which is {other} too; allowed is another file"
            )
    return outputs


def check_not_numbered(
    config: DirectoryConfig, request: Request, outputs: Mapping[str, Path]
) -> None:
    """Raises UserError where a file would take the place of one of the many of --output_dir."""
    folder = outputs.get("output_dir")
    if folder is None:
        return
    name_of = ClipFolder.name_of if config.draws_clips else PictureFolder.name_of
    numbered = set(map(name_of, range(len(request.labels))))
    for flag, path in outputs.items():
        place, name = os.path.split(real_path(path))
        if place == real_path(folder) and name in numbered:
            raise UserError(
                f"{flag}: got {shown_path(path)}, which is one of the {len(request.labels):,} "
                "files of output_dir; allowed is another file"
            )


def check_side_by_side(
    config: DirectoryConfig, request: Request, outputs: Mapping[str, Path]
) -> None:
    """Raises UserError where more pictures than one file holds were to stand in it.

    Else they would be drawn for hours and then not fit into the memory.
    """
    *frames, height, width = tokenizer_of(config.tokenizer).size_of(
        config.need("transformer").grid_size
    )
    scale = 2 * (request.generation.output_size or height) / height  # the grid shows them doubled
    pixels = math.prod(frames) * height * width * scale**2
    steps = request.schedule.num_steps  # of an animation, each is a picture of all
    for flag, times in (("output", 1), ("contact_sheet", 1), ("animate", steps)):
        most = int(MOST_PIXELS_SIDE_BY_SIDE / (pixels * times))
        if flag in outputs and len(request.labels) > most:
            each = f" of {steps:,} steps" if flag == "animate" else ""
            raise UserError(
                f"num_images: got {len(request.labels):,}, allowed in the one file of {flag}{each} "
                f"are {most:,}; --output_dir and --npz take any number"
            )


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
    keeps_pictures = not outputs.keys().isdisjoint({"output", "animate", "contact_sheet"})
    keeps_tokens = not outputs.keys().isdisjoint({"save_tokens", "animate"})
    with contextlib.ExitStack() as stack:
        sinks: list[PictureSink] = []
        if folder := outputs.get("output_dir"):
            sinks.append(stack.enter_context(open_folder(folder, pipe, request, facts)))
        if file := outputs.get("npz"):
            sinks.append(stack.enter_context(AdmArray(file, request)))
        one_batch = count <= batch_size_for(count)
        # None: shown where standard error is a terminal.
        bar = tqdm(total=count, unit="picture", disable=True if one_batch else None)
        stack.enter_context(bar)
        for images_BHWC, tokens_BN in pipe.batches(request):
            for sink in sinks:
                sink.add(images_BHWC)
            # An empty view would keep its whole batch.
            kept_BHWC = images_BHWC if keeps_pictures else images_BHWC[:0].copy()
            parts.append((kept_BHWC, tokens_BN if keeps_tokens else tokens_BN[:0].copy()))
            bar.update(len(images_BHWC))
    return Drawn(*map(np.concatenate, zip(*parts, strict=True)))


def open_folder(
    folder: Path, pipe: Pipeline, request: Request, facts: Mapping[str, Any]
) -> PictureSink:
    """Takes pictures, or clips, one a file."""
    if pipe.config.draws_clips:
        return ClipFolder(folder, facts["frame_rate"], len(request.labels))
    return PictureFolder(folder, request, facts)


def write_outputs(
    outputs: Mapping[str, Path],
    pipe: Pipeline,
    request: Request,
    drawn: Drawn,
    facts: Mapping[str, Any],
) -> None:
    names = names_of(request.labels, pipe.class_names)
    side_by_side = contact_sheet if pipe.config.draws_clips else images.labelled_grid
    for name in ("output", "contact_sheet"):
        if name in outputs and outputs[name].suffix.lower() == ".png":
            grid = side_by_side(drawn.images, names)
            images.save_png(outputs[name], grid, describe_picture(request, None, facts))
        elif name in outputs:
            frames_THWC = film(drawn.images, names)
            clip_files.write_clip(outputs[name], frames_THWC, facts["frame_rate"])
    if "animate" in outputs:
        start = time.perf_counter()
        steps = replay(pipe, request, drawn)
        frames = [side_by_side(pictures, names) for pictures in steps]
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
