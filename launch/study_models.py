"""Compares trained models of the bundled pictures, each drawing as it was trained to.

    python launch/study_models.py --models=runs/lpd,runs/par_4,runs/randar,runs/arpg
    python launch/study_models.py --models=runs/llamagen,zipar=runs/llamagen@144 --seeds=0,1,2
    python launch/study_models.py --models=lpd=runs/lpd_a,lpd=runs/lpd_b --output=results/methods

Each of `--models` is a model directory, a bundled model or the workdir of a training run, drawn in
its own order and steps, or in those after an @: LlamaGen in fewer of them draws rows that overlap
(ZipAR). Models of one label before an = are one row, as trainings from several seeds are. All draw
the same labels, once from each of `--seeds`, and are judged as in launch/study_steps.py; then all
draw one picture at a time, in turns. What is left out of guidance and sampling is off. Writes
OUTPUT.json, .md, _latency.png (distance against time) and .png (a row of pictures for each row),
and OUTPUT_cache.json: a run that was cut off goes on. Delete it to draw anew. Copies of that file
from other machines are `--caches`: what is finished there is not drawn here, but timed.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from absl import flags, logging

from lpd_jax import bundled, images
from lpd_jax.evaluation.avatar_classifier import load_classifier
from lpd_jax.generation.choices import define_flags, read_flags
from lpd_jax.generation.request import make_request
from lpd_jax.models.family import transformer_of
from lpd_jax.models.settings import FIELDS, Generation
from lpd_jax.performance.timing import time_in_turns
from lpd_jax.pipeline import Pipeline
from lpd_jax.runtime import command_line
from lpd_jax.runtime.arguments import parse_whole
from lpd_jax.runtime.atomic_files import check_output_file
from lpd_jax.weights.directory_config import DirectoryConfig

with command_line.imports_of("train"):
    from lpd_jax.studies import (
        avatars_study,
        draws,
        model_entries,
        models_report,
        models_study,
        steps_study,
        study_cache,
    )
    from lpd_jax.studies.model_entries import Entry

MODELS, SEEDS, NUM_REPEATS, CACHES = model_entries.define_flags(
    "picture", None, "Each draws all pictures anew. Default: that of --seed.", num_repeats=5
)
LPD_STEPS = flags.DEFINE_list(
    "lpd_steps", None, "Decoding steps of all models of any order that name none themselves."
)
NUM_IMAGES = flags.DEFINE_integer(
    "num_images", 2004, "Of each draw; equally many per class.", upper_bound=10**6
)
CHOICES = define_flags(leave_out=FIELDS.keys() - set(avatars_study.CHOICES))
OUTPUT = flags.DEFINE_string("output", "results/methods", "Beginning of the names of the files.")

ENDINGS = (".json", ".md", ".png", "_latency.png", "_cache.json")
PLAIN = Generation(guidance_schedule="constant")  # without guidance, all tokens at temperature 1


def main() -> None:
    logging.set_verbosity(logging.ERROR)  # Orbax reports every file it opens
    # All that can be wrong with the options is found before anything is drawn.
    outputs = [check_output_file("output", f"{OUTPUT.value}{ending}") for ending in ENDINGS]
    json_file, markdown_file, png_file, plot_file, cache_file = outputs
    seeds, finished = draws.checked_seeds(SEEDS.value), study_cache.read_caches(CACHES.value or [])
    classifier = load_classifier()
    rows_of_entries = model_entries.group(
        model_entries.make_entries(
            MODELS.value, NUM_IMAGES.value, classifier.digest, checked_points
        )
    )
    study_cache.add_points(cache_file, finished)

    first = rows_of_entries[0][0]
    yardstick = avatars_study.make_yardstick(Pipeline(first.files), classifier)
    rows: list[dict[str, Any]] = []
    pictures: list[np.ndarray] = []
    draw_one: dict[str, Callable[[], object]] = {}
    for entries in rows_of_entries:
        judged = [
            row for entry in entries for row in draw_and_judge(entry, seeds, yardstick, cache_file)
        ]
        about, shown, draw_one[str(len(rows))] = look_at(entries[0])
        rows.append({"name": entries[0].label, **draws.pool(judged), **about})
        print(models_report.summary(rows[-1]), flush=True)
        pictures.append(shown)
    draws.add_latencies(rows, time_in_turns(draw_one, NUM_REPEATS.value).values())
    protocol = avatars_study.describe_study(first.settings, yardstick)
    protocol["seed"] = ", ".join(map(str, seeds)) or protocol["seed"]
    protocol |= draws.describe_makers(rows)
    study = {
        "rows": rows,
        "floors": yardstick.floors,
        "protocol": {k: v for k, v in protocol.items() if k not in ("model", "model_digest")},
    }
    images.save_png(png_file, images.image_grid(np.concatenate(pictures), len(pictures[0])))
    models_report.write(study, json_file, markdown_file, plot_file, png_file.name)
    for path in (json_file, markdown_file, plot_file, png_file):
        print(f"wrote {path}")


def checked_points(
    config: DirectoryConfig, target: models_study.Target
) -> tuple[Generation, list[steps_study.Point]]:
    """How a model draws, and in which orders and steps."""
    avatars_study.check_pictures(config, target.name)
    config.need("tokenizer")
    labels = steps_study.balanced_labels(NUM_IMAGES.value, len(bundled.CLASS_NAMES))
    plain = {choice: getattr(PLAIN, choice) for choice in CHOICES}
    generation = config.generation.updated(plain).updated(read_flags(CHOICES))
    points = []
    for num_steps in steps_asked(config, target):
        request = make_request(
            config, labels[:1], **vars(generation.updated({"num_steps": num_steps}))
        )
        points.append(steps_study.Point(request.generation.order, request.schedule.num_steps))
    return generation, points


def steps_asked(config: DirectoryConfig, target: models_study.Target) -> list[int | None]:
    """Decoding steps; None is as many as the model draws in by itself."""
    any_order = transformer_of(config.need("transformer")).any_order
    if target.num_steps is not None or not LPD_STEPS.value or not any_order:
        return [target.num_steps]
    return [parse_whole("lpd_steps", text) for text in LPD_STEPS.value]


def draw_and_judge(
    entry: Entry, seeds: list[int], yardstick: avatars_study.Yardstick, cache_file: Any
) -> list[dict[str, Any]]:
    """The numbers of one model, from each seed."""
    pipe = Pipeline(entry.files)
    return steps_study.run_points(
        steps_study.each_seed([entry.point], seeds),
        entry.settings,
        len(pipe.class_names),
        avatars_study.pipeline_draw(pipe, entry.settings),
        yardstick.classifier,
        yardstick.reference,
        cache_file,
        progress=False,
    )


def look_at(entry: Entry) -> tuple[dict[str, Any], np.ndarray, Callable[[], Any]]:
    """What a model is, a picture of every class, and what draws one picture."""
    pipe = Pipeline(entry.files)
    choices = vars(entry.settings.generation_of(entry.point))
    real_BHWC, labels_B = bundled.load_avatars("validation")
    request = pipe.request(labels_B, **choices)
    model = entry.files.config.transformer
    about = models_study.describe_model(model, request)
    about["nats_per_token"] = models_study.nats_per_token(
        model, entry.files.transformer, pipe.encode(real_BHWC), request
    )
    shown_BHWC = pipe(list(range(len(pipe.class_names))), **choices)
    alone = pipe.request([0], **choices)
    return about, shown_BHWC, lambda: pipe.draw(alone)


if __name__ == "__main__":
    command_line.run(main)
