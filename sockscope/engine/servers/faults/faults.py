"""All faults of one server role: gone over to, counted, and taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

from sockscope.core.impairment.server import NO_SERVER_FAULTS, ServerFaults
from sockscope.core.run.injected import Injected
from sockscope.core.run.raised import Raised
from sockscope.engine.servers.faults.counts import Counts
from sockscope.engine.servers.faults.executor import FullExecutor
from sockscope.engine.servers.faults.handlers import CancelStorm, Deafness
from sockscope.engine.servers.faults.leaks import DescriptorLeak, TaskLeak
from sockscope.engine.servers.faults.requests import EXCEPTION, InjectedFault, RequestFaults
from sockscope.engine.servers.faults.ticking import BlockedLoop
from sockscope.engine.servers.faults.writes import Undrained


class Sufferer(Protocol):
    """What faults are made in: all endpoints of a server together."""

    @property
    def serves_on_loop(self) -> bool:
        """Whether any of them serves on the event loop."""
        ...

    def transports(self) -> Iterable[asyncio.Transport]:
        """Return the transports of the connections that are served on the loop."""
        ...

    def cancels(self) -> Iterable[Callable[[], object]]:
        """Return what cancels each handler that is a task."""
        ...

    async def take_faults(self) -> None:
        """Serve each request by way of the faults while they strike, and else without them."""
        ...


class Faults:
    """The faults of a server while they are on; all of it belongs to the loop, but what requests meet."""

    def __init__(self, seed: int = 1) -> None:
        self._counts = counts = Counts()
        self._sufferer: Sufferer | None = None
        self._on = NO_SERVER_FAULTS
        self._over = False
        self._requests = RequestFaults(counts, seed)
        self._blocked = BlockedLoop(counts)
        self._tasks = TaskLeak(counts)
        self._descriptors = DescriptorLeak(counts)
        self._storm = CancelStorm(counts, lambda: self._sufferer.cancels() if self._sufferer else ())
        self._executor = FullExecutor()
        self.undrained = Undrained(lambda: self._sufferer.transports() if self._sufferer else ())
        """The connections whose reader is not waited for."""
        self.deafness = Deafness(counts)
        """Whether handlers swallow their cancellation."""

    @property
    def strikes(self) -> bool:
        """Whether requests on the loop are to be served by way of :meth:`strike`."""
        return self._requests.on_loop

    def strike(self) -> None:
        """Do to a request what is to be done, on the loop; raises InjectedFault."""
        self._requests.strike()

    @property
    def strikes_in_threads(self) -> bool:
        """Whether requests in threads are to be served by way of :meth:`strike_in_thread`."""
        return self._requests.in_thread

    def strike_in_thread(self) -> None:
        """Do to a request what is to be done, in the thread that serves it; raises InjectedFault."""
        self._requests.strike_in_thread(lambda: self._over)

    async def apply(self, faults: ServerFaults, sufferer: Sufferer) -> None:
        """Go over to these faults; what those before have left is gone on return."""
        self._sufferer = sufferer
        before, self._on = self._on, faults
        on_loop = sufferer.serves_on_loop
        self._requests.apply(faults)
        self._blocked.apply(faults.block_s if on_loop else 0.0)
        self._storm.rate.apply(faults.cancel_storm_per_s)
        self._tasks.rate.apply(faults.task_leak_per_s)
        self._descriptors.rate.apply(faults.descriptor_leak_per_s)
        self._executor.apply(faults.full_executor)
        self.undrained.apply(faults.no_drain)
        self.deafness.apply(faults.swallow_cancel)
        if faults or before:
            await sufferer.take_faults()
            await self._take_back(faults)

    async def _take_back(self, faults: ServerFaults) -> None:
        if not faults.task_leak_per_s:
            await self._tasks.end()
        if not faults.descriptor_leak_per_s:
            await self._descriptors.end()
        if not faults.full_executor:
            await self._executor.end()
        if not faults.swallow_cancel:
            await self.deafness.end()

    async def end(self) -> None:
        """Take all faults back: the server ends."""
        self._over = True
        if self._sufferer is not None:
            await self.apply(NO_SERVER_FAULTS, self._sufferer)

    def figures(self) -> Injected:
        """Return what they have done, and what they hold."""
        return replace(
            self._counts.figures,
            handlers_deaf=self.deafness.deaf,
            tasks_held=self._tasks.held,
            descriptors_held=self._descriptors.held,
            executor_sleepers=self._executor.sleepers,
            executor_queued=self._executor.queued,
            undrained_bytes=self.undrained.buffered_bytes,
        )

    def raised(self) -> tuple[Raised, ...]:
        """Return the exceptions that were raised on purpose, as a row of the table of those."""
        count = self._counts.figures.raised
        return (Raised(InjectedFault.__name__, EXCEPTION, str(InjectedFault()), count),) if count else ()
