"""Clients that share connections: nobody overtakes, nobody is lost, and the figures tell the queue."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sockscope.core.run.snapshot import Totals
from sockscope.engine.swarm.pool import Pool
from tests.engine.peers import Scripted, echo, tcp_peer
from tests.engine.runs import connections_of, running, server_of, swarm_of, tune
from tests.waiting import until

clients = pytest.mark.parametrize("client", ["selector", "protocol", "streams"])


class Timer:
    """A call that is due at a time, until it is cancelled or made."""

    def __init__(self, when_s: float, call: Callable[[], None]) -> None:
        self.when_s, self.call, self.cancelled = when_s, call, False

    def when(self) -> float:
        return self.when_s

    def cancel(self) -> None:
        self.cancelled = True


class StillLoop:
    """A loop whose time passes when it is told to."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now_s

    def call_later(self, delay_s: float, call: Callable[..., None], *args: Any) -> Timer:
        timer = Timer(self.now_s + delay_s, lambda: call(*args))
        self.timers.append(timer)
        return timer

    def pass_by(self, seconds: float) -> None:
        self.now_s += seconds
        due = [timer for timer in self.timers if timer.when_s <= self.now_s]
        self.timers = [timer for timer in self.timers if timer.when_s > self.now_s]
        for timer in due:
            if not timer.cancelled:
                timer.call()


class Seat:
    """A connection that notes when it is taken."""

    def __init__(self, machine: PoolMachine) -> None:
        self.machine = machine

    def take(self, since_s: float) -> None:
        self.machine.taken.append(self)

    def ask(self) -> None:
        self.machine.alone.append(self)


class PoolMachine(RuleBasedStateMachine):
    """The pool against a model: how many clients there are, and a queue of free connections."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = StillLoop()
        self.pool = Pool(cast(asyncio.AbstractEventLoop, self.loop))
        self.taken: list[Seat] = []
        self.alone: list[Seat] = []
        self.free: deque[Seat] = deque()
        self.busy: list[Seat] = []
        self.think_s = 0.0
        self.used = 0
        self.wait_s = 0.0

    def take_up(self) -> None:
        """Whatever was taken was the connection that had been free the longest."""
        for seat in self.taken:
            assert seat is self.free.popleft()
            self.busy.append(seat)
        self.taken.clear()

    @rule(clients=st.integers(0, 6), connections=st.integers(0, 4), think=st.sampled_from([0.0, 1.0, 5.0]))
    def resize(self, clients: int, connections: int, think: float) -> None:
        self.think_s = think
        self.pool.resize(clients if connections else 0, connections, think)
        self.take_up()
        if not connections:
            assert self.alone == list(self.free)
            self.free.clear()
        self.alone.clear()

    @precondition(lambda self: self.pool.connections)
    @rule()
    def offer(self) -> None:
        seat = Seat(self)
        self.free.append(seat)
        self.pool.offer(seat)
        self.take_up()

    @precondition(lambda self: self.free)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        seat = data.draw(st.sampled_from(list(self.free)))
        self.free.remove(seat)
        self.pool.withdraw(seat)
        self.pool.withdraw(seat)

    @precondition(lambda self: self.busy)
    @rule(data=st.data(), breaks=st.booleans(), used=st.booleans())
    def give_back(self, data: st.DataObject, breaks: bool, used: bool) -> None:
        seat = data.draw(st.sampled_from(self.busy))
        if used:
            self.pool.use(seat)
            self.used += 1
        self.busy.remove(seat)
        self.pool.give_back(seat, used=used)
        self.take_up()
        if not breaks and self.pool.connections:
            self.free.append(seat)
            self.pool.offer(seat)
            self.take_up()

    @rule(seconds=st.sampled_from([0.5, 3.0]))
    def pass_by(self, seconds: float) -> None:
        self.loop.pass_by(seconds)
        self.take_up()

    @invariant()
    def nobody_is_lost_and_nobody_waits_in_vain(self) -> None:
        statistics = self.pool.statistics()
        thinking = sum(not timer.cancelled for timer in self.loop.timers)
        assert statistics.in_flight == len(self.busy)
        # Who has a turn may be more than there are to be, until it is over.
        present = statistics.waiting + thinking + len(self.busy)
        assert present == max(self.pool.clients, len(self.busy))
        assert not (statistics.waiting and self.free)
        assert statistics.acquired == self.used, "a turn counts when it is used, and is never taken back"
        assert 0 <= statistics.waited <= statistics.acquired
        assert statistics.wait_s >= self.wait_s
        self.wait_s = statistics.wait_s
        assert all(timer.when_s <= self.loop.now_s + self.think_s for timer in self.loop.timers
                   if not timer.cancelled)  # fmt: skip


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=50, stateful_step_count=40)


def balanced(totals: Totals) -> bool:
    return totals.requests == totals.responses + totals.timeouts + totals.errors


@clients
@pytest.mark.parametrize(
    "values",
    [{}, {"permits": 2}, {"think_time_s": 0.001}, {"lifetime": 5}, {"depth": 3, "batch": 3}],
    ids=["plain", "permits", "think", "lifetime", "depth"],
)
async def test_the_clients_share_so_many_connections(client: str, values: dict[str, Any]) -> None:
    async with running(client=client, clients=20, pool=4, service_time_s=0.002, **values) as engine:
        await until(lambda: swarm_of(engine).totals.responses > 100)
        swarm = swarm_of(engine)
        assert swarm.clients == 20
        assert swarm.connections_open <= 4
        assert swarm.limiter.in_flight <= values.get("permits", 4)
        assert server_of(engine).connections_open <= 4 or "lifetime" in values
        assert (swarm.pool.permits, swarm.pool.acquired >= 100 // values.get("depth", 1)) == (4, True)
        await until(lambda: swarm_of(engine).pool.waiting > 0 or "think_time_s" in values)
        if "lifetime" not in values:
            assert swarm_of(engine).totals.connections_opened == 4
    swarm, served = swarm_of(engine), server_of(engine)
    assert (swarm.totals.errors, swarm.totals.timeouts) == (0, 0)
    assert swarm.totals.requests == swarm.totals.responses == served.totals.responses
    assert (swarm.pool.in_flight, swarm.pool.waiting) == (0, 0)


async def test_a_pool_is_used_evenly() -> None:
    async with running(clients=9, pool=3, requests=300) as engine:
        await engine.wait()
        swarm = connections_of(engine, "swarm").swarm
        assert swarm is not None
        asked = [view.requests or 0 for view in swarm.connections]
        assert sum(asked) == 300
        # Evenly, but for answers that come in another order than they were asked for.
        assert max(asked) - min(asked) <= 10


@clients
async def test_a_pool_changes_while_the_run_goes_on(client: str) -> None:
    async with running(client=client, clients=12) as engine:
        for changes in (
            {"pool": 4}, {"pool": 9}, {"clients": 5}, {"clients": 30}, {"pool": 1}, {"think_time_s": 60.0},
            {"think_time_s": 0.0}, {"pool": 0}, {"pool": 3},
        ):  # fmt: skip
            await tune(engine, **changes)
            tuning = engine.tuning
            await until(lambda n=tuning.connections: swarm_of(engine).connections_open == n)  # type: ignore[misc]
            if not tuning.think_time_s:
                answered = swarm_of(engine).totals.responses
                await until(lambda a=answered: swarm_of(engine).totals.responses > a + 100)  # type: ignore[misc]
            swarm = swarm_of(engine)
            assert swarm.clients == tuning.clients
            assert swarm.pool.permits == (tuning.connections if tuning.pool else 0)
        totals = swarm_of(engine).totals
        assert (totals.errors, totals.timeouts) == (0, 0)
    assert balanced(swarm_of(engine).totals)


async def test_thinking_clients_leave_the_connections_to_the_others() -> None:
    async with running(clients=10, pool=2, think_time_s=60.0) as engine:
        await until(lambda: swarm_of(engine).totals.responses == 10)
        await until(lambda: swarm_of(engine).pool.in_flight == 0)
        assert swarm_of(engine).pool.waiting == 0


async def test_a_thinking_client_becomes_a_free_connection_at_once() -> None:
    async with running(clients=3, think_time_s=60.0) as engine:
        await until(lambda: swarm_of(engine).totals.responses == 3)
        await tune(engine, pool=2, clients=6)
        await until(lambda: swarm_of(engine).totals.responses == 9)


@clients
async def test_a_pool_pauses_rolls_and_goes_on(client: str) -> None:
    async with running(client=client, clients=10, pool=3, service_time_s=0.001) as engine:
        await until(lambda: swarm_of(engine).totals.responses > 20)
        engine.pause()
        await until(lambda: not swarm_of(engine).in_flight)
        asked = swarm_of(engine).totals.requests
        await tune(engine, framing="newline")
        await until(lambda: not swarm_of(engine).rolling and swarm_of(engine).connections_open == 3)
        paused = swarm_of(engine)
        assert (paused.totals.requests, paused.pool.waiting) == (asked, 10)
        assert swarm_of(engine).pool.wait_s == paused.pool.wait_s, "nobody waits for what is held back"
        engine.resume()
        await until(lambda: swarm_of(engine).totals.responses > asked + 50)
        assert swarm_of(engine).totals.errors == 0


async def test_the_clients_of_a_pool_survive_its_connections() -> None:
    refused: list[Scripted] = []

    def talk(connection: Scripted, data: bytes) -> None:
        if len(refused) < 6:
            refused.append(connection)
            connection.transport.abort()
        else:
            echo(connection, data)

    async with (
        tcp_peer(talk) as port,
        running(grace_s=0.0, role="swarm", target=f"127.0.0.1:{port}", clients=8, pool=2) as engine,
    ):
        await until(lambda: swarm_of(engine).totals.responses > 80)
        swarm = swarm_of(engine)
        assert swarm.totals.errors == 6
        assert swarm.pool.in_flight + swarm.pool.waiting == 8
    swarm = swarm_of(engine)
    assert balanced(swarm.totals)
    assert (swarm.pool.in_flight, swarm.pool.waiting) == (0, 0)


@pytest.mark.parametrize("pool", [1, 3, 50])
async def test_a_budget_is_spent_to_the_last_request(pool: int) -> None:
    async with running(clients=7, pool=pool, permits=2, requests=333) as engine:
        async with asyncio.timeout(60):
            await engine.wait()
        totals = swarm_of(engine).totals
        assert (totals.requests, totals.responses) == (333, 333)
        assert swarm_of(engine).limiter.acquired == 333
