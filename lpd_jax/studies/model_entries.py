"""Models that a study compares: which there are, and which of them are one row."""

from collections.abc import Iterable
from typing import NamedTuple

from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.studies import steps_study
from lpd_jax.weights.model_directory import ModelFiles
from lpd_jax.weights.parameters import weights_digest


class Entry(NamedTuple):
    """A model in one number of steps; those of one label and number are one row."""

    label: str
    files: ModelFiles
    point: steps_study.Point
    settings: steps_study.StudySettings


def check_one_tokenizer(models: Iterable[ModelFiles]) -> None:
    """Raises UserError for models that do not share one: a study would compare tokenizers."""
    tokenizers = {
        weights_digest(files.tokenizer, files.config.tokenizer)
        for files in models
        if files.tokenizer is not None  # which it is: its config was asked for
    }
    if len(tokenizers) > 1:
        raise UserError("models: got several tokenizers, allowed are models of one")


def group(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Entries of one label and number of steps together, in the order of the first of each."""
    rows: dict[tuple[str, int], list[Entry]] = {}
    for entry in entries:
        row = rows.setdefault((entry.label, entry.point.num_steps), [])
        if any(entry.settings.model_digest == other.settings.model_digest for other in row):
            raise UserError(
                f"models: got {shown(entry.settings.model)} twice as {shown(entry.label)}, allowed "
                "are different trainings"
            )
        row.append(entry)
    return list(rows.values())
