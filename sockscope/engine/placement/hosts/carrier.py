"""What a host needs of the process that its roles run in, wherever that is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

REPORTS_S = 0.1
"""How often a process is asked for a report while somebody reads what it reports."""
IDLE_REPORTS_S = 0.5
"""The same while nobody does, which leaves the cores to the traffic."""


class Carrier(Protocol):
    """A process that runs the worker, and what carries the bytes of the channel to it and back."""

    @property
    def pid(self) -> int:
        """Its number where it runs; 0 before it was started."""
        ...

    @property
    def alive(self) -> bool:
        """Whether it runs, as far as is known here."""
        ...

    @property
    def stopped(self) -> bool:
        """Whether a signal has stopped it (SIGSTOP), and not only its loop is held up."""
        ...

    @property
    def last_line(self) -> str:
        """The last line that it wrote to its standard error, at most 200 characters of it."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """What decides how it allocates memory: our choice, and the variables that are set."""
        ...

    @property
    def clock_offset_s(self) -> float:
        """Seconds to add to a time of its monotonic clock to get the time of ours."""
        ...

    @property
    def clock_error_s(self) -> float:
        """How far that may be off."""
        ...

    @property
    def worker(self) -> str:
        """The address of the worker of a cluster that it is a child of; empty for one of this process."""
        ...

    @property
    def worker_cpu_s(self) -> float:
        """The processor time that this has used since it was first heard of."""
        ...

    @property
    def reports_s(self) -> float:
        """How often it is to be asked for a report while somebody reads them: of many, each less often."""
        ...

    @property
    def path(self) -> tuple[str, ...]:
        """Where it is to find modules; nothing where it knows better."""
        ...

    async def start(self, channel: asyncio.Protocol) -> None:
        """Start it, and let ``channel`` talk to it; it is not waited for here.

        Raises EngineError when it cannot be started.
        """
        ...

    async def wait(self, within_s: float | None = None) -> None:
        """Return when it has ended, after ``within_s`` at the latest."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...


class CarrierFactory(Protocol):
    """Makes what carries a host of this name.

    ``on_exit`` is called once, when the process has ended, with what became of it (``was killed (SIGKILL)``);
    ``expects`` tells whether an answer is awaited.
    """

    def __call__(
        self, name: str, allocator: str, on_exit: Callable[[str], None], expects: Callable[[], bool]
    ) -> Carrier:
        """Return one that is yet to be started."""
        ...
