"""Repaints part of pictures, or paints on beyond their edges, and writes them as PNG.

    python launch/edit.py inpaint --box=16,16,36,36
    python launch/edit.py inpaint --input=me.png --mask=mask.png --labels=micah
    python launch/edit.py class --bundled=506 --box=0,0,36,64 --labels=personas,micah,bigEars
    python launch/edit.py outpaint --input=me.png --labels=micah --left=56 --right=56 --overlap=8

Without --input it edits validation pictures of the bundled dataset, a hundred of each class. What
else is left out is what the model was made for. A comparison (original, kept, edited) is written
beside.
"""

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from lpd_jax import bundled, images
from lpd_jax.generation import inpaint, outpaint
from lpd_jax.generation.choices import define_flags, read_flags
from lpd_jax.generation.model_help import model_help
from lpd_jax.generation.request import names_of, resolve_labels
from lpd_jax.models.family import tokenizer_of
from lpd_jax.pipeline import Pipeline
from lpd_jax.runtime import command_line
from lpd_jax.runtime.arguments import parse_whole
from lpd_jax.runtime.atomic_files import check_output_file
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.weights.hub import DEFAULT_MODEL, find_model_directory
from lpd_jax.weights.model_directory import read_directory_config

COMMANDS = ("inpaint", "class", "outpaint")
INPAINT = ("mask", "box", "ignore_hidden")
OUTPAINT = (*outpaint.SIDES, "overlap")
JOINING = ("keep_reconstruction", "seam")
# Steps depend on the mask, and pixels that stay have the size they have.
CHOICES = define_flags(leave_out=inpaint.REFUSED)

MODEL = flags.DEFINE_string("model", DEFAULT_MODEL, "A bundled model, a folder, or owner/name.")
INPUT = flags.DEFINE_list("input", None, "Picture files. Default: bundled validation pictures.")
BUNDLED = flags.DEFINE_list(
    "bundled", ["3", "203", "403", "703", "1003", "1103"], "Numbers of bundled validation pictures."
)
CROP = flags.DEFINE_bool("crop", True, "Cut files to the model's picture, as in training.")
LABELS = flags.DEFINE_list("labels", None, "Class numbers or names: one, or one a picture.")
flags.DEFINE_string("mask", None, "A picture of the model's size, light where to repaint.")
flags.DEFINE_list("box", None, "Or what to repaint: top,left,height,width in pixels.")
for side in outpaint.SIDES:
    flags.DEFINE_integer(side, 0, "outpaint: pixels to add there; below 0 cuts them off.")
flags.DEFINE_integer("overlap", None, "outpaint: pixels that windows share.")
flags.DEFINE_bool("ignore_hidden", False, "The tokenizer does not look at what the mask covers.")
flags.DEFINE_bool(
    "keep_reconstruction", False, "Give what the tokenizer makes of the pixels that stay."
)
flags.DEFINE_integer("seam", None, "Pixels over which new and old blend. Default: a token.")
OUTPUT = flags.DEFINE_string("output", "lpd_edited.png", "Edited picture; many are numbered.")
COMPARISON = flags.DEFINE_string("comparison", "lpd_comparison.png", "The comparison to write.")

HIDDEN = 160  # grey of what the comparison hides


def main(command: str) -> None:
    outputs = checked_outputs()
    directory = find_model_directory(MODEL.value)
    config = read_directory_config(directory)
    transformer, tokenizer = config.need("transformer"), config.need("tokenizer")
    size = list(tokenizer_of(tokenizer).size_of(transformer.grid_size))
    pictures, labels = read_pictures(command, size)
    labels_B = resolve_labels(labels, transformer.num_classes, config.class_names)
    options = read_options(command)

    start = time.perf_counter()
    pipe = Pipeline.from_pretrained(directory)
    print(f"{MODEL.value}: loaded in {time.perf_counter() - start:.1f} s", flush=True)
    start = time.perf_counter()
    edit = outpaint.outpaint if command == "outpaint" else inpaint.inpaint
    edited = edit(pipe, pictures, labels_B, **options)
    count, height, width, _ = edited.images_BHWC.shape
    print(
        f"{command}: {count} pictures of {height}x{width} pixels, {edited.mask_BHW.mean():.0%} of "
        f"them painted: {time.perf_counter() - start:.1f} s, compiling included",
        flush=True,
    )
    names = names_of(labels_B, pipe.class_names)
    write_outputs(outputs, edited, comparison(command, pictures, edited, names))


def checked_outputs() -> dict[str, Path]:
    """The files to write, by flag."""
    wanted = {"output": OUTPUT.value, "comparison": COMPARISON.value}
    files = {name: check_output_file(name, path, (".png",)) for name, path in wanted.items()}
    if files["output"] == files["comparison"]:
        raise UserError(
            f"comparison: got {shown(COMPARISON.value)}, allowed is another than --output"
        )
    return files


def read_pictures(command: str, size: list[int]) -> tuple[np.ndarray, list[str | int]]:
    """The pictures uint8 `[B, H, W, 3]` and the classes to paint them as."""
    labels: list[str | int] | None = None if LABELS.value is None else list(LABELS.value)
    if labels is None and (command == "class" or INPUT.value is not None):
        raise UserError("labels: got none, allowed are the classes to paint, by number or name")
    if INPUT.value is not None:
        if not INPUT.value:
            raise UserError("input: got an empty list, allowed are picture files")
        pictures = [read_picture(path, size) for path in INPUT.value]
        if len({picture.shape for picture in pictures}) != 1:
            sizes = ", ".join(f"{height}x{width}" for height, width, _ in map(np.shape, pictures))
            raise UserError(f"input: got pictures of {sizes}, allowed is one size")
        return np.stack(pictures), labels or []
    if size != [bundled.IMAGE_SIZE] * 2:
        raise UserError(
            f"input: got none, allowed are picture files: this model draws {size[0]}x{size[1]} "
            f"pixels, the bundled pictures have {bundled.IMAGE_SIZE}x{bundled.IMAGE_SIZE}"
        )
    images_BHWC, labels_B = bundled.load_avatars("validation")
    rows = [parse_whole("bundled", text) for text in BUNDLED.value]
    if not rows or not 0 <= min(rows) <= max(rows) < len(images_BHWC):
        raise UserError(f"bundled: got {rows}, allowed are numbers 0 to {len(images_BHWC) - 1}")
    return images_BHWC[rows], labels or labels_B[rows].tolist()


def read_picture(path: str, size: list[int]) -> np.ndarray:
    picture_HWC = images.read_image("input", path)
    if not CROP.value or list(picture_HWC.shape[:2]) == size:
        return picture_HWC
    if size[0] != size[1]:
        raise UserError(f"input: got {picture_HWC.shape[:2]} pixels, allowed are {tuple(size)}")
    return images.adm_center_crop(picture_HWC, size[0], f"input: {path}")


def read_options(command: str) -> dict[str, Any]:
    """What the functions of the package are called with besides pictures and labels."""
    own, other = (OUTPAINT, INPAINT) if command == "outpaint" else (INPAINT, OUTPAINT)
    for name in other:
        if flags.FLAGS[name].present:
            raise UserError(f"{name}: got one for {command}, allowed is none")
    options: dict[str, Any] = {name: flags.FLAGS[name].value for name in (*JOINING, *own)}
    options |= read_flags(CHOICES)
    if options.get("mask") is not None:
        options["mask"] = images.read_mask("mask", options["mask"]) > 127
    if options.get("box") is not None:
        options["box"] = [parse_whole("box", text) for text in options["box"]]
    return options


def comparison(
    command: str, pictures: np.ndarray, edited: inpaint.Edited, names: list[str]
) -> np.ndarray:
    """Rows of originals, of what of them was kept, and of what came of it; one column each."""
    count = len(edited.images_BHWC)
    rows, titles = [], []
    if command != "outpaint":  # there the original is what was kept
        rows, titles = [np.resize(pictures, edited.images_BHWC.shape)], ["original"] * count
    hidden_BHW1 = edited.mask_BHW[..., None]
    rows += [np.where(hidden_BHW1, np.uint8(HIDDEN), edited.images_BHWC), edited.images_BHWC]
    titles += ["kept"] * count + list(itertools.islice(itertools.cycle(names), count))
    return images.labelled_grid(np.concatenate(rows), titles, columns=count)


def write_outputs(outputs: dict[str, Path], edited: inpaint.Edited, grid: np.ndarray) -> None:
    output, count = outputs["output"], len(edited.images_BHWC)
    paths = [output]
    if count > 1:
        paths = [output.with_stem(f"{output.stem}_{number}") for number in range(count)]
    for path, picture_HWC in zip(paths, edited.images_BHWC, strict=True):
        images.save_png(path, picture_HWC)
    images.save_png(outputs["comparison"], grid)
    for path in (*paths, outputs["comparison"]):
        print(f"wrote {path}")


if __name__ == "__main__":
    command_line.run(main, COMMANDS, model_help)
