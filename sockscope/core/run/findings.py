"""What limits a run: rules that turn a window of it into one sentence with the evidence.

A closed loop always has a limit: something that everybody waits for. The rules go from what keeps requests
from being answered at all, over what is used up (a core, a server that works on one request at a time,
admission, permits, a pool), to what most of a client's time goes to while nothing is used up. The first that
holds speaks; each names the figures it stands on.
"""

from __future__ import annotations

import math

from sockscope.core import units
from sockscope.core.run.cycle import in_service_at_once, model_of, serves_in_order
from sockscope.core.run.evidence import (
    CORE_WAIT_RATIO,
    FAILING_RATIO,
    HALF,
    Finding,
    Rule,
    Seen,
    first,
    machine_told,
    share,
    shares,
)
from sockscope.core.run.failing import (
    PROCESSES,
    errors,
    no_connection,
    not_accepting,
    not_running,
    raised,
    rejected,
    served_few,
)
from sockscope.core.run.figures import UNANSWERED_S, ProcessFigures, figures
from sockscope.core.run.held import admission, permits, pool
from sockscope.core.run.little import accounted_ratio
from sockscope.core.run.longest import buffers, server_alone, think
from sockscope.core.run.snapshot import TARGET, RunState, Snapshot, Totals
from sockscope.core.run.unanswered import connections_wait, what_came

__all__ = ["Finding", "limit_of", "limit_of_run"]

CPU_FULL_RATIO = 0.93
"""From this share of one core on, running or waiting for it, a process is the limit."""
CPU_HIGH_RATIO = 0.7
"""From this share on, processes are the limit if requests queue for nothing else: several take turns (one
works while the other waits for it), and one rests while all requests are in service."""
OCCUPIED_RATIO = 0.9
"""From this share of its time on, a server that works on one request at a time is occupied."""
POSSIBLE_RATIO = 1.1
"""More than this share of its time no server can spend: the rate is that of another tuning, just left."""
STUCK_RATIO = 0.6
"""From this share of the time on, a loop is held up nearly always: what lasts a few milliseconds at most is
not seen."""
HELD_UP_RATIO = 0.2
"""From this share of the time on, a loop that does not get to its next turn is worth the sentence."""
STAYING = 2
"""Fewer new connections than this times the backlog: who is in it stays there for a while."""
DELAYED_ACK_S = 0.04
"""After so long Linux acknowledges data that it has not answered (TCP_DELACK_MIN); Nagle waits for that."""
QUEUEING = 8
"""So many requests in flight and more keep every process busy that has something to do."""


def screen_limit(dropped: int, pictures: int) -> Finding | None:
    """Return that the terminal does not keep up, when it has not taken half of the last ``pictures``."""
    if dropped * 2 < pictures:
        return None
    text = f"the terminal has not taken {dropped} of the last {pictures} pictures; the traffic is not held up"
    return Finding("screen", text)


def limit_of(window: Snapshot) -> Finding:
    """Return what limits the run in a window of it."""
    seen = Seen(window)
    return first(seen, (not_running, *PROCESSES, *_TRAFFIC)) or _latency(seen)


def limit_of_run(end: Snapshot) -> Finding:
    """Return what limited a run as a whole, or has limited it so far; ``end`` covers all of it."""
    if end.state is RunState.FAILED:
        return Finding("run", f"the run failed: {end.error}")
    if end.state is RunState.PAUSED:
        return limit_of(end)
    seen = Seen(end, over=end.state is not RunState.RUNNING)
    return first(seen, (*PROCESSES, *_TRAFFIC)) or _latency(seen)


def _timeouts(seen: Seen) -> Finding | None:
    swarm = seen.window.swarm
    if swarm is None:
        return None
    totals, timeout_s = swarm.totals, seen.window.tuning.request_timeout_s
    ended = totals.responses + totals.failed
    if not totals.timeouts or totals.timeouts < totals.errors:
        return None
    after = f"time out after {units.format_duration(timeout_s)}{_because(seen)}"
    if totals.timeouts >= FAILING_RATIO * ended:
        share = units.format_ratio(totals.timeouts / ended)
        return Finding("timeouts", f"{share} of the requests {after}")
    # Few may time out among many quick ones, and yet most clients do nothing but wait for that.
    spent = totals.timeouts * timeout_s / (swarm.clients * seen.window.measured_s or math.inf)
    if spent < HALF:
        return None
    share = units.format_ratio(min(spent, 1.0))
    return Finding("timeouts", f"clients spend {share} of their time on requests that {after}")


def _unanswered(seen: Seen) -> Finding | None:
    swarm = seen.window.swarm
    if swarm is None or swarm.totals.responses or not swarm.in_flight:
        return None
    if seen.window.measured_s < max(UNANSWERED_S, seen.cycle.work_s):
        return None
    length = units.format_duration(seen.window.measured_s)
    asked = "1 request is" if swarm.in_flight == 1 else f"{swarm.in_flight:,} requests are"
    return Finding("server", f"no answer for {length}: {asked} in flight{_because(seen)}")


def _overdue(seen: Seen) -> Finding | None:
    """Most of the clients' time is in requests that were not answered in the window, nor given up in it."""
    swarm, accounted = seen.window.swarm, accounted_ratio(seen.window)
    if swarm is None or accounted is None or accounted >= HALF or swarm.in_flight < HALF * swarm.clients:
        return None
    told = f"clients spend {units.format_ratio(1 - accounted)} of their time on requests that get no answer"
    return Finding("timeouts", f"{told}{_because(seen)}")


def _because(seen: Seen) -> str:
    """Return why requests get no answer, as far as it is known, to be put behind a sentence."""
    lost = seen.window.resources.kernel_udp
    totals = seen.window.main.totals
    if lost is not None and seen.window.tuning.transport == "udp" and _explains(lost.rcvbuf_errors, totals):
        dropped = units.format_count(lost.rcvbuf_errors)
        return f"; receive buffers were full: the kernel dropped {dropped} datagrams"
    cause = first(seen, (_cpu, _occupied, _stuck, _not_accepted, _machine, _held_up, admission))
    if cause is not None:
        return f"; {cause.text}"
    if model_of(seen.window) is None and (came := what_came(seen.window)):
        return f"; {came}"
    if (target := seen.target) is not None and target.cpu_ratio is not None:
        return f"; the target is at {units.format_ratio(target.cpu_ratio)} of a core"
    server, most = seen.window.server, seen.window.experiment.backlog
    if server is not None and server.backlog >= most:
        return f"; the backlog is full: it takes {units.counted(most, 'connection')} (--backlog)"
    work_s = seen.cycle.work_s
    if work_s >= seen.window.tuning.request_timeout_s:
        return f"; the service time alone is {units.format_duration(work_s)}"
    return ""


def _explains(dropped: int, totals: Totals) -> bool:
    """Whether the kernel dropped enough for these timeouts: its counter is that of the whole machine."""
    return dropped > 0 and dropped >= FAILING_RATIO * totals.timeouts


def _not_accepted(seen: Seen) -> Finding | None:
    """Most connections wait to be accepted, by whatever server."""
    window = seen.window
    holder = window.server or window.swarm
    if holder is None or not holder.backlog:
        return None
    if window.swarm is not None and holder.backlog < HALF * window.swarm.connections_open:
        return None
    told = [f"{connections_wait(holder.backlog)} in the backlog: the server does not accept them"]
    told += [share(seen.target)] if seen.target is not None else _perhaps(seen)
    return Finding("backlog", "; ".join(told))


def _unconnected(seen: Seen) -> Finding | None:
    """Most clients wait for a connection, and fewer are made than they need."""
    swarm = seen.window.swarm
    if swarm is None or seen.window.measured_s < UNANSWERED_S:
        return None
    if swarm.totals.connections_opened >= swarm.clients_connecting:
        return None
    return _connecting(seen)


def _starving(seen: Seen) -> Finding | None:
    """Most connections wait to be accepted and stay there, although the server has time to spare."""
    window = seen.window
    backlog = max((role.backlog for role in window.roles.values()), default=0)
    if window.swarm is None or window.swarm.totals.connections_opened >= STAYING * backlog:
        return None
    servers = [process for process in seen.processes if "server" in process.roles]
    if any((process.wanted_ratio or 0.0) >= CPU_HIGH_RATIO for process in servers):
        return None
    return _not_accepted(seen)


# Something is used up.


def _cpu(seen: Seen) -> Finding | None:
    """Name the processes that need a core of their own for themselves."""
    threshold = CPU_HIGH_RATIO if _take_turns(seen) else CPU_FULL_RATIO
    full = [p for p in seen.serving if p.wanted_ratio is not None and p.wanted_ratio >= threshold]
    if not full:
        return None
    text = ", ".join(share(process) for process in full)
    if seen.one_process:
        text += f"; {_who_shares(seen.window)}"
    parts = [text]
    if rest := [p for p in seen.processes if p not in full and p.cpu_ratio is not None]:
        parts.append(shares(rest))
    if seen.one_process:
        parts += _queueing(seen)
    if (small := buffers(seen)) is not None:
        parts.append(small.text)
    if seen.machine_is_full or any((p.core_wait_ratio or 0.0) >= CORE_WAIT_RATIO for p in full):
        parts += machine_told(seen)
    return Finding("CPU", "; ".join(parts), tuple(process.name for process in full))


def _take_turns(seen: Seen) -> bool:
    """Tell whether nothing but our own processes keeps requests waiting, of which there are enough."""
    known = model_of(seen.window) is not None and seen.window.swarm is not None
    return known and seen.in_flight >= QUEUEING and seen.cycle.mostly_queues


def _who_shares(window: Snapshot) -> str:
    return "server, clients and screen share it" if window.swarm and window.server else "one loop runs on it"


def _queueing(seen: Seen) -> list[str]:
    if seen.window.swarm is None or not seen.cycle.mostly_queues or seen.in_flight < 2:
        return []
    return [f"the latency is {seen.in_flight:,} requests queueing for the loop"]


def _occupied(seen: Seen) -> Finding | None:
    """The server works on so many requests at a time, and has them.

    The mean number in service is rate times service time (Little's law).
    """
    window, at_once, work_s = seen.window, in_service_at_once(seen.window), seen.cycle.work_s
    rate, model = figures(window).requests_per_s, model_of(window)
    if not at_once or model is None or not work_s or not rate or seen.in_flight <= at_once:
        return None
    working = rate * work_s / at_once
    busy = working
    if at_once == window.tuning.server_processes and window.tuning.work != "cpu":
        # What it does besides sleeping takes the same thread, or at least the same interpreter.
        busy += _server_wants(seen)
    # Whoever has as many again waiting has no reason to rest: what is missing is late timers.
    enough = CPU_HIGH_RATIO if seen.in_flight >= 2 * at_once else OCCUPIED_RATIO
    if not HALF <= working <= POSSIBLE_RATIO or busy < enough:
        return None
    each = units.format_duration(work_s)
    share_of_time = units.format_ratio(min(working, 1.0))
    told = f"{units.format_count(rate)} per second take {share_of_time} of the server's time"
    if serves_in_order(window):
        return Finding(
            "server",
            f"requests of a connection are served one after the other, {each} each (depth "
            f"{window.tuning.depth}): {told}; more connections would raise the rate, more depth would not",
        )
    if at_once > window.tuning.server_processes:
        what = "connections" if window.tuning.transport == "tcp" else "datagrams"
        return Finding("server", f"{model.name} serves {at_once:,} {what} at a time, {each} each: {told}")
    return Finding("blocked", f"each request holds up all the others for {each}: {told}")


def _server_wants(seen: Seen) -> float:
    """Return what the processes in which the server runs want of a core, on average."""
    hosts = [p for p in seen.processes if "server" in p.roles] or list(seen.processes[:1])
    return sum(p.wanted_ratio or 0.0 for p in hosts) / len(hosts) if hosts else 0.0


def _machine(seen: Seen) -> Finding | None:
    """All cores are taken: by us, or by others while ours wait for one."""
    if not seen.machine_is_full:
        return None
    cores = seen.window.resources.machine_cores
    ours = sum(process.cpu_ratio or 0.0 for process in seen.processes)
    felt = any(_feels_others(process) and seen.is_felt(process) for process in seen.serving)
    if ours < HALF * cores and not (felt and seen.cycle.mostly_queues):
        return None
    told = "; ".join(machine_told(seen))
    return Finding("CPU", f"{told}: {shares(seen.processes)}", ("machine",))


def _feels_others(process: ProcessFigures) -> bool:
    """Tell whether a process wants a core for most of the time, and others have it for some of that."""
    if process.core_wait_ratio is None:
        return True
    return process.core_wait_ratio >= CORE_WAIT_RATIO and (process.wanted_ratio or 0.0) >= HALF


# Nothing is used up: what takes longest.


def _stuck(seen: Seen) -> Finding | None:
    """A loop is held up nearly always, so that all that wait for it come one after the other."""
    return _late(seen, STUCK_RATIO) if seen.in_flight > 1 else None


def _held_up(seen: Seen) -> Finding | None:
    """A loop is held up now and then."""
    return _late(seen, HELD_UP_RATIO)


def _late(seen: Seen, least: float) -> Finding | None:
    """A loop is late for much of the time, although its process does not want a core for all of it."""
    if seen.window.swarm is not None and not seen.cycle.mostly_queues:
        return None
    late = [p for p in seen.serving if (p.late_ratio or 0.0) >= least and seen.is_felt(p)]
    if not late:
        return None
    worst = max(late, key=lambda process: process.late_ratio or 0.0)
    if (worst.core_wait_ratio or 0.0) >= HALF * (worst.late_ratio or 0.0):
        told = "; ".join([share(worst), *machine_told(seen)])
        return Finding("CPU", told, ("machine",))
    return Finding(
        "blocked",
        f"the loop of {worst.name} is held up for {units.format_ratio(worst.late_ratio)} of the time, "
        f"{units.format_duration(worst.lag_max_s)} at most, "
        f"at {units.format_ratio(worst.cpu_ratio)} of a core: {_holder(seen)}",
    )


def _holder(seen: Seen) -> str:
    """Return what keeps a loop from its next turn."""
    window, model = seen.window, model_of(seen.window)
    if model is None:
        return "what runs on it does not yield"
    if model.threaded:
        return "threads of its process have the interpreter (the GIL)"
    if in_service_at_once(window) and seen.cycle.work_s:
        return f"each request has it for {units.format_duration(seen.cycle.work_s)}"
    return "what runs on it does not yield"


def _connecting(seen: Seen) -> Finding | None:
    """Most clients wait for a connection."""
    swarm = seen.window.swarm
    if swarm is None or swarm.clients_connecting < HALF * max(swarm.clients, 1):
        return None
    rate = units.format_count(figures(seen.window).opened_per_s)
    made = f"{rate} {'is' if rate == '1' else 'are'} made per second"
    if not swarm.totals.connections_opened:
        made = "the server takes none"
    told = [f"{swarm.clients_connecting:,} of {swarm.clients:,} clients wait for a connection; {made}"]
    if (cause := first(seen, (_cpu, _stuck))) is not None:
        told.append(cause.text)
    else:
        told += _backlog_told(seen)
    return Finding("connections", "; ".join(told))


def _backlog_told(seen: Seen) -> list[str]:
    """Return how many connections wait to be accepted, as a part of a sentence, if any does."""
    backlog = max(role.backlog for role in seen.window.roles.values())
    if not backlog:
        return []
    full = ", which may be full"
    if seen.window.server is not None:
        full = ", which is full (--backlog)" if backlog >= seen.window.experiment.backlog else ""
    return [f"{backlog:,} {'is' if backlog == 1 else 'are'} in its backlog{full}"]


def _service(seen: Seen) -> Finding | None:
    cycle, at_once = seen.cycle, in_service_at_once(seen.window)
    if not cycle.work_s or cycle.work_s < HALF * (cycle.service_s or 0.0):
        return None
    if cycle.service_s is None:
        return Finding("service time", f"each request takes {units.format_duration(cycle.work_s)} of service")
    more = _more(seen)
    if at_once and seen.in_flight >= at_once:
        more = "the server works on no more requests at a time"
    return Finding(
        "service time",
        f"{units.format_duration(cycle.work_s)} of the {units.format_duration(cycle.service_s)} "
        f"per request is service; {more}",
    )


def _elsewhere(seen: Seen) -> Finding | None:
    """The server is not one of ours: clients wait for it, and what it does is known only with its process."""
    window, service_s = seen.window, seen.cycle.service_s
    if window.swarm is None or service_s is None:
        return None
    wait = f"clients wait {units.format_duration(service_s)} for each answer{_in_parts(seen)}"
    if window.experiment.own_server:
        used = f"of {window.experiment.own_server}; {shares(seen.processes)} of a core"
        return Finding("server", f"{wait} {used}: it waits for something itself, or for more requests")
    if window.server is not None:
        return None
    ours = shares(process for process in seen.processes if process.name != TARGET)
    if (target := seen.target) is not None and target.cpu_ratio is not None:
        used = f"target {units.format_ratio(target.cpu_ratio)} of a core, {ours}"
        return Finding("server", f"{wait}; {used}: it waits for something itself, or for more requests")
    told = [f"{wait}, {ours}"]
    told += _perhaps(seen)
    told.append("--pid tells what a server on this machine uses")
    return Finding("server", "; ".join(told))


def _in_parts(seen: Seen) -> str:
    """Return that answers come in parts a delayed acknowledgement apart, to be put behind a sentence."""
    totals, p50_s = seen.window.main.totals, figures(seen.window).p50_s or 0.0
    if totals.messages_torn < HALF * totals.responses or not DELAYED_ACK_S <= p50_s < 1.5 * DELAYED_ACK_S:
        return ""
    return " in parts, as if the server waited for a delayed ACK before the next (TCP_NODELAY there)"


def _perhaps(seen: Seen) -> list[str]:
    """Return what other programs use, as a part of a sentence, where the server may be one of them."""
    if seen.window.server is not None or seen.target is not None:
        return []
    if (seen.foreign_ratio or 0.0) < CPU_HIGH_RATIO:
        return []
    return [f"other programs take {units.format_ratio(seen.foreign_ratio)} of a core, the server perhaps"]


def _latency(seen: Seen) -> Finding:
    if seen.cycle.service_s is None:
        return Finding("latency", "nothing has been answered yet")
    told = ["clients wait for their answers and nothing is used up"]
    if seen.machine_is_full and any((p.core_wait_ratio or 0.0) >= CORE_WAIT_RATIO for p in seen.serving):
        told = [
            "clients wait for their answers, and who answers for a core now and then",
            *machine_told(seen),
        ]
    return Finding("latency", "; ".join([*told, _more(seen)]))


def _more(seen: Seen) -> str:
    """Return that more clients would raise the rate, with what else that takes, or why they may not."""
    busiest = max((p.wanted_ratio or 0.0 for p in seen.serving), default=0.0)
    if busiest >= CPU_HIGH_RATIO:
        return f"{', '.join(map(share, seen.serving))}"
    tuning, swarm = seen.window.tuning, seen.window.swarm
    bounds = (
        (" and permits", tuning.permits), (" and connections of the pool", tuning.pool),
        (" and requests admitted at the server", tuning.server_permits),
    )  # fmt: skip
    at = [name for name, most in bounds if swarm is not None and 0 < most <= swarm.clients]
    return f"more clients{''.join(at)} would raise the rate"


_TRAFFIC: tuple[Rule, ...] = (
    # Requests fail, or cannot be made.
    raised, not_accepting, no_connection, rejected, served_few, _unconnected, _starving,
    _timeouts, errors, _unanswered, _overdue,
    # Something is used up, from the server outwards.
    _cpu, _occupied, _stuck, _machine, admission, permits, pool,
    # Nothing is: what takes longest.
    think, _held_up, _not_accepted, server_alone, _connecting, buffers, _service, _elsewhere,
)  # fmt: skip
