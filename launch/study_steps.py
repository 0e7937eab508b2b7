"""Measures quality against decoding steps for several orders, and writes a table and a plot.

    python launch/study_steps.py
    python launch/study_steps.py --model=DIR --steps=8,20,256 --orders=halton,locality
    python launch/study_steps.py --num_images=240 --output=/tmp/trial

Writes OUTPUT_against_quality.json, .md and .png. Finished points are kept in OUTPUT_cache.json: a
run that was cut off goes on, and a run with other choices shares what is equal. Delete that file
to measure anew. What is left out of guidance and sampling is what the model was made for; the seed
is 0.
"""

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
from lpd_jax.runtime.arguments import parse_whole
from lpd_jax.runtime.atomic_files import check_output_file
from lpd_jax.runtime.errors import UserError
from lpd_jax.studies import avatars_study, steps_report, steps_study
from lpd_jax.weights.directory_config import DirectoryConfig
from lpd_jax.weights.hub import DEFAULT_MODEL, find_model_directory
from lpd_jax.weights.model_directory import load_model_directory, read_directory_config

ANY_SCHEDULE = ["raster", "random", "halton", "locality"]  # PAR's region order has its own

MODEL = flags.DEFINE_string("model", DEFAULT_MODEL, "A bundled model, or a model directory.")
NUM_IMAGES = flags.DEFINE_integer(
    "num_images", 2400, "Of each point; equally many per class.", upper_bound=10**6
)
STEPS = flags.DEFINE_list("steps", None, "Numbers of decoding steps. Default: 4 to all tokens.")
ORDER_KINDS = flags.DEFINE_list("orders", ANY_SCHEDULE, "Orders to compare.")
CHOICES = define_flags(leave_out=FIELDS.keys() - set(avatars_study.CHOICES))
OUTPUT = flags.DEFINE_string("output", "results/steps", "Beginning of the names of the files.")

KINDS = ("json", "md", "png")


def main() -> None:
    # All that can be wrong is found before the weights are read.
    endings = (*(f"_against_quality.{kind}" for kind in KINDS), "_cache.json")
    outputs = [check_output_file("output", f"{OUTPUT.value}{ending}") for ending in endings]
    *results, cache_file = outputs
    directory = find_model_directory(MODEL.value)
    config = read_directory_config(directory)
    avatars_study.check_pictures(config, MODEL.value)
    generation = config.generation.updated({"seed": 0}).updated(read_flags(CHOICES))
    points = make_points(config, generation)

    files = load_model_directory(directory)
    classifier = load_classifier()
    settings = steps_study.StudySettings(
        model=MODEL.value,
        model_digest=steps_study.model_digest(files),
        classifier_digest=classifier.digest,
        num_images=NUM_IMAGES.value,
        generation=generation,
    )
    study = run(Pipeline(files), classifier, settings, points, cache_file)
    steps_report.write(study, *results)
    for path in results:
        print(f"wrote {path}")


def make_points(config: DirectoryConfig, generation: Generation) -> list[steps_study.Point]:
    """Few steps first: they are cheap, and a study cut off has drawn whole columns."""
    config.need("tokenizer")
    labels = steps_study.balanced_labels(NUM_IMAGES.value, len(bundled.CLASS_NAMES))
    steps = steps_study.default_steps(config.need("transformer").num_tokens)
    if STEPS.value is not None:
        steps = tuple(parse_whole("steps", text) for text in STEPS.value)
    points = [
        steps_study.Point(order, num_steps)
        for num_steps in sorted(set(steps))
        for order in dict.fromkeys(ORDER_KINDS.value)
    ]
    if not points:
        raise UserError("steps, orders: got an empty list, allowed is at least one of each")
    for point in points:
        make_request(config, labels[:1], **vars(generation.updated(point._asdict())))
    return points


def run(
    pipe: Pipeline,
    classifier: Classifier,
    settings: steps_study.StudySettings,
    points: list[steps_study.Point],
    cache_file: Path,
) -> dict[str, Any]:
    """The whole study, ready for the report; prints what real pictures come to."""
    yardstick = avatars_study.make_yardstick(pipe, classifier)
    print("\n".join(steps_report.distance_table(yardstick.floors)), flush=True)
    rows = steps_study.run_points(
        points,
        settings,
        len(bundled.CLASS_NAMES),
        avatars_study.pipeline_draw(pipe, settings),
        classifier,
        yardstick.reference,
        cache_file,
    )
    return {
        "title": f"{settings.model}: {settings.num_images} pictures a point",
        "protocol": avatars_study.describe_study(settings, yardstick),
        "floors": yardstick.floors,
        "sensitivity": yardstick.sensitivity,
        "points": rows,
    }


if __name__ == "__main__":
    command_line.run(main)
