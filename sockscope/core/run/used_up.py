"""Rules of the verdict for what is used up: a core, the machine, a server that works on so many requests at
a time, a loop."""

from __future__ import annotations

from sockscope.core import units
from sockscope.core.roles import SERVER, SWARM
from sockscope.core.run.cycle import in_service_at_once, model_of, serves_in_order
from sockscope.core.run.evidence import (
    CORE_WAIT_RATIO,
    CPU_HIGH_RATIO,
    CPU_TIME,
    HALF,
    HEARTBEAT,
    MACHINE_FULL_RATIO,
    MACHINE_TIME,
    RECORDER,
    RUN_QUEUE,
    WANTED,
    Finding,
    Seen,
    listed,
    share,
    shares,
    short_told,
)
from sockscope.core.run.figures import ProcessFigures
from sockscope.core.run.holders import computing, seen_by_lens
from sockscope.core.run.kinds import Kind
from sockscope.core.run.longest import buffers
from sockscope.core.run.machines import OTHERS_RATIO, MachineFigures
from sockscope.core.run.snapshot import Snapshot

CPU_FULL_RATIO = 0.93
"""From this share of one core on, running or waiting for it, a process is the limit."""
NEAR_BUSIEST_RATIO = 0.9
"""A process that wants less of a core than this share of what the busiest one wants is not the limit."""
OCCUPIED_RATIO = 0.9
"""From this share of its time on, a server that works on one request at a time is occupied."""
POSSIBLE_RATIO = 1.1
"""More than this share of its time no server can spend: the rate is that of another tuning, just left."""
STUCK_RATIO = 0.6
"""From this share of the time on, a loop is held up nearly always: what lasts a few milliseconds at most is
not seen."""
HELD_UP_RATIO = 0.2
"""From this share of the time on, a loop that does not get to its next turn is worth the sentence."""
QUEUEING = 8
"""So many requests in flight and more keep every process busy that has something to do."""


def cpu(seen: Seen) -> Finding | None:
    """Name the processes that need a core of their own for themselves."""
    threshold = CPU_FULL_RATIO
    if _take_turns(seen):
        threshold = CPU_HIGH_RATIO
        seen.at_least("requests that queue for nothing else", seen.in_flight, "count", QUEUEING, RECORDER)
    full = [p for p in seen.serving if _wants(seen, p, threshold)]
    if not full:
        return None
    # Who wants clearly less than the busiest waits for that one.
    busiest = max(process.wanted_ratio or 0.0 for process in full)
    full = [process for process in full if (process.wanted_ratio or 0.0) >= NEAR_BUSIEST_RATIO * busiest]
    text = listed(full, share)
    if seen.one_process:
        text += f"; {_who_shares(seen.window)}"
    parts = [text]
    if rest := [p for p in seen.processes if p not in full and p.cpu_ratio is not None]:
        parts.append(shares(rest))
    if seen.one_process:
        parts += _queueing(seen)
    parts += computing(seen, full)
    if (small := buffers(seen)) is not None:
        parts.append(small.sentence)
    parts += short_told(seen.short_of_cores(full))
    kind = _who_has_the_cores(seen, full) or _whose(full)
    return Finding(kind, "; ".join(parts), tuple(process.name for process in full))


def _wants(seen: Seen, process: ProcessFigures, threshold: float) -> bool:
    """Tell whether a process runs, or waits for a core, for that share of the time."""
    source = CPU_TIME if process.core_wait_ratio is None else WANTED
    wanted = process.wanted_ratio
    return seen.at_least(f"{process.name}: runs or waits for a core", wanted, "ratio", threshold, source)


def _who_has_the_cores(seen: Seen, full: list[ProcessFigures]) -> Kind | None:
    """Return who has the cores for which processes wait more than they have one; None where they do not."""
    ran = sum(process.cpu_ratio or 0.0 for process in full)
    waited = sum(process.core_wait_ratio or 0.0 for process in full)
    # The machine on which they wait most; where they have several, the others are no remedy.
    where = seen.machine_of(max(full, key=lambda process: process.core_wait_ratio or 0.0))
    foreign, taken = where.foreign, where.taken_ratio
    if foreign is None or taken is None or not waited:
        return None
    if not seen.at_least("waiting for a core, against running", waited, "ratio", ran, RUN_QUEUE):
        return None
    others = f"cores that other programs take{where.at}, against those waited for"
    waited_there = sum(process.core_wait_ratio or 0.0 for process in full if process.cores_of == where.name)
    if seen.at_least(others, foreign, "count", waited_there, MACHINE_TIME):
        return Kind.OTHER_PROGRAMS
    return Kind.MACHINE_CPU if _is_taken(seen, where, taken) else None


def _is_taken(seen: Seen, machine: MachineFigures, ratio: float) -> bool:
    """Tell whether every core of a machine works; ``ratio`` of them do."""
    name = f"cores of {machine.called} taken"
    return seen.at_least(name, ratio, "ratio", MACHINE_FULL_RATIO, MACHINE_TIME)


def _whose(full: list[ProcessFigures]) -> Kind:
    """Return whose processes are at the limit of a core."""
    roles = {role for process in full for role in process.roles}
    if roles == {SERVER}:
        return Kind.SERVER_CPU
    return Kind.CLIENT_CPU if roles == {SWARM} else Kind.SHARED_CPU


def _take_turns(seen: Seen) -> bool:
    """Tell whether nothing but our own processes keeps requests waiting, of which there are enough."""
    known = model_of(seen.window) is not None and seen.window.swarm is not None
    return known and seen.in_flight >= QUEUEING and seen.cycle.mostly_queues


def _who_shares(window: Snapshot) -> str:
    return "server and clients share it" if window.swarm and window.server else "a loop uses one core at most"


def _queueing(seen: Seen) -> list[str]:
    if seen.window.swarm is None or not seen.cycle.mostly_queues or seen.in_flight < 2:
        return []
    return [f"the latency is {seen.in_flight:,} requests queueing for the loop"]


def occupied(seen: Seen) -> Finding | None:
    """The server works on so many requests at a time, and has them.

    The mean number in service is rate times service time (Little's law).
    """
    window, at_once, work_s = seen.window, in_service_at_once(seen.window), seen.cycle.work_s
    rate, model = seen.figures.requests_per_s, model_of(window)
    if window.server is not None and window.measured_s > 0:
        # Answers that come too late are work all the same.
        rate = max(rate or 0.0, window.server.totals.responses / window.measured_s)
    if not at_once or model is None or not work_s or not rate or seen.in_flight <= at_once:
        return None
    working = rate * work_s / at_once
    busy = working
    if at_once == window.tuning.server_processes and window.tuning.work != "cpu":
        # What it does besides sleeping takes the same thread, or at least the same interpreter.
        busy += _server_wants(seen)
    # Whoever has as many again waiting has no reason to rest: what is missing is late timers.
    enough = CPU_HIGH_RATIO if seen.in_flight >= 2 * at_once else OCCUPIED_RATIO
    if working > POSSIBLE_RATIO:
        return None
    seen.note("requests in flight", seen.in_flight, "count", RECORDER)
    source = RECORDER
    if not seen.at_least("rate x service time (Little's law), of its time", working, "ratio", HALF, source):
        return None
    if not seen.at_least("time of the server taken", busy, "ratio", enough, f"{RECORDER}, {CPU_TIME}"):
        return None
    each = units.format_duration(work_s)
    share_of_time = units.format_ratio(min(working, 1.0))
    told = f"{units.format_count(rate)} per second take {share_of_time} of the server's time"
    if serves_in_order(window):
        return Finding(
            Kind.SERVER_OCCUPIED,
            f"requests on a connection are served one after the other, {each} each (depth "
            f"{window.tuning.depth}): {told}; more connections would raise the rate, more depth would not",
        )
    if at_once > window.tuning.server_processes:
        what = "connections" if window.tuning.transport == "tcp" else "datagrams"
        return Finding(
            Kind.SERVER_OCCUPIED, f"{model.name} serves {at_once:,} {what} at a time, {each} each: {told}"
        )
    return Finding(Kind.BLOCKED_LOOP, f"each request holds up all the others for {each}: {told}")


def _server_wants(seen: Seen) -> float:
    """Return what the processes in which the server runs want of a core, on average."""
    hosts = [p for p in seen.processes if "server" in p.roles] or list(seen.processes[:1])
    return sum(p.wanted_ratio or 0.0 for p in hosts) / len(hosts) if hosts else 0.0


def machine(seen: Seen) -> Finding | None:
    """All cores of a machine are taken: by us, or by others while ours wait for one."""
    return next(filter(None, (_all_cores(seen, one) for one in seen.machines)), None)


def _all_cores(seen: Seen, there: MachineFigures) -> Finding | None:
    taken, foreign, ours = there.taken_ratio, there.foreign, there.ours
    if taken is None or foreign is None or not _is_taken(seen, there, taken):
        return None
    serving = [process for process in seen.serving if process.cores_of == there.name]
    if ours < HALF * there.cores:
        felt = [p for p in serving if _feels_others(seen, p) and seen.is_felt(p)]
        if not felt or not seen.mostly_queues():
            return None
    elif not any(_has_to_wait(seen, p) for p in serving):
        return None  # others have what is left
    seen.note(f"cores taken by this run{there.at}", ours, "count", CPU_TIME)
    _note_others(seen, there)
    kind = Kind.OTHER_PROGRAMS if foreign > ours else Kind.MACHINE_CPU
    return Finding(kind, f"{'; '.join(there.told())}: {shares(there.processes)}", (_who(there),))


def _note_others(seen: Seen, there: MachineFigures) -> None:
    seen.note(f"cores taken by other programs{there.at}", there.foreign, "count", MACHINE_TIME)


def _who(machine: MachineFigures) -> str:
    return f"machine {machine.name}" if machine.name else "machine"


def _feels_others(seen: Seen, process: ProcessFigures) -> bool:
    """Tell whether a process wants a core for most of the time, and others have it for some of that."""
    return _has_to_wait(seen, process) and (process.core_wait_ratio is None or _wants(seen, process, HALF))


def _has_to_wait(seen: Seen, process: ProcessFigures) -> bool:
    """Tell whether others have the core that a process wants for some of the time, or nobody knows."""
    waits, name = process.core_wait_ratio, f"{process.name}: waits for a core"
    return waits is None or seen.at_least(name, waits, "ratio", CORE_WAIT_RATIO, RUN_QUEUE)


def stuck(seen: Seen) -> Finding | None:
    """A loop is held up nearly always, so that all that wait for it come one after the other."""
    return _late(seen, STUCK_RATIO) if seen.in_flight > 1 else None


def held_up(seen: Seen) -> Finding | None:
    """A loop is held up now and then."""
    return _late(seen, HELD_UP_RATIO)


def _late(seen: Seen, least: float) -> Finding | None:
    """A loop is late for much of the time, although its process does not want a core for all of it."""
    if seen.cycle.service_s is not None and not seen.mostly_queues():
        return None
    if seen.window.swarm is None and not seen.window.main.totals.bytes_in:
        return None  # nobody asks
    late = [p for p in seen.serving if _is_late(seen, p, least) and seen.is_felt(p)]
    if not late:
        return None
    worst = max(late, key=lambda process: process.late_ratio or 0.0)
    if (worst.core_wait_ratio or 0.0) >= HALF * (worst.late_ratio or 0.0):
        where = seen.machine_of(worst)
        told = "; ".join([share(worst), *where.told()])
        _note_others(seen, where)
        others = (where.foreign or 0.0) >= OTHERS_RATIO
        return Finding(Kind.OTHER_PROGRAMS if others else Kind.MACHINE_CPU, told, (_who(where),))
    seen.note(f"{worst.name}: longest lag", worst.lag_max_s, "s", HEARTBEAT)
    by_lens = seen_by_lens(seen, worst)
    holder = f", {by_lens}" if by_lens else f": {_holder(seen, worst)}"
    return Finding(
        Kind.BLOCKED_LOOP,
        f"the loop of {worst.name} is held up for {units.format_ratio(worst.late_ratio)} of the time, "
        f"{units.format_duration(worst.lag_max_s)} at most, "
        f"at {units.format_ratio(worst.cpu_ratio)} of a core{holder}",
    )


def _is_late(seen: Seen, process: ProcessFigures, least: float) -> bool:
    return seen.at_least(f"{process.name}: loop late", process.late_ratio, "ratio", least, HEARTBEAT)


def _holder(seen: Seen, held: ProcessFigures) -> str:
    """Return what keeps a loop from its next turn."""
    window, model = seen.window, model_of(seen.window)
    if model is None:
        computes = (held.cpu_ratio or 0.0) >= HALF * (held.late_ratio or 0.0)
        by_threads = ", or threads have the interpreter (the GIL)"
        told = f"what runs on it does not yield{by_threads if computes and (held.threads or 1) > 1 else ''}"
        return f"{told} (--lens names the call)"
    if model.threaded:
        return "other threads of its process hold the interpreter (the GIL)"
    if in_service_at_once(window) and seen.cycle.work_s:
        return f"each request holds it for {units.format_duration(seen.cycle.work_s)}"
    return "what runs on it does not yield"
