"""A dependency study as two plots, a text and its numbers."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lpd_jax.runtime.atomic_files import replacing_file
from lpd_jax.runtime.markdown import markdown_table, write_report
from lpd_jax.studies.dependency_plot import at_once_figure, gain_at_distance, given_one_figure

FILES = ("given_one_token.png", "drawn_at_once.png", "token_dependency.md", "token_dependency.json")
# Distances from the reference: name, first, last.
RINGS = (("1 away", 1, 1), ("2 to 3", 2, 3), ("4 to 7", 4, 7), ("8 and more", 8, None))

GIVEN_ONE_TEXT = """\
Above, the entropy of every token given one reference token (framed, by row:column); below, the
gain: how much less that is than with nothing given, so what the reference tells. In nats: sums over
all other tokens of an image, then the mean gain of the tokens so many rows or columns away."""

AT_ONCE_TEXT = """\
How much the entropy of a token increases where it is drawn in one step with others: in PAR's region
order and in raster order, n single tokens and then n at a time. Tokens of one step are drawn
independently of each other, so the sum over an image is how far they are from their joint
distribution (the Kullback-Leibler divergence), even for a model without fault. Entropy of an image
and its increase, in nats; the plot shows the first rows:"""

ESTIMATE_TEXT = """\
**Bounds.** Each entropy is the cross-entropy of the model on real tokens: an upper bound of the
conditional entropy, above it by the model's divergence from the data. A gain or an increase is a
difference of two of them, of one model on the same images: an estimate, as good as the two
divergences are equal. ± is the standard error over images; differences are taken image by image.

**One token given.** The position queries do not see each other, so each entropy is of one token
alone. "Not given" is the null class, which stood for as many of the training images as
`label_drop_rate` says: the model knows it less well than the classes.

**Drawn at once.** The teacher-forced pass in the groups of the schedule, against the same order in
groups of one. The queries of a group see each other as they do when the model draws: positions, no
tokens. The first n tokens are drawn one by one in both, so they have no increase.

**Shuffled groups.** A model without fault would find an image equally likely one by one in all
orders. A model that learned from random orders alone has hardly ever seen the closed patches that
these two grow: there it is worse, one by one and at once. Shuffled, the same groups of n are drawn
in a random order of their own for each image, from scattered contexts as in training. Where the
increase is about the same as in order, it belongs to the groups and not to those contexts."""


def write(study: Mapping[str, Any], folder: Path) -> None:
    """Writes `FILES`, each whole or not at all."""
    shown = [r for r in study["parallel"] if not r["class_given"] and not r["shuffled"]]
    figures = (
        given_one_figure(study["title"], *given_one_rows(study, class_given=False)),
        at_once_figure(study["title"], shown),
    )
    *plots, markdown_file, json_file = (folder / name for name in FILES)
    for figure, path in zip(figures, plots, strict=True):
        with replacing_file(path, "the report") as temporary:
            figure.savefig(temporary, format="png")
    write_report(to_json(study), markdown(study), json_file, markdown_file)


def to_json(study: Mapping[str, Any]) -> str:
    """Indented, but each row of a map on one line, in four decimals."""

    def rounded(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: rounded(item) for name, item in value.items()}
        if isinstance(value, list):
            return [rounded(item) for item in value]
        return round(value, 4) if isinstance(value, float) else value

    def on_one_line(match: re.Match) -> str:
        return f"[{' '.join(match[1].split())}]"

    text = json.dumps(rounded(study), indent=1)
    return re.sub(r"\[\s+([-\d.e,\s]+?)\s+\]", on_one_line, text) + "\n"


def given_one_rows(study: Mapping[str, Any], class_given: bool) -> tuple[dict, list[dict]]:
    """The row without a reference, and those with one."""
    nothing, *rows = (row for row in study["given_one"] if row["class_given"] == class_given)
    return nothing, rows


def markdown(study: Mapping[str, Any]) -> str:
    """Both maps, their numbers, what these are and are not, and the protocol."""
    lines = ["# Token dependency maps", ""]
    lines += ["## What one token tells of the others", "", f"![maps]({FILES[0]})", ""]
    lines += [GIVEN_ONE_TEXT, ""]
    for class_given in (False, True):
        lines += [f"Class {'given' if class_given else 'not given'}:", ""]
        lines += given_one_table(*given_one_rows(study, class_given)) + [""]
    lines += ["## Drawn at once, not one by one", "", f"![maps]({FILES[1]})", ""]
    lines += [AT_ONCE_TEXT, "", *at_once_table(study), ""]
    gain, increase = (least_cell(study, name) for name in ("gain", "increase"))
    lines += [f"The least cell of the gains is {gain:.2f} nats, of the increases {increase:.2f}."]
    lines += ["Only the model's error, or chance, makes one negative; the plots show it as 0.", ""]
    lines += ["## What the numbers are", "", ESTIMATE_TEXT, ""]
    lines += ["## Protocol", ""]
    lines += [f"- {name}: {value}" for name, value in study["protocol"].items()]
    return "\n".join(lines) + "\n"


def given_one_table(nothing: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    header = ["reference", "entropy of the others", "gain", *(name for name, _, _ in RINGS)]
    cells: list[list[str | None]] = [["none: all tokens", plus_minus(nothing["entropy"])]]
    cells[0] += [None] * (1 + len(RINGS))
    for row in rows:
        gains = [gain_at_distance(row, first, last) for _, first, last in RINGS]
        name = "{}:{}".format(*row["reference"])
        cells.append([name, plus_minus(row["entropy"]), plus_minus(row["gain"])])
        cells[-1] += [None if gain is None else f"{gain:.2f}" for gain in gains]
    return markdown_table(header, cells)


def at_once_table(study: Mapping[str, Any]) -> list[str]:
    """The rows of the plot first, then those of the other conditions."""
    header = ["order", "groups", "class", "at a time", "one by one", "at once", "increase"]
    rows = sorted(study["parallel"], key=lambda row: (row["class_given"], row["shuffled"]))
    cells = [
        [
            row["order"],
            "shuffled" if row["shuffled"] else "in order",
            "given" if row["class_given"] else "not given",
            str(row["num_parallel"]),
            *(plus_minus(row[name]) for name in ("sequential", "parallel", "increase")),
        ]
        for row in rows
    ]
    return markdown_table(header, cells, num_texts=3)


def plus_minus(total: Mapping[str, float]) -> str:
    return f"{total['sum']:.1f} ± {total['sum_error']:.1f}"


def least_cell(study: Mapping[str, Any], name: str) -> float:
    rows = [*study["given_one"], *study["parallel"]]
    return float(min(np.min(row[name]["map"]) for row in rows if row.get(name)))
