"""Compares how well models predict real pictures in the contexts that orders and schedules make.

    python launch/study_contexts.py --models=runs/a,runs/b --output=results/contexts

Each of `--models` is a model directory, a bundled model or the workdir of a training run, of a
family that draws in any order. This takes a minute a model where drawing and judging takes ten, and
tells models apart sooner: for short trainings that try an option. Writes OUTPUT.json and .md; what
the file has already is not measured again, and stays where pictures and steps are the same.
"""

from pathlib import Path
from typing import Any

import numpy as np
from absl import flags, logging

from lpd_jax import bundled
from lpd_jax.models.family import transformer_of
from lpd_jax.models.parameters import count_params
from lpd_jax.pipeline import Pipeline
from lpd_jax.runtime import command_line, provenance
from lpd_jax.runtime.arguments import parse_whole
from lpd_jax.runtime.atomic_files import check_output_file
from lpd_jax.runtime.errors import UserError, shown, shown_path
from lpd_jax.runtime.json_files import read_json
from lpd_jax.weights.model_directory import ModelFiles

with command_line.imports_of("train"):
    from lpd_jax.studies import avatars_study, contexts_report
    from lpd_jax.studies.context_nats import ORDERS, STEPS, context_nats
    from lpd_jax.studies.steps_study import model_digest
    from lpd_jax.training.export import load_models

MODELS = flags.DEFINE_list("models", None, "Model directories or workdirs, in the table's order.")
ORDER_KINDS = flags.DEFINE_list("orders", list(ORDERS), "Orders to compare.")
STEP_COUNTS = flags.DEFINE_list("steps", list(map(str, STEPS)), "Numbers of decoding steps.")
NUM_IMAGES = flags.DEFINE_integer(
    "num_images", 300, "Validation pictures, up to 1,200; equally many per class."
)
OUTPUT = flags.DEFINE_string("output", "results/contexts", "Beginning of the files' names.")
BATCH_SIZE = 50
FIELDS = ("name", "digest", "parameters", "nats")  # of a row


def main() -> None:
    logging.set_verbosity(logging.ERROR)  # Orbax reports every file it opens
    json_file, markdown_file = (
        check_output_file("output", f"{OUTPUT.value}{ending}") for ending in (".json", ".md")
    )
    steps = tuple(dict.fromkeys(parse_whole("steps", text) for text in STEP_COUNTS.value))
    orders = list(dict.fromkeys(ORDER_KINDS.value))  # a column each
    if not (MODELS.value and steps and orders):
        raise UserError("models, orders, steps: got an empty list, allowed is at least one of each")
    images_BHWC, labels_B = validation_pictures(NUM_IMAGES.value)
    protocol = {
        "pictures": f"{len(labels_B)} of validation, the same for all",
        "steps": ", ".join(map(str, steps)),
        "seed of the orders": 0,
    }
    earlier = rows_of(json_file, protocol)
    known = {row["digest"]: row["nats"] for row in earlier}
    models = {name: load_models(name) for name in MODELS.value}
    for name, files in models.items():
        check_model(files, name)
    digests = {name: model_digest(files) for name, files in models.items()}
    others = [row for row in earlier if row["digest"] not in digests.values()]
    for name, files in models.items():
        nats = known.get(digests[name], {})
        if left := tuple(kind for kind in orders if kind not in nats):
            nats = nats | measure(files, images_BHWC, labels_B, left, steps)
        known[digests[name]] = nats
        print(f"{name}: {', '.join(contexts_report.cells(nats, orders))}", flush=True)
        rows = [
            {
                "name": Path(name).name,
                "digest": digest,
                "parameters": count_params(models[name].config.transformer),
                "nats": known[digest],
            }
            for name, digest in digests.items()
            if digest in known  # measured now, or by an earlier run
        ]
        study = {"rows": rows + others, "protocol": {**protocol, "commit": provenance.git_commit()}}
        contexts_report.write(study, json_file, markdown_file)
    print(f"wrote {json_file}\nwrote {markdown_file}")


def validation_pictures(num_images: int) -> tuple[np.ndarray, np.ndarray]:
    """The first pictures of each class: images uint8 `[B, H, W, 3]` and labels int32 `[B]`."""
    images_BHWC, labels_B = bundled.load_avatars("validation")
    num_classes = len(bundled.CLASS_NAMES)
    if num_images % num_classes or not 0 < num_images <= len(labels_B):
        raise UserError(
            f"num_images: got {num_images}, allowed are multiples of the {num_classes} classes up "
            f"to {len(labels_B)}"
        )
    share = num_images // num_classes
    rows = np.concatenate([np.flatnonzero(labels_B == i)[:share] for i in range(num_classes)])
    return images_BHWC[rows], labels_B[rows]


def check_model(files: ModelFiles, name: str) -> None:
    """Raises UserError for a model of other pictures, or one that has an order of its own."""
    avatars_study.check_pictures(files.config, name)
    family = transformer_of(files.config.need("transformer"))
    if not family.any_order:
        raise UserError(
            f"models: got {shown(name)}, a {family.title} model, which has an order of its own; "
            "allowed are models of any order"
        )


def rows_of(json_file: Path, protocol: dict[str, Any]) -> list[dict[str, Any]]:
    """What earlier runs measured alike."""
    if not json_file.is_file():
        return []
    try:
        study = read_json(json_file)
        if any(study["protocol"].get(name) != value for name, value in protocol.items()):
            return []
        return [{name: row[name] for name in FIELDS} for row in study["rows"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"output: got {shown_path(json_file)}, which is no study of contexts; move it away to "
            "start anew"
        ) from None


def measure(
    files: ModelFiles,
    images_BHWC: np.ndarray,
    labels_B: np.ndarray,
    orders: tuple[str, ...],
    steps: tuple[int, ...],
) -> dict[str, dict[str, float]]:
    """Nats a token by order, then by number of steps."""
    tokens_BN = Pipeline(files).encode(images_BHWC)
    batch_size = BATCH_SIZE if len(labels_B) % BATCH_SIZE == 0 else len(bundled.CLASS_NAMES)
    nats = context_nats(
        files.config.transformer,
        files.transformer,
        np.asarray(tokens_BN),
        labels_B,
        orders,
        steps,
        batch_size,
    )
    return {kind: {str(n): round(nats[kind, n], 4) for n in steps} for kind in orders}


if __name__ == "__main__":
    command_line.run(main)
