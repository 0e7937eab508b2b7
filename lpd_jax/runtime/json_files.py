"""JSON that somebody else wrote, read strictly: what it says twice or cannot say is refused."""

import json
from typing import Any

from lpd_jax.runtime.buckets import local_copy
from lpd_jax.runtime.errors import shown
from lpd_jax.runtime.foreign_files import what_instead

MOST_BYTES = 2**26  # of a file; the names of a million classes are a quarter of it


def read_json(file: Any) -> Any:
    """What a JSON file says, of `pathlib` or of a bucket's `epath`.

    Raises:
        ValueError: another kind of file, a damaged or huge one, one with a key twice or with a
            number that JSON does not have (NaN, Infinity), one nested beyond reading. The message
            is the reason alone: who calls names the file.
    """
    with local_copy(file.parent, [file.name]) as folder:
        local = folder / file.name
        if reason := what_instead(local):
            raise ValueError(reason)
        if (size := local.stat().st_size) > MOST_BYTES:
            raise ValueError(f"{size:,} bytes, more than {MOST_BYTES:,}")
        return parse_json(local.read_text(encoding="utf-8-sig"))


def parse_json(text: str | bytes) -> Any:
    """The same of a text; ValueError likewise."""
    try:
        return json.loads(text, object_pairs_hook=_each_once, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in mapping if keys.count(key) > 1)
        raise ValueError(f"it says {shown(twice)} twice")
    return mapping


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")
