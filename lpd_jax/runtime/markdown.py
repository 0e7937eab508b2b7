"""Reports in Markdown: their tables, and how they are written beside the numbers in JSON."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lpd_jax.runtime.atomic_files import replacing_file


def markdown_table(
    header: Sequence[str], rows: Iterable[Iterable[Any]], num_texts: int = 1
) -> list[str]:
    """Lines of a table: the first `num_texts` columns left, others right; None is -."""
    rule = ["---" if i < num_texts else "---:" for i in range(len(header))]
    lines = [header, rule, *([cell or "-" for cell in row] for row in rows)]
    return ["| " + " | ".join(line) + " |" for line in lines]


def write_report(numbers: Any, text: str, json_file: Path, markdown_file: Path) -> None:
    """Writes both, each whole or not at all.

    Args:
        numbers: what JSON can say, or JSON already, as text.
        text: the report.
    """
    content = numbers if isinstance(numbers, str) else json.dumps(numbers, indent=1) + "\n"
    for file, written in ((markdown_file, text), (json_file, content)):
        with replacing_file(file, "the report") as temporary:
            temporary.write_text(written, encoding="utf-8")
