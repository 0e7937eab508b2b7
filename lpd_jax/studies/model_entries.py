"""Models that a study compares: which there are, and which of them are one row."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from absl import flags

from lpd_jax.models.settings import Generation
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.studies import models_study, steps_study
from lpd_jax.training.export import load_models
from lpd_jax.weights.directory_config import DirectoryConfig
from lpd_jax.weights.model_directory import ModelFiles
from lpd_jax.weights.parameters import weights_digest

flags.disclaim_key_flags()  # they are those of the script that asks for them: --help shows them


def define_flags(
    thing: str, seeds: list[str] | None, seeds_help: str, num_repeats: int
) -> tuple[flags.FlagHolder, flags.FlagHolder, flags.FlagHolder, flags.FlagHolder]:
    """Defines what all comparisons of models are asked by.

    Args:
        thing: what a model draws, "picture".
        seeds: the default of --seeds.
        seeds_help: what is said of it.
        num_repeats: the default of --num_repeats.

    Returns:
        --models, --seeds, --num_repeats, --caches.
    """
    return (
        flags.DEFINE_list("models", None, "[LABEL=]DIR[@STEPS] of each, in the table's order."),
        flags.DEFINE_list("seeds", seeds, seeds_help),
        flags.DEFINE_integer(
            "num_repeats",
            num_repeats,
            f"Times that each draws one {thing}.",
            lower_bound=1,
            upper_bound=10**4,
        ),
        flags.DEFINE_list("caches", None, "OUTPUT_cache.json of studies on other machines."),
    )


class Entry(NamedTuple):
    """A model in one number of steps; those of one label and number are one row."""

    label: str
    files: ModelFiles
    point: steps_study.Point
    settings: steps_study.StudySettings


# How a model draws, and in which orders and steps; UserError for one that is none of a study.
Check = Callable[[DirectoryConfig, models_study.Target], tuple[Generation, list[steps_study.Point]]]


def make_entries(
    texts: Sequence[str] | None, num_images: int, classifier_digest: str, check: Check
) -> list[Entry]:
    """All models and how they draw, checked.

    Args:
        texts: as `parse_target` reads them.
        num_images: of each draw, or clips.
        classifier_digest: of what judges them.
        check: of one model.

    Raises:
        UserError: no model, one that is not there, or models of several tokenizers.
    """
    if not texts:
        raise UserError("models: got none, allowed is at least one model directory")
    targets = [models_study.parse_target(text) for text in texts]
    check_labels(texts, targets)
    models = {name: load_models(name) for name in dict.fromkeys(x.name for x in targets)}
    entries = []
    for target in targets:
        files = models[target.name]
        generation, points = check(files.config, target)
        settings = steps_study.StudySettings(
            model=target.name,
            model_digest=steps_study.model_digest(files),
            classifier_digest=classifier_digest,
            num_images=num_images,
            generation=generation,
        )
        entries += [Entry(target.label, files, point, settings) for point in points]
    check_one_tokenizer(models.values())
    return entries


def check_labels(texts: Sequence[str], targets: Sequence[models_study.Target]) -> None:
    """Raises UserError for models of one label that nobody gave: one row would average them."""
    names: dict[str, str] = {}
    for text, target in zip(texts, targets, strict=True):
        first = names.setdefault(target.label, target.name)
        if "=" not in text and Path(first) != Path(target.name):
            raise UserError(
                f"models: got {shown(first)} and {shown(target.name)}, both called "
                f"{shown(target.label)}, allowed are different names, or LABEL=DIR of each"
            )


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
