"""Why clients got no answer at all, with what can be done about it."""

from __future__ import annotations

from sockscope.core.addresses import format_address
from sockscope.core.run.snapshot import SILENT_S, STOPPED, RoleSnapshot, Snapshot
from sockscope.core.units import counted, format_bytes, format_count, format_duration
from sockscope.core.wire.dialogue import FAULT

UNDERSTOOD = "does it understand the requests? (--request, --framing)"
LATE_RATIO = 0.05
"""From this share of the timeouts on, answers that come later are worth a word."""


def why_unanswered(snapshot: Snapshot) -> str:
    """Return why no request of a run was answered, the nearest cause that is known; it may be what to ask."""
    swarm, server, tuning = snapshot.main, snapshot.server, snapshot.experiment.tuning
    totals = swarm.totals
    own, elsewhere = bool(snapshot.experiment.own_server), snapshot.experiment.role == "swarm"
    if server is not None and (raised := _raised(server)):
        return raised
    if totals.connections_refused and not totals.bytes_in:
        tried = " nor at ".join(map(format_address, snapshot.experiment.targets))
        return f"nobody listens at {tried}" if elsewhere else swarm.last_trouble
    if stopped := next((p for p in snapshot.processes if p.state == STOPPED), None):
        return f"{stopped.name} process {stopped.pid} is stopped (SIGSTOP, a debugger)"
    if silent := next((p for p in snapshot.processes if p.silent_s >= SILENT_S), None):
        since = format_duration(silent.silent_s)
        return f"{silent.name} process {silent.pid} has not answered for {since}: something holds up its loop"
    if not totals.requests:
        return swarm.last_trouble or not_asked(snapshot) or _none_made(snapshot)
    if not (own or elsewhere):
        timeout = format_duration(tuning.request_timeout_s)
        if tuning.service_time_s >= tuning.request_timeout_s and totals.timeouts:
            return f"the service time is {format_duration(tuning.service_time_s)}, the timeout {timeout}"
        return swarm.last_trouble or "the run ended before the first answer"
    if totals.unexpected and tuning.transport == "tcp" and snapshot.experiment.unasked == FAULT:
        # Which ends a connection, with a word on what came.
        return swarm.last_trouble
    if totals.answers_rejected:
        return f"the server answers, but {swarm.last_trouble}"
    if came := what_came(snapshot):
        return came
    if totals.connections_closed and swarm.last_trouble not in ("", "timeout"):
        return f"connections end before the first byte of an answer: {swarm.last_trouble}"
    if swarm.backlog >= max(swarm.connections_open, 1):
        return f"the server does not accept: {connections_wait(swarm.backlog)} in its backlog"
    if totals.datagrams_held * 2 > totals.requests:
        return f"the server does not read: {counted(totals.datagrams_held, 'request')} found its queue full"
    return nothing_came(snapshot)


def nothing_came(snapshot: Snapshot) -> str:
    """Return that nothing came for requests, in the time that they had, and what to ask oneself."""
    heard = snapshot.main.last_answer_s
    doubt = "?" if heard else f", or {UNDERSTOOD}"
    if not snapshot.main.totals.timeouts:
        return "the server sent nothing since" if heard else f"the server sent nothing; {UNDERSTOOD}"
    within = format_duration(snapshot.tuning.request_timeout_s)
    return f"the server sent nothing within {within} (--timeout); is it slower{doubt}"


def not_asked(snapshot: Snapshot) -> str:
    """Return what clients that are connected wait for before they ask anything, or nothing."""
    totals, experiment = snapshot.main.totals, snapshot.experiment
    first = [f"--{key}" for key in ("greeting", "preamble") if experiment.value(key)]
    if totals.requests or not totals.connections_opened or not first:
        return ""
    words = "greeting" if first[0] == "--greeting" else "answer to a preamble"
    return f"nothing has been asked yet: no {words} of the server is whole ({', '.join(first)})"


def _none_made(snapshot: Snapshot) -> str:
    """Return why the figures have no request, though nothing went wrong."""
    if not snapshot.main.connections_open:
        return "the run ended before a client was connected"
    if snapshot.experiment.warmup_s:
        return "none was made after the warm-up, which the figures leave out (--warmup)"
    return "the run ended before a client asked"


def what_came(snapshot: Snapshot) -> str:
    """Return what came for the requests that were not answered, and the cure; empty when nothing did."""
    totals = snapshot.main.totals
    if snapshot.tuning.transport == "tcp":
        if totals.responses or not totals.bytes_in:
            return ""
        came = f"{format_bytes(totals.bytes_in)} arrived, but no whole answer"
        if totals.timeouts:
            came += f" within {format_duration(snapshot.tuning.request_timeout_s)} (--timeout)"
        if not (ends := snapshot.experiment.ends):
            return f"{came}; how does one end? (--as, --framing, --until, --expect)"
        if totals.errors and (trouble := snapshot.main.last_trouble):
            return f"{came}: {trouble}"
        return f"{came}; does one end as --{ends[0].replace('_', '-')} says?"
    if totals.datagrams_late and totals.datagrams_late >= LATE_RATIO * totals.timeouts:
        return f"{counted(totals.datagrams_late, 'answer')} arrived after the timeout (--timeout)"
    if totals.unexpected and totals.unexpected >= totals.timeouts / 2:
        came = "1 datagram arrived that is not an answer"
        if totals.unexpected > 1:
            came = f"{format_count(totals.unexpected)} datagrams arrived that are not answers"
        return f"{came}: over {snapshot.tuning.carrier} a server must echo each request"
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
