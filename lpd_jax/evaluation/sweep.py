"""Many ways to draw, judged one after the other: one model, one program a schedule, one table.

    FOLDER/points/NAME/   the evaluation of a point; its features go when it is finished
    FOLDER/sweep.csv      a row for each finished point

A sweep that was stopped goes on where it was, and one with more points keeps those that it has.
"""

import csv
import hashlib
import io
import itertools
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
from tqdm import tqdm

from lpd_jax.evaluation.drawn_pictures import Drawer, DrawnPictures
from lpd_jax.evaluation.judges import Judge
from lpd_jax.evaluation.protocol import RECORD_FILE, evaluate
from lpd_jax.evaluation.references import Reference
from lpd_jax.evaluation.shards import SHARD_SIZE, SHARDS_FOLDER, wait_for_all
from lpd_jax.evaluation.suites import suites_for
from lpd_jax.models.settings import Generation
from lpd_jax.runtime.atomic_files import replacing_file
from lpd_jax.runtime.buckets import delete_folder, is_bucket
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.runtime.json_files import read_json

AXES = ("num_steps", "order", "guidance_scale", "temperature")
TABLE_FILE, POINTS_FOLDER = "sweep.csv", "points"
MOST_POINTS = 10_000
BEST = ("fid", "fvd", "frechet_distance")  # the number that is to be small

Row = dict[str, Any]


def make_points(base: Generation, axes: Mapping[str, Sequence[Any]]) -> list[Generation]:
    """All combinations, those of one schedule together: it is compiled once.

    Args:
        base: every choice that does not vary.
        axes: values by name of `AXES`; none, or an empty list, is the base's own.

    Raises:
        UserError: a value that is not allowed, or too many points.
    """
    values = [list(dict.fromkeys(axes.get(name) or [None])) for name in AXES]
    points = [
        base.updated(dict(zip(AXES, chosen, strict=True)))
        for chosen in itertools.islice(itertools.product(*values), MOST_POINTS + 1)
    ]
    if len(points) > MOST_POINTS:
        raise UserError(f"points: got more than {MOST_POINTS:,}, allowed are at most so many")
    return points


def run_sweep(
    drawer: Drawer,
    judge: Judge,
    reference: Reference,
    points: Sequence[Generation],
    folder: Any,
    *,
    num_images: int = 0,
    labels: str = "balanced",
    suites: Sequence[str] = (),
    shard_size: int = SHARD_SIZE,
) -> list[Row]:
    """Judges every point, and writes the table anew after each; see `evaluate`.

    Args:
        drawer: the model.
        points: how to draw.
        folder: of the sweep.

    Returns:
        A row a point: the choices of `AXES`, the number of pictures, and each suite's numbers.
    """
    sets = [drawer.pictures(point, num_images, labels) for point in points]
    places = [folder / POINTS_FOLDER / point_name(pictures) for pictures in sets]

    def known(number: int) -> dict[str, Any] | None:
        return finished(places[number], sets[number], judge, reference, suites)

    # All that is finished stays in the table, whatever comes first and whatever ends it.
    records = [known(number) for number in range(len(sets))]
    for number, place in enumerate(tqdm(places, "sweep", unit="point", disable=None)):
        record = known(number)  # of two points that are one, the second is there by now
        if record is None:
            record = evaluate(
                sets[number], judge, reference, place, suites=suites, shard_size=shard_size
            )
            wait_for_all("point")
            if jax.process_index() == 0:
                drop_features(place)
        records[number] = record
        if jax.process_index() == 0:
            write_table(folder / TABLE_FILE, rows_of(records))
    return rows_of(records)


def rows_of(records: Sequence[dict[str, Any] | None]) -> list[Row]:
    """Of those points that are finished."""
    return [row_of(record) for record in records if record is not None]


def point_name(pictures: DrawnPictures) -> str:
    """Folder of a point: readable, and other for other choices."""
    settings = pictures.settings()
    chosen = settings["generation"]
    text = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    steps = len(chosen["group_sizes"])
    return (
        f"{steps}-{chosen['order']}-{chosen['guidance_scale']:g}-{chosen['temperature']:g}-{text}"
    )


def finished(
    place: Any,
    pictures: DrawnPictures,
    judge: Judge,
    reference: Reference,
    suites: Sequence[str] = (),
) -> dict[str, Any] | None:
    """The record of a point, where it is of these pictures, network, reference and suites."""
    file = place / RECORD_FILE
    if not file.is_file():
        return None
    try:
        record = read_json(file)
        wanted = {
            "pictures": pictures.settings(),
            "network": judge.settings(),
            "reference": reference.settings(),
        }
        same = all(
            {key: record[name][key] for key in parts if key != "about"}
            == json.loads(json.dumps({key: parts[key] for key in parts if key != "about"}))
            for name, parts in wanted.items()
        )
        same = same and set(suites_for(judge, suites)) <= record["metrics"].keys()
    except (ValueError, KeyError, TypeError):
        return None
    return record if same else None


def drop_features(place: Any) -> None:
    """Features of a finished point, of which a sweep would fill a disk."""
    if is_bucket(place):
        delete_folder(place / SHARDS_FOLDER)
    else:
        shutil.rmtree(place / SHARDS_FOLDER, ignore_errors=True)


def row_of(record: Mapping[str, Any]) -> Row:
    """A record as a line of the table."""
    chosen = record["pictures"]["generation"]
    row: Row = {name: chosen[name] for name in AXES}
    row |= {"num_steps": len(chosen["group_sizes"]), "num_images": record["pictures"]["count"]}
    for suite, numbers in record["metrics"].items():
        row |= {f"{suite}.{name}": value for name, value in numbers.items()}
    return row


def write_table(path: Any, rows: Sequence[Row]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with replacing_file(path, "the table") as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def best_of(rows: Sequence[Row]) -> tuple[int, str]:
    """Number of the row with the smallest distance, and the name of that number."""
    for name in names_ending(rows, BEST):
        known = [i for i, row in enumerate(rows) if row.get(name) is not None]
        if known:
            return min(known, key=lambda i: rows[i][name]), name
    raise UserError(f"sweep: got {shown(len(rows))} points without a distance, allowed is one")


def names_ending(rows: Sequence[Row], endings: Sequence[str]) -> Iterator[str]:
    """Columns by the names of their numbers."""
    for ending in endings:
        for name in dict.fromkeys(name for row in rows for name in row):
            if name.rpartition(".")[2] == ending:
                yield name
