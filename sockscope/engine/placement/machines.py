"""What the kernels of other machines have counted, for a run that is on several of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sockscope.core.run.adding import difference, total
from sockscope.core.run.snapshot import KernelCounts, Resources

Reading = tuple[str, object, Resources]
"""A machine, a process on it, and what that has told last."""
HERE = ""
"""This machine, and this process, which reads its counters."""


@dataclass(frozen=True, slots=True)
class _Machine:
    """One of them: the process whose reading of its counters counts, and the two readings that matter.

    What it has counted is ``done`` at ``since``, and ``last - since`` more by now. ``told`` is what all
    of the processes there have told last.
    """

    reader: object
    done: KernelCounts | None
    since: KernelCounts | None
    last: KernelCounts
    told: Mapping[object, KernelCounts]

    @property
    def counts(self) -> KernelCounts:
        more = self.last if self.since is None else difference(self.since, self.last)
        return more if self.done is None else total([self.done, more])


class Machines:
    """The counters of several machines, each read by one of the processes on it, and added up.

    A process counts from its own beginning. When it is gone another one there goes on with what it has
    counted since; a machine that is lost, or that the run has left, keeps what it had.
    """

    def __init__(self) -> None:
        self._machines: dict[str, _Machine] = {}
        self._here: Resources | None = None

    def stay_here(self, told: Resources) -> None:
        """Note what was counted on this machine while everything is here: the run may go to others."""
        self._here = told

    def add_up(self, here: Resources, readings: Iterable[Reading]) -> Resources:
        """Return ``here``, readings of this process, with what the kernels of these machines count.

        This machine is one of them, as :data:`HERE`, where roles are here, too.
        Of TIME_WAIT and ephemeral ports it has those of the machine with the most sockets in TIME_WAIT: they
        are limits of each. What of the cores is taken does not add up, and stays that of this machine.
        """
        readings = list(readings)
        if self._here is not None and not self._machines:
            self._machines[HERE] = _Machine(HERE, None, None, _counts(self._here), {})
        was_elsewhere = bool(self._machines)
        for machine in dict.fromkeys([*self._machines, *(machine for machine, _, _ in readings)]):
            self._take(
                machine, {who: _counts(told) for on, who, told in readings if on == machine}, was_elsewhere
            )
        counted = [machine.counts for machine in self._machines.values()]
        counts = total(counted) if counted else KernelCounts(None, None)
        fullest = max((told for _, _, told in readings), key=lambda told: told.time_wait or 0, default=None)
        return replace(
            here,
            kernel_udp=counts.udp,
            kernel_tcp=counts.tcp,
            time_wait=None if fullest is None else fullest.time_wait,
            ephemeral_ports=None if fullest is None else fullest.ephemeral_ports,
        )

    def _take(self, machine: str, told: Mapping[object, KernelCounts], was_elsewhere: bool) -> None:
        known = self._machines.get(machine)
        if known is not None and not told:
            if machine == HERE:  # its reader counts on, which is nothing of the run
                self._machines[machine] = replace(known, reader=None, told={})
        elif known is not None and known.reader in told:
            self._machines[machine] = replace(known, last=told[known.reader], told=told)
        else:
            reader, counts = next(iter(told.items()))
            # Of this machine this process has counted since the run began, whether the run was here or not.
            done, since = None, counts if machine == HERE and was_elsewhere else None
            if known is not None:
                done, since = known.counts, known.told.get(reader, since)
            self._machines[machine] = _Machine(reader, done, since, counts, told)


def _counts(told: Resources) -> KernelCounts:
    return KernelCounts(told.kernel_udp, told.kernel_tcp)
