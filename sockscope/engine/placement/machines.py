"""What the kernels of other machines have counted, for a run that is on several of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sockscope.core.run.adding import difference, total
from sockscope.core.run.snapshot import KernelCounts, Resources

Reading = tuple[str, object, Resources]
"""A machine, a process on it, and what that has told last."""


@dataclass(frozen=True, slots=True)
class _Machine:
    """One of them: the process whose reading of its counters counts, and the two readings that matter.

    What it has counted is ``done`` at ``since``, and ``last - since`` more by now.
    """

    reader: object
    done: KernelCounts | None
    since: KernelCounts | None
    last: KernelCounts

    @property
    def counts(self) -> KernelCounts:
        more = self.last if self.since is None else difference(self.since, self.last)
        return more if self.done is None else total([self.done, more])


class Machines:
    """The counters of several machines, each read by one of the processes on it, and added up.

    A process counts from its own beginning. When it is gone another one there goes on with what is counted
    from then on; a machine that is lost keeps what it had.
    """

    def __init__(self) -> None:
        self._machines: dict[str, _Machine] = {}

    def add_up(self, here: Resources, readings: Iterable[Reading]) -> Resources:
        """Return ``here``, readings of this process, with what the kernels of the other machines count.

        Of TIME_WAIT and ephemeral ports it has those of the machine with the most sockets in TIME_WAIT: they
        are limits of each. What of the cores is taken does not add up, and stays that of this machine.
        """
        readings = list(readings)
        for machine in dict.fromkeys(machine for machine, _, _ in readings):
            self._take(machine, {who: _counts(told) for on, who, told in readings if on == machine})
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

    def _take(self, machine: str, told: dict[object, KernelCounts]) -> None:
        known = self._machines.get(machine)
        if known is None:
            reader, counts = next(iter(told.items()))
            self._machines[machine] = _Machine(reader, None, None, counts)
        elif known.reader in told:
            self._machines[machine] = replace(known, last=told[known.reader])
        else:
            reader, counts = next(iter(told.items()))
            self._machines[machine] = _Machine(reader, known.counts, counts, counts)


def _counts(told: Resources) -> KernelCounts:
    return KernelCounts(told.kernel_udp, told.kernel_tcp)
