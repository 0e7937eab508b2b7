"""Compares trained models of the bundled pictures, each drawing as it was trained to.

    python launch/study_models.py --models=DIR,DIR,... --output=results/methods

Every DIR is a model directory (launch/export.py). An LPD model draws in its own order, in each of
`--lpd_steps`; a PAR model has but one order and schedule. All draw the same labels from one seed
and are judged as in launch/study_steps.py. What is left out of guidance and sampling is off, and
the seed 0. Writes OUTPUT.json, .md and .png (a row of pictures for each model), and
OUTPUT_cache.json: a run that was cut off goes on. Delete it to measure anew.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from lpd_jax import bundled, images
from lpd_jax.evaluation.avatar_classifier import Classifier, load_classifier
from lpd_jax.generation.choices import define_flags, read_flags
from lpd_jax.generation.request import make_request
from lpd_jax.models.family import transformer_of
from lpd_jax.models.settings import FIELDS, Generation
from lpd_jax.pipeline import Pipeline
from lpd_jax.runtime import command_line
from lpd_jax.runtime.arguments import parse_whole
from lpd_jax.runtime.atomic_files import check_output_file
from lpd_jax.runtime.errors import UserError
from lpd_jax.studies import avatars_study, models_report, models_study, steps_study
from lpd_jax.weights.directory_config import DirectoryConfig
from lpd_jax.weights.hub import find_model_directory
from lpd_jax.weights.model_directory import load_model_directory, read_directory_config
from lpd_jax.weights.parameters import weights_digest

MODELS = flags.DEFINE_list("models", None, "Model directories, in the order of the table.")
LPD_STEPS = flags.DEFINE_list("lpd_steps", ["20"], "Decoding steps of models of any order.")
NUM_IMAGES = flags.DEFINE_integer(
    "num_images", 2004, "Of each model; equally many per class.", upper_bound=10**6
)
CHOICES = define_flags(leave_out=FIELDS.keys() - set(avatars_study.CHOICES))
OUTPUT = flags.DEFINE_string("output", "results/methods", "Beginning of the names of the files.")

ENDINGS = (".json", ".md", ".png", "_cache.json")
PLAIN = Generation(guidance_schedule="constant")  # without guidance, all tokens at temperature 1


class Entry(NamedTuple):
    """One row of the table."""

    name: str
    directory: Path
    point: steps_study.Point
    settings: steps_study.StudySettings


def main() -> None:
    # All that can be wrong with the options is found before anything is drawn.
    outputs = [check_output_file("output", f"{OUTPUT.value}{ending}") for ending in ENDINGS]
    json_file, markdown_file, png_file, cache_file = outputs
    classifier = load_classifier()
    entries = make_entries(classifier)

    first = Pipeline(load_model_directory(entries[0].directory))
    yardstick = avatars_study.make_yardstick(first, classifier)
    protocol = avatars_study.describe_study(entries[0].settings, yardstick)
    rows, pictures = [], []
    for entry in entries:
        row, shown = run_entry(entry, yardstick, cache_file)
        print(models_report.summary(row), flush=True)
        rows.append(row)
        pictures.append(shown)
    study = {
        "rows": rows,
        "floors": yardstick.floors,
        "protocol": {k: v for k, v in protocol.items() if k not in ("model", "model_digest")},
    }
    images.save_png(png_file, images.image_grid(np.concatenate(pictures), len(pictures[0])))
    models_report.write(study, json_file, markdown_file, png_file.name)
    for path in (json_file, markdown_file, png_file):
        print(f"wrote {path}")


def make_entries(classifier: Classifier) -> list[Entry]:
    """The rows, all checked; the options first, then the weights."""
    if not MODELS.value:
        raise UserError("models: got none, allowed is at least one model directory")
    points = {name: checked_points(name) for name in MODELS.value}
    entries, tokenizers = [], set()
    for name, (generation, model_points) in points.items():
        directory = find_model_directory(name)
        files = load_model_directory(directory)
        assert files.tokenizer is not None  # its config is there
        tokenizers.add(weights_digest(files.tokenizer, files.config.tokenizer))
        settings = steps_study.StudySettings(
            model=name,
            model_digest=steps_study.model_digest(files),
            classifier_digest=classifier.digest,
            num_images=NUM_IMAGES.value,
            generation=generation,
        )
        entries += [Entry(directory.name, directory, point, settings) for point in model_points]
    if len(tokenizers) > 1:
        raise UserError("models: got several tokenizers, allowed are models of one")
    return entries


def checked_points(name: str) -> tuple[Generation, list[steps_study.Point]]:
    """How a model draws, and in which orders and steps."""
    config = read_directory_config(find_model_directory(name))
    avatars_study.check_pictures(config, name)
    config.need("tokenizer")
    labels = steps_study.balanced_labels(NUM_IMAGES.value, len(bundled.CLASS_NAMES))
    plain = {choice: getattr(PLAIN, choice) for choice in CHOICES}
    generation = config.generation.updated(plain).updated(read_flags(CHOICES))
    points = [steps_study.Point(str(generation.order), n) for n in model_steps(config)]
    for point in points:
        make_request(config, labels[:1], **vars(generation.updated(point._asdict())))
    return generation, points


def model_steps(config: DirectoryConfig) -> list[int]:
    """The decoding steps that are asked for, or the model's own where it knows no others."""
    family = transformer_of(config.need("transformer"))
    if not family.any_order:
        return [family.schedule().num_steps]
    return [parse_whole("lpd_steps", text) for text in LPD_STEPS.value]


def run_entry(
    entry: Entry, yardstick: avatars_study.Yardstick, cache_file: Path
) -> tuple[dict[str, Any], np.ndarray]:
    """The numbers of one row, and a picture of every class."""
    files = load_model_directory(entry.directory)
    pipe = Pipeline(files)
    (drawn,) = steps_study.run_points(
        [entry.point],
        entry.settings,
        len(pipe.class_names),
        avatars_study.pipeline_draw(pipe, entry.settings),
        yardstick.classifier,
        yardstick.reference,
        cache_file,
        progress=False,
    )
    choices = vars(entry.settings.generation_of(entry.point))
    real_BHWC, labels_B = bundled.load_avatars("validation")
    request = pipe.request(labels_B, **choices)
    model = files.config.transformer
    nats = models_study.nats_per_token(model, files.transformer, pipe.encode(real_BHWC), request)
    about = models_study.describe_model(model, request)
    shown_BHWC = pipe(list(range(len(pipe.class_names))), **choices)
    return {"name": entry.name, **about, **drawn, "nats_per_token": nats}, shown_BHWC


if __name__ == "__main__":
    command_line.run(main)
