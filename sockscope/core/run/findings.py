"""What limits a run: rules that turn a window of it into one sentence with the evidence.

A closed loop always has a limit: something that everybody waits for. The rules are tried in order and the
first that holds speaks; each names the figures it stands on.
"""

from __future__ import annotations

from dataclasses import dataclass

from sockscope.core import units
from sockscope.core.config.models import server_model
from sockscope.core.run.figures import Figures, ProcessFigures, figures, machine_ratio, process_figures
from sockscope.core.run.snapshot import TARGET, RunState, Snapshot

CPU_FULL_RATIO = 0.93
"""From this share of one core on, the loop's CPU is the limit."""
MACHINE_FULL_RATIO = 0.95
"""From this share of all cores on, the machine is the limit of several processes."""
ONE_IN_SERVICE = (0.6, 1.1)
"""Requests in service, on average, at a server that never has more than one: this much of its time."""
OTHERS_RATIO = 0.1
"""From this share of a core on, other programs are worth a word."""
SILENT_S = 1.0
"""A process that has not answered for so long is held up by something."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What limits the run: a word, and the sentence with the evidence.

    ``who`` names the processes that are at the limit of a core (``server``, ``clients 2``, ...), or
    ``machine``; it is empty for any other limit.
    """

    limit: str
    text: str
    who: tuple[str, ...] = ()


def limit_of(window: Snapshot) -> Finding:
    """Return what limits the run in a window of it."""
    shown = figures(window)
    for rule in (
        _not_running,
        _dead,
        _silent,
        _not_accepting,
        _no_server,
        _backlog,
        _timeouts,
        _cpu,
        _held_up,
        _admission,
        _permits,
        _pool,
        _server_alone,
        _service,
        _think,
    ):
        if (finding := rule(window, shown)) is not None:
            return finding
    return Finding("latency", "each client waits for its own answer; more clients would raise the rate")


def _not_running(window: Snapshot, _: Figures) -> Finding | None:
    if window.state is RunState.PAUSED:
        return Finding("paused", "the traffic is paused; p lets it go on")
    if window.state is not RunState.RUNNING:
        return Finding("run", f"the run is {window.state.value}")
    return None


def _dead(window: Snapshot, _: Figures) -> Finding | None:
    for process in process_figures(window):
        if process.name == TARGET and window.main.totals.responses:
            continue  # somebody else answers there
        if not process.alive:
            remedy = "turning any knob starts it anew"
            if process.name == TARGET:
                remedy = "clients without a connection try again until something listens there"
            return Finding("process", f"{process.name} process {process.pid} {process.state}; {remedy}")
    return None


def _silent(window: Snapshot, _: Figures) -> Finding | None:
    for process in process_figures(window):
        if process.silent_s >= SILENT_S:
            since = units.format_duration(process.silent_s)
            text = f"{process.name} process {process.pid} has not answered for {since}"
            return Finding("blocked", f"{text}: something holds up its loop, and its figures are of before")
    return None


def _not_accepting(window: Snapshot, _: Figures) -> Finding | None:
    server = window.server
    if server is None or not server.not_accepting:
        return None
    waiting = f"; {server.backlog:,} connections wait in its backlog" if server.backlog else ""
    return Finding(
        "descriptors",
        f"the server accepts nobody for now: {server.not_accepting}{waiting}; "
        "raise the limit (ulimit -n), or let fewer connect",
    )


def _no_server(window: Snapshot, _: Figures) -> Finding | None:
    swarm = window.swarm
    if swarm is None or not swarm.clients_retrying:
        return None
    of, who = swarm.clients, "clients have no connection and try again"
    if window.tuning.pool:
        of, who = window.tuning.connections, "connections of the pool are not there and tried again"
    return Finding("server", f"{swarm.clients_retrying:,} of {of:,} {who}: {swarm.last_trouble.lower()}")


def _backlog(window: Snapshot, _: Figures) -> Finding | None:
    server, swarm = window.server, window.swarm
    if server is None or swarm is None or window.experiment.own_server:
        return None
    model = server_model(window.tuning.transport, window.tuning.server)
    if model is None or not model.at_once or window.tuning.transport != "tcp":
        return None
    # Whom the kernel has connected and the server has not accepted yet.
    waiting = swarm.connections_open - server.connections_open
    if waiting <= 0 or swarm.connections_open <= model.at_once * window.tuning.server_processes:
        return None
    served, ends = "one connection", "that one ends"
    if model.at_once > 1:
        served, ends = f"{model.at_once:,} connections", "one of those ends"
    return Finding(
        "server",
        f"{model.name} serves {served} at a time; {waiting:,} of {swarm.connections_open:,} "
        f"wait in its backlog until {ends}",
    )


def _timeouts(window: Snapshot, _: Figures) -> Finding | None:
    totals = window.main.totals
    if not totals.timeouts or totals.timeouts * 20 < totals.requests:
        return None
    share = units.format_ratio(totals.timeouts / max(1, totals.requests))
    return Finding(
        "timeouts",
        f"{share} of the requests time out after {units.format_duration(window.tuning.request_timeout_s)}",
    )


def _cpu(window: Snapshot, shown: Figures) -> Finding | None:
    if len(window.processes) > 1:
        return _cpu_of_several(window)
    if shown.cpu_ratio is None or shown.cpu_ratio < CPU_FULL_RATIO:
        return None
    who = "server, clients and screen share it" if window.swarm and window.server else "one loop runs on it"
    waits = ""
    if (
        window.swarm is not None
        and shown.p50_s is not None
        and window.tuning.service_time_s < shown.p50_s / 2
    ):
        waits = f"; the latency is {window.swarm.in_flight:,} requests queueing for the loop"
    return Finding("CPU", f"{units.format_ratio(shown.cpu_ratio)} of one core; {who}{waits}", ("main",))


def _cpu_of_several(window: Snapshot) -> Finding | None:
    """Name the processes that need a core of their own for themselves, or the machine, which has no more."""
    processes = [p for p in process_figures(window) if p.cpu_ratio is not None]
    full = [p for p in processes if (p.cpu_ratio or 0.0) >= CPU_FULL_RATIO]
    rest = [p for p in processes if p not in full]
    taken = machine_ratio(window)
    cores = window.resources.machine_cores
    machine = ""
    if taken is not None and taken >= MACHINE_FULL_RATIO:
        foreign = taken * cores - sum(p.cpu_ratio or 0.0 for p in processes)
        told = (
            f", {units.format_ratio(foreign)} of a core by other programs" if foreign >= OTHERS_RATIO else ""
        )
        machine = f"{units.format_ratio(taken)} of all {cores} cores are taken{told}"
    if full:
        others = "; ".join(part for part in (_shares(rest), machine) if part)
        after = f"; {others}" if others else ""
        return Finding("CPU", f"{_shares(full)} of one core{after}", tuple(p.name for p in full))
    if machine:
        return Finding("CPU", f"{machine}: {_shares(processes)}", ("machine",))
    return None


def _shares(processes: list[ProcessFigures]) -> str:
    return ", ".join(f"{p.name} {units.format_ratio(p.cpu_ratio)}" for p in processes)


def _held_up(window: Snapshot, shown: Figures) -> Finding | None:
    """Requests that hold up all the others: each takes its service time of the one loop there is.

    The mean number in service is rate times service time (Little's law). A server that sleeps or computes in
    its only loop never has more than one there, however many are in flight; threads that sleep have.
    """
    tuning, rate = window.tuning, shown.requests_per_s
    # What a user's own server does with a request is not in the tuning.
    if window.swarm is None or window.server is None or rate is None or window.experiment.own_server:
        return None
    model = server_model(tuning.transport, tuning.server)
    if tuning.work == "wait" and (model is None or model.at_once != 1):
        return None
    in_service = rate * tuning.service_time_s / tuning.server_processes
    if not ONE_IN_SERVICE[0] <= in_service <= ONE_IN_SERVICE[1] or window.swarm.in_flight < 2:
        return None
    return Finding(
        "blocked",
        f"each request holds up all the others for {units.format_duration(tuning.service_time_s)}: "
        f"{units.format_count(rate)} per second take {units.format_ratio(min(in_service, 1.0))} "
        "of the server's time",
    )


def _admission(window: Snapshot, _: Figures) -> Finding | None:
    # Before the clients' permits: while requests wait at the server, more of them in flight only wait longer.
    if window.server is None:
        return None
    limiter = window.server.limiter
    full = limiter.permits and limiter.waiting and limiter.in_flight >= limiter.permits
    if not full or limiter.waited * 2 < limiter.acquired:
        return None
    each = f", {units.format_duration(limiter.wait_s / limiter.waited)} each" if limiter.waited else ""
    return Finding(
        "admission",
        f"{limiter.in_flight:,} of {limiter.permits:,} requests in service at the server, "
        f"{limiter.waiting:,} wait to be admitted{each}",
    )


def _permits(window: Snapshot, shown: Figures) -> Finding | None:
    if window.swarm is None:
        return None
    limiter = window.swarm.limiter
    if not limiter.permits or not limiter.waiting or limiter.in_flight < limiter.permits:
        return None
    each = f", {units.format_duration(shown.wait_s)} each" if shown.wait_s is not None else ""
    return Finding(
        "semaphore",
        f"{limiter.in_flight:,} of {limiter.permits:,} permits in flight, "
        f"{limiter.waiting:,} clients waiting{each}",
    )


def _pool(window: Snapshot, _: Figures) -> Finding | None:
    if window.swarm is None:
        return None
    pool = window.swarm.pool
    if not pool.permits or not pool.waiting or pool.in_flight < pool.permits:
        return None
    each = f", {units.format_duration(pool.wait_s / pool.waited)} each" if pool.waited else ""
    return Finding(
        "pool",
        f"{pool.in_flight:,} of {pool.permits:,} connections of the pool taken, "
        f"{pool.waiting:,} clients waiting{each}",
    )


def _server_alone(window: Snapshot, _: Figures) -> Finding | None:
    if window.swarm is not None:
        return None
    return Finding(
        "clients", f"the server waits for requests of {window.main.connections_open:,} connections"
    )


def _service(window: Snapshot, shown: Figures) -> Finding | None:
    tuning = window.tuning
    if window.server is None or window.experiment.own_server or shown.p50_s is None:
        return None
    if tuning.service_time_s < shown.p50_s / 2:
        return None
    return Finding(
        "service time",
        f"{units.format_duration(tuning.service_time_s)} of the {units.format_duration(shown.p50_s)} "
        "per request is service; more clients would raise the rate",
    )


def _think(window: Snapshot, shown: Figures) -> Finding | None:
    tuning = window.tuning
    if shown.p50_s is None or tuning.think_time_s < shown.p50_s:
        return None
    return Finding(
        "think time",
        f"clients think {units.format_duration(tuning.think_time_s)} "
        f"and wait {units.format_duration(shown.p50_s)}",
    )
