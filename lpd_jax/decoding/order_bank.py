"""A bank is many orders on disk, made once: whoever draws many pictures reads them from there.

The file is named after a hash of what it was made from and comes with a small JSON file of the
same name: the parameters, and a checksum that finds damage. Both appear whole or not at all.
"""

import dataclasses
import hashlib
import json
import logging
import math
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from lpd_jax.decoding.grid import check_grid
from lpd_jax.decoding.order import MOST_CELLS, check_thresholds, make_order
from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.runtime.arguments import as_path, check_whole
from lpd_jax.runtime.atomic_files import replacing_file
from lpd_jax.runtime.compilation_cache import default_cache_dir
from lpd_jax.runtime.disk_faults import writing

BANK_VERSION = 1  # raise it whenever the same parameters would give other orders
ORDERS_AT_ONCE = 1024  # the bar moves this often; the orders do not depend on it
LEAST_WORTH_KEEPING = 1000  # locality orders: 0.15 s of a core for 16x16, 1.2 s for 32x32

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class OrderBank:
    """Orders on disk, read where needed (memory-mapped)."""

    order_BN: np.ndarray  # int16 where positions fit, else int32
    path: Path

    def __len__(self) -> int:
        return len(self.order_BN)

    def take(self, first_index: int, num_orders: int) -> np.ndarray:
        """int32 [num_orders, N]: the orders from `first_index` on, from the start after the end."""
        index_B = np.arange(first_index, first_index + num_orders) % len(self)
        return self.order_BN[index_B].astype(np.int32)


def load_or_make_bank(
    kind: str,
    grid: tuple[int, ...],
    schedule: GroupSchedule,
    num_orders: int,
    seed: int = 0,
    *,
    proximity_threshold: float = 1.0,
    repulsion_threshold: int | None = None,
    cache_dir: str | os.PathLike | None = None,
    show_progress: bool = True,
) -> OrderBank:
    """Orders 0..num_orders-1 of `make_order`, from the cache or made now.

    A damaged file is made again, with one line of warning.

    Raises:
        UserError: whatever `make_order` does not accept; nothing is written then.
    """
    num_tokens, grid = schedule.num_tokens, check_grid(grid)
    num_orders = check_whole("num_orders", num_orders, 1, MOST_CELLS // num_tokens)
    proximity, repulsion = check_thresholds(
        num_tokens, proximity_threshold, repulsion_threshold, len(grid)
    )

    def make(first_index: int, count: int) -> np.ndarray:
        return make_order(
            *(kind, grid, schedule),
            num_orders=count,
            seed=seed,
            first_index=first_index,
            proximity_threshold=proximity,
            repulsion_threshold=repulsion,
        )

    make(0, 1)  # refuses what else is wrong before anything is written
    parameters = {"version": BANK_VERSION, "kind": kind, "grid": list(grid)}
    parameters |= {"num_orders": num_orders, "seed": int(seed)}
    if kind == "locality":
        parameters["group_sizes"] = list(schedule.group_sizes)
        parameters |= {"proximity_threshold": proximity, "repulsion_threshold": repulsion}
    path = bank_path(parameters, as_path("cache_dir", cache_dir or default_cache_dir()))
    order_BN = load_bank(path, parameters)
    if order_BN is None:
        write_bank(path, parameters, make, show_progress)
        order_BN = np.load(path, mmap_mode="r")
    return OrderBank(order_BN, path)


def first_orders(
    kind: str,
    grid: tuple[int, ...],
    schedule: GroupSchedule,
    num_orders: int,
    seed: int = 0,
    *,
    proximity_threshold: float = 1.0,
    repulsion_threshold: int | None = None,
    cache_dir: str | os.PathLike | None = None,
) -> np.ndarray:
    """Orders 0..num_orders-1 of `make_order`, int32 `[B, N]`, for requests of many images.

    Locality orders take longest to make: from `LEAST_WORTH_KEEPING` on they come from a bank,
    which is made where there is none. The values are the same either way. Where the cache cannot be
    written, the orders are made: nothing but time depends on it.

    Raises:
        UserError: whatever `make_order` does not accept.
    """
    options: dict[str, Any] = {"proximity_threshold": proximity_threshold}
    options |= {"repulsion_threshold": repulsion_threshold}
    if kind == "locality" and check_whole("num_orders", num_orders, 1) >= LEAST_WORTH_KEEPING:
        try:
            bank = load_or_make_bank(
                *(kind, grid, schedule, num_orders, seed),
                **options,
                cache_dir=cache_dir,
                show_progress=False,
            )
            return bank.take(0, num_orders)
        except OSError as error:
            logger.warning("no order bank (%s): making the orders without it", error)
    return make_order(kind, grid, schedule, num_orders=num_orders, seed=seed, **options)


def bank_path(parameters: dict[str, Any], folder: Path) -> Path:
    """FOLDER/KIND_HxW_COUNT_HASH.npy"""
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:16]
    sides = "x".join(map(str, parameters["grid"]))
    name = f"{parameters['kind']}_{sides}_{parameters['num_orders']}_{digest}.npy"
    return folder / name


def load_bank(path: Path, parameters: dict[str, Any]) -> np.ndarray | None:
    """The stored bank, or None if there is none or it is damaged (then with a warning)."""
    if not path.exists():
        return None
    if damage := find_damage(path, parameters):
        logger.warning("order bank %s is damaged (%s): making it again", path, damage)
        return None
    return np.load(path, mmap_mode="r")


def find_damage(path: Path, parameters: dict[str, Any]) -> str | None:
    """What is wrong with a stored bank, in a few words; None where it is whole."""
    try:
        stored = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        checksum = file_checksum(path)
    except (OSError, ValueError) as error:  # no file, or one that is no JSON or no text
        return " ".join(str(error).split()) or type(error).__name__
    if not isinstance(stored, dict) or stored.get("parameters") != parameters:
        return "its parameters are others"
    return None if stored.get("crc32") == checksum else "its checksum is wrong"


def file_checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return checksum


def write_bank(
    path: Path,
    parameters: dict[str, Any],
    make: Callable[[int, int], np.ndarray],
    show_progress: bool,
) -> None:
    """Streams make(first_index, count) into `path`, chunk by chunk."""
    sides = "x".join(map(str, parameters["grid"]))
    num_orders, num_tokens = parameters["num_orders"], math.prod(parameters["grid"])
    dtype = np.int16 if num_tokens <= 2**15 else np.int32
    path.parent.mkdir(parents=True, exist_ok=True)
    # Left in reverse: the checksum is in place before the orders appear.
    parameters_path = path.with_suffix(".json")
    with (
        replacing_file(path, "the orders") as orders_file,
        replacing_file(parameters_path, "the description of orders") as parameters_file,
    ):
        title = f"{parameters['kind']} orders {sides}"
        header = {
            "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
            "fortran_order": False,
            "shape": (num_orders, num_tokens),
        }
        # Not through mapped memory: where the disk is full, that ends the process by SIGBUS.
        with (
            writing("the orders", path),
            open(orders_file, "wb") as file,
            tqdm(total=num_orders, desc=title, unit="order", disable=not show_progress) as bar,
        ):
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, num_orders, ORDERS_AT_ONCE):
                count = min(ORDERS_AT_ONCE, num_orders - start)
                file.write(np.ascontiguousarray(make(start, count), dtype).data)
                bar.update(count)
        stored = {"parameters": parameters, "crc32": file_checksum(orders_file)}
        parameters_file.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
