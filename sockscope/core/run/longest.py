"""Rules of the verdict for what takes longest while nothing is used up."""

from __future__ import annotations

from sockscope.core import units
from sockscope.core.run.cycle import in_service_at_once
from sockscope.core.run.evidence import (
    CORE_WAIT_RATIO,
    CPU_HIGH_RATIO,
    HALF,
    RECORDER,
    TUNING,
    WANTED,
    Finding,
    Seen,
    is_full,
    perhaps,
    share,
    shares,
    short_told,
)
from sockscope.core.run.kinds import Kind
from sockscope.core.run.snapshot import TARGET
from sockscope.core.run.unanswered import not_asked

PARTS = 4
"""From so many parts of a message on, buffers are small for it."""


def server_alone(seen: Seen) -> Finding | None:
    """A server without clients of ours serves or waits for others."""
    if seen.window.swarm is not None:
        return None
    main, there = seen.window.main, seen.peers
    in_service = (seen.figures.requests_per_s or 0.0) * seen.cycle.work_s
    if there and seen.at_least("rate x service time", in_service, "count", HALF * there, RECORDER):
        each, of = units.format_duration(seen.cycle.work_s), units.counted(there, "connection")
        served = f"{min(round(in_service), there):,} of {of} on average"
        return Finding(Kind.SERVICE_TIME, f"each request takes {each} of service: the server serves {served}")
    seen.note("connections", there, "count", RECORDER)
    if seen.over:
        waited = (
            f"waited for requests from {units.counted(there, 'connection')}" if there else "had no connection"
        )
    elif main.connections_open:
        waited = f"waits for requests from {units.counted(main.connections_open, 'connection')}"
    else:
        waited = "has no connection"
    return Finding(Kind.CLIENTS, f"the server {waited}")


def think(seen: Seen) -> Finding | None:
    """Clients do not ask for most of the time."""
    cycle, swarm = seen.cycle, seen.window.swarm
    thought = f"clients think {units.format_duration(cycle.think_s)}"
    if swarm is None or not cycle.think_s:
        return None
    if cycle.service_s is None:
        seen.note("think time", cycle.think_s, "s", TUNING)
        if not seen.below("requests in flight", swarm.in_flight, "count", HALF * swarm.clients, RECORDER):
            return None
        return Finding(Kind.THINK_TIME, f"{thought}; no request was sent in that time")
    waits_s = cycle.wait_s + cycle.service_s
    seen.at_least("think time", cycle.think_s, "s", waits_s, TUNING)
    if not cycle.mostly_thinks:
        return None
    return Finding(Kind.THINK_TIME, f"{thought} and wait {units.format_duration(waits_s)}")


def buffers(seen: Seen) -> Finding | None:
    """Messages are much larger than the socket buffers that were asked for, and go through them in parts."""
    swarm, tuning = seen.window.swarm, seen.window.tuning
    if swarm is None or tuning.transport != "tcp":
        return None
    asked = [
        (option.effective, option.name)
        for role in seen.window.roles.values()
        for option in role.socket_options
        if option.name in ("SO_RCVBUF", "SO_SNDBUF") and option.requested and option.effective
    ]
    size_bytes, name = min(asked, default=(0, ""))
    reads = swarm.totals.reads / max(swarm.totals.responses, 1)
    if not size_bytes:
        return None
    if not seen.mostly_queues():
        return None
    least_bytes = PARTS * size_bytes
    if not seen.at_least("request", tuning.request_bytes, "bytes", least_bytes, TUNING):
        return None
    if not seen.at_least("reads per answer", reads, "count", PARTS, RECORDER):
        return None
    return Finding(
        Kind.SOCKET_BUFFERS,
        f"each answer takes {reads:,.0f} reads: {units.format_bytes(tuning.request_bytes)} go through "
        f"a buffer of {units.format_bytes(size_bytes)} ({name}) that is filled and emptied in turn",
    )


def service(seen: Seen) -> Finding | None:
    """Most of the latency is service that was asked for."""
    cycle, at_once = seen.cycle, in_service_at_once(seen.window)
    if not cycle.work_s:
        return None
    least_s = HALF * (cycle.service_s or 0.0)
    if not seen.at_least("service time asked for", cycle.work_s, "s", least_s, TUNING):
        return None
    seen.note("mean service time", cycle.service_s, "s", RECORDER)
    if cycle.service_s is None:
        each = units.format_duration(cycle.work_s)
        return Finding(Kind.SERVICE_TIME, f"each request takes {each} of service")
    more = _more(seen)
    if at_once and seen.in_flight >= at_once:
        more = "the server works on no more requests at a time"
    return Finding(
        Kind.SERVICE_TIME,
        f"{units.format_duration(cycle.work_s)} of the {units.format_duration(cycle.service_s)} "
        f"per request is service; {more}",
    )


def elsewhere(seen: Seen) -> Finding | None:
    """The server is not one of ours: clients wait for it, and what it does is known only with its process."""
    window, service_s = seen.window, seen.cycle.service_s
    if window.swarm is None or service_s is None:
        return None
    if window.server is not None and not window.experiment.own_server:
        return None
    seen.note("mean service time", service_s, "s", RECORDER)
    wait = f"clients wait {units.format_duration(service_s)} for each answer"
    if window.experiment.own_server:
        used = f"of {window.experiment.own_server}; {shares(seen.processes)} of a core"
        return Finding(
            Kind.SERVER, f"{wait} {used}: it is waiting for something itself, or for more requests"
        )
    ours = shares(process for process in seen.processes if process.name != TARGET)
    if (target := seen.target) is not None and target.cpu_ratio is not None:
        used = f"target {units.format_ratio(target.cpu_ratio)} of a core, {ours}"
        return Finding(
            Kind.SERVER, f"{wait}; {used}: it is waiting for something itself, or for more requests"
        )
    told = [f"{wait}, {ours}"]
    told += perhaps(seen)
    told.append("--pid shows what a server on this machine uses")
    return Finding(Kind.SERVER, "; ".join(told))


def latency(seen: Seen) -> Finding:
    """No rule holds: clients wait for their answers, and it is not known what for."""
    seen.note("mean service time", seen.cycle.service_s, "s", RECORDER)
    if seen.cycle.service_s is None:
        return Finding(Kind.NOT_KNOWN, not_asked(seen.window) or "nothing has been answered yet")
    for process in seen.serving:
        seen.note(f"{process.name}: runs or waits for a core", process.wanted_ratio, "ratio", WANTED)
    told = ["clients wait for their answers, and nothing is used up"]
    waiting = [p for p in seen.serving if (p.core_wait_ratio or 0.0) >= CORE_WAIT_RATIO]
    if full := [machine for machine in seen.short_of_cores(waiting) if is_full(machine)]:
        told = ["clients wait for their answers, and the server at times for a core"]
        told += short_told(full)
    told.append(_more(seen))
    return Finding(Kind.NOT_KNOWN if _is_busy(seen) else Kind.LATENCY, "; ".join(told))


def _is_busy(seen: Seen) -> bool:
    """Tell whether a process has so little time to spare that more requests might find it used up."""
    return any((process.wanted_ratio or 0.0) >= CPU_HIGH_RATIO for process in seen.serving)


def _more(seen: Seen) -> str:
    """Return that more clients would raise the rate, with what else that takes, or why they may not."""
    if _is_busy(seen):
        return f"{', '.join(map(share, seen.serving))}"
    tuning, swarm = seen.window.tuning, seen.window.swarm
    bounds = (
        (" and permits", tuning.permits), (" and connections of the pool", tuning.pool),
        (" and requests admitted at the server", tuning.server_permits),
    )  # fmt: skip
    at = [name for name, most in bounds if swarm is not None and 0 < most <= swarm.clients]
    return f"more clients{''.join(at)} would raise the rate"
