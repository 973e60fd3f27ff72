"""Rules of the verdict for what is given to a limited number at a time: admission, permits, a pool."""

from __future__ import annotations

from sockscope.core import units
from sockscope.core.run.evidence import HALF, Finding, Seen
from sockscope.core.run.snapshot import LimiterStatistics

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
    return _taken(seen, "admission", server.limiter, "requests in service at the server", "request")


def permits(seen: Seen) -> Finding | None:
    """Clients wait for a permit."""
    swarm = seen.window.swarm
    if swarm is None:
        return None
    return _taken(seen, "semaphore", swarm.limiter, "permits in flight", "client")


def pool(seen: Seen) -> Finding | None:
    """Clients wait for a connection of the pool."""
    swarm = seen.window.swarm
    if swarm is None:
        return None
    return _taken(seen, "pool", swarm.pool, "connections of the pool taken", "client")


def _taken(seen: Seen, limit: str, of: LimiterStatistics, taken: str, waits: str) -> Finding | None:
    """All of it is taken and somebody waits; at least half of those that were admitted had to, for long."""
    if not of.permits or of.waited < HALF * of.acquired:
        return None
    if of.wait_s < SHORT_RATIO * of.acquired * (seen.cycle.service_s or 0.0):
        return None
    each = f", {units.format_duration(of.wait_s / of.waited)} each" if of.waited else ""
    if of.waiting and of.in_flight >= of.permits:
        told = f"{of.in_flight:,} of {of.permits:,} {taken}, {units.counted(of.waiting, waits)} waiting{each}"
    elif seen.over and of.waited:
        waited = units.format_ratio(of.waited / of.acquired)
        told = f"{of.permits:,} {taken} at most; {waited} of the requests waited{each}"
    else:
        return None
    return Finding(limit, "; ".join([told, *_next_limit(seen, limit, of.permits)]))


def _next_limit(seen: Seen, limit: str, most: int) -> list[str]:
    """Return which limit comes next when this one is raised a little, as a part of a sentence."""
    tuning = seen.window.tuning
    bounds = (
        ("semaphore", tuning.permits, "permits"),
        ("pool", tuning.pool, "connections in the pool"),
        ("admission", tuning.server_permits, "requests admitted at the server"),
    )
    near = [(at, name) for of, at, name in bounds if of != limit and 0 < at <= NEAR_RATIO * most]
    if not near:
        return []
    at, name = min(near)
    return [f"more would wait for the {at:,} {name}"]
