"""What runs on a worker of the cluster: an actor that keeps one child process for the engine.

The roles are in the child, so that neither a model that blocks nor a saturated loop holds up the worker. The
actor moves bytes: what the engine sends to the child, and what the child has said since. All that it does is
asked for (dask runs ``async def`` methods of actors on the worker's loop), and an engine that asks no more
is gone: its child ends after :data:`LEASE_S`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic, perf_counter, process_time
from typing import cast

from sockscope.core.wire.framing import MAX_FRAME_BYTES
from sockscope.engine.placement.cluster.machine import clock_name, versions
from sockscope.engine.placement.hosts.child_process import ChildProcess

LEASE_S = 30.0
"""A child of which nobody has asked anything for so long is ended."""
MOST_UNREAD_BYTES = 2 * MAX_FRAME_BYTES
"""A child that has said so much which nobody has fetched is not read from."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A child that was started: its process, what decides how that allocates memory, and where it is."""

    pid: int
    environment: Mapping[str, str]
    versions: str
    clock: str


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What a child has said, and what became of it, if it has ended and nothing is left to be fetched.

    ``cpu_s`` is the processor time that the worker itself has used by then.
    """

    incoming: bytes
    outcome: str = ""
    last_line: str = ""
    cpu_s: float = 0.0


class _Ours(asyncio.Protocol):
    """The actor's end of the socket pair: keeps what the child says until it is fetched."""

    def __init__(self, heard: asyncio.Event) -> None:
        self.unread = bytearray()
        self.transport: asyncio.Transport | None = None
        self._heard = heard

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.unread += data
        self._heard.set()
        if len(self.unread) > MOST_UNREAD_BYTES and self.transport is not None:
            self.transport.pause_reading()

    def fetch(self) -> bytes:
        """Return what is unread, and read on."""
        fetched, self.unread = bytes(self.unread), bytearray()
        if self.transport is not None and not self.transport.is_reading():
            self.transport.resume_reading()
        return fetched

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self._heard.set()


class ChildActor:
    """Keeps one child process on the worker that it was placed on."""

    async def begin(self, name: str, allocator: str) -> Begun:
        """Start the child; raise EngineError when it cannot be started."""
        self._heard = asyncio.Event()
        self._turn = asyncio.Condition()
        self._next = self._newest = 0
        self._outcome = ""
        self._ours = _Ours(self._heard)
        self._child = ChildProcess(name, allocator, self._exited)
        await self._child.start(self._ours)
        self._asked_s = monotonic()
        self._look_whether_asked()
        return Begun(self._child.pid, self._child.environment, versions(), clock_name())

    async def time_s(self) -> float:
        """Return the time of the clock by which roles measure."""
        return perf_counter()

    async def exchange(self, number: int, outgoing: bytes, closes: bool, within_s: float) -> Exchanged:
        """Say ``outgoing`` to the child and return what it has said, waiting ``within_s`` at most for that.

        Exchanges are ``number``-ed from 0 and done in this order, in whichever they arrive; one that waits is
        let go by the next one. With the one that ``closes`` the child hears that nothing follows.
        """
        self._asked_s = monotonic()
        self._newest = max(self._newest, number)
        self._heard.set()
        async with self._turn:
            await self._turn.wait_for(lambda: self._next == number)
            if (transport := self._ours.transport) is not None:
                transport.write(outgoing)
                if closes:
                    transport.close()
            if number == self._newest:
                await self._wait_for_news(number, within_s)
            self._next = number + 1
            self._turn.notify_all()
            return self._news()

    async def _wait_for_news(self, number: int, within_s: float) -> None:
        try:
            async with asyncio.timeout(within_s):
                while not (self._ours.unread or self._is_over or number < self._newest):
                    self._heard.clear()
                    await self._heard.wait()
        except TimeoutError:
            return

    def _news(self) -> Exchanged:
        if not self._is_over:
            return Exchanged(self._ours.fetch(), cpu_s=process_time())
        return Exchanged(self._ours.fetch(), self._outcome, self._child.last_line, process_time())

    @property
    def _is_over(self) -> bool:
        """Whether the child has ended, and everything is here that it has said."""
        return bool(self._outcome) and self._ours.transport is None

    async def kill(self) -> None:
        """End the child at once."""
        self._child.kill()

    def _exited(self, how: str) -> None:
        self._outcome = how
        self._heard.set()

    def _look_whether_asked(self) -> None:
        if self._outcome:
            return
        left_s = self._asked_s + LEASE_S - monotonic()
        if left_s <= 0:
            self._child.kill()
        else:
            asyncio.get_running_loop().call_later(left_s, self._look_whether_asked)
