"""What is raced: contestants with their experiments, and what one slice of one of them came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

from sockscope.core.censoring import percentiles
from sockscope.core.config.applicability import without_effect
from sockscope.core.config.experiment import FIELDS, Experiment
from sockscope.core.config.fields import Value
from sockscope.core.roles import SERVER, SWARM
from sockscope.core.run.adding import total
from sockscope.core.run.evidence import Finding
from sockscope.core.run.fared import UNANSWERED_RATIO
from sockscope.core.run.figures import HERE, machine_readings, without_answer, without_response
from sockscope.core.run.findings import limit_of
from sockscope.core.run.little import accounted_ratio
from sockscope.core.run.snapshot import KernelCounts, ProcessUse, Resources, RunState, Snapshot
from sockscope.errors import ConfigError, FieldFault

MAX_CONTESTANTS = 32
MAX_ROUNDS = 1_000
SHORTEST_SLICE_S = 0.01
DEFAULT_ROUNDS = 6
"""The fewest rounds whose extremes enclose the median with 95 % (:mod:`sockscope.core.results.spread`)."""
DEFAULT_SLICE_S = 1.0
DEFAULT_WARMUP_S = 0.3


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server under a name. ``uses_loop`` is False for models whose server leaves the event loop alone."""

    name: str
    experiment: Experiment
    uses_loop: bool = True


@dataclass(frozen=True, slots=True)
class Published:
    """Figures that somebody published for a contestant; ``times`` as fast as the baseline."""

    contestant: str
    duration_s: float
    connections_per_s: float
    cpu_ratio: float
    rss_bytes: int
    times: float


@dataclass(frozen=True, slots=True)
class Contest:
    """A race: who takes part, and for how long.

    The *rate* is measured (requests per second of slices of ``slice_s``, persistent or not) unless
    ``requests`` is given: then a slice is a *batch* of so many requests, and the time is measured until all
    are done. ``warmup_s`` is left out at the beginning of each slice of a rate; a batch is preceded by a
    small one. ``note`` and ``published`` are shown with the result; ``left_out`` are names and why they do
    not take part here.
    """

    contestants: tuple[Contestant, ...]
    rounds: int = DEFAULT_ROUNDS
    slice_s: float = DEFAULT_SLICE_S
    warmup_s: float = DEFAULT_WARMUP_S
    requests: int = 0
    baseline: str = ""
    preset: str = ""
    note: str = ""
    published: tuple[Published, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def kind(self) -> str:
        """``rate`` or ``batch``."""
        return "batch" if self.requests else "rate"

    @property
    def figure(self) -> str:
        """The figure that decides."""
        return "duration_s" if self.requests else "requests_per_s"

    @property
    def higher_is_better(self) -> bool:
        """Whether more of the figure is better."""
        return not self.requests

    def field_faults(self) -> Iterator[FieldFault]:
        """Yield everything that is wrong with this contest, its experiments included."""
        names = [contestant.name for contestant in self.contestants]
        if not 1 <= len(names) <= MAX_CONTESTANTS:
            yield FieldFault("contestants", len(names), f"must be 1 to {MAX_CONTESTANTS}")
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield FieldFault("contestants", name, "takes part twice")
        if not 1 <= self.rounds <= MAX_ROUNDS:
            yield FieldFault("rounds", self.rounds, f"must be 1 to {MAX_ROUNDS:,}")
        if self.slice_s < SHORTEST_SLICE_S:
            yield FieldFault("slice", self.slice_s, f"must be at least {SHORTEST_SLICE_S:g} s")
        if self.baseline and self.baseline not in names:
            yield FieldFault("baseline", self.baseline, f"does not take part; these do: {', '.join(names)}")
        if at_s := max((one.experiment.stall_at_s for one in self.contestants), default=0.0):
            yield FieldFault(
                "stall_at", at_s, "is a moment of a run: a race has none that is the same for all"
            )
        for contestant in self.contestants:
            for fault in contestant.experiment.field_faults():
                yield replace(fault, field=f"{contestant.name}: {fault.field}")

    def validated(self) -> Self:
        """Return self, or raise :class:`ConfigError` with every fault."""
        if faults := list(self.field_faults()):
            raise ConfigError(faults)
        return self

    def workload(self) -> dict[str, Value | None]:
        """Return each field of the experiments by its attribute, None where contestants differ in it, and
        where it means nothing to any of them."""
        first = self.contestants[0].experiment
        vain = set.intersection(*(set(without_effect(one.experiment)) for one in self.contestants))
        return {
            entry.attribute: None if key in vain or self._differ_in(key) else first.value(key)
            for key, entry in FIELDS.items()
        }

    def differing(self, contestant: Contestant) -> dict[str, Value]:
        """Return the fields, by attribute, in which the contestants differ, as this one has them."""
        return {
            entry.attribute: contestant.experiment.value(key)
            for key, entry in FIELDS.items()
            if self._differ_in(key)
        }

    def _differ_in(self, key: str) -> bool:
        return len({contestant.experiment.value(key) for contestant in self.contestants}) > 1


@dataclass(frozen=True, slots=True)
class Lap:
    """The figures of one contestant in one slice; None is not known.

    ``duration_s`` is the length of the slice, or of the batch from its first connect to its last answer;
    rates are per second of it. The response time is since a request was due, or its client wanted to ask;
    ``schedule_lateness_p99_s`` and ``requests_dropped`` are of the generator of an open loop. ``cpu_ratio``,
    ``cpu_s_per_request``, ``rss_bytes``, ``threads`` and the switches are those of the server's process,
    ``clients_cpu_ratio`` that of the clients', and ``others_cpu_ratio`` that of whatever else ran on the
    machine, this program included (of several machines on the one where that was most). ``failed`` are
    requests without an answer (``timeouts`` and other ``errors``), ``answers_rejected`` those of them whose
    answer was not accepted, ``connects_failed`` attempts that got no connection. ``verdict`` is what limited
    the slice, where that was looked at.
    """

    duration_s: float | None
    connections_per_s: float | None
    requests_per_s: float | None
    service_time_p50_s: float | None
    service_time_p99_s: float | None
    response_time_p50_s: float | None
    response_time_p99_s: float | None
    schedule_lateness_p99_s: float | None
    requests_dropped: float | None
    cpu_ratio: float | None
    clients_cpu_ratio: float | None
    others_cpu_ratio: float | None
    cpu_s_per_request: float | None
    rss_bytes: float | None
    threads: float | None
    voluntary_switches: float | None
    involuntary_switches: float | None
    timeouts: float | None
    errors: float | None
    failed: float | None
    answers_rejected: float | None
    connects_failed: float | None
    verdict: Finding | None = None


FIGURES = tuple(f.name for f in fields(Lap) if f.name != "verdict")
"""Names of the figures that are measured in each round."""


def lap_of(server: Snapshot, swarm: Snapshot, duration_s: float | None = None) -> Lap:
    """Return the figures of a slice, from the windows of the server's and of the clients' run.

    ``duration_s`` is that of a batch; without it the slice is as long as the windows are. Processor time in
    the window but outside of a batch is that of idle processes.
    """
    seen, totals = swarm.main, swarm.main.totals
    server_s, swarm_s = duration_s or server.measured_s, duration_s or swarm.measured_s
    p50, p99 = percentiles(seen.service_time, without_answer(swarm), (0.5, 0.99))
    response_p50, response_p99 = percentiles(seen.response_time, without_response(swarm), (0.5, 0.99))
    accounted = accounted_ratio(swarm)
    if accounted is not None and accounted < UNANSWERED_RATIO:
        # They are of the few that are served; most clients got no answer all the while.
        p50 = p99 = response_p50 = response_p99 = None
    used, clients = used_by(SERVER, server), used_by(SWARM, swarm)
    return Lap(
        duration_s=swarm_s or None,
        connections_per_s=_ratio(totals.connections_opened, swarm_s),
        requests_per_s=_ratio(totals.responses, swarm_s),
        service_time_p50_s=p50,
        service_time_p99_s=p99,
        response_time_p50_s=response_p50,
        response_time_p99_s=response_p99,
        schedule_lateness_p99_s=seen.schedule_lateness.percentile(0.99),
        requests_dropped=totals.requests_dropped,
        cpu_ratio=_ratio(_sum(used, "cpu_s"), server_s),
        clients_cpu_ratio=_ratio(_sum(clients, "cpu_s"), swarm_s),
        others_cpu_ratio=_others(swarm, (*used, *clients)),
        cpu_s_per_request=_ratio(_sum(used, "cpu_s"), totals.responses),
        rss_bytes=_sum(used, "rss_bytes"),
        threads=_sum(used, "threads"),
        voluntary_switches=_sum(used, "voluntary_switches"),
        involuntary_switches=_sum(used, "involuntary_switches"),
        timeouts=totals.timeouts,
        errors=totals.errors,
        failed=totals.failed,
        answers_rejected=totals.answers_rejected,
        connects_failed=totals.connections_refused + totals.connections_timed_out + totals.connections_failed,
    )


def verdict_of(server: Snapshot, swarm: Snapshot, experiment: Experiment) -> Finding:
    """Return what limited a slice, of which these are the windows of :func:`one_run`."""
    return limit_of(one_run(server, swarm, experiment))


def one_run(server: Snapshot, swarm: Snapshot, experiment: Experiment) -> Snapshot:
    """Return the windows of the server's and of the clients' run as one, which they are in truth:
    a run of ``experiment``. Of a server elsewhere the former is that of the clients."""
    here = {_key(process): process for process in swarm.processes}
    theirs = [process for process in server.processes if _key(process) not in here]
    for process in server.processes:
        if (both := here.get(_key(process))) is not None and both is not process:
            here[_key(process)] = replace(both, roles=(*process.roles, *both.roles))
    return replace(
        swarm,
        roles={**swarm.roles, **server.roles},
        resources=_with_machines_of(swarm, server),
        processes=(*here.values(), *theirs),
        experiment=experiment,
        tuning=experiment.tuning,
        state=RunState.RUNNING,
    )


def _with_machines_of(swarm: Snapshot, server: Snapshot) -> Resources:
    """Return what the process of the clients' run uses, with what the kernels of the server's machines count.

    Where both are on one machine, or none is known to be on another, that run has counted it already.
    """
    counted = {process.machine for process in swarm.processes}
    theirs = [one for one in server.processes if one.machine and one.machine not in counted]
    by_machine: dict[str, Resources] = {}
    for one in sorted(theirs, key=lambda process: process.resources.measured_s):
        by_machine[one.machine] = one.resources  # whoever has counted longest
    ours, more = swarm.resources, tuple(by_machine.values())
    counts = total([KernelCounts(one.kernel_udp, one.kernel_tcp) for one in (ours, *more)])
    fullest = max((ours, *more), key=lambda told: told.time_wait or 0)
    return replace(
        ours, kernel_udp=counts.udp, kernel_tcp=counts.tcp, time_wait=fullest.time_wait,
        ephemeral_ports=fullest.ephemeral_ports,
    )  # fmt: skip


def _key(process: ProcessUse) -> tuple[str, int]:
    """Return what tells a process from all others: on several machines numbers may be alike."""
    return process.name, process.pid


def usual_verdict(laps: Sequence[Lap]) -> Finding | None:
    """Return the latest verdict of the kind that most slices have; None where none has one."""
    told = [lap.verdict for lap in laps if lap.verdict is not None]
    kinds = Counter(one.kind for one in told)
    return max(told, key=lambda one: (kinds[one.kind], told.index(one)), default=None)


def used_by(role: str, window: Snapshot) -> list[ProcessUse]:
    """Return the processes that host ``role`` (``server`` or ``swarm``)."""
    return [process for process in window.processes if role in process.roles]


def _others(window: Snapshot, ours: Iterable[ProcessUse]) -> float | None:
    """Return what everything else on their machine used per second, of several on that where it was most.

    All is measured over nearly one window, which has what is not of a single process.
    """
    used = tuple({(one.machine, one.cores_of, one.pid): one for one in ours}.values())
    readings = machine_readings(replace(window, processes=used))
    of_each = [
        max(0.0, busy - sum(one.resources.cpu_ratio or 0.0 for one in used if one.cores_of == name))
        for name in {one.cores_of for one in used} or {HERE}
        if (busy := _ratio(readings[name].machine_busy_s, readings[name].measured_s)) is not None
    ]
    return max(of_each, default=None)


def _sum(used: list[ProcessUse], name: str) -> float | None:
    values = [getattr(process.resources, name) for process in used]
    return sum(values) if values and None not in values else None


def _ratio(value: float | None, per: float) -> float | None:
    return value / per if value is not None and per > 0 else None


def laps_by_figure(laps: tuple[Lap, ...]) -> Mapping[str, tuple[float | None, ...]]:
    """Return the values of each figure over the rounds."""
    return {name: tuple(getattr(lap, name) for lap in laps) for name in FIGURES}
