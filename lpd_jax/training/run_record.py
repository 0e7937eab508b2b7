"""What each start of a run was made with: `run.json` in its workdir."""

import datetime
import json
import pathlib
from typing import Any

import jax

from lpd_jax.runtime.atomic_files import replacing_file
from lpd_jax.runtime.provenance import device_name, git_commit, versions

RECORD_FILE = "run.json"
MOST_STARTS = 1000  # a run that is preempted every few minutes for days


def record_start(folder: pathlib.Path, config: dict[str, Any], step: int, last: int) -> str | None:
    """Adds this start to the record; of a finished run it adds none.

    Args:
        folder: local workdir, which exists.
        config: as `config_to_json` gives it.
        step: the last one taken.
        last: the last one wanted.

    Returns:
        For a finished run, a line that says so and what it was made with.
    """
    starts = read_starts(folder)
    if step >= last:
        made = f"; {describe(starts[-1])}" if starts else ""
        return f"step {step} of {last}: this run is finished, num_steps would go on{made}"
    start = {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "step": step,
        "commit": git_commit(),
        "versions": versions(),
        "processes": jax.process_count(),
        "devices": jax.device_count(),
        "device": device_name(),
        "config": config,
    }
    record = {"starts": [*starts, start][-MOST_STARTS:]}
    with replacing_file(folder / RECORD_FILE) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return None


def read_starts(folder: pathlib.Path) -> list[dict[str, Any]]:
    """The starts so far; a damaged record, on which nothing depends, begins anew."""
    try:
        starts = json.loads((folder / RECORD_FILE).read_text("utf-8"))["starts"]
        return [start for start in starts if isinstance(start, dict)]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []


def describe(start: dict[str, Any]) -> str:
    version = start.get("versions", {}).get("lpd_jax", "?")
    return (
        f"last started {start.get('time', '?')} with lpd_jax {version}, commit "
        f"{start.get('commit', '?')}, on {start.get('processes', '?')} processes"
    )
