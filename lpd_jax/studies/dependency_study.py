"""Token dependency maps (PAR, arXiv 2412.15119, figures 9 and 10): what is compared with what.

One token given: how much it tells about every other. Drawn at once: what the tokens of a group
would have told about each other, in the orders and groups of PAR and in raster order. Summed over
an image that is how far independent draws are from the joint distribution. Letters: M images,
N raster positions, n tokens at a time.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import tqdm

from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.models.family import Family, families, transformer_of
from lpd_jax.models.par_layout import PARConfig, par_order, par_schedule
from lpd_jax.runtime.errors import UserError, shown_path
from lpd_jax.studies.likelihoods import NOTHING, Likelihoods

NUM_REGIONS = {"region": None, "raster": 1}  # of PAR's order; None is one a token of a step
# (is the class given, do the groups follow each other in a random order). Random contexts are what
# an any-order model was trained on, closed patches are not: shuffled groups show what that does.
CONDITIONS = ((False, False), (False, True), (True, False))


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        grid: (height, width) in tokens.
        references: (row, column) of the tokens that are given.
        num_parallel: numbers n of tokens at a time.
        seed: of the shuffled groups.

    Raises:
        UserError: a cell that is not in the grid, an n that does not fit it, an empty list.
    """

    grid: tuple[int, int]
    references: tuple[tuple[int, int], ...]
    num_parallel: tuple[int, ...]
    seed: int = 0

    def __post_init__(self):
        height, width = self.grid
        for name in ("references", "num_parallel"):
            if not getattr(self, name):
                raise UserError(f"{name}: got an empty list, allowed is at least one")
        for row, column in self.references:
            if not (0 <= row < height and 0 <= column < width):
                raise UserError(
                    f"references: got {row}:{column}, allowed are 0:0 to {height - 1}:{width - 1}"
                )
        for n in self.num_parallel:
            if n == 1:
                raise UserError("num_parallel: got 1, allowed are squares from 4 on")
            par_drawing(self.grid, "region", n)


def default_references(grid: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """A corner, a quarter of the way in, the centre, the middle of the lower half."""
    height, width = grid
    cells = [(0, 0), (height // 4, width // 4), (height // 2, width // 2)]
    return tuple(dict.fromkeys([*cells, (3 * height // 4, width // 2)]))


def check_model(config: Any, where: str) -> None:
    """Raises UserError for one that does not predict any token of a picture from any others."""
    model = transformer_of(config)
    if not model.any_order:
        known = families().values()
        able = [family.title for family in known if issubclass(family, Family) and family.any_order]
        raise UserError(
            f"model: got {shown_path(where)}, a {model.title} model, allowed are {', '.join(able)} "
            "models: they predict any token from any others"
        )
    if len(config.grid_size) != 2:
        raise UserError(
            f"model: got {shown_path(where)}, a model of clips, allowed are models of pictures"
        )


def choose_images(num_images: int, available: int, seed: int) -> np.ndarray:
    """Indices of images drawn without replacement, in their order.

    Raises:
        UserError: more than there are, or too few for a standard error.
    """
    if not 2 <= num_images <= available:
        raise UserError(f"num_images: got {num_images}, allowed are 2 to {available}")
    return np.sort(np.random.default_rng(seed).permutation(available)[:num_images])


def run(
    likelihoods: Likelihoods, plan: Plan, progress: bool = True
) -> dict[str, list[dict[str, Any]]]:
    """Measures everything on the same images: rows of plain numbers, ready for JSON.

    "given_one" has a row for each class condition and reference, None first; "parallel" one for
    each n, order and condition.
    """
    num_rows = 2 * (1 + len(plan.references))
    num_rows += len(plan.num_parallel) * len(NUM_REGIONS) * len(CONDITIONS)
    with tqdm.tqdm(total=num_rows, desc="study", unit="map", disable=not progress) as bar:
        rows: dict[str, list[dict[str, Any]]] = {"given_one": [], "parallel": []}
        for class_given in (False, True):
            for row in given_one_rows(likelihoods, plan, class_given):
                rows["given_one"].append(row)
                bar.update()
        for n, order, condition in itertools.product(plan.num_parallel, NUM_REGIONS, CONDITIONS):
            rows["parallel"].append(parallel_row(likelihoods, plan, order, n, *condition))
            bar.update()
    return rows


def given_one_rows(
    likelihoods: Likelihoods, plan: Plan, class_given: bool
) -> Iterator[dict[str, Any]]:
    """Entropies of all tokens given nothing, then given each reference, and what that gains."""
    alone_MN = likelihoods.given_one(NOTHING, class_given)
    common = {"class_given": class_given}
    yield common | {"reference": None, "entropy": summary(alone_MN, plan.grid), "gain": None}
    for row, column in plan.references:
        reference = row * plan.grid[1] + column
        given_MN = likelihoods.given_one(reference, class_given)
        gain_MN = alone_MN - given_MN
        gain_MN[:, reference] = 0.0  # of the others
        yield common | {
            "reference": [row, column],
            "entropy": summary(given_MN, plan.grid),
            "gain": summary(gain_MN, plan.grid),
        }


def parallel_row(
    likelihoods: Likelihoods, plan: Plan, order: str, n: int, class_given: bool, shuffled: bool
) -> dict[str, Any]:
    """Entropies of all tokens drawn one at a time and n at a time, and the increase."""
    drawing = par_drawing(plan.grid, order, n)
    order_N, schedule = par_order(drawing), par_schedule(drawing)
    num_images, num_tokens = likelihoods.tokens_MN.shape
    order_MN = np.tile(order_N, (num_images, 1))
    if shuffled:
        order_MN = shuffle_groups(order_N, n, num_images, plan.seed)
    one_by_one = GroupSchedule((1,) * num_tokens)
    sequential_MN = likelihoods.in_order(order_MN, one_by_one, class_given)
    parallel_MN = likelihoods.in_order(order_MN, schedule, class_given)
    return {
        "order": order,
        "num_parallel": n,
        "class_given": class_given,
        "shuffled": shuffled,
        "sequential": total(sequential_MN),
        "parallel": total(parallel_MN),
        "increase": summary(parallel_MN - sequential_MN, plan.grid),
    }


def par_drawing(grid: tuple[int, int], order: str, n: int) -> PARConfig:
    """A PAR model that draws n tokens at a time: its order and its schedule are what is asked."""
    # The smallest there is: no weights are made.
    return PARConfig(1, 4, 1, num_parallel=n, grid_size=grid, num_regions=NUM_REGIONS[order])


def shuffle_groups(order_N: np.ndarray, n: int, num_images: int, seed: int) -> np.ndarray:
    """The same groups of n in a random order of their own for each image, int32 `[M, N]`."""
    generator = np.random.default_rng(seed)
    groups = order_N.reshape(-1, n)
    return np.stack([generator.permutation(groups).reshape(-1) for _ in range(num_images)])


def total(nats_MN: np.ndarray) -> dict[str, float]:
    """Sum over an image: its mean over images and the standard error of that."""
    sum_M = nats_MN.sum(axis=1)
    return {"sum": float(sum_M.mean()), "sum_error": float(standard_error(sum_M))}


def summary(nats_MN: np.ndarray, grid: tuple[int, int]) -> dict[str, Any]:
    """The same, and of each position, as maps."""
    return total(nats_MN) | {
        "map": nats_MN.mean(axis=0).reshape(grid).tolist(),
        "map_error": standard_error(nats_MN).reshape(grid).tolist(),
    }


def standard_error(nats_M: np.ndarray) -> np.ndarray:
    """Of the mean over the first axis."""
    return nats_M.std(axis=0, ddof=1) / np.sqrt(len(nats_M))
