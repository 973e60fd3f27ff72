"""Rules of the verdict for what is done to the server on purpose: it is stalled, or faults strike in it."""

from __future__ import annotations

from sockscope.core import units
from sockscope.core.impairment.fault import Fault, shown
from sockscope.core.impairment.kinds import SERVER as IN_SERVER
from sockscope.core.roles import SERVER
from sockscope.core.run.cycle import model_of
from sockscope.core.run.evidence import CPU_TIME, HALF, TUNING, Finding, Seen, look
from sockscope.core.run.failing import not_accepting
from sockscope.core.run.injected import NOTHING_INJECTED, Injected
from sockscope.core.run.kinds import Kind
from sockscope.core.run.overdue import timeouts, unanswered
from sockscope.core.run.snapshot import SILENT_S
from sockscope.core.run.used_up import HELD_UP_RATIO, cpu

FAULT_COUNTS = "counts of the faults in the server"
STALLS = "stalls that were asked for"


def injected(seen: Seen) -> Injected:
    """Return what faults in the server have done; nothing where there is none of ours."""
    server = seen.window.server
    return server.injected if server is not None else NOTHING_INJECTED


def faults_in_server(seen: Seen) -> str:
    """Return the faults in the server that are on, in words; empty without one."""
    on = [fault for fault in seen.window.tuning.faults if fault.about.where == IN_SERVER]
    return shown(on) if on else ""


def held(seen: Seen) -> Finding | None:
    """The server, or its loop, stands still for much of the time because somebody wanted it to."""
    window, measured_s = seen.window, seen.window.measured_s
    if window.server is None or measured_s <= 0:
        return None
    of = units.format_duration(measured_s)
    still = window.stalled_s / measured_s
    if still and seen.at_least("time for which it is stalled", still, "ratio", HELD_UP_RATIO, STALLS):
        length = units.format_duration(window.stalled_s)
        return Finding(
            Kind.INJECTED, f"the server was stalled on purpose for {length} of {of}: what came then waited"
        )
    blocked_s = _blocked_s(seen)
    if blocked_s and seen.at_least(
        "time for which it is blocked", blocked_s / measured_s, "ratio", HELD_UP_RATIO, FAULT_COUNTS
    ):
        length = units.format_duration(blocked_s)
        share = f"{length} of {of}" if blocked_s <= measured_s else length  # it began before the window
        on = faults_in_server(seen) or "a fault that is off again"
        return Finding(Kind.INJECTED, f"{on}: the server was held up for {share}, on purpose")
    return _silenced(seen)


def _silenced(seen: Seen) -> Finding | None:
    """The server's process tells nothing at the moment, for it is held up about as long on purpose."""
    swarm = seen.window.swarm
    under_way = 1 if swarm is None else max(swarm.in_flight, 1)
    times = {"block": 1, "cpu": under_way}
    longest_s = max((one.value * times.get(one.kind, 0) for one in seen.window.tuning.faults), default=0.0)
    for process in seen.processes if longest_s else ():
        if SERVER not in process.roles or process.silent_s < SILENT_S:
            continue
        if seen.at_least(
            "hold on purpose, of the requests under way", longest_s, "s", HALF * process.silent_s, TUNING
        ):
            told = f"the server has been held up for {units.format_duration(process.silent_s)}, on purpose"
            return Finding(Kind.INJECTED, f"{faults_in_server(seen)}: {told}")
    return None


def _blocked_s(seen: Seen) -> float:
    """Return how long the fault *block* has held up each process of a server; where only one of many threads
    was held up, that is nothing for the others."""
    model = model_of(seen.window)
    one_of_many = model is not None and model.threaded and not model.mechanism and model.at_once != 1
    return 0.0 if one_of_many else injected(seen).blocked_s / seen.window.tuning.server_processes


def longest_hold_s(seen: Seen) -> float:
    """Return the length of a stall, or of a block, in which requests waited that time out in the window; 0
    where there was none."""
    window = seen.window
    sent_since_s = window.measured_since_s - window.tuning.request_timeout_s
    stalled_s = window.experiment.stall_s if window.stalled_until_s > sent_since_s else 0.0
    blocks: list[Fault] = [fault for fault in window.tuning.faults if fault.about.name == "block"]
    return max([stalled_s, *(fault.value for fault in blocks if injected(seen).blocks)])


def burnt(seen: Seen) -> Finding | None:
    """A core is used up, half of it or more by a fault."""
    burnt_s, measured_s = injected(seen).burnt_s, seen.window.measured_s
    natural = look(seen, cpu)[0] if burnt_s and measured_s > 0 else None
    if natural is None:
        return None
    full = [process for process in seen.processes if process.name in natural.who]
    if not any(SERVER in process.roles for process in full):
        return None
    if not burns_most(seen):
        return None
    on = faults_in_server(seen) or "a fault that is off again"
    told = f"{units.format_duration(burnt_s)} of CPU time were burnt on purpose"
    return Finding(Kind.INJECTED, f"{on}: {told}; {natural.sentence}", natural.who)


def burns_most(seen: Seen) -> bool:
    """Tell whether a fault burns half or more of the CPU time of the processes that serve."""
    burnt_s, measured_s = injected(seen).burnt_s, seen.window.measured_s
    hosts = [process for process in seen.processes if SERVER in process.roles]
    half_s = HALF * measured_s * sum(process.cpu_ratio or 0.0 for process in hosts)
    source = f"{FAULT_COUNTS}, {CPU_TIME}"
    return bool(burnt_s) and seen.at_least("CPU time that a fault burns", burnt_s, "s", half_s, source)


def leaked(seen: Seen) -> Finding | None:
    """The server has no descriptors left, half of which or more a fault holds."""
    held, natural = injected(seen).descriptors_held, look(seen, not_accepting)[0]
    if natural is None or not held:
        return None
    hosts = [process.resources for process in seen.window.processes if SERVER in process.roles]
    open_ones = sum(used.descriptors or 0 for used in hosts)
    if not seen.at_least("descriptors that a fault holds", held, "count", HALF * open_ones, FAULT_COUNTS):
        return None
    told = f"{units.counted(held, 'descriptor')} leaked on purpose"
    return Finding(Kind.INJECTED, f"{told}; {natural.sentence}")


def crowded_out(seen: Seen) -> Finding | None:
    """The user's own server does not answer, while calls of it wait for a thread that a fault keeps."""
    done = injected(seen)
    if not done.executor_sleepers or not seen.window.experiment.own_server:
        return None
    if not (look(seen, timeouts)[0] or look(seen, unanswered)[0]):
        return None
    if not seen.at_least(
        "calls that wait for a thread of the executor", done.executor_queued, "count", 1, FAULT_COUNTS
    ):
        return None
    seen.note("threads of the executor that a fault keeps", done.executor_sleepers, "count", FAULT_COUNTS)
    told = "the threads of the default executor are kept busy on purpose"
    waiting = units.counted(done.executor_queued, "call")
    return Finding(Kind.INJECTED, f"{faults_in_server(seen)}: {told}; what waits for one: {waiting}")
