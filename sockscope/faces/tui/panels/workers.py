"""The workers of a cluster, a row for each of their processes: what it uses, and its part of the clients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.content import Content

from sockscope.core import units
from sockscope.core.run.figures import ProcessFigures
from sockscope.core.run.snapshot import SILENT_S
from sockscope.faces.tui.widgets.plain import plain

LEAVING = "leaving"
"""State of a process whose roles have gone elsewhere: it is no row, for the next moment it is gone."""
_COLUMNS: tuple[tuple[str, int, Callable[[ProcessFigures], str]], ...] = (
    ("CPU", 6, lambda one: units.format_ratio(one.cpu_ratio)),
    ("cores", 8, lambda one: units.format_cores(one.machine_cores_taken, one.machine_cores)),
    ("lag p99", 8, lambda one: units.format_duration(one.lag_p99_s)),
    ("req/s", 7, lambda one: units.format_count(one.requests_per_s)),
    ("p99", 8, lambda one: units.format_duration(one.p99_s)),
    ("clock ±", 8, lambda one: units.format_duration(one.clock_error_s) if one.clock_error_s else ""),
    ("change", 7, lambda one: units.format_count(one.generation)),
)
_GO_FIRST = ("clock ±", "lag p99", "cores", "CPU")
"""Columns for which there is no room where it is narrow, the first of these first."""
_LEAST_NAME = 9
_MOST_GAP = 4


def worker_rows(processes: Sequence[ProcessFigures], width: int, most: int) -> list[Content]:
    """Return a head and a row for each process in ``width`` cells, lost ones first: at most ``most`` rows.

    Without room for the head and one of them there are none.
    """
    told = sorted((one for one in processes if one.state != LEAVING), key=lambda one: one.alive)
    if not told or most < min(len(told) + 1, 3):
        return []
    rows = told if len(told) < most else told[: most - 2]
    # A lost one has the whole row.
    name = max((len(one.name) for one in rows if one.alive), default=0)
    columns = _fitting(width - max(name, _LEAST_NAME), has_clock=any(one.clock_error_s for one in told))
    # Figures that are far from the names are hard to read.
    room = min(width - sum(cells for _, cells, _ in columns), max(name, _LEAST_NAME) + _MOST_GAP)
    head = " " * room + "".join(f"{label:>{cells}}" for label, cells, _ in columns)
    # All names beside figures are shortened, or none.
    at = "@" if name > room else " at "
    told_rows = (_row(one, room, columns, at).truncate(width, ellipsis=True) for one in rows)
    lines = [Content.styled(head, "$foreground 60%"), *told_rows]
    if len(rows) < len(told):
        lines.append(Content.styled(f"{len(told) - len(rows)} more", "$foreground 60%"))
    return lines


def _fitting(room: int, *, has_clock: bool) -> Sequence[tuple[str, int, Callable[[ProcessFigures], str]]]:
    columns = [one for one in _COLUMNS if has_clock or one[0] != "clock ±"]
    for label in _GO_FIRST:
        if sum(cells for _, cells, _ in columns) > room:
            columns = [one for one in columns if one[0] != label]
    return columns


def _row(
    one: ProcessFigures,
    room: int,
    columns: Sequence[tuple[str, int, Callable[[ProcessFigures], str]]],
    at: str,
) -> Content:
    if not one.alive:
        return Content.styled(plain(f"{one.name} {one.state}"), "bold $text-error")
    if one.silent_s >= SILENT_S:
        return Content.styled(plain(f"{one.name} {one.state}"), "$text-warning")
    name = plain(one.name).replace(" at ", at)
    if len(name) > room:  # what processes differ in is the end, the machine
        name = f"…{name[1 - room :]}"
    figures = "".join(f"{write(one):>{cells}}" for _, cells, write in columns)
    return Content(f"{name:<{room}}{figures}")
