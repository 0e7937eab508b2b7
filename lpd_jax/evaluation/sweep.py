"""Many ways to draw, judged one after the other: one model, one program a schedule, one table.

    FOLDER/points/NAME/   the evaluation of a point; its features go when it is finished
    FOLDER/sweep.csv      a row for each finished point

A sweep that was stopped goes on where it was, and one with other points keeps those that it has:
all that differ in nothing but `AXES` are rows of one table.
"""

import contextlib
import csv
import hashlib
import io
import itertools
import json
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import jax
from tqdm import tqdm

from lpd_jax.evaluation.drawn_pictures import Drawer, DrawnPictures
from lpd_jax.evaluation.judges import Judge
from lpd_jax.evaluation.protocol import RECORD_FILE, evaluate
from lpd_jax.evaluation.references import Reference
from lpd_jax.evaluation.shards import SHARD_SIZE, SHARDS_FOLDER, wait_for_all, without_names
from lpd_jax.evaluation.suites import suites_for
from lpd_jax.models.settings import Generation
from lpd_jax.runtime.atomic_files import replacing_file
from lpd_jax.runtime.buckets import delete_folder, is_bucket
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.runtime.json_files import read_json

AXES = ("num_steps", "order", "guidance_scale", "temperature")
FREE = (*AXES, "group_sizes")  # choices in which the points of one table may differ
TABLE_FILE, POINTS_FOLDER = "sweep.csv", "points"
MOST_POINTS = 10_000
BEST = ("fid", "fvd", "frechet_distance")  # the number that is to be small
ASIDE = ("name", "about")  # words on that whose digest stands beside them

Row = dict[str, Any]
Record = dict[str, Any]


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
) -> list[Record]:
    """Judges every point, and writes the table anew after each; see `evaluate`.

    Args:
        drawer: the model.
        points: how to draw.
        folder: of the sweep.

    Returns:
        The records of the table, those of these points first.
    """
    parts = {"network": judge.settings(), "reference": reference.settings()}
    sets, alike = {}, ""
    for point in points:
        pictures = drawer.pictures(point, num_images, labels)
        said = {"pictures": pictures.settings(), **parts}
        sets[key_of(said)], alike = pictures, key_of(said, FREE)  # of two that are one, one
    wanted = suites_for(judge, suites)
    known = finished_records(folder, wanted)
    for key, pictures in tqdm(sets.items(), "sweep", unit="point", disable=None):
        if key in known:
            continue
        place = folder / POINTS_FOLDER / point_name(pictures)
        evaluate(pictures, judge, reference, place, suites=suites, shard_size=shard_size)
        wait_for_all("point")
        if jax.process_index() == 0:
            drop_features(place)
        write_finished(folder, wanted, sets, alike)
    return write_finished(folder, wanted, sets, alike)


def write_finished(
    folder: Any, suites: Collection[str], asked: Collection[str], alike: str
) -> list[Record]:
    """Writes the table of all that is finished, whatever ends the sweep and whoever draws beside.

    Args:
        folder: of the sweep.
        suites: that a record has.
        asked: keys of the points of this sweep, in their order.
        alike: the key that all points of the table share.

    Returns:
        The records of the table, those of `asked` first.
    """
    found = finished_records(folder, suites)
    mine = [found[key] for key in asked if key in found]
    others = [record for key, record in found.items() if key not in asked]
    records = mine + [record for record in others if key_of(record, FREE) == alike]
    if jax.process_index() == 0:
        write_table(folder / TABLE_FILE, list(map(row_of, records)))
    return records


def key_of(parts: Mapping[str, Any], free: Collection[str] = ()) -> str:
    """What tells a record from others, as text. Digests do: names of the same are not told apart.

    Args:
        parts: a record, or what one will say of pictures, network and reference.
        free: choices of how to draw in which records may differ.
    """
    said = {
        name: {key: x for key, x in without_names(parts[name]).items() if key not in ASIDE}
        for name in ("pictures", "network", "reference")
    }
    chosen = said["pictures"]["generation"]
    said["pictures"]["generation"] = {x: chosen[x] for x in chosen if x not in free}
    return json.dumps(said, sort_keys=True)


def finished_records(folder: Any, suites: Collection[str]) -> dict[str, Record]:
    """All records of a sweep that have these suites, by `key_of`; damaged ones are none."""
    found = {}
    places = folder / POINTS_FOLDER
    for place in sorted(places.iterdir()) if places.is_dir() else ():
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            record = read_json(place / RECORD_FILE)
            if set(suites) <= record["metrics"].keys():
                found[key_of(record)] = record
    return found


def point_name(pictures: DrawnPictures) -> str:
    """Folder of a point: readable, and other for other choices."""
    settings = without_names(pictures.settings())
    chosen = settings["generation"]
    text = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    steps = len(chosen["group_sizes"])
    return (
        f"{steps}-{chosen['order']}-{chosen['guidance_scale']:g}-{chosen['temperature']:g}-{text}"
    )


def generation_of(record: Record, base: Generation) -> Generation:
    """How the pictures of a record were drawn.

    Args:
        record: of a sweep.
        base: every choice that does not vary.
    """
    chosen = record["pictures"]["generation"]
    own = chosen["num_steps"] is None and base.num_steps is not None  # a schedule without a name
    return base.updated({name: chosen[name] for name in (*AXES, *["group_sizes"] * own)})


def drop_features(place: Any) -> None:
    """Features of a finished point, of which a sweep would fill a disk."""
    if is_bucket(place):
        delete_folder(place / SHARDS_FOLDER)
    else:
        shutil.rmtree(place / SHARDS_FOLDER, ignore_errors=True)


def row_of(record: Record) -> Row:
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
