from __future__ import annotations

import asyncio
from collections import deque
from time import perf_counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sockscope.engine.limiter import Limiter, Waiter


class LimiterMachine(RuleBasedStateMachine):
    """The limiter against a model: a list of who holds and a queue of who waits."""

    def __init__(self) -> None:
        super().__init__()
        self.limiter = Limiter(0)
        self.permits = 0
        self.holders = 0
        self.queue: deque[int] = deque()
        self.waiters: dict[int, Waiter] = {}
        self.granted: list[int] = []
        self.expected: list[int] = []
        self.releases_at_once: set[int] = set()
        self.followed: set[int] = set()
        self.acquired = self.waited = self.names = 0

    @initialize(permits=st.integers(0, 4))
    def begin(self, permits: int) -> None:
        self.limiter = Limiter(permits)
        self.permits = permits

    def is_free(self) -> bool:
        return not self.permits or self.holders < self.permits

    def admit(self) -> None:
        """Do in the model what must happen now."""
        while self.queue and self.is_free():
            name = self.queue.popleft()
            self.expected.append(name)
            self.acquired += 1
            self.waited += 1
            if name in self.followed:
                self.queue.append(name + 1)
            self.holders += name not in self.releases_at_once

    @rule()
    def try_acquire(self) -> None:
        free = self.is_free() and not self.queue
        assert self.limiter.try_acquire() is free
        self.holders += free
        self.acquired += free

    @rule(releases_at_once=st.booleans(), follows=st.booleans())
    def enqueue(self, releases_at_once: bool, follows: bool) -> None:
        """Queue up; the grant may release at once, and may queue up once more before it returns."""
        name, self.names = self.names, self.names + 2
        if releases_at_once:
            self.releases_at_once.add(name)
        if follows:
            self.followed.add(name)

        def grant() -> None:
            self.granted.append(name)
            assert not self.limiter.try_acquire()
            if follows:
                self.waiters[name + 1] = self.limiter.enqueue(lambda: self.granted.append(name + 1))
            if releases_at_once:
                self.limiter.release()

        self.queue.append(name)
        self.waiters[name] = self.limiter.enqueue(grant)
        self.admit()

    @precondition(lambda self: not self.queue)
    @rule()
    def adopt(self) -> None:
        """Somebody began while there was no limit; however many there are, nobody is put out."""
        self.limiter.adopt()
        self.holders += 1
        self.acquired += 1

    @precondition(lambda self: self.holders)
    @rule()
    def release(self) -> None:
        self.holders -= 1
        self.limiter.release()
        self.admit()

    @precondition(lambda self: self.holders)
    @rule(data=st.data())
    def return_unused(self, data: st.DataObject) -> None:
        waited = self.waited > 0 and data.draw(st.booleans())
        self.holders -= 1
        self.acquired -= 1
        self.waited -= waited
        self.limiter.return_unused(waited=waited)
        self.admit()

    @rule(permits=st.integers(0, 5))
    def resize(self, permits: int) -> None:
        before = len(self.granted)
        in_flight = self.holders
        self.permits = permits
        self.limiter.resize(permits)
        self.admit()
        if permits and in_flight >= permits:
            assert len(self.granted) == before

    @precondition(lambda self: self.waiters)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.waiters)))
        if name in self.queue:
            self.queue.remove(name)
        self.limiter.forget(self.waiters[name])
        self.limiter.forget(self.waiters[name])

    @invariant()
    def agrees_with_the_model(self) -> None:
        statistics = self.limiter.statistics()
        assert self.granted == self.expected
        assert statistics.in_flight == self.holders
        assert statistics.waiting == len(self.queue)
        assert (statistics.acquired, statistics.waited) == (self.acquired, self.waited)
        assert statistics.permits == self.permits
        assert statistics.wait_s >= 0


TestLimiter = LimiterMachine.TestCase
TestLimiter.settings = settings(max_examples=60, stateful_step_count=40)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=12))
def test_in_flight_never_grows_beyond_the_permits_of_the_moment(steps: list[tuple[int, bool]]) -> None:
    limiter = Limiter(1)
    for permits, released in steps:
        held = limiter.in_flight
        limiter.resize(permits)
        for _ in range(3):
            limiter.enqueue(lambda: None)
        assert limiter.in_flight <= max(permits, held) or not permits
        if released and limiter.in_flight:
            limiter.release()


def test_many_forgotten_places_are_cleared_away() -> None:
    limiter = Limiter(1)
    assert limiter.try_acquire()
    granted: list[int] = []
    waiters = [limiter.enqueue(lambda n=n: granted.append(n)) for n in range(1000)]  # type: ignore[misc]
    for waiter in waiters[:-1]:
        limiter.forget(waiter)
    assert limiter.waiting == 1
    assert len(limiter._queue) < 200
    limiter.release()
    assert (granted, limiter.waiting, limiter.in_flight) == ([999], 0, 1)


async def turns() -> None:
    """Let every callback that is due run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_tasks_are_admitted_in_order() -> None:
    limiter = Limiter(2)
    order: list[int] = []
    most = 0

    async def worker(number: int) -> None:
        nonlocal most
        async with limiter:
            order.append(number)
            most = max(most, limiter.in_flight)
            await asyncio.sleep(0)

    async with asyncio.timeout(60):
        await asyncio.gather(*(worker(n) for n in range(20)))
    assert order == list(range(20))
    assert most == 2
    statistics = limiter.statistics()
    assert (statistics.in_flight, statistics.waiting) == (0, 0)
    assert (statistics.acquired, statistics.waited) == (20, 18)
    assert statistics.wait_s > 0


def test_who_still_waits_has_waited_already() -> None:
    limiter = Limiter(1)
    limiter.try_acquire()
    begun_s = perf_counter()
    waiters = [limiter.enqueue(lambda: None) for _ in range(3)]
    limiter.forget(waiters[1])
    told_s = limiter.statistics().wait_s
    assert 0 < told_s <= 3 * (perf_counter() - begun_s)
    limiter.release()
    limiter.forget(waiters[2])
    assert limiter.statistics().wait_s >= told_s
    assert limiter.statistics().waiting == 0


async def test_cancelled_while_it_waits_loses_no_permit() -> None:
    limiter = Limiter(1)
    await limiter.acquire()
    tasks = [asyncio.create_task(limiter.acquire()) for _ in range(3)]
    await turns()
    tasks[0].cancel()
    await turns()
    assert tasks[0].cancelled()
    assert limiter.waiting == 2
    limiter.release()
    await turns()
    assert [tasks[1].done(), tasks[2].done()] == [True, False]
    assert limiter.in_flight == 1
    tasks[2].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    limiter.release()
    assert (limiter.in_flight, limiter.waiting) == (0, 0)
    assert limiter.try_acquire()


async def test_cancelled_after_the_grant_gives_the_permit_to_the_next() -> None:
    limiter = Limiter(1)
    await limiter.acquire()
    first, second = (asyncio.create_task(limiter.acquire()) for _ in range(2))
    await turns()
    limiter.release()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    async with asyncio.timeout(60):
        await second
    assert first.cancelled()
    assert limiter.in_flight == 1
    limiter.release()
    assert limiter.in_flight == 0


async def test_an_exception_inside_gives_the_permit_back() -> None:
    limiter = Limiter(1)
    with pytest.raises(ZeroDivisionError):
        async with limiter:
            raise ZeroDivisionError
    assert limiter.in_flight == 0


@given(st.data())
@settings(max_examples=30)
def test_random_cancellations_leave_the_counts_balanced(data: st.DataObject) -> None:
    """Tasks come, are cancelled and finish in any order while the size changes."""
    whats = st.sampled_from(["come", "cancel", "finish", "resize", "turn"])
    steps = data.draw(st.lists(st.tuples(whats, st.integers(0, 5)), max_size=40))

    async def run() -> None:
        limiter = Limiter(2)
        leave: list[asyncio.Event] = []
        tasks: list[asyncio.Task[None]] = []
        inside = 0

        async def worker(event: asyncio.Event) -> None:
            nonlocal inside
            async with limiter:
                inside += 1
                try:
                    await event.wait()
                finally:
                    inside -= 1

        for what, n in steps:
            match what:
                case "come":
                    leave.append(asyncio.Event())
                    tasks.append(asyncio.create_task(worker(leave[-1])))
                case "cancel" if n < len(tasks):
                    tasks[n].cancel()
                case "finish" if n < len(leave):
                    leave[n].set()
                case "resize":
                    limiter.resize(n)
                case "turn":
                    await asyncio.sleep(0)
            assert inside <= limiter.in_flight
        limiter.resize(1)
        for event in leave:
            event.set()
        async with asyncio.timeout(60):
            await asyncio.gather(*tasks, return_exceptions=True)
        assert (limiter.in_flight, limiter.waiting, inside) == (0, 0, 0)
        assert limiter.try_acquire()

    asyncio.run(run())
