"""Rules of the verdict for what is given to a limited number at a time: admission, permits, a pool."""

from __future__ import annotations

from dataclasses import replace

from sockscope.core import units
from sockscope.core.run.cycle import in_service_at_once
from sockscope.core.run.evidence import HALF, LIMITER, RECORDER, TUNING, Finding, Seen
from sockscope.core.run.kinds import Kind
from sockscope.core.run.little import CYCLES
from sockscope.core.run.snapshot import LimiterStatistics, RoleSnapshot

SHORT_RATIO = 0.1
"""A wait that is shorter than this share of the service time on average is not what clients wait for."""
NEAR_RATIO = 1.25
"""A limit that is no further than this from the one that holds is worth a word: it is the next."""


def admission(seen: Seen) -> Finding | None:
    """Requests wait at the server."""
    # Before the clients' permits: while requests wait at the server, more of them in flight only wait longer.
    server = seen.window.server
    if server is None:
        return None
    return _taken(seen, Kind.ADMISSION, server.limiter, "requests in service at the server", "request")


def permits(seen: Seen) -> Finding | None:
    """Clients wait for a permit."""
    swarm = seen.window.swarm
    if swarm is None:
        return None
    found = _taken(seen, Kind.SEMAPHORE, swarm.limiter, "permits in flight", "client")
    if found is None or _adds_up(seen, swarm):
        return found
    return replace(found, sentence=f"{found.sentence}; requests hold them for less than half of the time")


def _adds_up(seen: Seen, swarm: RoleSnapshot) -> bool:
    """Tell whether the requests explain the permits in flight, by Little's law: N = X R.

    Rate times mean service time is the mean number of requests in flight. It is not told where the window is
    short against a request, for at its edges requests are in it in part, and decides nothing where a permit
    is that of several requests (pipelining), whose answers do not come at the same time.
    """
    service, measured_s = swarm.service_time, seen.window.measured_s
    ended = service.total + swarm.unanswered.total
    spent_s = (service.mean_s or 0.0) * service.total + swarm.unanswered.sum_s
    if not ended or spent_s / ended * CYCLES > measured_s:
        return True
    name, in_flight = "rate x mean service time (Little's law)", spent_s / measured_s
    if seen.window.tuning.depth > 1:
        seen.note(name, in_flight, "count", RECORDER)
        return True
    return seen.at_least(name, in_flight, "count", HALF * swarm.limiter.permits, RECORDER)


def pool(seen: Seen) -> Finding | None:
    """Clients wait for a connection of the pool."""
    swarm = seen.window.swarm
    if swarm is None:
        return None
    return _taken(seen, Kind.POOL, swarm.pool, "connections of the pool taken", "client")


def _taken(seen: Seen, kind: Kind, of: LimiterStatistics, taken: str, waits: str) -> Finding | None:
    """All of it is taken and somebody waits; at least half of those that were admitted had to, for long."""
    if not of.permits:
        return None
    waited = of.waited / of.acquired if of.acquired else 1.0
    if not seen.at_least(f"{waits}s that had to wait", waited, "ratio", HALF, LIMITER):
        return None
    least_s = SHORT_RATIO * (seen.cycle.service_s or 0.0) if of.acquired else 0.0
    if not seen.at_least("mean wait", of.wait_s / max(of.acquired, 1), "s", least_s, LIMITER):
        return None
    each = f", {units.format_duration(of.wait_s / of.waited)} each" if of.waited else ""
    if seen.over and of.waited and not (of.waiting and of.in_flight >= of.permits):
        seen.note(f"{taken}, at most", of.permits, "count", TUNING)
        told = f"never more than {of.permits:,} {taken}; {units.format_ratio(waited)} of the requests waited"
        told += each
    else:
        all_taken = seen.at_least(taken, of.in_flight, "count", of.permits, LIMITER)
        if not seen.at_least(f"{waits}s waiting", of.waiting, "count", 1, LIMITER) or not all_taken:
            return None
        told = f"{of.in_flight:,} of {of.permits:,} {taken}, {units.counted(of.waiting, waits)} waiting{each}"
    return Finding(kind, "; ".join([told, *_next_limit(seen, kind, of.permits)]))


def _next_limit(seen: Seen, kind: Kind, most: int) -> list[str]:
    """Return which limit comes next when this one is raised a little, as a part of a sentence."""
    tuning = seen.window.tuning
    bounds = (
        (Kind.SEMAPHORE, tuning.permits, "permits"),
        (Kind.POOL, tuning.pool, "connections in the pool"),
        (Kind.ADMISSION, tuning.server_permits, "requests admitted at the server"),
    )
    near = [(at, f"the {at:,} {name}") for of, at, name in bounds if of != kind and at]
    if at := in_service_at_once(seen.window):
        near.append((at, f"the server, which works on {at:,} at a time"))
    nearest, name = min(near, default=(0, ""))
    return [f"more would wait for {name}"] if 0 < nearest <= NEAR_RATIO * most else []
