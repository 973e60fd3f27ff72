"""What the rules of the verdict go by: a window, where the time of its clients goes, and who is busy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sockscope.core import units
from sockscope.core.run.cycle import Cycle, cycle_of
from sockscope.core.run.figures import ProcessFigures, machine_ratio, process_figures
from sockscope.core.run.snapshot import TARGET, Snapshot

MACHINE_FULL_RATIO = 0.95
"""From this share of all cores on, the machine is the limit of several processes."""
CORE_WAIT_RATIO = 0.1
"""A process that waits for a core for this share of the time feels that others have it."""
OTHERS_RATIO = 0.1
"""From this share of a core on, other programs are worth a word."""
FAILING_RATIO = 0.05
"""From this share of the requests on, those that fail are."""
LAG_RATIO = 0.25
"""A loop that is late by this share of the latency on average is much of it."""
HALF = 0.5


@dataclass(frozen=True, slots=True)
class Finding:
    """What limits the run: a word, and the sentence with the evidence.

    ``who`` names the processes that are at the limit of a core (``server``, ``clients 2``, ...), or
    ``machine``; it is empty for any other limit.
    """

    limit: str
    text: str
    who: tuple[str, ...] = ()


class Seen:
    """A window, and what the rules ask of it; ratios are of one core."""

    def __init__(self, window: Snapshot, *, over: bool = False) -> None:
        self.window = window
        self.over = over
        """Whether it is a run that has ended: what is of its last moment tells nothing of it."""
        self.cycle: Cycle = cycle_of(window)
        self.processes: tuple[ProcessFigures, ...] = process_figures(window)

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
        """Requests that wait for their answer; of a run that is over, as many as may have."""
        swarm = self.window.swarm
        if swarm is None:
            return 0
        if not self.over:
            return swarm.in_flight
        tuning = self.window.tuning
        return (
            min(swarm.clients, tuning.permits or swarm.clients, tuning.pool or swarm.clients) * tuning.depth
        )

    @property
    def foreign_ratio(self) -> float | None:
        """Cores that other programs take."""
        taken = machine_ratio(self.window)
        if taken is None:
            return None
        ours = sum(process.cpu_ratio or 0.0 for process in self.processes)
        return max(taken * self.window.resources.machine_cores - ours, 0.0)

    @property
    def machine_is_full(self) -> bool:
        """Whether every core works, for whatever program."""
        taken = machine_ratio(self.window)
        return taken is not None and taken >= MACHINE_FULL_RATIO

    def is_felt(self, process: ProcessFigures) -> bool:
        """Whether the lag of a process is much of the latency; a request waits for its loop twice."""
        if self.cycle.service_s is None or process.lag_mean_s is None:
            return True
        return process.lag_mean_s >= LAG_RATIO * self.cycle.service_s

    @property
    def one_process(self) -> bool:
        """Whether everything that is known of the run is in one process."""
        return len(self.processes) == 1


Rule = Callable[[Seen], Finding | None]


def first(seen: Seen, rules: Iterable[Rule]) -> Finding | None:
    """Return what the first rule that holds says; None when none does."""
    return next((finding for rule in rules if (finding := rule(seen)) is not None), None)


def share(process: ProcessFigures) -> str:
    """Return what a process uses of a core, and waits for it if that is worth a word."""
    text = f"{process.name} {units.format_ratio(process.cpu_ratio)} of one core"
    if (process.core_wait_ratio or 0.0) >= CORE_WAIT_RATIO:
        text += f" and waits for it {units.format_ratio(process.core_wait_ratio)} of the time"
    return text


def shares(processes: Iterable[ProcessFigures]) -> str:
    """Return what each of several processes uses of a core."""
    return ", ".join(f"{p.name} {units.format_ratio(p.cpu_ratio)}" for p in processes)


def machine_told(seen: Seen) -> list[str]:
    """Return how much of the machine is taken, and by others, as a part of a sentence, if it is known."""
    window, foreign = seen.window, seen.foreign_ratio
    taken, cores = machine_ratio(window), window.resources.machine_cores
    if taken is None:
        return []
    share_taken, are = units.format_ratio(min(taken, 1.0)), "is" if cores == 1 else "are"
    told = f"{share_taken} of the machine's {units.counted(cores, 'core')} {are} taken"
    if foreign is not None and foreign >= OTHERS_RATIO:
        told += f", {units.format_ratio(foreign)} of a core by other programs"
    return [told]
