"""Compares trained models of the bundled clips, each drawing as it was trained to.

    python launch/study_clips.py --models=n1=runs/par_1,n4=runs/par_4,n16=runs/par_16 --seeds=0,1,2
    python launch/study_clips.py --models=lpd=runs/clips_lpd@64,runs/clips_par_temporal
    python launch/study_clips.py --models=... --seeds=0,1,2 --caches=gpu/clips_cache.json

Each of `--models` is as in launch/study_models.py: [LABEL=]DIR[@STEPS], a model directory, a
bundled model or the workdir of a run, several of one label in one row. Each draws by its own
guidance and sampling unless they are given here. All draw the same classes from each of `--seeds`,
and a small classifier of clips judges them; then all draw one clip at a time, in turns. Writes
OUTPUT.json, .md, .gif (all play beside each other), .png (frames) and OUTPUT_cache.json: a run that
was cut off goes on. Copies of that file from other machines are `--caches`: what is finished there
is not drawn here, but timed.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from absl import flags, logging

from lpd_jax.data.moving_avatars import NAMES
from lpd_jax.evaluation.clip_classifier import ClipClassifier, load_clip_classifier
from lpd_jax.generation.choices import define_flags, read_flags
from lpd_jax.generation.request import make_request
from lpd_jax.models.settings import FIELDS, Generation
from lpd_jax.performance.timing import time_in_turns
from lpd_jax.pipeline import Pipeline
from lpd_jax.runtime import command_line, provenance
from lpd_jax.runtime.atomic_files import check_output_file
from lpd_jax.runtime.errors import UserError
from lpd_jax.weights.directory_config import DirectoryConfig
from lpd_jax.weights.model_directory import ModelFiles
from lpd_jax.weights.parameters import weights_digest

with command_line.imports_of("train"):
    from lpd_jax.studies import (
        clips_report,
        clips_study,
        draws,
        model_entries,
        models_study,
        steps_study,
        study_cache,
    )
    from lpd_jax.studies.clip_material import validation_clips
    from lpd_jax.studies.model_entries import Entry

MODELS, SEEDS, NUM_REPEATS, CACHES = model_entries.define_flags(
    "clip", ["0"], "Each draws all clips anew.", num_repeats=3
)
NUM_CLIPS = flags.DEFINE_integer(
    "num_clips", 1200, "Of each draw; equally many per class.", upper_bound=10**5
)
BATCH_SIZE = flags.DEFINE_integer(
    "batch_size",
    None,
    "Clips at a time, at most; left out, up to 16 on a CPU, 120 elsewhere.",
    lower_bound=1,
    upper_bound=10**5,
)
SENSITIVITY = flags.DEFINE_bool(
    "sensitivity", False, "Measure anew what known damage to real clips does to the distance."
)
CHOICES = define_flags(leave_out=FIELDS.keys() - set(clips_study.CHOICES))
OUTPUT = flags.DEFINE_string("output", "results/clips", "Beginning of the names of the files.")

ENDINGS = (".json", ".md", ".gif", ".png", "_cache.json")


def main() -> None:
    logging.set_verbosity(logging.ERROR)  # Orbax reports every file it opens
    # All that can be wrong with the options is found before anything is drawn.
    files = {end: check_output_file("output", f"{OUTPUT.value}{end}") for end in ENDINGS}
    seeds = draws.checked_seeds(SEEDS.value)
    if not seeds:
        raise UserError("seeds: got none, allowed is at least one")
    study_cache.add_points(files["_cache.json"], study_cache.read_caches(CACHES.value or []))
    known = study_cache.read_cache(files["_cache.json"])
    classifier = load_clip_classifier()
    check = functools.partial(checked_points, classifier)
    rows_of_entries = model_entries.group(
        model_entries.make_entries(MODELS.value, NUM_CLIPS.value, classifier.digest, check)
    )

    first = rows_of_entries[0][0].files  # whose tokenizer is that of all
    pipe = Pipeline(first)
    rows: list[dict[str, Any]] = []
    shown: list[clips_report.Shown] = []
    draw_one: dict[str, Callable[[], object]] = {}
    for entries in rows_of_entries:
        drawers = [clips_study.EntryDrawer(entry, BATCH_SIZE.value) for entry in entries]
        draw_one[str(len(rows))] = drawers[0].draw_one
        judged = []
        for entry, drawer in zip(entries, drawers, strict=True):
            judged += clips_study.rows_of(
                seeded(entry, seeds), drawer, classifier, known, files["_cache.json"]
            )
        rows.append(row_of(entries[0], judged))
        print(clips_report.summary(rows[-1]), flush=True)
        drawn = pipe.decode(clips_study.tokens_of(judged[0]))
        shown.append(clips_report.Shown(clips_report.name_of(rows[-1]), drawn))
    draws.add_latencies(rows, time_in_turns(draw_one, NUM_REPEATS.value).values())
    real = validation_clips(classifier.num_frames)
    damaged = clips_study.sensitivity(*real, classifier) if SENSITIVITY.value else ()
    study = {
        "rows": rows,
        "floors": clips_study.floors(
            real, classifier, tokenizer_of(first, pipe), known, files["_cache.json"]
        ),
        "sensitivity": list(damaged),
        "protocol": protocol_of(classifier, seeds, rows) | draws.describe_makers(rows),
    }
    # Real clips are numbered so that the first dozen show every class.
    shown.insert(0, clips_report.Shown("real", real[0][: len(NAMES)]))
    clips_report.write(study, shown, files)
    for ending in (".json", ".md", ".gif", ".png"):
        print(f"wrote {files[ending]}")


def tokenizer_of(files: ModelFiles, pipe: Pipeline) -> clips_study.Tokenizer:
    assert files.tokenizer is not None  # its config was asked for
    return clips_study.Tokenizer(
        weights_digest(files.tokenizer, files.config.tokenizer),
        lambda clips: pipe.decode(pipe.encode(clips)),
    )


def checked_points(
    classifier: ClipClassifier, config: DirectoryConfig, target: models_study.Target
) -> tuple[Generation, list[steps_study.Point]]:
    """How a model draws, and in which order and steps, which are one point."""
    clips_study.check_clips(config, target.name, classifier.shape[:-1])
    config.need("tokenizer")
    labels = steps_study.balanced_labels(NUM_CLIPS.value, len(NAMES), "num_clips")
    generation = config.generation.updated(read_flags(CHOICES))
    if target.num_steps is not None:
        generation = generation.updated({"num_steps": target.num_steps})
    request = make_request(config, labels[:1], **vars(generation))
    point = steps_study.Point(request.generation.order, request.schedule.num_steps)
    return generation, [point]


def seeded(entry: Entry, seeds: list[int]) -> list[Entry]:
    """The same drawn from each seed."""
    chosen = [entry.settings.generation.updated({"seed": seed}) for seed in seeds]
    return [
        entry._replace(settings=dataclasses.replace(entry.settings, generation=generation))
        for generation in chosen
    ]


def row_of(entry: Entry, judged: list[dict[str, Any]]) -> dict[str, Any]:
    """One row of all draws of a label."""
    config = entry.files.config
    request = clips_study.request_of(entry, len(NAMES))
    row = draws.pool(judged, clips_study.AVERAGED)
    del row["tokens"]
    about = models_study.describe_model(config.transformer, request)
    chosen = {name: getattr(entry.settings.generation, name) for name in clips_study.CHOICES}
    return {"name": entry.label, **row, **about, "generation": chosen}


def protocol_of(
    classifier: ClipClassifier, seeds: list[int], rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """What a reader must know to compare or repeat a study."""
    ways = [", ".join(f"{k} {v}" for k, v in row["generation"].items()) for row in rows]
    by_row = [f"{row['name']}: {way}" for row, way in zip(rows, ways, strict=True)]
    return {
        "clips": f"{NUM_CLIPS.value} from each seed, every class equally often",
        "seeds": ", ".join(map(str, seeds)),
        "reference": f"all {classifier.num_reference} training clips",
        "guidance and sampling": ways[0] if len(set(ways)) == 1 else "; ".join(by_row),
        "classifier_digest": classifier.digest,
        "classifier on validation clips": f"{classifier.validation_accuracy:.2%} of the classes "
        f"right, {classifier.motion_accuracy:.2%} of the motions",
        "timed on": provenance.device_name(),
        "commit": provenance.git_commit(),
    }


if __name__ == "__main__":
    command_line.run(main)
