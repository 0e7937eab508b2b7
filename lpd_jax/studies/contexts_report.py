"""The result of a study of contexts as a table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lpd_jax.runtime.markdown import markdown_table, write_report


def write(study: Mapping[str, Any], json_file: Path, markdown_file: Path) -> None:
    """Writes both, each whole or not at all."""
    write_report(study, markdown(study), json_file, markdown_file)


def markdown(study: Mapping[str, Any]) -> str:
    """The study as text: a row a model, a column an order, the step counts inside a cell."""
    rows = study["rows"]
    orders = list(dict.fromkeys(order for row in rows for order in row["nats"]))
    steps = list(dict.fromkeys(n for row in rows for nats in row["nats"].values() for n in nats))
    lines = ["# Nats of real pictures, by context", ""]
    lines += ["Mean nats a token of validation pictures, lower is better, as drawn in"]
    lines += [f"{' / '.join(steps)} steps. Tokens of one step are independent given those before."]
    lines += [""]
    table = ([row["name"], str(row["parameters"]), *cells(row["nats"], orders)] for row in rows)
    lines += markdown_table(["model", "parameters", *orders], table)
    lines += ["", "## Protocol", ""]
    lines += [f"- {name}: {value}" for name, value in study["protocol"].items()]
    return "\n".join(lines) + "\n"


def cells(nats: Mapping[str, Mapping[str, float]], orders: list[str]) -> list[str]:
    """The cells of a model's row; "-" for an order that it was not measured in."""
    return [" / ".join(f"{x:.3f}" for x in nats.get(order, {}).values()) or "-" for order in orders]
