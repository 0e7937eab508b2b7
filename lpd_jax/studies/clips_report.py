"""The result of a study of clips: a table, a film in which all entries play, a sheet of frames.

Letters: B clips, T frames, H height, W width, C channels.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lpd_jax.data.moving_avatars import NAMES
from lpd_jax.generation.clip_pictures import EDGE, SHEET_PADDING, contact_sheet
from lpd_jax.images import image_grid, labelled_grid, save_png
from lpd_jax.runtime.clip_files import write_clip
from lpd_jax.runtime.markdown import markdown_table, write_report
from lpd_jax.studies.models_report import WORDS, Row
from lpd_jax.studies.steps_report import distance_table

FRAME_RATE = 8.0  # as PAR's clips
IN_FILM = (0, 5, 2, 7, 8, 11)  # classes that play: every style and every motion
IN_SHEET = (5, 7)  # whose frames are shown

NUMBERS: dict[str, Callable[[Row], str]] = {
    "tokens a step": lambda row: str(row["most_at_once"]),
    "steps": lambda row: str(row["num_steps"]),
    "Fréchet distance": lambda row: (
        f"{row['frechet_distance']:.2f} ± {row['standard_deviation']:.2f}"
    ),
    "class seen": lambda row: f"{row['class_agreement']:.1%}",
    "motion seen": lambda row: f"{row['motion_agreement']:.1%}",
    "M parameters": lambda row: f"{row['parameters'] / 1e6:.2f}",
}
SHOWN_WORDS = {name: WORDS[name] for name in ("model", "method", "order")}
TIMES: dict[str, Callable[[Row], str]] = {"s a clip": lambda row: f"{row['latency_seconds']:.3g}"}


class Shown(NamedTuple):
    """A line of the film: real clips, or those of an entry."""

    name: str
    clips_BTHWC: np.ndarray  # uint8, one of each class


def summary(row: Row) -> str:
    """A row in a line, before its time is taken."""
    return ", ".join(f"{name} {show(row)}" for name, show in (SHOWN_WORDS | NUMBERS).items())


def name_of(row: Row) -> str:
    """What stands below the clips of a row."""
    return f"{row['name']}: {row['most_at_once']} at a time, {row['num_steps']} steps"


def write(study: Mapping[str, Any], shown: Sequence[Shown], files: Mapping[str, Path]) -> None:
    """Writes all of them, each whole or not at all.

    Args:
        study: rows, floors, sensitivity, protocol.
        shown: what plays, real clips first.
        files: by ending: .gif, .png, .json, .md.
    """
    write_clip(files[".gif"], film(shown), FRAME_RATE)
    save_png(files[".png"], sheet(shown))
    text = markdown(study, files[".gif"].name, files[".png"].name)
    write_report(study, text, files[".json"], files[".md"])


def film(shown: Sequence[Shown]) -> np.ndarray:
    """Frames uint8 `[T, H, W, 3]`: a line for each, some classes beside each other."""
    names = [each.name for each in shown]
    chosen = [each.clips_BTHWC[list(IN_FILM)] for each in shown]
    frames = []
    for t in range(chosen[0].shape[1]):
        strips = [image_grid(clips[:, t], len(IN_FILM), SHEET_PADDING) for clips in chosen]
        frames.append(labelled_grid(np.stack(strips), names, columns=1, padding=EDGE))
    return np.stack(frames)


def sheet(shown: Sequence[Shown]) -> np.ndarray:
    """A picture uint8 `[H, W, 3]`: all frames of some clips of each."""
    clips = [each.clips_BTHWC[label] for label in IN_SHEET for each in shown]
    names = [f"{NAMES[label]}, {each.name}" for label in IN_SHEET for each in shown]
    return contact_sheet(np.stack(clips), names)


def markdown(study: Mapping[str, Any], film_name: str, sheet_name: str) -> str:
    """The study as text."""
    columns = SHOWN_WORDS | NUMBERS | TIMES
    rows = [[show(row) for show in columns.values()] for row in study["rows"]]
    lines = ["# Models of clips beside each other", ""]
    lines += markdown_table(list(columns), rows, len(SHOWN_WORDS))
    lines += ["", "Fréchet distance of the features of a small classifier of clips to all training"]
    lines += ["clips, lower is better; ± is the standard deviation of a draw, over seeds and"]
    lines += ["trainings where there are several, else over bootstrap resamples of the clips."]
    lines += ["Class seen and motion seen: clips that the classifier takes for their class, and"]
    lines += ["that move as it says. Seconds are of one clip by itself, tokenizer included, the"]
    lines += ["models taking turns on one device, whichever drew the others.", ""]
    lines += [f"![Real clips, and those of each model, playing]({film_name})", ""]
    names = ("Fréchet distance", "class seen", "motion seen")
    floors = [
        [row["name"], str(row["num_images"]), *(NUMBERS[name](row) for name in names)]
        for row in study["floors"]
    ]
    lines += markdown_table(["clips", "number", *names], floors)
    lines += ["", f"![Frames]({sheet_name})", "", "## Protocol", ""]
    lines += [f"- {name}: {value}" for name, value in study["protocol"].items()]
    if study["sensitivity"]:
        lines += describe_damage(study["sensitivity"])
    return "\n".join(lines) + "\n"


def describe_damage(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the distance reacts to."""
    lines = ["", "## What the distance sees", ""]
    lines += ["The same distance for real validation clips after known damage. The classifier was"]
    lines += ["trained to find frozen, shuffled and spliced clips and foreign patches of 16x16"]
    lines += ["pixels; blur, noise, other patches and stutter it never saw. Fewer clips read as a"]
    lines += ["larger distance: mind their numbers.", ""]
    return lines + distance_table(rows)
