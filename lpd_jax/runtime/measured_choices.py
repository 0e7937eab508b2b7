"""Numbers that a machine is measured for once: kept in the user's cache folder."""

import contextlib
import functools
import json
import os
from collections.abc import Callable
from pathlib import Path

from lpd_jax.runtime import provenance
from lpd_jax.runtime.atomic_files import replacing_file
from lpd_jax.runtime.compilation_cache import default_cache_dir
from lpd_jax.runtime.errors import UserError
from lpd_jax.runtime.json_files import read_json


@functools.cache
def remembered(name: str, measure: Callable[[], float]) -> float:
    """What `measure` gave on this machine, with these packages, the first time it was asked.

    A folder that cannot be written to costs a measurement in each process, and a damaged file one.
    """
    file = default_cache_dir() / "measured.json"
    key = f"{name}, {provenance.device_name()}, jaxlib {provenance.versions()['jaxlib']}"
    known = known_numbers(file)
    if key not in known:
        known[key] = measure()
        # Another process may have measured something else meanwhile: it will again.
        with contextlib.suppress(OSError, UserError):
            os.makedirs(file.parent, exist_ok=True)
            with replacing_file(file) as temporary:
                temporary.write_text(json.dumps(known, indent=1, sort_keys=True))
    return known[key]


def known_numbers(file: Path) -> dict[str, float]:
    """What the file says; nothing where there is none, or one of something else."""
    try:
        found = read_json(file)
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, float) and value > 0}
