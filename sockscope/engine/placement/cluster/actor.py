"""What runs on a worker of the cluster: an actor that keeps one child process for the engine.

The roles are in the child, so that neither a model that blocks nor a saturated loop holds up the worker. The
actor moves bytes: what the engine sends to the child, and what the child has said since. All that it does is
asked for (dask runs ``async def`` methods of actors on the worker's loop). When the engine is gone the
scheduler has the actor dropped, and its child ends; where nobody hears of that, since a network is cut, it
ends after :data:`LEASE_S` without a question.
"""

from __future__ import annotations

import asyncio
import contextlib
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


class _Kept:
    """A child, and what it has said. It does not keep its actor alive."""

    def __init__(self, name: str, allocator: str) -> None:
        self.heard = asyncio.Event()
        self.ours = _Ours(self.heard)
        self.child = ChildProcess(name, allocator, self._exited)
        self.outcome = ""
        self.asked_s = monotonic()
        self._loop = asyncio.get_running_loop()
        self._is_unwanted = False

    async def start(self) -> None:
        """Start the child; raise EngineError when it cannot be started."""
        await self.child.start(self.ours)
        if self._is_unwanted:
            self.child.kill()
        self.asked_s = monotonic()
        self._look_whether_asked()

    def kill(self) -> None:
        """End the child at once, or as soon as it has begun."""
        self._is_unwanted = True
        self.child.kill()

    def let_go(self) -> None:
        """Do that from whichever thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, with which the child has ended
            self._loop.call_soon_threadsafe(self.kill)

    @property
    def is_over(self) -> bool:
        """Whether the child has ended, and everything is here that it has said."""
        return bool(self.outcome) and self.ours.transport is None

    def _exited(self, how: str) -> None:
        self.outcome = how
        self.heard.set()

    def _look_whether_asked(self) -> None:
        if self.outcome:
            return
        left_s = self.asked_s + LEASE_S - monotonic()
        if left_s <= 0:
            self.child.kill()
        else:
            self._loop.call_later(left_s, self._look_whether_asked)


class ChildActor:
    """Keeps one child process on the worker that it was placed on.

    The worker drops it when the engine lets it go, or is gone: the scheduler hears of that at once.
    """

    def __init__(self) -> None:
        self._kept: _Kept | None = None

    def __del__(self) -> None:
        if self._kept is not None:
            self._kept.let_go()

    async def begin(self, name: str, allocator: str) -> Begun:
        """Start the child; raise EngineError when it cannot be started."""
        self._turn = asyncio.Condition()
        self._next = self._newest = 0
        kept = self._kept = _Kept(name, allocator)
        await kept.start()
        return Begun(kept.child.pid, kept.child.environment, versions(), clock_name())

    async def time_s(self) -> float:
        """Return the time of the clock by which roles measure."""
        return perf_counter()

    async def exchange(self, number: int, outgoing: bytes, closes: bool, within_s: float) -> Exchanged:
        """Say ``outgoing`` to the child and return what it has said, waiting ``within_s`` at most for that.

        Exchanges are ``number``-ed from 0 and done in this order, in whichever they arrive; one that waits is
        let go by the next one. With the one that ``closes`` the child hears that nothing follows.
        """
        assert self._kept is not None
        kept = self._kept
        kept.asked_s = monotonic()
        self._newest = max(self._newest, number)
        kept.heard.set()
        async with self._turn:
            await self._turn.wait_for(lambda: self._next == number)
            if (transport := kept.ours.transport) is not None:
                transport.write(outgoing)
                if closes:
                    transport.close()
            if number == self._newest:
                await self._wait_for_news(kept, number, within_s)
            self._next = number + 1
            self._turn.notify_all()
            return _news(kept)

    async def _wait_for_news(self, kept: _Kept, number: int, within_s: float) -> None:
        try:
            async with asyncio.timeout(within_s):
                while not (kept.ours.unread or kept.is_over or number < self._newest):
                    kept.heard.clear()
                    await kept.heard.wait()
        except TimeoutError:
            return

    async def kill(self) -> None:
        """End the child at once, or as soon as it has begun."""
        if self._kept is not None:
            self._kept.kill()


def _news(kept: _Kept) -> Exchanged:
    if not kept.is_over:
        return Exchanged(kept.ours.fetch(), cpu_s=process_time())
    return Exchanged(kept.ours.fetch(), kept.outcome, kept.child.last_line, process_time())
