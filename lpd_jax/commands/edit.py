"""Repaints part of pictures, or paints on beyond their edges, and writes them as PNG.

    python launch/edit.py inpaint --box=16,16,36,36
    python launch/edit.py inpaint --input=me.png --mask=mask.png --labels=micah
    python launch/edit.py class --bundled=506 --box=0,0,36,64 --labels=personas,micah,bigEars
    python launch/edit.py outpaint --input=me.png --labels=micah --left=56 --right=56 --overlap=8

Without --input it edits validation pictures of the bundled dataset, a hundred of each class. What
else is left out is what the model was made for. A comparison (original, kept, edited) is written
beside. PNG files say in a text chunk, "lpd_jax", how they were made.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from lpd_jax import bundled, images
from lpd_jax.generation import inpaint, outpaint
from lpd_jax.generation.choices import define_flags, read_flags
from lpd_jax.generation.comparison import comparison
from lpd_jax.generation.crops import Crop
from lpd_jax.generation.masks import box_mask, check_one_of, light_parts
from lpd_jax.generation.model_help import model_help
from lpd_jax.generation.picture_sinks import describe_picture
from lpd_jax.generation.request import make_request, names_of, resolve_labels
from lpd_jax.models.family import tokenizer_of
from lpd_jax.pipeline import Pipeline
from lpd_jax.runtime import command_line
from lpd_jax.runtime.arguments import parse_whole
from lpd_jax.runtime.atomic_files import check_output_file, real_path
from lpd_jax.runtime.buckets import located
from lpd_jax.runtime.errors import UserError, shown, shown_path
from lpd_jax.weights.hub import BUNDLED_MODELS, DEFAULT_MODEL, find_model_directory
from lpd_jax.weights.model_directory import directory_digest, read_directory_config

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
CROP = flags.DEFINE_bool(
    "crop", True, "Cut files to the model's picture, as in training, and mask and box with them."
)
LABELS = flags.DEFINE_list("labels", None, "Class numbers or names: one, or one a picture.")
flags.DEFINE_string(
    "mask", None, "A picture of the input's or the model's size, light where to repaint."
)
flags.DEFINE_list("box", None, "Or what to repaint: top,left,height,width in the input's pixels.")
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


def main(command: str) -> None:
    outputs = checked_outputs()
    directory = find_model_directory(MODEL.value)
    config = read_directory_config(directory)
    inpaint.check_can_edit(config, f"model: got {shown(MODEL.value)},")
    transformer, tokenizer = config.need("transformer"), config.need("tokenizer")
    size = list(tokenizer_of(tokenizer).size_of(transformer.grid_size))
    pictures, crops, labels = read_pictures(command, size)
    labels_B = resolve_labels(labels, transformer.num_classes, config.class_names)
    options = read_options(command, crops)
    paths = edited_files(outputs, max(len(pictures), len(labels_B)))
    # Also checks how to draw, before the weights are read.
    request = make_request(config, np.resize(labels_B, len(paths)), **read_flags(CHOICES))
    request = inpaint.as_drawn(request)
    facts = {
        "model": MODEL.value,
        "weights": directory_digest(directory),
        "class_names": config.class_names,
        "edit": edit_facts(command),
    }
    if INPUT.value is not None and MODEL.value in BUNDLED_MODELS:
        styles = len(config.class_names)
        print(
            f"{MODEL.value} draws avatars in {styles} styles: what it adds to a photograph is one"
        )

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
    grid = comparison(command, pictures, edited, names)
    for i, (path, picture_HWC) in enumerate(zip(paths, edited.images_BHWC, strict=True)):
        images.save_png(path, picture_HWC, describe_picture(request, i, facts))
    images.save_png(outputs["comparison"], grid, describe_picture(request, None, facts))
    for path in (*paths, outputs["comparison"]):
        print(f"wrote {path}")


def edit_facts(command: str) -> dict[str, Any]:
    """What was painted where, and in what, as the options say it; of files their names alone."""
    own = OUTPAINT if command == "outpaint" else INPAINT
    names = ("bundled", "input", "crop", *JOINING, *own)
    given: dict[str, Any] = {
        name: flags.FLAGS[name].value for name in names if flags.FLAGS[name].present
    }
    if "input" in given:
        given["input"] = [os.path.basename(path) for path in given["input"]]
    else:
        given["bundled"] = BUNDLED.value
    if "mask" in given:
        given["mask"] = os.path.basename(given["mask"])
    if "box" in given:
        given["box"] = [parse_whole("box", text) for text in given["box"]]
    return {"command": command} | given


def checked_outputs() -> dict[str, Path]:
    """The files to write, by flag."""
    wanted = {"output": OUTPUT.value, "comparison": COMPARISON.value}
    files = {name: check_output_file(name, path, (".png",)) for name, path in wanted.items()}
    if real_path(files["output"]) == real_path(files["comparison"]):
        raise UserError(
            f"comparison: got {shown(COMPARISON.value)}, allowed is another than --output"
        )
    for name, path in files.items():
        check_not_read(name, path)
    return files


def check_not_read(name: str, path: Path) -> None:
    """Raises UserError for a file that is an input of the same call."""
    inputs = [("input", given) for given in INPUT.value or ()]
    inputs += [("mask", given) for given in [flags.FLAGS["mask"].value] if given]
    # As they are read: "~" is written out.
    if real_path(path) in {real_path(located(field, given)) for field, given in inputs}:
        raise UserError(f"{name}: got {shown_path(path)}, which is read; allowed is another file")


def edited_files(outputs: dict[str, Path], count: int) -> list[Path]:
    """Where so many edited pictures go: several are numbered."""
    output = outputs["output"]
    if count == 1:
        return [output]
    paths = [output.with_stem(f"{output.stem}_{number}") for number in range(count)]
    for path in paths:
        check_not_read("output", path)
        if real_path(path) == real_path(outputs["comparison"]):
            raise UserError(
                f"comparison: got {shown_path(path)}, which is one of the {count} pictures of "
                "--output; allowed is another file"
            )
    return paths


def read_pictures(command: str, size: list[int]) -> tuple[np.ndarray, list[Crop], list[str | int]]:
    """The pictures uint8 `[B, H, W, 3]`, what of each file they are, and the classes to paint.

    Pictures that were not cut have no crops.
    """
    labels: list[str | int] | None = None if LABELS.value is None else list(LABELS.value)
    if labels is None and (command == "class" or INPUT.value is not None):
        raise UserError("labels: got none, allowed are the classes to paint, by number or name")
    if INPUT.value is not None:
        if not INPUT.value:
            raise UserError("input: got an empty list, allowed are picture files")
        if flags.FLAGS["bundled"].present:
            raise UserError("input, bundled: got both, allowed is one of them")
        check_there(INPUT.value)
        pictures, crops = zip(*(read_picture(path, size) for path in INPUT.value), strict=True)
        if len({picture.shape for picture in pictures}) != 1:
            sizes = ", ".join(f"{height}x{width}" for height, width, _ in map(np.shape, pictures))
            raise UserError(f"input: got pictures of {sizes}, allowed is one size")
        cut = any(list(crop.picture) != size for crop in crops) and CROP.value
        return np.stack(pictures), list(crops) if cut else [], labels or []
    if size != [bundled.IMAGE_SIZE] * 2:
        raise UserError(
            f"input: got none, allowed are picture files: this model draws {size[0]}x{size[1]} "
            f"pixels, the bundled pictures have {bundled.IMAGE_SIZE}x{bundled.IMAGE_SIZE}"
        )
    images_BHWC, labels_B = bundled.load_avatars("validation")
    rows = [parse_whole("bundled", text) for text in BUNDLED.value]
    if not rows or not 0 <= min(rows) <= max(rows) < len(images_BHWC):
        raise UserError(f"bundled: got {rows}, allowed are numbers 0 to {len(images_BHWC) - 1}")
    return images_BHWC[rows], [], labels or labels_B[rows].tolist()


def check_there(paths: list[str]) -> None:
    """Raises UserError for one of several files that is not there: it may be half of a name."""
    for path in paths if len(paths) > 1 else ():
        if not located("input", path).exists():
            raise UserError(
                f"input: got {shown_path(path)}, which does not exist; allowed are picture files, "
                "a name with a comma in double quotes of its own: --input='\"a, b.png\"'"
            )


def read_picture(path: str, size: list[int]) -> tuple[np.ndarray, Crop]:
    picture_HWC = images.read_image("input", path)
    height, width, _ = picture_HWC.shape
    crop = Crop((height, width), size[0])
    if not CROP.value or [height, width] == size:
        return picture_HWC, crop
    if size[0] != size[1]:
        raise UserError(f"input: got {picture_HWC.shape[:2]} pixels, allowed are {tuple(size)}")
    return images.adm_center_crop(picture_HWC, size[0], f"input: {path}"), crop


def read_options(command: str, crops: list[Crop]) -> dict[str, Any]:
    """What the functions of the package are called with besides pictures and labels."""
    own, other = (OUTPAINT, INPAINT) if command == "outpaint" else (INPAINT, OUTPAINT)
    for name in other:
        if flags.FLAGS[name].present:
            raise UserError(f"{name}: got one for {command}, allowed is none")
    options: dict[str, Any] = {name: flags.FLAGS[name].value for name in (*JOINING, *own)}
    check_something_to_paint(command, options)
    options |= read_flags(CHOICES)
    if options.get("mask") is not None:
        options["mask"] = cropped_mask(
            light_parts(images.read_mask("mask", options["mask"])), crops
        )
    if options.get("box") is not None:
        options["box"] = [parse_whole("box", text) for text in options["box"]]
        if crops and options.get("mask") is None:
            options |= {"box": None, "mask": cropped_boxes(options["box"], crops)}
    return options


def check_something_to_paint(command: str, options: Mapping[str, Any]) -> None:
    """Raises UserError where nothing says what to paint, before the weights are read."""
    if command != "outpaint":
        check_one_of(options["mask"], options["box"])
    elif not any(options[side] for side in outpaint.SIDES):
        raise UserError(
            f"{', '.join(outpaint.SIDES)}: got 0 for each, allowed is to add pixels at one or more"
        )


def cropped_mask(mask_HW: np.ndarray, crops: list[Crop]) -> np.ndarray:
    """Of whole pictures: cut as they were, one each. Of the model's picture: as it is.

    Args:
        mask_HW: bool.
        crops: of the pictures; none where they were not cut.
    """
    if not crops or list(mask_HW.shape) == [crops[0].size] * 2:
        return mask_HW
    for crop in crops:
        if mask_HW.shape != crop.picture:
            raise UserError(
                f"mask: got {mask_HW.shape} pixels, allowed are those of the picture, "
                f"{crop.picture}, or of the model, {(crop.size, crop.size)}"
            )
    mask_BSS = np.stack([crop.mask(mask_HW) for crop in crops])
    if not mask_BSS.any():
        got = shown_path(str(flags.FLAGS["mask"].value))
        raise UserError(
            f"mask: got {got}, whose light part lies beside the square that is cut out of "
            f"the {mask_HW.shape[0]}x{mask_HW.shape[1]} picture, or is less than half a pixel of "
            "it; allowed are masks that reach into it"
        )
    return mask_BSS


def cropped_boxes(box: list[int], crops: list[Crop]) -> np.ndarray:
    """The box of whole pictures as masks of what was cut out of each, bool `[B, S, S]`."""
    boxes = [crop.box(box) for crop in crops]
    for crop, new in dict.fromkeys(zip(crops, boxes, strict=True)):
        height, width = crop.picture
        print(
            f"box: {','.join(map(str, box))} of the {height}x{width} picture is "
            f"{','.join(map(str, new))} of the {crop.size}x{crop.size} that the model sees"
        )
    return np.stack([box_mask(x, (c.size, c.size)) for c, x in zip(crops, boxes, strict=True)])


def run() -> None:
    command_line.run(main, COMMANDS, more_help=model_help, module=__name__)
