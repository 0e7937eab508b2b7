"""Measures quality against decoding steps for several orders, and writes a table and a plot.

    python launch/study_steps.py
    python launch/study_steps.py --model=DIR --steps=8,20,256 --orders=halton,locality
    python launch/study_steps.py --num_images=240 --output=/tmp/trial

Writes OUTPUT_against_quality.json, .md and .png. Finished points are kept in OUTPUT_cache.json: a
run that was cut off goes on, and a run with other choices shares what is equal. Delete that file
to measure anew.
"""

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from lpd_jax import bundled, command_line
from lpd_jax.decoding.order import ORDERS
from lpd_jax.evaluation import metrics, steps_report, steps_study
from lpd_jax.evaluation.classifier import Classifier, load_classifier
from lpd_jax.pipeline import Pipeline
from lpd_jax.pretrained import DEFAULT_MODEL, find_model_directory
from lpd_jax.replacing import check_output_file, replacing_file
from lpd_jax.request import GENERATION_DEFAULTS

MODEL = flags.DEFINE_string("model", DEFAULT_MODEL, "A bundled model, or a model directory.")
NUM_IMAGES = flags.DEFINE_integer("num_images", 2400, "Of each point; equally many per class.")
STEPS = flags.DEFINE_list("steps", None, "Numbers of decoding steps. Default: 4 to all tokens.")
ORDER_KINDS = flags.DEFINE_list("orders", list(ORDERS), "Orders to compare.")
GUIDANCE_SCALE = flags.DEFINE_float("guidance_scale", None, "Default: what the model says.")
GUIDANCE_SCHEDULE = flags.DEFINE_string("guidance_schedule", None, "linear or constant.")
TEMPERATURE = flags.DEFINE_float("temperature", None, "Default: what the model says.")
TOP_K = flags.DEFINE_integer("top_k", None, "Default: what the model says.")
TOP_P = flags.DEFINE_float("top_p", None, "Default: what the model says.")
SEED = flags.DEFINE_integer("seed", 0, "The same for every point.")
OUTPUT = flags.DEFINE_string("output", "results/steps", "Beginning of the names of the files.")

CHOICES = ("guidance_scale", "guidance_schedule", "temperature", "top_k", "top_p")


def main() -> None:
    outputs = {
        suffix: check_output_file("output", f"{OUTPUT.value}_against_quality{suffix}")
        for suffix in (".json", ".md", ".png")
    }
    cache_file = check_output_file("output", f"{OUTPUT.value}_cache.json")
    directory = find_model_directory(MODEL.value)
    classifier = load_classifier()
    pipe = Pipeline.from_pretrained(directory)
    check_classes(pipe, classifier)
    protocol = make_protocol(pipe, directory, classifier)
    points = make_points(pipe, protocol)

    train_images, _ = bundled.load_avatars("train")
    validation = bundled.load_avatars("validation")
    reference = metrics.feature_statistics(classifier.features(train_images))
    floors = steps_study.floors(
        validation[0], reference, classifier, lambda images: pipe.decode(pipe.encode(images))
    )
    study: dict[str, Any] = {
        "title": f"{MODEL.value}: {protocol.num_images} pictures a point",
        "plot": outputs[".png"].name,
        "protocol": describe(protocol, classifier),
        "floors": list(floors),
        "sensitivity": list(steps_study.sensitivity(*validation, reference, classifier)),
    }
    print("\n".join(steps_report.distance_table(study["floors"])), flush=True)
    draw = pipeline_draw(pipe, protocol)
    num_classes = len(bundled.CLASS_NAMES)
    study["points"] = steps_study.run_points(
        points, protocol, num_classes, draw, classifier, reference, cache_file
    )
    write_outputs(study, outputs)


def check_classes(pipe: Pipeline, classifier: Classifier) -> None:
    """The reference is the bundled data: another model's classes would be judged by wrong ones."""
    got = (*pipe.class_names, pipe.image_size)
    size = (classifier.image_size, classifier.image_size)
    if got != (*classifier.class_names, size):
        raise ValueError(
            f"model: got classes {pipe.class_names} of {pipe.image_size} pixels, allowed are "
            f"{list(classifier.class_names)} of {size} pixels"
        )


def make_protocol(pipe: Pipeline, directory: Path, classifier: Classifier) -> steps_study.Protocol:
    """What is left out is what the model was made for, written out."""
    given = {name: flags.FLAGS[name].value for name in CHOICES}
    chosen = GENERATION_DEFAULTS | pipe.config.get("generation", {})
    chosen |= {name: value for name, value in given.items() if value is not None}
    return steps_study.Protocol(
        model=MODEL.value,
        model_digest=steps_study.files_digest(directory),
        classifier_digest=classifier.digest,
        num_images=NUM_IMAGES.value,
        seed=SEED.value,
        **{name: chosen[name] for name in CHOICES},
    )


def make_points(pipe: Pipeline, protocol: steps_study.Protocol) -> list[steps_study.Point]:
    """Few steps first: they are cheap, and a study cut off has drawn whole columns."""
    labels = steps_study.balanced_labels(protocol.num_images, len(bundled.CLASS_NAMES))
    steps = steps_study.default_steps(pipe.num_tokens)
    if STEPS.value is not None:
        steps = tuple(whole_number("steps", text) for text in STEPS.value)
    points = [
        steps_study.Point(order, num_steps)
        for num_steps in sorted(set(steps))
        for order in dict.fromkeys(ORDER_KINDS.value)
    ]
    if not points:
        raise ValueError("steps, orders: got an empty list, allowed is at least one of each")
    choices = {name: getattr(protocol, name) for name in (*CHOICES, "seed")}
    for point in points:  # all that can be wrong is found before the first picture
        pipe.request(labels[:1], **point._asdict(), **choices)
    return points


def pipeline_draw(pipe: Pipeline, protocol: steps_study.Protocol) -> steps_study.Draw:
    """A `Draw` that asks a pipeline; compilation is timed apart."""
    choices = {name: getattr(protocol, name) for name in (*CHOICES, "seed")}

    def draw(labels_B: np.ndarray, point: steps_study.Point) -> steps_study.Drawing:
        request = pipe.request(labels_B, order=point.order, num_steps=point.num_steps, **choices)
        compile_seconds = pipe.compile(request)
        start = time.perf_counter()
        images_BHWC, _ = pipe.draw(request)
        return steps_study.Drawing(images_BHWC, time.perf_counter() - start, compile_seconds)

    return draw


def whole_number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name}: got {text!r}, allowed are whole numbers") from None


def describe(protocol: steps_study.Protocol, classifier: Classifier) -> dict[str, Any]:
    return dataclasses.asdict(protocol) | {
        "labels": "every class equally often",
        "reference": "all 10,800 training pictures",
        "classifier accuracy on the validation pictures": f"{classifier.validation_accuracy:.2%}",
        "commit": steps_study.git_commit(),
    }


def write_outputs(study: dict[str, Any], outputs: dict[str, Path]) -> None:
    steps_report.plot(study, outputs[".png"])
    with replacing_file(outputs[".md"]) as temporary:
        temporary.write_text(steps_report.markdown(study), encoding="utf-8")
    steps_study.write_json(outputs[".json"], study)
    for path in outputs.values():
        print(f"wrote {path}")


if __name__ == "__main__":
    command_line.run(main)
