"""One role from several: what its processes counted, added up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from sockscope.core.addresses import split_address
from sockscope.core.censoring import as_given_up
from sockscope.core.connection import TCP_COLUMNS, ConnectionView, tcp_figure
from sockscope.core.histogram import Histogram
from sockscope.core.roles import SWARM
from sockscope.core.run.adding import ended, total
from sockscope.core.run.snapshot import ConnectionQuery, RoleSnapshot

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
    **{column: partial(tcp_figure, name=name) for column, name in TCP_COLUMNS.items()},
}


def merged(parts: Sequence[RoleSnapshot], query: ConnectionQuery | None = None) -> RoleSnapshot:
    """Return ``parts`` of one role as one.

    Exchanges and their cursor are those of the first, for only whoever keeps them can number them. Of the
    connections, which each part has picked by ``query``, it picks again.
    """
    if len(parts) == 1:
        return parts[0]
    whole = total(parts)
    return whole if query is None else replace(whole, connections=_picked(whole.connections, query))


def past(part: RoleSnapshot) -> RoleSnapshot:
    """Return what stays of a part of a role that has ended; its exchanges cannot be asked for any more."""
    return replace(ended(part), exchanges=(), captures_overwritten=part.captures_recorded)


def lost(part: RoleSnapshot) -> RoleSnapshot:
    """Return the last that a part of a role told before its process was gone, which nobody had stopped.

    Whatever became of the requests that clients had under way, nobody will hear of it: they have failed, at
    the age that they had. What was queued has not gone out. The clients of that process are gone.
    """
    samples = tuple(one.gone() for one in part.client_samples)
    if part.role != SWARM:
        return replace(part, client_samples=samples)
    totals, given_up = part.totals, as_given_up(part.awaited)
    return replace(
        part,
        totals=replace(
            totals,
            errors=totals.errors + part.in_flight,
            requests_dropped=totals.requests_dropped + part.queued,
        ),
        in_flight=0,
        queued=0,
        unanswered=part.unanswered + given_up,
        response_unanswered=part.response_unanswered + given_up,
        awaited=Histogram(),
        response_awaited=Histogram(),
        awaited_since_s=0.0,
        client_samples=samples,
    )


def leaving(part: RoleSnapshot) -> RoleSnapshot:
    """Return a part of a role that is being wound up: its connections are still to be replaced.

    Its clients and permits are no longer those that there are to be; its exchanges cannot be asked for.
    """
    serves = part.role != SWARM
    return replace(
        past(part),
        connections_open=part.connections_open,
        draining=part.connections_open if serves else 0,
        rolling=0 if serves else part.connections_open,
        events=part.events,
        connections=part.connections,
        connections_matching=part.connections_matching,
        in_flight=part.in_flight,
    )


def _picked(views: Sequence[ConnectionView], query: ConnectionQuery) -> tuple[ConnectionView, ...]:
    key = _SORT_KEYS.get(query.sort, _SORT_KEYS["conn_id"])
    return tuple(sorted(views, key=key, reverse=query.reverse)[: query.limit])
