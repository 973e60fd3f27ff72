"""Which columns of a table fit, and how wide each becomes: arithmetic without a screen.

Columns are dropped, never squeezed below the width that makes them readable. Who goes first is said by
`priority`: the lowest goes first, and of equals the one farther right. What is left over goes to the
flexible columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len

from sockscope.faces.tui.widgets.plain import ELLIPSIS, pad, shorten

GAP = "  "
"""What stands between two columns."""

ARROW_WIDTH = 2
"""Cells for a space and the arrow that shows the order of sorting."""


@dataclass(frozen=True)
class Column:
    """One column: where its cells go, and what it is worth when there is no room for all.

    `width` is the least it takes. A right-aligned column holds figures and grows to the widest one seen; a
    `flexible` column takes what the others leave over. The higher the `priority`, the longer a column
    stays.
    """

    key: str
    title: str
    width: int
    align: Literal["left", "right"] = "left"
    flexible: bool = False
    priority: int = 0


@dataclass(frozen=True)
class Slot:
    """A column that is shown: which one, where it starts and how wide it is."""

    index: int
    start: int
    width: int


def lay_out(columns: Sequence[Column], needed: Sequence[int], width: int) -> list[Slot]:
    """Choose the columns that fit into `width` cells and place them.

    `needed` holds, for each column, the cells that what it shows was seen to need. A column of figures is as
    wide; a flexible one gets as many of the cells that are left over. The most important column is always
    there, cut to the width if it must be.
    """
    if not columns or width <= 0:
        return []
    wanted = [
        max(column.width, cell_len(column.title), 0 if column.flexible else need)
        for column, need in zip(columns, needed, strict=True)
    ]
    order = sorted(range(len(columns)), key=lambda index: (-columns[index].priority, index))
    kept = {order[0]}
    wanted[order[0]] = min(wanted[order[0]], width)
    used = wanted[order[0]]
    for index in order[1:]:
        if used + len(GAP) + wanted[index] > width:
            # A lesser column in place of a greater one would make the table change its meaning with its
            # width.
            break
        kept.add(index)
        used += len(GAP) + wanted[index]
    _share(
        [index for index in sorted(kept) if columns[index].flexible], columns, wanted, needed, width - used
    )
    slots = []
    start = 0
    for index in sorted(kept):
        slots.append(Slot(index, start, wanted[index]))
        start += wanted[index] + len(GAP)
    return slots


def _share(
    flexible: Sequence[int],
    columns: Sequence[Column],
    wanted: list[int],
    needed: Sequence[int],
    spare: int,
) -> None:
    """Give the spare cells first to those flexible columns that need them, then to the last one.

    While one of them needs more, another has no more than it needs itself.
    """
    if any(needed[index] > wanted[index] for index in flexible):
        for index in flexible:
            least = min(wanted[index], max(needed[index], cell_len(columns[index].title)))
            spare += wanted[index] - least
            wanted[index] = least
    missing = sorted(flexible, key=lambda index: needed[index] - wanted[index])
    for number, index in enumerate(missing):  # who needs least first, so that all others share what it leaves
        part = min(max(needed[index] - wanted[index], 0), spare // (len(missing) - number))
        wanted[index] += part
        spare -= part
    if flexible:
        wanted[flexible[-1]] += spare


def fit(text: str, width: int, align: str) -> str:
    """A plain cell in exactly `width` cells: words are cut with an ellipsis, a figure is never cut at all."""
    if cell_len(text) <= width:
        return pad(text, width, align)
    if align == "right":
        return pad(ELLIPSIS[:width], width, align)
    return pad(shorten(text, width), width)
