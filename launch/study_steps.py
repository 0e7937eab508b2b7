"""Measures quality against decoding steps for several orders, and writes a table and a plot.

    python launch/study_steps.py
    python launch/study_steps.py --model=DIR --steps=8,20,256 --orders=halton,locality
    python launch/study_steps.py --num_images=240 --output=/tmp/trial

Writes OUTPUT_against_quality.json, .md and .png. Finished points are kept in OUTPUT_cache.json: a
run that was cut off goes on, and a run with other choices shares what is equal. Delete that file
to measure anew.
"""

from pathlib import Path
from typing import Any

from absl import flags

from lpd_jax.evaluation.avatar_classifier import Classifier, load_classifier
from lpd_jax.generation.request import generation_choices, make_request
from lpd_jax.pipeline import Pipeline
from lpd_jax.runtime import command_line
from lpd_jax.runtime.arguments import parse_whole
from lpd_jax.runtime.atomic_files import check_output_file
from lpd_jax.runtime.errors import UserError
from lpd_jax.studies import avatars_study, steps_report, steps_study
from lpd_jax.studies.avatars_study import CHOICES
from lpd_jax.weights.model_directory import load_config
from lpd_jax.weights.pretrained import DEFAULT_MODEL, find_model_directory, model_config

ANY_SCHEDULE = ["raster", "random", "halton", "locality"]  # PAR's region order has its own

MODEL = flags.DEFINE_string("model", DEFAULT_MODEL, "A bundled model, or a model directory.")
NUM_IMAGES = flags.DEFINE_integer("num_images", 2400, "Of each point; equally many per class.")
STEPS = flags.DEFINE_list("steps", None, "Numbers of decoding steps. Default: 4 to all tokens.")
ORDER_KINDS = flags.DEFINE_list("orders", ANY_SCHEDULE, "Orders to compare.")
GUIDANCE_SCALE = flags.DEFINE_float("guidance_scale", None, "Default: what the model says.")
GUIDANCE_SCHEDULE = flags.DEFINE_string("guidance_schedule", None, "linear or constant.")
TEMPERATURE = flags.DEFINE_float("temperature", None, "Default: what the model says.")
TOP_K = flags.DEFINE_integer("top_k", None, "Default: what the model says.")
TOP_P = flags.DEFINE_float("top_p", None, "Default: what the model says.")
SEED = flags.DEFINE_integer("seed", 0, "The same for every point.")
OUTPUT = flags.DEFINE_string("output", "results/steps", "Beginning of the names of the files.")

KINDS = ("json", "md", "png")


def main() -> None:
    # All that can be wrong is found before the weights are read.
    outputs = {
        suffix: check_output_file("output", f"{OUTPUT.value}{suffix}")
        for suffix in (*(f"_against_quality.{kind}" for kind in KINDS), "_cache.json")
    }
    *results, cache_file = outputs.values()
    directory = find_model_directory(MODEL.value)
    config = load_config(directory)
    classifier = load_classifier()
    avatars_study.check_classes(config, MODEL.value, classifier)
    protocol = make_protocol(config, directory, classifier)
    points = make_points(config, protocol)

    pipe = Pipeline.from_pretrained(directory)
    yardstick = avatars_study.make_yardstick(pipe, classifier)
    study: dict[str, Any] = {
        "title": f"{MODEL.value}: {protocol.num_images} pictures a point",
        "protocol": avatars_study.describe(protocol, yardstick),
        "floors": yardstick.floors,
        "sensitivity": yardstick.sensitivity,
    }
    print("\n".join(steps_report.distance_table(study["floors"])), flush=True)
    study["points"] = steps_study.run_points(
        points,
        protocol,
        len(classifier.class_names),
        avatars_study.pipeline_draw(pipe, protocol),
        classifier,
        yardstick.reference,
        cache_file,
    )
    steps_report.write(study, *results)
    for path in results:
        print(f"wrote {path}")


def make_protocol(
    config: dict[str, Any], directory: Path, classifier: Classifier
) -> steps_study.Protocol:
    """What is left out is what the model was made for, written out."""
    given = {name: flags.FLAGS[name].value for name in CHOICES}
    model = model_config(config, "transformer", str(directory))
    chosen = generation_choices(model, config.get("generation", {}))
    chosen |= {name: value for name, value in given.items() if value is not None}
    return steps_study.Protocol(
        model=MODEL.value,
        model_digest=steps_study.files_digest(directory),
        classifier_digest=classifier.digest,
        num_images=NUM_IMAGES.value,
        seed=SEED.value,
        **{name: chosen[name] for name in CHOICES},
    )


def make_points(config: dict[str, Any], protocol: steps_study.Protocol) -> list[steps_study.Point]:
    """Few steps first: they are cheap, and a study cut off has drawn whole columns."""
    model_config(config, "tokenizer", protocol.model)
    height, width = model_config(config, "transformer", protocol.model).grid_size
    labels = steps_study.balanced_labels(protocol.num_images, len(config["class_names"]))
    steps = steps_study.default_steps(height * width)
    if STEPS.value is not None:
        steps = tuple(parse_whole("steps", text) for text in STEPS.value)
    points = [
        steps_study.Point(order, num_steps)
        for num_steps in sorted(set(steps))
        for order in dict.fromkeys(ORDER_KINDS.value)
    ]
    if not points:
        raise UserError("steps, orders: got an empty list, allowed is at least one of each")
    choices = {name: getattr(protocol, name) for name in (*CHOICES, "seed")}
    for point in points:
        make_request(config, labels[:1], **point._asdict(), **choices, where=protocol.model)
    return points


if __name__ == "__main__":
    command_line.run(main)
