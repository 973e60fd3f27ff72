"""Who has the cores of each machine of a run: the run itself, other programs, other machines."""

from __future__ import annotations

from dataclasses import dataclass

from sockscope.core import units
from sockscope.core.run.figures import ProcessFigures, cores_taken, machine_readings
from sockscope.core.run.snapshot import Resources, Snapshot

OTHERS_RATIO = 0.1
"""From this share of a core on, other programs are worth a word."""


@dataclass(frozen=True, slots=True)
class MachineFigures:
    """The cores of one machine in a window. ``name`` is its address, empty for this one.

    ``taken`` are those that were, None where it cannot be told; ``stolen`` is what a hypervisor gave to
    others while this machine wanted it (steal), and part of that. ``processes`` are all of the run that have
    them.
    """

    name: str
    cores: int
    taken: float | None
    stolen: float
    processes: tuple[ProcessFigures, ...]
    measured_s: float

    @property
    def taken_ratio(self) -> float | None:
        """The share of all its cores that is taken."""
        return None if self.taken is None else self.taken / self.cores

    @property
    def ours(self) -> float:
        """What the run takes of them, with the workers of a cluster that its processes are children of."""
        workers = {one.worker: one for one in self.processes if one.worker}
        theirs = sum(self._used(one, one.worker_cpu_ratio) for one in workers.values())
        return sum(self._used(one, one.cpu_ratio) for one in self.processes) + theirs

    def _used(self, by: ProcessFigures, ratio: float | None) -> float:
        """Return what was used in the time of the window: one that has ended has had a part of it."""
        if by.alive or not self.measured_s:
            return ratio or 0.0
        return (ratio or 0.0) * min(by.length_s / self.measured_s, 1.0)

    @property
    def foreign(self) -> float | None:
        """What other programs take of them, steal included."""
        return None if self.taken is None else max(self.taken - self.ours, 0.0)

    @property
    def called(self) -> str:
        """How it is called in a sentence."""
        return f"the machine {self.name}" if self.name else "the machine"

    @property
    def at(self) -> str:
        """Where its cores are, at the end of a phrase; nothing is said of this machine."""
        return f" at {self.name}" if self.name else ""

    def told(self) -> list[str]:
        """Return how much of it is taken, and by others, as a part of a sentence, if it is known."""
        ratio, foreign = self.taken_ratio, self.foreign
        if ratio is None or foreign is None:
            return []
        cores, are = units.counted(self.cores, "core"), "is" if self.cores == 1 else "are"
        whose = f"the {cores} of {self.name}" if self.name else f"the machine's {cores}"
        told = f"{units.format_ratio(ratio)} of {whose} {are} taken"
        if foreign - self.stolen >= OTHERS_RATIO:
            told += f", {units.format_ratio(foreign - self.stolen)} of a core by other programs"
        if self.stolen >= OTHERS_RATIO:
            told += f", {units.format_ratio(self.stolen)} of a core by other machines on its host (steal)"
        return [told]


def machines_of(window: Snapshot, processes: tuple[ProcessFigures, ...]) -> dict[str, MachineFigures]:
    """Return the machines of a run by their names, this one first; ``processes`` are those of the window."""
    return {
        name: _machine(name, reading, tuple([one for one in processes if one.cores_of == name]))
        for name, reading in machine_readings(window).items()
    }


def _machine(name: str, reading: Resources, processes: tuple[ProcessFigures, ...]) -> MachineFigures:
    measured_s = reading.measured_s
    stolen = (reading.machine_steal_s or 0.0) / measured_s if measured_s > 0 else 0.0
    taken = cores_taken(reading)
    return MachineFigures(name, reading.machine_cores, taken, stolen, processes, measured_s)
