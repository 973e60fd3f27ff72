"""Why clients got no answer at all, with what can be done about it."""

from __future__ import annotations

from sockscope.core.run.snapshot import STOPPED, RoleSnapshot, Snapshot
from sockscope.core.units import counted, format_bytes, format_count, format_duration


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
    if came := what_came(snapshot):
        return came
    if swarm.backlog >= max(swarm.connections_open, 1):
        return f"the server does not accept: {connections_wait(swarm.backlog)} in its backlog"
    if totals.connections_closed and swarm.last_trouble != "timeout":
        return f"connections end before a byte of an answer: {swarm.last_trouble}"
    return "the server sent nothing; does it understand what is asked? (--request, --framing)"


def what_came(snapshot: Snapshot) -> str:
    """Return what came for the requests that were not answered, and the cure; empty when nothing did."""
    totals = snapshot.main.totals
    if snapshot.tuning.transport == "tcp":
        if totals.responses or not totals.bytes_in:
            return ""
        came = f"{format_bytes(totals.bytes_in)} came, but no whole answer"
        return f"{came}; what tells the end of one? (--framing, --until, --expect)"
    if totals.datagrams_late and totals.datagrams_late >= totals.timeouts / 2:
        return f"{counted(totals.datagrams_late, 'answer')} came after the timeout (--timeout)"
    if totals.unexpected and totals.unexpected >= totals.timeouts / 2:
        came = "1 datagram that is no answer came"
        if totals.unexpected > 1:
            came = f"{format_count(totals.unexpected)} datagrams that are no answers came"
        return f"{came}: over UDP a server sends each request back as it is"
    return ""


def connections_wait(count: int) -> str:
    """Return the beginning of a sentence on connections that are not accepted."""
    return f"{counted(count, 'connection')} {'waits' if count == 1 else 'wait'}"


def _raised(server: RoleSnapshot) -> str:
    """Return what the user's own server raised most often, or nothing."""
    if not server.raised:
        return ""
    one = max(server.raised, key=lambda raised: raised.count)
    times = "once" if one.count == 1 else f"{format_count(one.count)} times"
    message = f": {one.message}" if one.message else ""
    return f"the server raised {one.what} at {one.where} {times}{message}" if one.count else ""
