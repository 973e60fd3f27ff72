"""The line above a graph that says which curve is which and what it reads now.

Values stand in fields of constant width at the right, so that a changing figure moves nothing. When the
line gets short, things go in the order in which they can be missed: pattern samples shrink, labels are
shortened, the title is shortened, labels go, the title goes, and at last whole curves go, the last one
first, counted by a `+1`. A figure is shown whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from sockscope.faces.tui.widgets.braille import Pattern, sample
from sockscope.faces.tui.widgets.grid import Ink
from sockscope.faces.tui.widgets.plain import shorten

GAP = "   "
"""What stands between two entries."""
_SAMPLE_WIDTHS = (4, 2, 1)
_SHORTEST_LABEL = 3
_SHORTEST_TITLE = 5

Piece = tuple[str, Ink]


@dataclass(frozen=True)
class LegendEntry:
    """One curve: its pattern, its label, and its value as it is to be written."""

    pattern: Pattern
    label: str
    value: str
    ink: Ink


@dataclass(frozen=True)
class Shape:
    """One way to lay the line out: cells for the title, a label and a sample, and how many entries."""

    title: int
    label: int
    sample: int
    entries: int


def legend(
    title: str, unit: str, lead: str, entries: Sequence[LegendEntry], width: int
) -> tuple[list[Piece], list[Piece]]:
    """Lay out the line: pieces for its left end and pieces for its right end, which together fit `width`
    cells.

    `lead` (the age of the cursor) goes in front of the entries, unless a curve would lose its label or
    there is one curve left.
    """
    shapes = list(_shapes(title, entries))
    named = [shape for shape in shapes if shape.label and shape.entries == len(entries)]
    tries = [(lead, shape) for shape in named] + [("", shape) for shape in named]
    for front, shape in [*tries, *((lead, shape) for shape in shapes)]:
        left = _title(title, unit if shape.title >= cell_len(title) else "", shape.title)
        right = _entries(front, entries, shape)
        needed = _width(left) + _width(right) + (len(GAP) if left and right else 0)
        if needed <= width:
            return left, right
    for right in ([(lead, Ink.CURSOR)], []):
        if lead and _width(right) <= width:
            return [], right
    return [], []


def _shapes(title: str, entries: Sequence[LegendEntry]) -> Iterator[Shape]:
    full_title = cell_len(title)
    full_label = max((cell_len(entry.label) for entry in entries), default=0)
    count = len(entries)
    for size in _SAMPLE_WIDTHS:
        yield Shape(full_title, full_label, size, count)
    size = _SAMPLE_WIDTHS[-1]
    for label in range(full_label - 1, _SHORTEST_LABEL - 1, -1):
        yield Shape(full_title, label, size, count)
    shortest = min(full_label, _SHORTEST_LABEL)
    for cells in range(full_title - 1, _SHORTEST_TITLE - 1, -1):
        yield Shape(cells, shortest, size, count)
    yield Shape(min(full_title, _SHORTEST_TITLE), 0, size, count)
    for left in range(count, 0, -1):
        for label in range(full_label, _SHORTEST_LABEL - 1, -1):
            yield Shape(0, label, size, left)
        yield Shape(0, 0, size, left)
        yield Shape(0, 0, 1, left)
    yield Shape(full_title, 0, 0, 0)


def _title(title: str, unit: str, cells: int) -> list[Piece]:
    if not cells:
        return [(unit, Ink.LEGEND)] if unit and not title else []
    pieces: list[Piece] = [(shorten(title, cells), Ink.TITLE)]
    if unit:
        pieces.append(("  " + unit, Ink.LEGEND))
    return pieces


def _entries(lead: str, entries: Sequence[LegendEntry], shape: Shape) -> list[Piece]:
    pieces: list[Piece] = [(lead, Ink.CURSOR)] if lead else []
    gap = GAP if shape.sample == _SAMPLE_WIDTHS[0] else "  "
    for entry in entries[: shape.entries]:
        if pieces:
            pieces.append((gap, Ink.BASE))
        label = shorten(entry.label, shape.label) if shape.label else ""
        pieces.append((sample(entry.pattern, shape.sample) + " ", entry.ink))
        if label:
            pieces.append((label + " ", Ink.LEGEND))
        pieces.append((entry.value, entry.ink))
    if shape.entries and shape.entries < len(entries):
        pieces.append((f" +{len(entries) - shape.entries}", Ink.LEGEND))
    return pieces


def _width(pieces: Sequence[Piece]) -> int:
    return sum(cell_len(text) for text, _ink in pieces)
