"""Tables of a race or a sweep as text: columns that are as wide as they need to be, or a page in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

R = TypeVar("R")

BAR_CELLS = 16
"""Cells of the longest bar."""
_EIGHTHS = " ▏▎▍▌▋▊▉█"


@dataclass(frozen=True, slots=True)
class TextColumn(Generic[R]):
    """A column: its head and what stands in it, to the right unless ``left``."""

    head: str
    cell: Callable[[R], str]
    left: bool = False


def bar(value: float | None, longest: float, cells: int = BAR_CELLS) -> str:
    """Return a bar in eighths of a cell; whatever is not nothing is at least a sliver."""
    if not value or not longest:
        return ""
    eighths = max(1, round(8 * cells * value / longest))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def aligned(columns: Sequence[TextColumn[R]], table: Sequence[R]) -> Iterator[str]:
    """Yield the lines of a table whose columns are as wide as they need to be."""
    cells = [[column.head for column in columns], *([c.cell(row) for c in columns] for row in table)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        yield "  ".join(
            cell.ljust(width) if column.left else cell.rjust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        )


def markdown_row(cells: Iterable[str]) -> str:
    """Return a row of a table in Markdown."""
    return "| " + " | ".join(map(escaped, cells)) + " |"


def escaped(text: str) -> str:
    """Return a text without a meaning in Markdown."""
    return "".join("\\" + c if c in "\\|*_`<[" else c for c in text)
