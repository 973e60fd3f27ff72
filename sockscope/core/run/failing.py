"""Rules of the verdict for a run that stands still, and for requests that fail at once."""

from __future__ import annotations

from sockscope.core import units
from sockscope.core.config.tuning import Tuning
from sockscope.core.roles import SERVER
from sockscope.core.run.connecting import lower_first
from sockscope.core.run.evidence import FAILING_RATIO, HALF, PROCESS_STATE, RECORDER, Finding, Seen
from sockscope.core.run.kinds import Kind
from sockscope.core.run.snapshot import LOST, SILENT_S, STOPPED, TARGET, UNDIVIDED, RunState
from sockscope.core.run.unanswered import connections_wait

# Nothing goes on.


def not_running(seen: Seen) -> Finding | None:
    """The run is paused, or does not go on."""
    state = seen.window.state
    if state is RunState.RUNNING:
        return None
    seen.note("state of the run", state.value, "", "engine")
    if state is RunState.PAUSED:
        return Finding(Kind.PAUSED, "the traffic is paused; p resumes it")
    return Finding(Kind.RUN, f"the run is {state.value}")


def dead(seen: Seen) -> Finding | None:
    """A process of the run has ended."""
    for process in seen.processes:
        if process.name == TARGET and seen.window.main.totals.responses:
            continue  # somebody else answers there
        if process.state == LOST:
            continue  # others have its part
        if not process.alive:
            seen.note(f"{process.name}: state", process.state, "", PROCESS_STATE)
            kind, remedy = Kind.PROCESS, "turn any knob to start it again"
            if process.state == UNDIVIDED:
                return Finding(
                    kind, f"{process.name} process {process.pid} is {UNDIVIDED} until it is divided anew"
                )
            if process.name == TARGET:
                kind, remedy = (
                    Kind.SERVER_GONE,
                    "clients keep trying to connect until something listens there",
                )
            return Finding(kind, f"{process.name} process {process.pid} {process.state}; {remedy}")
    return None


def stopped(seen: Seen) -> Finding | None:
    """A process of the run is stopped."""
    for process in seen.processes:
        if process.state == STOPPED:
            seen.note(f"{process.name}: state", process.state, "", PROCESS_STATE)
            who = f"{process.name} process {process.pid}"
            return Finding(
                Kind.PROCESS,
                f"{who} is stopped (SIGSTOP, a debugger): it answers nothing until it is resumed",
            )
    return None


def silent(seen: Seen) -> Finding | None:
    """A child process does not answer."""
    for process in seen.processes:
        name = f"{process.name}: without an answer for"
        if process.silent_s and seen.at_least(name, process.silent_s, "s", SILENT_S, "channel to the child"):
            since = units.format_duration(process.silent_s)
            text = f"{process.name} process {process.pid} has not answered for {since}"
            why = "something is blocking its loop"
            if process.worker:
                why = "its loop is blocked, or its worker or the way there is held up"
            told = f"{text}: {why}, and its figures are old"
            return Finding(Kind.BLOCKED_LOOP, told)
    return None


# Requests fail.


def raised(seen: Seen) -> Finding | None:
    """The user's own code raises."""
    server, answers = seen.window.server, seen.window.main.totals.responses
    rows = [row for row in server.raised if row.count] if server is not None else []
    if not rows:
        return None
    count = sum(row.count for row in rows)
    # One that cost no request, as of a task in the background, limits nothing where answers come.
    least = 2.0 if answers and not seen.window.main.totals.failed else 1.0
    if not seen.at_least("exceptions raised", count, "count", max(FAILING_RATIO * answers, least), RECORDER):
        return None
    most = max(rows, key=lambda row: row.count)
    others = f", and {units.counted(len(rows) - 1, 'other place')}" if len(rows) > 1 else ""
    times = f"{most.count:,} times" if most.count > 1 else "once"
    where = f" at {most.where}" if most.where else ""
    return Finding(Kind.OWN_CODE, f"{most.what}{where}, {times}{others}: {most.message or 'no message'}")


def not_accepting(seen: Seen) -> Finding | None:
    """The server has no descriptors left."""
    server = seen.window.server
    if server is None or not server.not_accepting:
        return None
    seen.note("the server has stopped accepting", server.not_accepting, "", "accept(2)")
    for process in seen.window.processes:
        if SERVER in process.roles:
            used = process.resources
            seen.note(f"{process.name}: descriptors open", used.descriptors, "count", "/proc/PID/fd")
            seen.note(f"{process.name}: descriptors at most", used.descriptor_limit, "count", "RLIMIT_NOFILE")
    waiting = f"; {connections_wait(server.backlog)} in its backlog" if server.backlog else ""
    cure = "raise the limit (ulimit -n)"
    if seen.window.swarm is not None:
        cure += " or use fewer clients"
    return Finding(
        Kind.DESCRIPTORS, f"the server has stopped accepting: {server.not_accepting}{waiting}; {cure}"
    )


def not_accepted(seen: Seen) -> Finding | None:
    """The server answers, but most of what fails does so because its answers are not what was asked for."""
    totals = seen.window.main.totals
    count, ended = totals.answers_rejected, totals.responses + totals.failed
    if not count:
        return None
    if not seen.at_least("answers rejected", count / ended, "ratio", FAILING_RATIO, RECORDER):
        return None
    if not seen.at_least("of all that failed", count / totals.failed, "ratio", HALF, RECORDER):
        return None
    share = units.format_ratio(count / (totals.responses + count))
    why = seen.window.main.last_trouble
    return Finding(Kind.ANSWERS, f"the server answers, but {share} of its answers are rejected: {why}")


def errors(seen: Seen) -> Finding | None:
    """Requests fail for another reason than that they take too long, or clients do little but try again."""
    swarm, main = seen.window.swarm, seen.window.main
    totals = main.totals
    ended = totals.responses + totals.failed
    why = f": {lower_first(main.last_trouble)}" if main.last_trouble else ""
    if swarm is None and not why:
        why = _what_peers_do(seen.window.tuning)
    failing = totals.errors / ended if ended else 0.0
    if seen.at_least("requests that fail", failing, "ratio", FAILING_RATIO, RECORDER):
        return Finding(Kind.ERRORS, f"{units.format_ratio(failing)} of the requests fail{why}")
    if swarm is None or not totals.errors or not swarm.clients_retrying:
        return None
    if seen.at_least("clients backing off", swarm.clients_retrying, "count", HALF * swarm.clients, RECORDER):
        who = f"{swarm.clients_retrying:,} of {swarm.clients:,} clients"
        return Finding(Kind.ERRORS, f"{who} are backing off after a failed request{why}")
    return None


def _what_peers_do(tuning: Tuning) -> str:
    """Return why a server of ours counts an error, as the end of a sentence."""
    if tuning.transport == "udp":
        return ": answers cannot be sent to where the requests claim to come from"
    return f": what peers send is not a frame (--framing {tuning.framing})"
