"""Finished points of studies on disk, by a key that names everything they depend on.

Studies in several processes keep a file each; the files are merged afterwards.
"""

import glob
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lpd_jax.runtime.atomic_files import replacing_file
from lpd_jax.runtime.buckets import is_bucket, located
from lpd_jax.runtime.errors import UserError, shown, shown_path
from lpd_jax.runtime.json_files import read_json

NEEDED = ("frechet_distance", "standard_deviation", "class_agreement", "draw_seconds", "num_images")


def read_cache(path: Path, name: str = "cache") -> dict[str, Any]:
    """Finished points by key; none if there is no file.

    Args:
        name: the option that says where the file is.

    Raises:
        UserError: a file that is not ours.
    """
    if not path.exists():
        return {}
    try:
        known = read_json(path)
    except (ValueError, OSError):  # of JSON, of the text's encoding, or a folder
        known = None
    if not isinstance(known, dict) or not all(map(is_point, known.values())):
        raise UserError(
            f"{name}: got {shown_path(path)}, which holds no finished points; move it away to "
            "start anew"
        )
    return known


def is_point(value: Any) -> bool:
    return isinstance(value, dict) and all(field in value for field in NEEDED)


def read_caches(patterns: Iterable[str]) -> dict[str, Any]:
    """Finished points of several files; the first that has one is asked for it.

    Args:
        patterns: files, of buckets too, or patterns with * and ? that at least one local file fits.

    Raises:
        UserError: a file that is not there or not ours.
    """
    known: dict[str, Any] = {}
    for pattern in patterns:
        place = located("caches", pattern)
        found = [] if is_bucket(place) else sorted(glob.glob(str(place)))
        files = list(map(Path, found)) or [place]
        if not files[0].exists():
            raise UserError(f"caches: got {shown(pattern)}, allowed are files that are there")
        for file in files:
            known = read_cache(file, "caches") | known
    return known


def add_points(path: Path, others: dict[str, Any]) -> None:
    """Puts finished points into a cache; what it holds already stays as it is."""
    known = read_cache(path)
    if others.keys() - known.keys():
        write_json(path, known | {key: others[key] for key in others if key not in known})


def write_json(path: Path, value: Any) -> None:
    """Writes a file whole or not at all."""
    with replacing_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
