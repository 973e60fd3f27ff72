"""What the rules of the verdict go by: a window, where the time of its clients goes, and who is busy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from sockscope.core import units
from sockscope.core.run.cycle import Cycle, cycle_of
from sockscope.core.run.figures import (
    Figures,
    ProcessFigures,
    figures,
    process_figures,
)
from sockscope.core.run.kinds import Kind
from sockscope.core.run.machines import MachineFigures, machines_of
from sockscope.core.run.snapshot import TARGET, Snapshot

MACHINE_FULL_RATIO = 0.95
"""From this share of all cores on, the machine is the limit of several processes."""
CORE_WAIT_RATIO = 0.1
"""A process that waits for a core for this share of the time feels that others have it."""
CPU_HIGH_RATIO = 0.7
"""From this share on, processes are the limit if requests queue for nothing else: several take turns (one
works while the other waits for it), and one rests while all requests are in service."""
FAILING_RATIO = 0.05
"""From this share of the requests on, those that fail are."""
LAG_RATIO = 0.25
"""A loop that is late by this share of the latency on average is much of it."""
MOST_TOLD = 8
"""Processes that a sentence names: a cluster may have hundreds."""
HALF = 0.5
TENTH = 0.1
"""Ratios below this are told to a tenth of a per cent, and counts below its inverse to a tenth."""


LIMITER = "limiter"
RECORDER = "recorder"
PROCESS_STATE = "/proc/PID/status"
HEARTBEAT = "heartbeat of the loop"
TUNING = "tuning"
CPU_TIME = "getrusage, /proc/PID"
RUN_QUEUE = "/proc/PID/schedstat"
WANTED = "getrusage, /proc/PID/schedstat"
MACHINE_TIME = "/proc/stat"
BACKLOG_DEPTH = "TCP_INFO of the listener, /proc/net/tcp, sock_diag"
LISTEN_OVERFLOWS = "/proc/net/netstat ListenOverflows"
LISTEN_DROPS = "sk_drops of the listener (SO_MEMINFO, sock_diag)"
SOCKSTAT = "/proc/net/sockstat"
PORT_RANGE = "net.ipv4.ip_local_port_range"
SK_DROPS = "sk_drops of each socket (SO_MEMINFO)"
RCVBUF_ERRORS = "/proc/net/snmp RcvbufErrors"
"""Sources of evidence, as they are told."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One figure that a rule looked at.

    ``unit`` is that of ``value`` and ``threshold``: ``s``, ``bytes``, ``per_s``, ``ratio`` (1.0 = 100 %),
    ``count``, or none for words. The rule holds with a value from ``threshold`` on, or ``below`` it; a figure
    without a threshold is told only. ``source`` is who counted or measured it.
    """

    name: str
    value: float | str | None
    unit: str
    threshold: float | None
    source: str
    below: bool = False

    @property
    def holds(self) -> bool | None:
        """Whether it speaks for the rule; None without a threshold."""
        if self.threshold is None:
            return None
        if not isinstance(self.value, int | float):
            return False
        return self.value < self.threshold if self.below else self.value >= self.threshold


@dataclass(frozen=True, slots=True)
class Finding:
    """What limits the run: its kind, the sentence, and the figures that it stands on.

    ``who`` names the processes that are at the limit of a core (``server``, ``clients 2``, ...), or
    ``machine``; it is empty for any other limit.
    """

    kind: Kind
    sentence: str
    who: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()

    @property
    def limit(self) -> str:
        """The kind in a coarser word."""
        return self.kind.limit


def weighed(value: float | str | None, unit: str | None, threshold: float | None) -> tuple[str, str]:
    """Return a figure of evidence for people, and how it stands to its threshold: ``97 %``, ``>= 93 %``."""
    shown = value if isinstance(value, str) else _figure(value, unit)
    if threshold is None:
        return shown, ""
    reaches, bound = isinstance(value, int | float) and value >= threshold, _figure(threshold, unit)
    if not reaches and isinstance(value, int | float) and shown == bound:
        shown = _rounded_down(value, unit)
    return shown, f"{'>=' if reaches else '<'} {bound}"


def _rounded_down(value: float, unit: str | None) -> str:
    """Return a figure so that it does not read like the threshold that it is only just below."""
    step = 10.0 ** (math.floor(math.log10(value)) - 2) if value > 0 else 1.0
    lower = math.floor(value / step) * step
    if unit == "ratio":
        return f"{lower * 100:.1f} %"
    if unit in ("s", "bytes"):
        return _figure(lower, unit)
    return (
        _figure(math.floor(value), unit) if value >= 1 / TENTH else f"{lower:.3g}{'/s' * (unit == 'per_s')}"
    )


def _figure(value: float | None, unit: str | None) -> str:
    if value is None or not math.isfinite(value):
        return units.DASH
    if unit == "ratio":
        return f"{value * 100:.1f} %" if 0 < value < TENTH else units.format_ratio(value)
    if unit == "s":
        return units.format_duration(value)
    if unit == "bytes":
        return units.format_bytes(value)
    text = units.format_count(value) if value >= 1 / TENTH or value == int(value) else f"{value:.2g}"
    return f"{text}/s" if unit == "per_s" else text


class Seen:
    """A window, and what the rules ask of it; ratios are of one core.

    A rule decides by :meth:`at_least` and :meth:`below`, which keep what they compared: its evidence is what
    it went by, whether it holds or not. :func:`look` hands that out.
    """

    def __init__(self, window: Snapshot, *, over: bool = False) -> None:
        self.window = window
        self.over = over
        """Whether it is a run that has ended: what is of its last moment tells nothing of it."""
        self.cycle: Cycle = cycle_of(window)
        self.processes: tuple[ProcessFigures, ...] = process_figures(window)
        self._machines: dict[str, MachineFigures] = machines_of(window, self.processes)
        self.figures: Figures = figures(window)
        self.looked_at: list[Evidence] = []
        """What the rule that is looked at has gone by so far."""

    def at_least(self, name: str, value: float | None, unit: str, threshold: float, source: str) -> bool:
        """Tell whether a figure that a rule stands on reaches its threshold."""
        return self._keep(Evidence(name, value, unit, threshold, source))

    def below(self, name: str, value: float | None, unit: str, threshold: float, source: str) -> bool:
        """Tell whether a figure that a rule stands on is below its threshold."""
        return self._keep(Evidence(name, value, unit, threshold, source, below=True))

    def note(self, name: str, value: float | str | None, unit: str, source: str) -> None:
        """Keep a figure that a rule tells of, and that decides nothing."""
        self._keep(Evidence(name, value, unit, None, source))

    def _keep(self, evidence: Evidence) -> bool:
        self.looked_at.append(evidence)
        return bool(evidence.holds)

    def mostly_queues(self) -> bool:
        """Tell whether more time is lost in queues and the like than clients think, servers work, or faults
        delay."""
        cycle = self.cycle
        if cycle.service_s is None:
            return self.at_least("requests answered", 0, "count", 1, RECORDER)
        most_s = max(cycle.think_s, cycle.work_s, cycle.delay_s)
        return self.at_least("latency beyond the service time", cycle.rest_s, "s", most_s, RECORDER)

    @property
    def serving(self) -> tuple[ProcessFigures, ...]:
        """The processes that requests go through: that of the screen is none where the roles run apart."""
        return tuple(process for process in self.processes if process.roles) or self.processes

    @property
    def target(self) -> ProcessFigures | None:
        """The process of a server elsewhere, if it is known."""
        return next((process for process in self.processes if process.name == TARGET), None)

    @property
    def in_flight(self) -> int:
        """Requests that wait for their answer; of a run that is over on average, as far as that is known.

        The mean number is the time of all requests by that of the run (Little's law). A server alone has no
        more of them than connections.
        """
        swarm = self.window.swarm
        if swarm is None:
            return self.peers
        if not self.over:
            return swarm.in_flight
        tuning, measured_s = self.window.tuning, self.window.measured_s
        most = (
            min(swarm.clients, tuning.permits or swarm.clients, tuning.pool or swarm.clients) * tuning.depth
        )
        spent_s = (swarm.service_time.mean_s or 0.0) * swarm.service_time.total + swarm.unanswered.sum_s
        return min(most, round(spent_s / measured_s)) if spent_s and measured_s > 0 else most

    @property
    def peers(self) -> int:
        """Connections of the run; of one that is over, those that have been."""
        main = self.window.main
        return max(main.connections_open, main.totals.connections_opened if self.over else 0)

    @property
    def connecting(self) -> int:
        """Clients that wait for a connection; of a run that is over, on average."""
        window, swarm = self.window, self.window.swarm
        if swarm is None:
            return 0
        away = window.tuning.pool or (window.tuning.lifetime and window.tuning.think_time_s)
        if not (self.over and swarm.connected_s) or away or window.measured_s <= 0:
            return swarm.clients_connecting
        return max(round(swarm.clients - swarm.connected_s / window.measured_s) - swarm.clients_retrying, 0)

    @property
    def machines(self) -> tuple[MachineFigures, ...]:
        """The machines that requests go through: that of the screen is none where no role is on it."""
        present = [process for process in self.serving if process.alive] or list(self.serving)
        return tuple(self._machines[name] for name in dict.fromkeys(one.cores_of for one in present))

    def machine_of(self, process: ProcessFigures) -> MachineFigures:
        """Return the machine whose cores a process has."""
        return self._machines[process.cores_of]

    def short_of_cores(self, processes: Iterable[ProcessFigures]) -> list[MachineFigures]:
        """Return the machines on which one of these processes waits for a core, or every core works."""
        found = {
            one.cores_of: self.machine_of(one)
            for one in processes
            if (one.core_wait_ratio or 0.0) >= CORE_WAIT_RATIO or is_full(self.machine_of(one))
        }
        return list(found.values())

    def is_felt(self, process: ProcessFigures) -> bool:
        """Whether the lag of a process is much of the latency, or of the timeout where nothing is answered.

        A request waits for its loop twice.
        """
        if process.lag_mean_s is None or self.window.swarm is None:
            return True
        service_s = self.cycle.service_s
        least_s = LAG_RATIO * (service_s if service_s is not None else self.window.tuning.request_timeout_s)
        return self.at_least(f"{process.name}: mean lag", process.lag_mean_s, "s", least_s, HEARTBEAT)

    @property
    def one_process(self) -> bool:
        """Whether everything that is known of the run is in one process."""
        return len(self.processes) == 1


Look = Callable[[Seen], Finding | None]
"""What looks for one limit; a pure function of the window."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table of rules: what is looked for, in words, the kinds that it may find, and how."""

    title: str
    kinds: tuple[Kind, ...]
    look: Look


@dataclass(frozen=True, slots=True)
class Looked:
    """What a rule went by, and what it found, if it holds."""

    rule: Rule
    finding: Finding | None
    evidence: tuple[Evidence, ...]


def look(seen: Seen, rule: Look) -> tuple[Finding | None, tuple[Evidence, ...]]:
    """Return what a rule says, if it holds, and in any case what it went by."""
    outer, seen.looked_at = seen.looked_at, []
    try:
        finding = rule(seen)
        evidence = tuple(dict.fromkeys(seen.looked_at))
    finally:
        seen.looked_at = outer
    return finding and replace(finding, evidence=evidence), evidence


def first(seen: Seen, rules: Iterable[Look]) -> Finding | None:
    """Return what the first rule that holds says; None when none does.

    Its evidence is then also that of the rule that asks for a cause.
    """
    for rule in rules:
        finding, evidence = look(seen, rule)
        if finding is not None:
            seen.looked_at += evidence
            return finding
    return None


def share(process: ProcessFigures) -> str:
    """Return what a process uses of a core, and waits for it if that is worth a word."""
    text = f"{process.name} {units.format_ratio(process.cpu_ratio)} of one core"
    if (process.core_wait_ratio or 0.0) >= CORE_WAIT_RATIO:
        text += f" and waits for it {units.format_ratio(process.core_wait_ratio)} of the time"
    return text


def shares(processes: Iterable[ProcessFigures]) -> str:
    """Return what each of several processes uses of a core; nothing of those that ended before the window."""
    told = [p for p in processes if p.alive or p.cpu_ratio is not None]
    return listed(told, lambda process: f"{process.name} {units.format_ratio(process.cpu_ratio)}")


def listed(processes: Sequence[ProcessFigures], tell: Callable[[ProcessFigures], str]) -> str:
    """Return what ``tell`` says of each process; of many, of those that want most of a core."""
    if len(processes) > MOST_TOLD:
        wanting = sorted(processes, key=lambda process: process.wanted_ratio or 0.0, reverse=True)
        most = wanting[: MOST_TOLD - 1]
        return ", ".join([*map(tell, most), f"{len(processes) - len(most):,} more want less"])
    return ", ".join(map(tell, processes))


def short_told(machines: Sequence[MachineFigures]) -> list[str]:
    """Return how much is taken of machines that are short of cores: of that of which others take most."""
    if not machines:
        return []
    worst, *rest = sorted(machines, key=lambda machine: machine.foreign or 0.0, reverse=True)
    more = f"{units.counted(len(rest), 'more machine')} {'is' if len(rest) == 1 else 'are'} short of cores"
    return [*worst.told(), *([more] if rest else [])]


def is_full(machine: MachineFigures) -> bool:
    """Tell whether every core of a machine works, for whatever program."""
    return machine.taken_ratio is not None and machine.taken_ratio >= MACHINE_FULL_RATIO


def perhaps(seen: Seen) -> list[str]:
    """Return what other programs use, as a part of a sentence, where the server may be one of them."""
    if seen.window.server is not None or seen.target is not None:
        return []
    most = max(seen.machines, key=lambda machine: machine.foreign or 0.0)
    if (most.foreign or 0.0) < CPU_HIGH_RATIO:
        return []
    share_taken = units.format_ratio(most.foreign)
    return [f"other programs{most.at}, perhaps the server, take {share_taken} of a core"]
