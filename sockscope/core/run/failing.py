"""Rules of the verdict for a run that stands still, or whose requests fail or cannot be made."""

from __future__ import annotations

from sockscope.core import units
from sockscope.core.config.experiment import Tuning
from sockscope.core.config.models import FD_SETSIZE
from sockscope.core.run.cycle import model_of
from sockscope.core.run.evidence import FAILING_RATIO, HALF, Finding, Rule, Seen
from sockscope.core.run.snapshot import STOPPED, TARGET, RunState
from sockscope.core.run.unanswered import connections_wait

SILENT_S = 1.0
"""A process that has not answered for so long is held up by something."""


# Nothing goes on.


def not_running(seen: Seen) -> Finding | None:
    """The run is paused, or does not go on."""
    state = seen.window.state
    if state is RunState.PAUSED:
        return Finding("paused", "the traffic is paused; p lets it go on")
    if state is not RunState.RUNNING:
        return Finding("run", f"the run is {state.value}")
    return None


def _dead(seen: Seen) -> Finding | None:
    for process in seen.processes:
        if process.name == TARGET and seen.window.main.totals.responses:
            continue  # somebody else answers there
        if not process.alive:
            remedy = "turning any knob starts it anew"
            if process.name == TARGET:
                remedy = "clients keep trying to connect until something listens there"
            return Finding("process", f"{process.name} process {process.pid} {process.state}; {remedy}")
    return None


def _stopped(seen: Seen) -> Finding | None:
    for process in seen.processes:
        if process.state == STOPPED:
            who = f"{process.name} process {process.pid}"
            return Finding(
                "process", f"{who} is stopped (SIGSTOP, a debugger): it answers nothing until it goes on"
            )
    return None


def _silent(seen: Seen) -> Finding | None:
    for process in seen.processes:
        if process.silent_s >= SILENT_S:
            since = units.format_duration(process.silent_s)
            text = f"{process.name} process {process.pid} has not answered for {since}"
            return Finding("blocked", f"{text}: something holds up its loop, and its figures are from before")
    return None


# Requests fail, or cannot be made.


def raised(seen: Seen) -> Finding | None:
    """The user's own code raises."""
    server = seen.window.server
    rows = [row for row in server.raised if row.count] if server is not None else []
    if not rows or sum(row.count for row in rows) < FAILING_RATIO * seen.window.main.totals.responses:
        return None
    most = max(rows, key=lambda row: row.count)
    others = f", and {units.counted(len(rows) - 1, 'other place')}" if len(rows) > 1 else ""
    times = f"{most.count:,} times" if most.count > 1 else "once"
    where = f" at {most.where}" if most.where else ""
    return Finding("own code", f"{most.what}{where}, {times}{others}: {most.message or 'no message'}")


def not_accepting(seen: Seen) -> Finding | None:
    """The server has no descriptors left."""
    server = seen.window.server
    if server is None or not server.not_accepting:
        return None
    waiting = f"; {connections_wait(server.backlog)} in its backlog" if server.backlog else ""
    return Finding(
        "descriptors",
        f"the server has stopped accepting: {server.not_accepting}{waiting}; "
        "raise the limit (ulimit -n) or use fewer clients",
    )


def no_connection(seen: Seen) -> Finding | None:
    """Clients cannot connect; those that try again because their request failed are not meant."""
    swarm = seen.window.swarm
    if swarm is None or not swarm.clients_retrying:
        return None
    totals = swarm.totals
    unmade = totals.connections_refused + totals.connections_timed_out + totals.connections_failed
    if totals.failed > unmade or swarm.clients_retrying < FAILING_RATIO * swarm.clients:
        return None
    of, who = swarm.clients, "clients have no connection and keep trying"
    if seen.window.tuning.pool:
        of, who = seen.window.tuning.connections, "connections of the pool are missing and being retried"
    return Finding(
        "server", f"{swarm.clients_retrying:,} of {of:,} {who}: {_lower_first(swarm.last_trouble)}"
    )


def served_few(seen: Seen) -> Finding | None:
    """Connections wait in the backlog of a model that serves a limited number of them at a time."""
    window, model = seen.window, model_of(seen.window)
    server, swarm = window.server, window.swarm
    if server is None or model is None or not model.at_once or window.tuning.transport != "tcp":
        return None
    if swarm is None:
        waiting, connected = server.backlog, server.backlog + server.connections_open
    else:
        # Whom the kernel has connected and the server has not accepted yet.
        waiting, connected = swarm.connections_open - server.connections_open, swarm.connections_open
    if waiting <= 0 or connected <= model.at_once * window.tuning.server_processes:
        return None
    served, ends = "one connection", "that one ends"
    if model.at_once > 1:
        served, ends = f"{model.at_once:,} connections", "one of those ends"
    return Finding(
        "server",
        f"{model.name} serves {served} at a time; {waiting:,} of {connected:,} "
        f"{'waits' if waiting == 1 else 'wait'} in its backlog until {ends}",
    )


def rejected(seen: Seen) -> Finding | None:
    """The server holds as many connections as it may, and closes or leaves unanswered whoever comes."""
    window, server, swarm = seen.window, seen.window.server, seen.window.swarm
    turned_away = server.totals.connections_rejected if server is not None else 0
    if server is None or not turned_away:
        return None
    without = swarm is not None and swarm.clients_retrying >= FAILING_RATIO * swarm.clients
    if swarm is not None and window.tuning.transport == "udp":
        waited_s = turned_away * window.tuning.request_timeout_s
        without = waited_s >= FAILING_RATIO * swarm.clients * window.measured_s
    if turned_away < FAILING_RATIO * window.main.totals.responses and not without:
        return None
    model, most = model_of(window), window.experiment.max_connections
    if window.tuning.transport == "udp":
        told = f"the server remembers {units.counted(most, 'peer')} at most (--max-connections)"
        left = units.counted(turned_away, "datagram")
        return Finding("connections", f"{told}; it has left {left} of others unanswered")
    told = f"the server holds {units.counted(most, 'connection')} at most (--max-connections); it"
    if model is not None and model.mechanism == "select" and most >= FD_SETSIZE:
        told = f"select(2) takes no descriptor from {FD_SETSIZE:,} on (FD_SETSIZE); the server"
    return Finding("connections", f"{told} has closed {turned_away:,} more on arrival")


def errors(seen: Seen) -> Finding | None:
    """Requests fail for another reason than that they take too long, or clients do little but try again."""
    swarm, main = seen.window.swarm, seen.window.main
    totals = main.totals
    ended = totals.responses + totals.failed
    why = f": {_lower_first(main.last_trouble)}" if main.last_trouble else ""
    if swarm is None and not why:
        why = _what_peers_do(seen.window.tuning)
    if totals.errors and totals.errors >= FAILING_RATIO * ended:
        return Finding("errors", f"{units.format_ratio(totals.errors / ended)} of the requests fail{why}")
    if swarm is None:
        return None
    if totals.errors and swarm.clients_retrying and swarm.clients_retrying >= HALF * swarm.clients:
        who = f"{swarm.clients_retrying:,} of {swarm.clients:,} clients"
        return Finding("errors", f"{who} are backing off after a failed request{why}")
    return None


def _what_peers_do(tuning: Tuning) -> str:
    """Return why a server of ours counts an error, as the end of a sentence."""
    if tuning.transport == "udp":
        return ": answers cannot be sent to where they claim to come from"
    return f": peers send what is no frame (--framing {tuning.framing})"


def _lower_first(text: str) -> str:
    """Return a message as the end of a sentence; names of exceptions stay as they are."""
    return (
        text[:1].lower() + text[1:] if text[1:2].islower() and "Error" not in text.split(" ", 1)[0] else text
    )


PROCESSES: tuple[Rule, ...] = (_dead, _stopped, _silent)
