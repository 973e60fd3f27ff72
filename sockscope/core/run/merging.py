"""One role from several: what its processes counted, added up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

from sockscope.core.config.experiment import split_address
from sockscope.core.connection import ConnectionView
from sockscope.core.run.snapshot import ConnectionQuery, LimiterStatistics, RoleSnapshot

_SORT_KEYS: dict[str, Callable[[ConnectionView], Any]] = {
    "conn_id": lambda v: (v.close_reason is not None, v.conn_id),
    "local": lambda v: split_address(v.local_address),
    "remote": lambda v: split_address(v.remote_address),
    "state": lambda v: v.state.value,
    "age": lambda v: v.age_s,
    "requests": lambda v: max(v.requests or 0, v.responses or 0),
    "in": lambda v: v.bytes_in,
    "out": lambda v: v.bytes_out,
    "reads": lambda v: v.reads,
    "writes": lambda v: v.writes,
    "closed": lambda v: v.close_reason.value if v.close_reason else "",
}


def merged(parts: Sequence[RoleSnapshot], query: ConnectionQuery | None = None) -> RoleSnapshot:
    """Return ``parts`` of one role as one: what is counted is added, the rest is that of the first.

    Events are put in order of time. Exchanges and their cursor are those of the first, for only whoever
    keeps them can number them. Of the connections, which each part has picked by ``query``, it picks again.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    return replace(
        first,
        totals=reduce(add, (part.totals for part in parts)),
        counts_frames=all(part.counts_frames for part in parts),
        connections_open=_sum(parts, "connections_open"),
        draining=_sum(parts, "draining"),
        rolling=_sum(parts, "rolling"),
        events=tuple(sorted((e for part in parts for e in part.events), key=lambda event: event.time_s)),
        events_missed=_sum(parts, "events_missed"),
        captures_recorded=_sum(parts, "captures_recorded"),
        captures_overwritten=_sum(parts, "captures_overwritten"),
        last_conn_id=max(part.last_conn_id for part in parts),
        connections=_picked([view for part in parts for view in part.connections], query),
        connections_matching=_sum(parts, "connections_matching"),
        clients=_sum(parts, "clients"),
        clients_connecting=_sum(parts, "clients_connecting"),
        clients_retrying=_sum(parts, "clients_retrying"),
        in_flight=_sum(parts, "in_flight"),
        last_trouble=next((part.last_trouble for part in parts if part.last_trouble), ""),
        limiter=_limiter([part.limiter for part in parts]),
        pool=_limiter([part.pool for part in parts]),
        service_time=reduce(add, (part.service_time for part in parts)),
        began_s=min((part.began_s for part in parts if part.began_s), default=0.0),
        last_answer_s=max(part.last_answer_s for part in parts),
    )


def past(ended: RoleSnapshot) -> RoleSnapshot:
    """Return what stays of a part of a role that has ended: its cumulative figures and its events."""
    nobody = {"permits": 0, "in_flight": 0, "waiting": 0}
    return replace(
        RoleSnapshot(ended.role, ended.transport, ended.address, ended.totals, connections_open=0),
        counts_frames=ended.counts_frames,
        last_trouble=ended.last_trouble,
        events=ended.events,
        events_missed=ended.events_missed,
        captures_recorded=ended.captures_recorded,
        captures_overwritten=ended.captures_recorded,
        last_conn_id=ended.last_conn_id,
        limiter=replace(ended.limiter, **nobody),
        pool=replace(ended.pool, **nobody),
        service_time=ended.service_time,
        last_answer_s=ended.last_answer_s,
    )


def leaving(part: RoleSnapshot) -> RoleSnapshot:
    """Return a part of a role that is being wound up: its connections are still to be replaced.

    Its clients and permits are no longer those that there are to be; its exchanges cannot be asked for.
    """
    serves = part.role == "server"
    return replace(
        past(part),
        connections_open=part.connections_open,
        draining=part.connections_open if serves else 0,
        rolling=0 if serves else part.connections_open,
        connections=part.connections,
        connections_matching=part.connections_matching,
        in_flight=part.in_flight,
    )


def _sum(parts: Sequence[RoleSnapshot], name: str) -> int:
    return sum(getattr(part, name) for part in parts)


def _limiter(parts: Sequence[LimiterStatistics]) -> LimiterStatistics:
    return LimiterStatistics(
        permits=sum(part.permits for part in parts),
        in_flight=sum(part.in_flight for part in parts),
        waiting=sum(part.waiting for part in parts),
        acquired=sum(part.acquired for part in parts),
        waited=sum(part.waited for part in parts),
        wait_s=sum(part.wait_s for part in parts),
    )


def _picked(views: list[ConnectionView], query: ConnectionQuery | None) -> tuple[ConnectionView, ...]:
    if query is None:
        return tuple(views)
    key = _SORT_KEYS.get(query.sort, _SORT_KEYS["conn_id"])
    return tuple(sorted(views, key=key, reverse=query.reverse)[: query.limit])
