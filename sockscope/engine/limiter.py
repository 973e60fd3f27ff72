"""A semaphore that can be resized while it is in use.

What shrinking means: permits that are held stay held. Until fewer are held than there are permits now,
nobody is admitted; then the longest waiting first. Growing admits from the front of the queue at once. So
however often the size changes, an admission never makes ``in_flight`` exceed the permits of that moment.
A limit that is set while requests are in flight is a shrinking too: each of them counts as a holder of a
permit (:meth:`Limiter.adopt`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from types import TracebackType

from sockscope.core.run.snapshot import LimiterStatistics
from sockscope.engine.stopwatch import Stopwatch


class Waiter:
    """A place in the queue of a :class:`Limiter`; :meth:`Limiter.forget` gives it up."""

    __slots__ = ("grant", "since_s", "waited_s")

    def __init__(self, grant: Callable[[], None], since_s: float) -> None:
        self.grant: Callable[[], None] | None = grant
        self.since_s = since_s
        self.waited_s = 0.0
        """How long it has waited, once it is over."""

    @property
    def queued(self) -> bool:
        """Whether the permit is still waited for."""
        return self.grant is not None


class Limiter:
    """A FIFO semaphore of ``permits``; 0 means no limit.

    Protocols use :meth:`try_acquire`, :meth:`enqueue` and :meth:`release`, which never await; coroutines
    use ``async with`` or :meth:`acquire`.
    """

    def __init__(self, permits: int) -> None:
        self.permits = permits
        self.in_flight = 0
        self._queue: deque[Waiter] = deque()
        self._forgotten = 0
        self._granting = False
        self._acquired = 0
        self._waited = 0
        self.waits = Stopwatch()
        """How long those who wait have waited, all together."""
        self.busy_since_s = 0.0
        """Since when somebody has held a permit without a break (monotonic), while somebody does."""

    @property
    def has_room(self) -> bool:
        """Whether a permit is free and nobody waits for it."""
        return not (self._granting or self._queue or (self.permits and self.in_flight >= self.permits))

    def try_acquire(self) -> bool:
        """Take a permit if one is free and nobody waits for it."""
        if self._granting or self._queue or (self.permits and self.in_flight >= self.permits):
            return False
        if not self.in_flight:
            self.busy_since_s = perf_counter()
        self.in_flight += 1
        self._acquired += 1
        return True

    def adopt(self) -> None:
        """Count a holder that began while there was no limit; like any other it gives its permit back."""
        self.in_flight += 1
        self._acquired += 1

    def enqueue(self, grant: Callable[[], None], now_s: float = 0.0) -> Waiter:
        """Queue up; ``grant`` is called once, when the permit is held. It must not raise.

        ``now_s`` is the moment, where it is known.
        """
        waiter = Waiter(grant, self.waits.begin(now_s or perf_counter()))
        self._queue.append(waiter)
        if not self.permits or self.in_flight < self.permits:
            self._admit()
        return waiter

    def forget(self, waiter: Waiter) -> None:
        """Leave the queue; nothing happens when the permit was granted already."""
        if waiter.grant is not None:
            waiter.grant = None
            self.waits.end(waiter.since_s, perf_counter())
            self._forgotten += 1
            if self._forgotten > 64 and self._forgotten * 2 > len(self._queue):
                self._queue = deque(w for w in self._queue if w.grant is not None)
                self._forgotten = 0

    def release(self) -> None:
        """Give a permit back and admit who waits for it."""
        self.in_flight -= 1
        if self._queue:
            self._admit()

    def return_unused(self, *, waited: bool) -> None:
        """Give a permit back for which there was no use: it counts as not given, nor as ``waited`` for."""
        self._acquired -= 1
        self._waited -= waited
        self.release()

    def resize(self, permits: int) -> None:
        """Change the size from now on; see the module's rules for shrinking and growing."""
        self.permits = permits
        self._admit()

    def _admit(self) -> None:
        # A grant may release or enqueue again; the loop below sees it, so it need not recurse.
        if self._granting:
            return
        self._granting = True
        try:
            while self._queue and not (self.permits and self.in_flight >= self.permits):
                waiter = self._queue.popleft()
                grant, waiter.grant = waiter.grant, None
                if grant is None:
                    self._forgotten -= 1
                    continue
                now_s = perf_counter()
                if not self.in_flight:
                    self.busy_since_s = now_s
                self.in_flight += 1
                self._acquired += 1
                self._waited += 1
                waiter.waited_s = self.waits.end(waiter.since_s, now_s)
                grant()
        finally:
            self._granting = False

    async def acquire(self) -> None:
        """Wait for a permit. When cancelled, no permit is held and none is lost."""
        if self.try_acquire():
            return
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        granted = False

        def grant() -> None:
            nonlocal granted
            granted = True
            if not admitted.done():
                admitted.set_result(None)

        waiter = self.enqueue(grant)
        try:
            await admitted
        except asyncio.CancelledError:
            self.forget(waiter)
            if granted:
                self.release()
            raise

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @property
    def waiting(self) -> int:
        """How many wait for a permit."""
        return len(self._queue) - self._forgotten

    def statistics(self) -> LimiterStatistics:
        """Return the figures of this moment."""
        now_s, queue = perf_counter(), self._queue
        while queue and queue[0].grant is None:
            queue.popleft()
            self._forgotten -= 1
        return LimiterStatistics(
            permits=self.permits,
            in_flight=self.in_flight,
            waiting=self.waiting,
            acquired=self._acquired,
            waited=self._waited,
            wait_s=self.waits.total_s(now_s),
            longest_wait_s=self.waits.at(now_s) - queue[0].since_s if queue else 0.0,
        )
