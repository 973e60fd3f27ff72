"""Why clients got no answer at all, with what can be done about it."""

from __future__ import annotations

from sockscope.core.run.snapshot import STOPPED, RoleSnapshot, Snapshot
from sockscope.core.units import format_bytes, format_count, format_duration


def why_unanswered(snapshot: Snapshot) -> str:
    """Return why no request of a run was answered, the nearest cause that is known; it may be what to ask."""
    swarm, server, tuning = snapshot.main, snapshot.server, snapshot.experiment.tuning
    totals = swarm.totals
    own, elsewhere = bool(snapshot.experiment.own_server), snapshot.experiment.role == "swarm"
    if server is not None and (raised := _raised(server)):
        return raised
    if totals.connections_refused and not totals.bytes_in:
        return f"nobody listens at {swarm.address}" if elsewhere else swarm.last_trouble
    if stopped := next((p for p in snapshot.processes if p.state == STOPPED), None):
        return f"{stopped.name} process {stopped.pid} is stopped (SIGSTOP, a debugger)"
    if not totals.requests:
        return swarm.last_trouble or "the run ended before a client was connected"
    if not (own or elsewhere):
        timeout = format_duration(tuning.request_timeout_s)
        if tuning.service_time_s >= tuning.request_timeout_s and totals.timeouts:
            return f"the service time is {format_duration(tuning.service_time_s)}, the timeout {timeout}"
        return swarm.last_trouble or "the run ended before the first answer"
    if totals.bytes_in:
        return (
            f"{format_bytes(totals.bytes_in)} came, but no whole answer; what tells the end of one? "
            "(--framing, --until, --expect)"
        )
    if swarm.backlog >= max(swarm.connections_open, 1):
        return f"the server does not accept: {format_count(swarm.backlog)} connections wait in its backlog"
    if totals.connections_closed and swarm.last_trouble != "timeout":
        return f"connections end ({swarm.last_trouble}) before a byte of an answer"
    return "the server sent nothing; does it understand what is asked? (--request, --framing)"


def _raised(server: RoleSnapshot) -> str:
    """Return what the user's own server raised most often, or nothing."""
    if not server.raised:
        return ""
    one = max(server.raised, key=lambda raised: raised.count)
    times = "once" if one.count == 1 else f"{format_count(one.count)} times"
    message = f": {one.message}" if one.message else ""
    return f"the server raised {one.what} at {one.where} {times}{message}" if one.count else ""
