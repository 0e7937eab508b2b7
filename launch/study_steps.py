"""Measures quality against decoding steps for several orders, and writes a table and a plot.

    python launch/study_steps.py
    python launch/study_steps.py --model=DIR --steps=8,20,256 --orders=halton,locality
    python launch/study_steps.py --num_images=240 --output=/tmp/trial
    python launch/study_steps.py --seeds=0,1,2 --repulsion_thresholds=0,1,2,3,4

Writes OUTPUT_against_quality.json, .md and .png; where thresholds of the locality-aware order are
given also OUTPUT_thresholds.json and .md, LPD's ablation. Finished draws are kept in
OUTPUT_cache.json: a run that was cut off goes on, and a run with other choices shares what is
equal. Delete that file to measure anew. What is left out of guidance and sampling is what the model
was made for; the seed is 0.

Several processes, on one machine or many, draw a part each, and one writes the tables:

    mkdir parts
    python launch/study_steps.py --draw_only --steps=8 --output=parts/8
    python launch/study_steps.py --draw_only --steps=20 --output=parts/20
    python launch/study_steps.py --steps=8,20 "--caches=parts/*_cache.json"

Orders, seeds and thresholds of one number of steps share a program: keep them in one part.
"""

import functools
import os
from pathlib import Path
from typing import Any

from absl import flags

from lpd_jax import bundled
from lpd_jax.evaluation.avatar_classifier import Classifier, load_classifier
from lpd_jax.generation.choices import define_flags, read_flags
from lpd_jax.generation.request import make_request
from lpd_jax.models.settings import FIELDS, Generation
from lpd_jax.pipeline import Pipeline
from lpd_jax.runtime import command_line
from lpd_jax.runtime.arguments import parse_number, parse_whole
from lpd_jax.runtime.atomic_files import check_output_file
from lpd_jax.runtime.errors import UserError
from lpd_jax.weights.directory_config import DirectoryConfig
from lpd_jax.weights.hub import DEFAULT_MODEL, find_model_directory
from lpd_jax.weights.model_directory import (
    ModelFiles,
    load_model_directory,
    read_directory_config,
)

with command_line.imports_of("train"):
    from lpd_jax.studies import (
        avatars_study,
        draws,
        steps_report,
        steps_study,
        study_cache,
        thresholds,
    )

ANY_SCHEDULE = ["raster", "random", "halton", "locality"]  # PAR's region order has its own

MODEL = flags.DEFINE_string("model", DEFAULT_MODEL, "A bundled model, or a model directory.")
NUM_IMAGES = flags.DEFINE_integer(
    "num_images", 2400, "Of each draw; equally many per class.", upper_bound=10**6
)
SEEDS = flags.DEFINE_list("seeds", None, "Each draws all pictures anew. Default: that of --seed.")
STEPS = flags.DEFINE_list("steps", None, "Numbers of decoding steps. Default: 4 to all tokens.")
ORDER_KINDS = flags.DEFINE_list("orders", ANY_SCHEDULE, "Orders to compare.")
REPULSION_THRESHOLDS = flags.DEFINE_list(
    "repulsion_thresholds", [], "Of the locality-aware order: a table of their own."
)
PROXIMITY_THRESHOLDS = flags.DEFINE_list(
    "proximity_thresholds", [], "Of the locality-aware order: more rows of that table."
)
THRESHOLD_STEPS = flags.DEFINE_integer("threshold_steps", 20, "Decoding steps of that table.")
BATCH_SIZE = flags.DEFINE_integer(
    "batch_size",
    None,
    "Pictures drawn at once, at most. Default: 64 on a CPU, 512 on an accelerator.",
    lower_bound=1,
    upper_bound=10**6,
)
DRAW_ONLY = flags.DEFINE_bool("draw_only", False, "Only fill OUTPUT_cache.json; write no table.")
CACHES = flags.DEFINE_list("caches", [], "Caches of other runs, whose draws are taken over.")
CHOICES = define_flags(leave_out=FIELDS.keys() - set(avatars_study.CHOICES))
OUTPUT = flags.DEFINE_string("output", "results/steps", "Beginning of the names of the files.")

TABLE, ABLATION = "_against_quality", "_thresholds"  # of the files' names


def main() -> None:
    # Several of these may share a GPU: none may take most of its memory in advance.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    # All that can be wrong is found before the weights are read.
    endings = (f"{TABLE}.json", f"{TABLE}.md", f"{TABLE}.png", f"{ABLATION}.json", f"{ABLATION}.md")
    *outputs, cache_file = (
        check_output_file("output", f"{OUTPUT.value}{end}") for end in (*endings, "_cache.json")
    )
    seeds, finished = draws.checked_seeds(SEEDS.value), study_cache.read_caches(CACHES.value)
    directory = find_model_directory(MODEL.value)
    config = read_directory_config(directory)
    avatars_study.check_pictures(config, MODEL.value)
    generation = config.generation.updated({"seed": 0}).updated(read_flags(CHOICES))
    points, variants = make_points(config), make_variants(config, generation)
    everything = [*points, *(variant.point for variant in variants)]
    check_points(config, generation, everything)
    study_cache.add_points(cache_file, finished)

    files, classifier = load_model_directory(directory), load_classifier()
    settings, pipe = make_settings(files, classifier, generation), Pipeline(files)
    judge = functools.partial(
        steps_study.run_seeds,
        seeds=seeds,
        settings=settings,
        num_classes=len(bundled.CLASS_NAMES),
        draw=avatars_study.pipeline_draw(pipe, settings, BATCH_SIZE.value),
        classifier=classifier,
        cache_file=cache_file,
    )
    if DRAW_ONLY.value:
        judge(everything, reference=avatars_study.make_reference(classifier)[0])
        print(f"wrote {cache_file}")
        return
    yardstick = avatars_study.make_yardstick(pipe, classifier)
    print("\n".join(steps_report.distance_table(yardstick.floors)), flush=True)
    judge = functools.partial(judge, reference=yardstick.reference)
    about = functools.partial(describe, settings, seeds, yardstick)
    if points:
        rows = judge(points)
        write_table(about(rows), settings, yardstick, rows, outputs[:3])
    if variants:
        rows = judge([variant.point for variant in variants])
        own = thresholds.own_values(num_tokens(config), generation)
        study = about(rows) | {"own": own, "rows": thresholds.rows_of(variants, rows)}
        thresholds.write(study, *outputs[3:])
        print("\n".join(f"wrote {path}" for path in outputs[3:]))


def make_settings(
    files: ModelFiles, classifier: Classifier, generation: Generation
) -> steps_study.StudySettings:
    """What all points share."""
    return steps_study.StudySettings(
        model=MODEL.value,
        model_digest=steps_study.model_digest(files),
        classifier_digest=classifier.digest,
        num_images=NUM_IMAGES.value,
        generation=generation,
    )


def num_tokens(config: DirectoryConfig) -> int:
    return config.need("transformer").num_tokens


def make_points(config: DirectoryConfig) -> list[steps_study.Point]:
    """Few steps first: they are cheap, and a study cut off has drawn whole columns."""
    steps = steps_study.default_steps(num_tokens(config))
    if STEPS.value is not None:
        steps = tuple(parse_whole("steps", text) for text in STEPS.value)
    return [
        steps_study.Point(order, num_steps)
        for num_steps in sorted(set(steps))
        for order in dict.fromkeys(ORDER_KINDS.value)
    ]


def make_variants(config: DirectoryConfig, generation: Generation) -> list[thresholds.Variant]:
    """Of the thresholds asked for."""
    return thresholds.make_variants(
        THRESHOLD_STEPS.value,
        num_tokens(config),
        generation,
        [parse_number("proximity_thresholds", text) for text in PROXIMITY_THRESHOLDS.value],
        [parse_whole("repulsion_thresholds", text) for text in REPULSION_THRESHOLDS.value],
    )


def check_points(
    config: DirectoryConfig, generation: Generation, points: list[steps_study.Point]
) -> None:
    """Raises UserError for what the model cannot draw."""
    if not points:
        raise UserError("steps, orders: got an empty list, allowed is at least one of each")
    config.need("tokenizer")
    labels = steps_study.balanced_labels(NUM_IMAGES.value, len(bundled.CLASS_NAMES))
    for point in points:
        make_request(config, labels[:1], **vars(generation.updated(point._asdict())))


def describe(
    settings: steps_study.StudySettings,
    seeds: list[int],
    yardstick: avatars_study.Yardstick,
    rows: list[dict[str, Any]],
) -> dict[str, Any]:
    """What both tables have beside their rows."""
    protocol = avatars_study.describe_study(settings, yardstick)
    protocol["seed"] = ", ".join(map(str, seeds)) or protocol["seed"]
    protocol["spread"] = " ".join(steps_report.explain_spread(rows)).removeprefix("± is ")
    return {"protocol": protocol | draws.describe_makers(rows), "floors": yardstick.floors}


def write_table(
    about: dict[str, Any],
    settings: steps_study.StudySettings,
    yardstick: avatars_study.Yardstick,
    rows: list[dict[str, Any]],
    outputs: list[Path],
) -> None:
    """Quality against steps, as numbers, text and plot."""
    real = bundled.load_avatars("validation")
    damaged = steps_study.sensitivity(*real, yardstick.reference, yardstick.classifier)
    study = {
        "title": f"{settings.model}: {settings.num_images} pictures a draw",
        **about,
        "sensitivity": list(damaged),
        "points": rows,
    }
    steps_report.write(study, *outputs)
    print("\n".join(f"wrote {path}" for path in outputs))


if __name__ == "__main__":
    command_line.run(main)
