"""Times of a host whose monotonic clock is not ours, put on our clock; nothing to do where it is ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sockscope.core.run.lens import Hold
from sockscope.core.run.snapshot import Capture, Exchange, RoleSnapshot, ServerSide

_MOMENTS = ("began_s", "ready_s", "last_answer_s", "awaited_since_s")
"""Fields of a snapshot that are a moment, or 0 for what never was."""


def snapshot_later(snapshot: RoleSnapshot, by_s: float) -> RoleSnapshot:
    """Return a snapshot with every time in it later by ``by_s`` seconds; 0 stays for what never was."""
    if not by_s:
        return snapshot
    return replace(
        snapshot,
        time_s=snapshot.time_s + by_s,
        events=tuple(replace(event, time_s=event.time_s + by_s) for event in snapshot.events),
        exchanges=tuple(_exchange_later(exchange, by_s) for exchange in snapshot.exchanges),
        client_samples=tuple(one.later(by_s) for one in snapshot.client_samples),
        relayed_samples=tuple(one.later(by_s) for one in snapshot.relayed_samples),
        service_samples=tuple(replace(one, time_s=one.time_s + by_s) for one in snapshot.service_samples),
        **{name: at_s + by_s for name in _MOMENTS if (at_s := getattr(snapshot, name))},
    )


def capture_later(capture: Capture, by_s: float) -> Capture:
    """Return a capture that began ``by_s`` seconds later."""
    return replace(capture, exchange=_exchange_later(capture.exchange, by_s)) if by_s else capture


def answer_later(side: ServerSide, by_s: float) -> ServerSide:
    """Return the server's side of an exchange, read and answered ``by_s`` seconds later."""
    return replace(side, read_s=side.read_s + by_s, answered_s=side.answered_s + by_s) if by_s else side


def hold_later(hold: Hold, by_s: float) -> Hold:
    """Return a hold that began ``by_s`` seconds later."""
    return replace(hold, begin_s=hold.begin_s + by_s) if by_s else hold


def holds_later(holds: Iterable[Hold], by_s: float, known: Mapping[float, Hold]) -> dict[float, Hold]:
    """Return holds later by ``by_s``, by when they began before; those that are ``known`` stay as they are.

    They are told again and again, while what is known of a clock changes: each keeps its time.
    """
    return {hold.begin_s: known.get(hold.begin_s) or hold_later(hold, by_s) for hold in holds}


def _exchange_later(exchange: Exchange, by_s: float) -> Exchange:
    return exchange._replace(time_s=exchange.time_s + by_s)
