"""The result of a study of models as a table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lpd_jax.runtime.markdown import markdown_table, write_report
from lpd_jax.studies.steps_report import distance_table

COLUMNS = {
    "model": lambda row: row["name"],
    "method": lambda row: row["method"],
    "order": lambda row: row["order"],
    "first tokens": lambda row: row["first_tokens"],
    "inside a group": lambda row: row["inside_a_group"],
    "at once": lambda row: str(row["most_at_once"]),
    "steps": lambda row: str(row["num_steps"]),
    "Fréchet distance": lambda row: (
        f"{row['frechet_distance']:.2f} ± {row['standard_deviation']:.2f}"
    ),
    "class seen": lambda row: f"{row['class_agreement']:.1%}",
    "nats a token": lambda row: f"{row['nats_per_token']:.3f}",
    "ms a picture": lambda row: f"{1000 * row['draw_seconds'] / row['num_images']:.1f}",
}
NUM_TEXTS = 5


def summary(row: Mapping[str, Any]) -> str:
    """A row in a line."""
    return ", ".join(f"{name} {show(row)}" for name, show in COLUMNS.items())


def write(study: Mapping[str, Any], json_file: Path, markdown_file: Path, picture: str) -> None:
    """Writes both, each whole or not at all; `picture` is the name of the file of pictures."""
    write_report(study, markdown(study, picture), json_file, markdown_file)


def markdown(study: Mapping[str, Any], picture: str) -> str:
    """The study as text: the table, what real pictures come to, the protocol."""
    rows = [[show(row) for show in COLUMNS.values()] for row in study["rows"]]
    lines = ["# Methods beside each other", ""]
    lines += markdown_table(list(COLUMNS), rows, NUM_TEXTS)
    lines += ["", "Fréchet distance to the real training pictures, lower is better; ± is the"]
    lines += ["standard deviation over bootstrap resamples of the pictures. Nats a token: real"]
    lines += ["validation pictures under the model's own order and schedule, where tokens of one"]
    lines += ["step are independent given those before. Milliseconds are of whole batches,"]
    lines += ["compilation apart, tokenizer included.", ""]
    lines += distance_table(study["floors"])
    lines += ["", f"![The same labels and seed, one row for each model]({picture})", ""]
    lines += ["## Protocol", ""]
    lines += [f"- {name}: {value}" for name, value in study["protocol"].items()]
    return "\n".join(lines) + "\n"
