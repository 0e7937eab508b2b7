"""Tables as Markdown."""

from collections.abc import Iterable, Sequence
from typing import Any


def markdown_table(
    header: Sequence[str], rows: Iterable[Iterable[Any]], num_texts: int = 1
) -> list[str]:
    """Lines of a table: the first `num_texts` columns left, others right; None is -."""
    rule = ["---" if i < num_texts else "---:" for i in range(len(header))]
    lines = [header, rule, *([cell or "-" for cell in row] for row in rows)]
    return ["| " + " | ".join(line) + " |" for line in lines]
