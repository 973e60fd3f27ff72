"""What a lens has seen of the loops of a run, as it stands in the result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sockscope.core.results.schema import ResultField, shapes, written
from sockscope.core.results.shape import FLAG, NAME, NUMBER, TEXT, list_of, optional, record
from sockscope.core.results.tasks_result import TASKS_SHAPE, tasks
from sockscope.core.run.lens import Hold, LensView
from sockscope.core.run.snapshot import ProcessUse, Snapshot

Looked = tuple[Snapshot, ProcessUse, LensView]
Held = tuple[Snapshot, ProcessUse, Hold]


def _tasks_age_s(one: Looked) -> float | None:
    snapshot, _, lens = one
    # What another process has told at the end may be of a moment after it.
    return max(snapshot.time_s - lens.tasks.time_s, 0.0) if lens.tasks is not None else None


_LENS: tuple[ResultField[Looked], ...] = (
    ResultField("process", NAME, lambda one: one[1].name),
    ResultField("is_on", FLAG, lambda one: one[2].is_on),
    ResultField("looked_s", NUMBER, lambda one: one[2].looked_s),
    ResultField("busy_ratio", NUMBER, lambda one: one[2].busy_ratio),
    ResultField("busy_by", NAME, lambda one: one[2].busy_by),
    ResultField("turns_per_s", NUMBER, lambda one: one[2].turns_per_s),
    ResultField("callbacks_per_s", NUMBER, lambda one: one[2].callbacks_per_s),
    ResultField("collections", NUMBER, lambda one: one[2].collections),
    ResultField("collecting_s", NUMBER, lambda one: one[2].collecting_s),
    ResultField("held", NUMBER, lambda one: one[2].held),
    ResultField("held_s", NUMBER, lambda one: one[2].held_s),
    ResultField("tasks", TASKS_SHAPE, lambda one: tasks(one[2].tasks)),
    ResultField("tasks_age_s", NUMBER, _tasks_age_s),
)
_HOLD: tuple[ResultField[Held], ...] = (
    ResultField("process", NAME, lambda one: one[1].name),
    ResultField("begin_s", NUMBER, lambda one: one[2].begin_s - one[0].started_s),
    ResultField("duration_s", NUMBER, lambda one: one[2].duration_s),
    ResultField("kind", NAME, lambda one: one[2].kind),
    ResultField("call", TEXT, lambda one: one[2].call or None),
    ResultField("file", TEXT, lambda one: one[2].file or None),
    ResultField("line", NUMBER, lambda one: one[2].line or None),
    ResultField("requests", NUMBER, lambda one: one[2].requests),
    ResultField("core_wait_s", NUMBER, lambda one: one[2].core_wait_s),
    ResultField("looks", NUMBER, lambda one: one[2].looks),
    ResultField("alike", NUMBER, lambda one: one[2].alike),
)
LENS_SHAPE = optional(list_of(record(shapes(_LENS))))
HOLDS_SHAPE = optional(list_of(record(shapes(_HOLD))))


def lens(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Return what was seen of each loop; nothing where the lens was never on."""
    return [written(_LENS, (snapshot, p, p.lens)) for p in snapshot.processes if p.lens is not None]


def holds(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Return the last holds of each loop, in the order in which they began."""
    found = sorted(_holds(snapshot), key=lambda one: one[2].begin_s)
    return [written(_HOLD, one) for one in found]


def _holds(snapshot: Snapshot) -> Iterator[Held]:
    for process in snapshot.processes:
        if process.lens is not None:
            yield from ((snapshot, process, hold) for hold in process.lens.holds)
