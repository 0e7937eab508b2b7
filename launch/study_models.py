"""Compares trained models of the bundled pictures, each drawing as it was trained to.

    python launch/study_models.py --models=DIR,DIR,... --output=results/methods

Every DIR is a model directory (launch/export.py). An LPD model draws in its own order, in each of
`--lpd_steps`; a PAR model has but one order and schedule. All draw the same labels from one seed
and are judged as in launch/study_steps.py. Writes OUTPUT.json, .md and .png (a row of pictures for
each model), and OUTPUT_cache.json: a run that was cut off goes on. Delete it to measure anew.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from lpd_jax import bundled, images
from lpd_jax.evaluation.avatar_classifier import Classifier, load_classifier
from lpd_jax.generation.request import generation_choices, make_request
from lpd_jax.models.par_layout import PARConfig, par_schedule
from lpd_jax.pipeline import Pipeline
from lpd_jax.runtime import command_line
from lpd_jax.runtime.arguments import parse_whole
from lpd_jax.runtime.atomic_files import check_output_file
from lpd_jax.runtime.errors import UserError
from lpd_jax.studies import avatars_study, models_report, models_study, steps_study
from lpd_jax.studies.avatars_study import CHOICES
from lpd_jax.weights.model_directory import load_config, load_model_directory, weights_digest
from lpd_jax.weights.pretrained import find_model_directory, model_config

MODELS = flags.DEFINE_list("models", None, "Model directories, in the order of the table.")
LPD_STEPS = flags.DEFINE_list("lpd_steps", ["20"], "Decoding steps of LPD models.")
NUM_IMAGES = flags.DEFINE_integer("num_images", 2004, "Of each model; equally many per class.")
GUIDANCE_SCALE = flags.DEFINE_float("guidance_scale", 1.0, "The same for all; 1 is off.")
GUIDANCE_SCHEDULE = flags.DEFINE_string("guidance_schedule", "constant", "linear or constant.")
TEMPERATURE = flags.DEFINE_float("temperature", 1.0, "The same for all.")
TOP_K = flags.DEFINE_integer("top_k", 0, "The same for all; 0 is all.")
TOP_P = flags.DEFINE_float("top_p", 1.0, "The same for all; 1 is all.")
SEED = flags.DEFINE_integer("seed", 0, "The same for all.")
OUTPUT = flags.DEFINE_string("output", "results/methods", "Beginning of the names of the files.")

ENDINGS = (".json", ".md", ".png", "_cache.json")


class Entry(NamedTuple):
    """One row of the table."""

    name: str
    directory: Path
    point: steps_study.Point
    protocol: steps_study.Protocol


def main() -> None:
    # All that can be wrong is found before the weights are read.
    outputs = [check_output_file("output", f"{OUTPUT.value}{ending}") for ending in ENDINGS]
    json_file, markdown_file, png_file, cache_file = outputs
    classifier = load_classifier()
    entries = make_entries(classifier)

    yardstick = avatars_study.make_yardstick(open_pipe(entries[0])[0], classifier)
    protocol = avatars_study.describe(entries[0].protocol, yardstick)
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
    """The rows, all checked."""
    if not MODELS.value:
        raise UserError("models: got none, allowed is at least one model directory")
    labels = steps_study.balanced_labels(NUM_IMAGES.value, len(classifier.class_names))
    choices: dict[str, Any] = {name: flags.FLAGS[name].value for name in (*CHOICES, "seed")}
    entries, tokenizers = [], set()
    for name in MODELS.value:
        directory = find_model_directory(name)
        config = load_config(directory)
        avatars_study.check_classes(config, name, classifier)
        model = model_config(config, "transformer", name)
        model_config(config, "tokenizer", name)
        tokenizers.add(weights_digest(load_model_directory(directory).tokenizer or {}))
        order = generation_choices(model, config.get("generation", {}))["order"]
        protocol = steps_study.Protocol(
            model=name,
            model_digest=steps_study.files_digest(directory),
            classifier_digest=classifier.digest,
            num_images=NUM_IMAGES.value,
            **choices,
        )
        for num_steps in entry_steps(model):
            make_request(config, labels[:1], num_steps, order=order, **choices, where=name)
            point = steps_study.Point(order, num_steps)
            entries.append(Entry(directory.name, directory, point, protocol))
    if len(tokenizers) > 1:
        raise UserError("models: got several tokenizers, allowed are models of one")
    return entries


def entry_steps(model: Any) -> list[int]:
    if isinstance(model, PARConfig):
        return [par_schedule(model).num_steps]
    return [parse_whole("lpd_steps", text) for text in LPD_STEPS.value]


def open_pipe(entry: Entry) -> tuple[Pipeline, Any]:
    """The pipeline, and the weights of its transformer."""
    files = load_model_directory(entry.directory)
    return Pipeline(files, where=str(entry.directory)), files.transformer


def run_entry(
    entry: Entry, yardstick: avatars_study.Yardstick, cache_file: Path
) -> tuple[dict[str, Any], np.ndarray]:
    """The numbers of one row, and a picture of every class."""
    pipe, params = open_pipe(entry)
    model = model_config(pipe.config, "transformer", entry.name)
    choices = {name: getattr(entry.protocol, name) for name in (*CHOICES, "seed")}
    choices |= entry.point._asdict()
    num_classes = len(pipe.class_names)
    (drawn,) = steps_study.run_points(
        [entry.point],
        entry.protocol,
        num_classes,
        avatars_study.pipeline_draw(pipe, entry.protocol),
        yardstick.classifier,
        yardstick.reference,
        cache_file,
        progress=False,
    )
    real_BHWC, labels_B = bundled.load_avatars("validation")
    request = pipe.request(labels_B, **choices)
    nats = models_study.nats_per_token(model, params, pipe.encode(real_BHWC), request)
    about = models_study.describe_model(model, request, entry.point.order)
    shown_BHWC = pipe(list(range(num_classes)), **choices)
    return {"name": entry.name, **about, **drawn, "nats_per_token": nats}, shown_BHWC


if __name__ == "__main__":
    command_line.run(main)
