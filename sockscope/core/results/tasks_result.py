"""The tasks of a loop, as they stand in the result of a run: how many, where they wait, and for what."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sockscope.core.results.schema import ResultField, shapes, written
from sockscope.core.results.shape import NAME, NUMBER, TEXT, list_of, optional, record
from sockscope.core.run.raised import Raised
from sockscope.core.run.tasks import AwaitedView, ExecutorView, Growth, TaskGroup, TasksView, Unclosed

_Field = ResultField[TasksView]

_GROUP: tuple[ResultField[TaskGroup], ...] = (
    ResultField("coroutine", TEXT, lambda one: one.coroutine),
    ResultField("owner", NAME, lambda one: one.owner),
    ResultField("waits_in", TEXT, lambda one: one.waits_in or None),
    ResultField("waits_for", TEXT, lambda one: one.waits_for or None),
    ResultField("count", NUMBER, lambda one: one.count),
    ResultField("oldest_s", NUMBER, lambda one: one.oldest_s),
)
_GROWTH: tuple[ResultField[Growth], ...] = (
    ResultField("coroutine", TEXT, lambda one: one.coroutine),
    ResultField("count", NUMBER, lambda one: one.count),
    ResultField("per_s", NUMBER, lambda one: one.per_s),
)
_AWAITED: tuple[ResultField[AwaitedView], ...] = (
    ResultField("kind", NAME, lambda one: one.kind),
    ResultField("state", TEXT, lambda one: one.state or None),
    ResultField("waited_at", TEXT, lambda one: one.waited_at),
    ResultField("waiting", NUMBER, lambda one: one.waiting),
    ResultField("longest_s", NUMBER, lambda one: one.longest_s),
    ResultField("holding", NUMBER, lambda one: one.holding),
)
_RAISED: tuple[ResultField[Raised], ...] = (
    ResultField("what", TEXT, lambda one: one.what),
    ResultField("where", TEXT, lambda one: one.where),
    ResultField("message", TEXT, lambda one: one.message),
    ResultField("count", NUMBER, lambda one: one.count),
)
_UNCLOSED: tuple[ResultField[Unclosed], ...] = (
    ResultField("made_at", TEXT, lambda one: one.made_at),
    ResultField("count", NUMBER, lambda one: one.count),
    ResultField("oldest_s", NUMBER, lambda one: one.oldest_s),
)
_EXECUTOR: tuple[ResultField[ExecutorView], ...] = (
    ResultField("queued", NUMBER, lambda one: one.queued),
    ResultField("running", NUMBER, lambda one: one.running),
    ResultField("threads", NUMBER, lambda one: one.threads),
)


def _list(
    name: str, fields: tuple[ResultField[Any], ...], rows: Callable[[TasksView], Iterable[Any]]
) -> _Field:
    """Return the field of a list of objects."""
    return ResultField(
        name, list_of(record(shapes(fields))), lambda view: [written(fields, row) for row in rows(view)]
    )


def _executor(view: TasksView) -> dict[str, Any] | None:
    return written(_EXECUTOR, view.executor) if view.executor is not None else None


_TASKS: tuple[_Field, ...] = (
    ResultField("alive", NUMBER, lambda view: view.alive),
    ResultField("own", NUMBER, lambda view: view.own),
    _list("groups", _GROUP, lambda view: view.groups),
    _list("growing", _GROWTH, lambda view: view.growing),
    _list("awaited", _AWAITED, lambda view: view.awaited),
    _list("unretrieved", _RAISED, lambda view: view.unretrieved),
    _list("unclosed", _UNCLOSED, lambda view: view.unclosed),
    ResultField("executor", optional(record(shapes(_EXECUTOR))), _executor),
)
TASKS_SHAPE = optional(record(shapes(_TASKS)))


def tasks(view: TasksView | None) -> dict[str, Any] | None:
    """Return what the last look at the tasks of a loop has found; None where there was none."""
    return written(_TASKS, view) if view is not None else None
