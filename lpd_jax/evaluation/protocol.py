"""One evaluation from pictures to a record: features shard by shard, suites, everything it took.

Letters: B pictures, H height, W width.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np

from lpd_jax.evaluation.judges import Judge
from lpd_jax.evaluation.picture_sets import PictureSet
from lpd_jax.evaluation.references import Reference
from lpd_jax.evaluation.saved_pictures import open_saver
from lpd_jax.evaluation.shards import (
    SHARD_SIZE,
    fill_shards,
    finished_shards,
    open_shards,
    without_names,
)
from lpd_jax.evaluation.suites import gather_evidence, measure, suites_for
from lpd_jax.runtime import provenance
from lpd_jax.runtime.atomic_files import replacing_file
from lpd_jax.runtime.buckets import is_bucket
from lpd_jax.runtime.errors import printable
from lpd_jax.runtime.json_files import read_json
from lpd_jax.runtime.locks import writing_to
from lpd_jax.runtime.markdown import markdown_table

RECORD_FILE, ROW_FILE = "evaluation.json", "evaluation.md"
FORMAT = 1


def evaluate(
    pictures: PictureSet,
    judge: Judge,
    reference: Reference,
    folder: Any,
    *,
    suites: Sequence[str] = (),
    shard_size: int = SHARD_SIZE,
    save: str = "",
    facts: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Judges pictures, and writes what came out into `folder`; every process of a job calls it.

    A call that was killed goes on where it stopped, and gives the record that it would have given.

    Args:
        pictures: to judge.
        judge: the network that makes features of them.
        reference: what they are compared with, of the same network.
        folder: for the features of finished shards, `evaluation.json` and `evaluation.md`.
        suites: names; () is all that fit the network.
        shard_size: pictures whose work a kill may cost.
        save: "png" or "npz" keeps the pictures in the folder too.
        facts: more for the record.

    Returns:
        The record, ready for JSON.

    Raises:
        UserError: a folder of another evaluation, or pictures that the network cannot judge.
    """
    chosen = suites_for(judge, suites)
    judge.check_size(pictures.size)
    lock = jax.process_index() == 0 and not is_bucket(folder)
    with writing_to("output", folder) if lock else contextlib.nullcontext():
        shards = open_shards(folder, pictures, judge, shard_size)
        with open_saver(save, folder, shards, pictures) as saver:
            fill_shards(shards, pictures, judge, saver.watch, saver.has)
        known = judge.class_names and pictures.class_names == judge.class_names
        labels_B = pictures.labels if known else None
        evidence = gather_evidence(finished_shards(shards), judge, labels_B)
        numbers: dict[str, Any] = measure(chosen, evidence, reference, judge)
        if summary := pictures.summarize(finished_shards(shards)):
            numbers |= summary
        record = make_record(pictures, judge, reference, numbers, facts or {})
        if jax.process_index() == 0:
            write_record(folder, record)
    return record


def default_folder(pictures: PictureSet, judge: Judge, shard_size: int) -> str:
    """A folder whose name tells these pictures, and their features, from all others."""
    said = [without_names(pictures.settings()), judge.settings(), shard_size]
    text = json.dumps(said, sort_keys=True)
    return f"evaluations/{judge.name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def make_record(
    pictures: PictureSet,
    judge: Judge,
    reference: Reference,
    numbers: dict[str, Any],
    facts: dict[str, Any],
) -> dict[str, Any]:
    """Numbers, and all that they depend on."""
    versions = provenance.versions() | {"numpy": np.__version__}
    record = {
        "format": FORMAT,
        "metrics": numbers,
        "pictures": pictures.settings(),
        "network": judge.settings(),
        "reference": reference.settings(),
        **facts,
        "versions": versions,
        "commit": provenance.git_commit(),
        "device": provenance.device_name(),
    }
    return json.loads(json.dumps(record))  # what a reader of the file gets


def write_record(folder: Any, record: dict[str, Any]) -> None:
    """Writes it; one of another reference or other suites, which is there, gets another name."""
    keep_other_record(folder, record)
    with replacing_file(folder / RECORD_FILE, "the record") as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    with replacing_file(folder / ROW_FILE, "the table") as temporary:
        temporary.write_text("\n".join(table([record])) + "\n", encoding="utf-8")


def keep_other_record(folder: Any, record: dict[str, Any]) -> None:
    """Copies a record of other numbers of the same pictures, so that none is lost."""
    try:
        old = read_json(folder / RECORD_FILE)
        compared_with = asked_of(old)
    except (OSError, ValueError, KeyError, TypeError):  # none, or nothing to keep
        return
    if compared_with == asked_of(record):
        return
    key = hashlib.sha256(json.dumps(compared_with).encode()).hexdigest()[:10]
    for name in (RECORD_FILE, ROW_FILE):
        stem, _, ending = name.rpartition(".")
        kept = folder / f"{stem}-{key}.{ending}"
        with replacing_file(kept, "the earlier record") as temporary:
            temporary.write_bytes((folder / name).read_bytes())


def asked_of(record: dict[str, Any]) -> list[Any]:
    """What tells two records of the same pictures and network apart."""
    return [record["reference"]["sha256"], sorted(record["metrics"])]


COLUMNS = {  # of a table, by suite and number
    "fid": "FID",
    "sfid": "sFID",
    "fvd": "FVD",
    "frechet_distance": "Fréchet distance (no FID)",
    "inception_score": "IS",
    "precision": "precision",
    "recall": "recall",
    "kid": "KID",
    "kernel_distance": "kernel distance",
    "class_agreement": "class agreement",
}


def table(records: Iterable[dict[str, Any]]) -> list[str]:
    """Lines of a Markdown table: a row for each suite of each record."""
    rows = [
        (record, suite, numbers)
        for record in records
        for suite, numbers in record["metrics"].items()
        if not COLUMNS.keys().isdisjoint(numbers)
    ]
    shown = [name for name in COLUMNS if any(numbers.get(name) is not None for *_, numbers in rows)]
    header = ["pictures", "how", "suite", "number", *(COLUMNS[name] for name in shown)]
    cells = (
        [
            name_of(record),
            how(record),
            f"{suite}, {record['network']['name']}",
            f"{record['pictures']['count']:,}",
            *(number(numbers.get(name)) for name in shown),
        ]
        for record, suite, numbers in rows
    )
    return markdown_table(header, cells, num_texts=3)


def name_of(record: dict[str, Any]) -> str:
    said = record["pictures"]
    return printable(str(said.get("model") or said.get("tokenizer") or said.get("pictures")))


def how(record: dict[str, Any]) -> str:
    """How pictures were drawn, in a few words."""
    chosen = record["pictures"].get("generation")
    if not chosen:
        return "-"
    steps = len(chosen["group_sizes"])
    text = f"{steps} steps, {chosen['order']}, guidance {chosen['guidance_scale']:g}"
    if chosen["temperature"] != 1:
        text += f", temperature {chosen['temperature']:g}"
    return text


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
