"""From what happened in a window to the figures that people read."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from sockscope.core.censoring import Ages, AtLeast, percentiles
from sockscope.core.run.fared import Fared
from sockscope.core.run.snapshot import TARGET, ProcessKey, ProcessUse, Resources, Snapshot
from sockscope.core.units import format_count, format_duration

ONE_CORE_RATIO = 1.1
"""A process that takes more than this works on several cores at once."""
HERE = ""
"""What ``cores_of`` is for this machine."""
STALL_MEDIANS = 10
UNANSWERED_S = 0.5
"""No answer for a shorter time than this is nothing to tell where the median is not known."""
HEARTBEAT_S = 0.01
"""Interval of the heartbeat that measures how late a loop is."""
LATE_S = 0.0025
"""A loop that is so late is held up: turns of a busy one take less, and uvloop's timers are 1 ms wide."""


@dataclass(frozen=True, slots=True, repr=False)
class Figures:
    """The figures of one window; None is not known (no answer in the window, say), never a zero.

    Rates are per second of the window, latencies in seconds, ratios of one core. ``bytes_per_s`` is the
    payload of the answers, framing taken off as the tuning of this moment has it: received by the clients,
    or sent by a server alone. Latencies are lower bounds (``AtLeast``) where they fall among requests without
    an answer; ``response_p50_s`` and ``response_p99_s`` are of the response time, the others of the service
    time. ``lateness_p99_s`` is that of the generator of an open loop, and ``dropped_per_s`` what it dropped.
    ``wait_s`` is the mean wait for a permit of those that had to wait, ``queue_s`` that of all
    requests for a permit and for a connection of the pool. ``failed_per_s`` are timeouts and errors,
    ``lost_per_s`` those of UDP that were not answered later. ``stall_s`` is that of :func:`stall_s`.
    ``waiting_ratio`` is the share of the processor time wanted by all processes for which they waited.
    ``fared`` is what the clients have of it.
    """

    length_s: float
    requests_per_s: float | None
    bytes_per_s: float | None
    p50_s: float | None
    p99_s: float | None
    max_s: float | None
    cpu_ratio: float | None
    lag_p50_s: float | None
    lag_p99_s: float | None
    lag_max_s: float | None
    wait_s: float | None
    opened_per_s: float | None
    queue_s: float | None = None
    failed_per_s: float | None = None
    lost_per_s: float | None = None
    stall_s: float | None = None
    response_p50_s: float | None = None
    response_p99_s: float | None = None
    lateness_p99_s: float | None = None
    dropped_per_s: float | None = None
    waiting_ratio: float | None = None
    relay_delay_s: float | None = None
    fared: Fared = field(default_factory=Fared)

    def __repr__(self) -> str:
        return (
            f"<{format_count(self.requests_per_s)} requests/s, p50 {format_duration(self.p50_s)}, "
            f"p99 {format_duration(self.p99_s)}, max {format_duration(self.max_s)}, "
            f"in {format_duration(self.length_s)}>"
        )


@dataclass(frozen=True, slots=True)
class ProcessFigures:
    """The figures of one process in a window, which ``length_s`` is the length of as that process has it.

    ``name`` and ``state`` are those of :class:`ProcessUse`; ratios are of one core. ``core_wait_ratio`` is
    the time that its busiest thread was ready to run and had no core, and ``wanted_ratio`` what it would have
    used with one of its own. ``late_ratio`` is the share of time for which its loop was :data:`LATE_S` or
    more from its next turn. ``clock_error_s`` is 0 where its clock is that of this process.
    ``requests_per_s`` and ``p99_s``, of the service time, are those of the clients in a child process.
    ``machine_cores_taken`` is how many of the ``machine_cores`` of its machine were taken, by whatever
    program; ``cores_of`` and ``worker`` are those of :class:`ProcessUse`.
    """

    name: str
    pid: int
    roles: tuple[str, ...]
    state: str
    alive: bool
    silent_s: float
    length_s: float
    cpu_ratio: float | None
    rss_bytes: int | None
    threads: int | None
    lag_p50_s: float | None
    lag_p99_s: float | None
    lag_max_s: float | None
    core_wait_ratio: float | None = None
    wanted_ratio: float | None = None
    late_ratio: float | None = None
    lag_mean_s: float | None = None
    clock_offset_s: float = 0.0
    clock_error_s: float = 0.0
    generation: int | None = None
    requests_per_s: float | None = None
    p99_s: float | None = None
    machine_cores_taken: float | None = None
    machine_cores: int = 1
    cores_of: str = ""
    worker: str = ""
    worker_cpu_ratio: float | None = None

    @property
    def key(self) -> ProcessKey:
        """That of the process."""
        return self.name, self.pid


def process_figures(window: Snapshot) -> tuple[ProcessFigures, ...]:
    """Return the figures of every process of the run in a window, the engine's own first."""
    readings = machine_readings(window)
    return tuple([_figures_of_process(use, readings[use.cores_of]) for use in window.processes])


def _figures_of_process(use: ProcessUse, machine: Resources) -> ProcessFigures:
    requests_per_s, p99_s = part_figures(use)
    lag_p50, lag_p99, lag_max = use.resources.loop_lag.percentiles((0.5, 0.99, 1.0))
    return ProcessFigures(
        name=use.name,
        pid=use.pid,
        roles=use.roles,
        state=use.state,
        alive=use.alive,
        silent_s=use.silent_s,
        length_s=use.resources.measured_s,
        cpu_ratio=use.resources.cpu_ratio,
        rss_bytes=use.resources.rss_bytes,
        threads=use.resources.threads,
        lag_p50_s=lag_p50,
        lag_p99_s=lag_p99,
        lag_max_s=lag_max,
        core_wait_ratio=_ratio(use.resources.core_wait_s, use.resources),
        wanted_ratio=_wanted_ratio(use),
        late_ratio=_late_ratio(use.resources),
        lag_mean_s=use.resources.loop_lag.mean_s,
        clock_offset_s=use.clock_offset_s,
        clock_error_s=use.clock_error_s,
        generation=use.generation,
        requests_per_s=requests_per_s,
        p99_s=p99_s,
        machine_cores_taken=cores_taken(machine),
        machine_cores=machine.machine_cores,
        cores_of=use.cores_of,
        worker=use.worker,
        worker_cpu_ratio=_ratio(use.worker_cpu_s, use.resources),
    )


def part_figures(use: ProcessUse) -> tuple[float | None, float | None]:
    """Return the answers per second and the p99 of the service time of the clients in a child process;
    None where it has none."""
    part = use.part
    if part is None:
        return None, None
    ages = Ages(part.unanswered.counts, part.awaited)
    (p99_s,) = percentiles(part.service_time, ages, (0.99,))
    return _ratio(part.responses, use.resources), p99_s


def _ratio(seconds: float | None, used: Resources) -> float | None:
    return seconds / used.measured_s if seconds is not None and used.measured_s > 0 else None


def _wanted_ratio(use: ProcessUse) -> float | None:
    """Return what a process would have used. Threads of Python share an interpreter, and so at most a core;
    those of another program that takes more than one are judged by the busiest."""
    used = use.resources
    busiest = _ratio(used.busiest_s, used)
    if use.name == TARGET and busiest is not None and (used.cpu_ratio or 0.0) > ONE_CORE_RATIO:
        return busiest
    together = _ratio(used.cpu_s + (used.core_wait_s or 0.0), used)
    return max(together, busiest or 0.0) if together is not None else None


def _late_ratio(used: Resources) -> float | None:
    """Return for how much of the time a loop was late; of all of it, as CPU is: pauses have no heartbeat."""
    lag = used.loop_lag
    late = sum(count for late_s, count in lag.occupied() if late_s >= LATE_S)
    due = max(lag.total, used.measured_s / HEARTBEAT_S)
    return late / due if lag.total else None


def machine_readings(window: Snapshot) -> dict[str, Resources]:
    """Return a reading of the cores of each machine of the run, by what ``cores_of`` its processes have.

    Each of them on another machine reads what all of its cores do; whoever still reads, and longest, counts.
    """
    elsewhere = [use for use in window.processes if use.cores_of != HERE]
    elsewhere.sort(key=lambda use: (use.alive, use.resources.measured_s))
    return {HERE: window.resources, **{use.cores_of: use.resources for use in elsewhere}}


def cores_taken(machine: Resources) -> float | None:
    """Return how many cores of a machine were taken, by whatever program; None if unknown.

    The kernel counts in ticks, in a short window sometimes more than the cores can give: never more here.
    """
    if machine.machine_busy_s is None or machine.measured_s <= 0:
        return None
    return min(machine.machine_busy_s / machine.measured_s, float(machine.machine_cores))


def figures(window: Snapshot) -> Figures:
    """Return the figures of a window, as :func:`sockscope.core.run.window.window` cuts it out."""
    length = window.measured_s
    role = window.main
    p50, p99, longest = percentiles(role.service_time, without_answer(window), (0.5, 0.99, 1.0))
    response_p50, response_p99 = percentiles(role.response_time, without_response(window), (0.5, 0.99))
    lag_p50, lag_p99, lag_max = window.resources.loop_lag.percentiles((0.5, 0.99, 1.0))
    totals = role.totals

    def rate(count: float) -> float | None:
        return count / length if length > 0 else None

    return Figures(
        length_s=length,
        requests_per_s=rate(totals.responses) if role.counts_frames else None,
        bytes_per_s=rate(_payload_bytes(window)),
        p50_s=p50,
        p99_s=p99,
        max_s=longest,
        cpu_ratio=window.resources.cpu_ratio,
        lag_p50_s=lag_p50,
        lag_p99_s=lag_p99,
        lag_max_s=lag_max,
        wait_s=role.limiter.wait_s / role.limiter.waited if role.limiter.waited else None,
        opened_per_s=rate(totals.connections_opened),
        queue_s=_queue_s(window),
        failed_per_s=rate(totals.failed),
        lost_per_s=rate(max(0, totals.datagrams_lost)),
        stall_s=stall_s(window),
        response_p50_s=response_p50,
        response_p99_s=response_p99,
        lateness_p99_s=role.schedule_lateness.percentile(0.99),
        dropped_per_s=rate(totals.requests_dropped),
        waiting_ratio=_waiting_ratio(window),
        relay_delay_s=_relay_delay_s(window),
        fared=_fared(window),
    )


def _relay_delay_s(window: Snapshot) -> float | None:
    relay = window.relay
    return relay.relay.delay.percentile(0.5) if relay is not None and relay.relay is not None else None


def _waiting_ratio(window: Snapshot) -> float | None:
    uses = [(process.resources.cpu_s, process.resources.core_wait_s) for process in window.processes]
    waited = [wait_s for _, wait_s in uses if wait_s is not None]
    wanted_s = sum(cpu_s for cpu_s, _ in uses) + sum(waited)
    return sum(waited) / wanted_s if len(waited) == len(uses) and wanted_s > 0 else None


def _fared(window: Snapshot) -> Fared:
    swarm, length_s, tuning = window.swarm, window.measured_s, window.tuning
    if swarm is None or not swarm.clients or length_s <= 0:
        return Fared()
    answers, time_s = swarm.totals.responses, swarm.clients * length_s
    each_s = time_s * tuning.depth / answers - tuning.think_time_s if answers else None
    if not answers and length_s > tuning.think_time_s:
        each_s = math.inf
    return Fared(each_s, swarm.unanswered.sum_s / (time_s * tuning.depth))


def without_answer(window: Snapshot) -> Ages:
    """Return the ages of the requests of a window that got no answer, given up or still in flight."""
    return Ages(window.main.unanswered.counts, window.main.awaited)


def without_response(window: Snapshot) -> Ages:
    """Return the same of the response time, with those that are due and not sent."""
    return Ages(window.main.response_unanswered.counts, window.main.response_awaited)


def stall_s(window: Snapshot) -> float | None:
    """Return the longest time without an answer though one was awaited; 0 if there was no stall.

    A stall is longer than :data:`STALL_MEDIANS` times the median. During it a closed loop asks less, so that
    percentiles have few of the requests that others would have made (coordinated omission). Without an answer
    in the window the service time that the tuning asks for stands for the median; None where that tells
    nothing.
    """
    role = window.main
    median_s = role.service_time.percentile(0.5)
    if median_s is None:
        usual_s = max(UNANSWERED_S, STALL_MEDIANS * window.tuning.service_time_s)
        # More are in flight than were sent in the window: one was awaited all the time.
        all_the_time = role.last_answer_s and role.in_flight > role.totals.requests
        return window.measured_s if all_the_time and window.measured_s >= usual_s else None
    awaited, since_s = role.in_flight and role.last_answer_s, max(role.last_answer_s, role.awaited_since_s)
    going_on_s = min(window.time_s - since_s, window.measured_s) if awaited else 0.0
    longest_s = max(role.gaps.max_s or 0.0, going_on_s)
    return longest_s if longest_s > STALL_MEDIANS * median_s else 0.0


def _queue_s(window: Snapshot) -> float | None:
    """Return how long clients waited per request; at least so long where nobody's wait has ended.

    In an open loop it is not clients that wait, but requests in the queue: None.
    """
    swarm = window.swarm
    if swarm is None or window.tuning.rate:
        return None
    wait_s, sent = swarm.limiter.wait_s + swarm.pool.wait_s, swarm.totals.requests
    if sent:
        # All requests of a turn have waited for its permit.
        return wait_s * window.tuning.depth / sent
    return AtLeast(window.measured_s) if swarm.limiter.waiting or swarm.pool.waiting else None


def _payload_bytes(window: Snapshot) -> int:
    role = window.main
    framing = window.tuning.wire_bytes - window.tuning.request_bytes if role.counts_frames else 0
    return max(0, role.totals.response_bytes - role.totals.responses * framing)
