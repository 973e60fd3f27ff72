"""Faults in the server: each strikes, is counted, and leaves the server as before when it is taken back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sockscope.core.events import CloseReason, EventKind
from sockscope.core.run.injected import Injected, told
from sockscope.engine.engine import Engine
from sockscope.engine.lens.stack import Spot, at
from sockscope.engine.limits import open_descriptors
from sockscope.engine.servers.faults import leaks, requests, writes
from sockscope.engine.servers.registry import PRESENT_MODELS
from sockscope.engine.standstill import LoopStandstill
from sockscope.errors import ConfigError
from tests.engine.runs import EVERYTHING, port_of, running, server_of, swarm_of, tune
from tests.waiting import until

HERE = "tests.engine.own_servers"
EVERY_MODEL = [(model.transport, model.name) for model in PRESENT_MODELS]
every_model = pytest.mark.parametrize("model", EVERY_MODEL, ids="-".join)


def injected(engine: Engine) -> Injected:
    return server_of(engine).injected


def answered(engine: Engine) -> int:
    return swarm_of(engine).totals.responses


async def goes_on(engine: Engine) -> None:
    """Wait until requests are answered again, and nothing is done to them any more.

    What threads were at when it was taken back comes to its end first.
    """
    for _ in range(20):
        before, done = answered(engine), injected(engine)
        await until(lambda before=before: answered(engine) > before + 20)  # type: ignore[misc]
        if injected(engine) == done:
            return
    pytest.fail(f"what was taken back is still done: {injected(engine)}")


@asynccontextmanager
async def faulty(fault: str, **values: Any) -> AsyncIterator[Engine]:
    """Run with a fault from the beginning, and see at the end that nothing is left, no request lost."""
    values.setdefault("request_timeout_s", 2.0)
    async with running(grace_s=5.0, fault=fault, **values) as engine:
        yield engine
    server = engine.snapshot().server
    assert server is not None
    left = server.injected
    held = left.tasks_held, left.descriptors_held, left.executor_sleepers, left.handlers_deaf
    assert held == (0, 0, 0, 0)
    swarm = swarm_of(engine)
    told = swarm.totals
    assert told.requests == told.responses + told.timeouts + told.errors + swarm.in_flight
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "leaked"]


# Faults of requests, in every model.


@every_model
async def test_a_fault_of_requests_strikes_in_every_model_until_it_is_taken_back(
    model: tuple[str, str],
) -> None:
    transport, name = model
    # What gets no answer is given up soon; how many of them do is not looked at.
    values: dict[str, Any] = {"clients": 2, "request_timeout_s": 0.2}
    async with faulty("cpu=20us", transport=transport, server=name, **values) as engine:
        await until(lambda: injected(engine).burnt_s > 0, what="CPU is burnt")
        await tune(engine, fault="")
        await goes_on(engine)
        await tune(engine, fault="exception=20%")
        await until(lambda: injected(engine).raised >= 3, what="handlers raise")
        await tune(engine, fault="")
        await goes_on(engine)
        server = engine.snapshot(EVERYTHING).server
        assert server is not None
        assert server.totals.errors == server.injected.raised
        [row] = server.raised
        assert row.count == server.injected.raised
        told_of = [
            e.text for e in server.events if e.kind is EventKind.ERROR and e.reason is CloseReason.RAISED
        ]
        assert len(told_of) == server.injected.raised
        assert told_of[0] == "InjectedFault at the fault 'exception': raised on purpose"


@every_model
async def test_a_block_holds_up_whoever_serves(model: tuple[str, str]) -> None:
    transport, name = model
    async with faulty("block=5ms", transport=transport, server=name, clients=2) as engine:
        await until(lambda: injected(engine).blocks, what="it is blocked")
        await tune(engine, fault="")
        await goes_on(engine)
        await until(lambda: injected(engine).blocked_s >= 0.005, what="a thread that was held up goes on")


@pytest.mark.parametrize("model", ["protocol", "buffered", "streams"])
async def test_open_connections_take_a_fault_and_lose_it(model: str) -> None:
    async with faulty("", server=model, clients=1) as engine:
        await until(lambda: answered(engine) > 5)
        for _ in range(3):
            await tune(engine, fault="cpu=20us")
            before = injected(engine).burnt_s
            await until(lambda before=before: injected(engine).burnt_s > before)  # type: ignore[misc]
            await tune(engine, fault="")
            await goes_on(engine)
        assert server_of(engine).totals.connections_opened == 1


@pytest.mark.parametrize("own", ["echo", "echo_in_thread"])
async def test_own_code_meets_faults_at_its_reads(own: str) -> None:
    async with faulty("cpu=20us", handler=f"{HERE}:{own}", clients=2) as engine:
        await until(lambda: injected(engine).burnt_s > 0)
        await tune(engine, fault="exception=20%")
        await until(lambda: injected(engine).raised >= 2)
        await tune(engine, fault="")
        await goes_on(engine)
        [row] = [row for row in server_of(engine).raised if row.what == "InjectedFault"]
        assert row.count == injected(engine).raised


# Handlers.


@pytest.mark.parametrize("own", [{}, {"handler": f"{HERE}:echo"}], ids=["streams", "own"])
async def test_a_storm_cancels_handlers_and_their_connections_end(own: dict[str, str]) -> None:
    server = {"server": "streams"} if not own else {}
    async with faulty("cancel-storm=200/s", clients=4, **server, **own) as engine:
        await until(lambda: injected(engine).handlers_cancelled >= 3)
        await until(lambda: server_of(engine).totals.errors >= 3, what="connections are closed")
        await tune(engine, fault="")
        await until(lambda: server_of(engine).connections_open == 4)
        await goes_on(engine)


@pytest.mark.parametrize("own", [{}, {"handler": f"{HERE}:echo"}], ids=["streams", "own"])
async def test_handlers_that_swallow_cancellations_go_on(own: dict[str, str]) -> None:
    server = {"server": "streams"} if not own else {}
    async with faulty("swallow-cancel", clients=4, **server, **own) as engine:
        # One that has not begun when it is cancelled has nothing to swallow that with.
        await until(lambda: server_of(engine).connections_open == 4 and answered(engine) > 20)
        await tune(engine, fault="cancel-storm=200/s, swallow-cancel")
        await until(lambda: injected(engine).cancellations_swallowed >= 5)
        await until(lambda: injected(engine).handlers_deaf)
        assert server_of(engine).totals.errors == 0
        assert server_of(engine).totals.connections_opened == 4
        await tune(engine, fault="")
        assert injected(engine).handlers_deaf == 0
        await until(lambda: server_of(engine).connections_open == 4)
        await goes_on(engine)


# What is kept.


async def test_tasks_leak_up_to_a_bound_and_end_when_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "MOST_TASKS", 30)
    async with faulty("task-leak=10000/s", clients=1) as engine:
        await until(lambda: injected(engine).tasks_held == 30)
        assert len([task for task in asyncio.all_tasks() if task.get_name() == "leaked"]) == 30
        assert injected(engine).tasks_leaked == 30
        await tune(engine, fault="")
        assert injected(engine).tasks_held == 0
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "leaked"]
        await goes_on(engine)


async def test_descriptors_leak_but_never_the_spare_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    async with faulty("", clients=1) as engine:
        await until(lambda: answered(engine))
        before = open_descriptors()
        with socket.socket() as probe:
            first = probe.fileno() + 10
        monkeypatch.setattr(leaks, "spare_descriptors", lambda: range(first, first + 16))
        await tune(engine, fault="descriptor-leak=1000/s")
        await until(lambda: injected(engine).descriptors_held)
        with socket.socket() as probe:
            await until(lambda: injected(engine).descriptors_held >= 5)
        await tune(engine, fault="")
        done = injected(engine)
        assert done.descriptors_held == 0
        assert 5 <= done.descriptors_leaked <= 20
        if before is not None:
            assert open_descriptors() == before


async def test_work_for_the_default_executor_waits_while_that_is_full() -> None:
    from os import cpu_count

    threads = min(32, (cpu_count() or 1) + 4)  # concurrent.futures.ThreadPoolExecutor
    async with faulty("full-executor", clients=1) as engine:
        await until(lambda: injected(engine).executor_sleepers > threads)
        call = asyncio.ensure_future(asyncio.to_thread(int))
        await until(lambda: answered(engine))
        assert not call.done()
        await until(lambda: injected(engine).executor_queued == 1, what="the call is seen to wait")
        await tune(engine, fault="")
        assert injected(engine).executor_sleepers == injected(engine).executor_queued == 0
        assert await call == 0


@pytest.mark.parametrize(
    "server", [{"server": "streams"}, {"server": "protocol"}, {"handler": f"{HERE}:echo"}], ids=str
)
async def test_a_server_that_does_not_drain_keeps_what_is_not_read_up_to_a_bound(
    server: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writes, "MOST_BYTES_OF_ONE", 4 << 20)
    values: dict[str, Any] = {"clients": 1, "framing": "length", **server}
    async with faulty("no-drain", **values) as engine:
        await until(lambda: answered(engine))
        loop = asyncio.get_running_loop()
        with socket.socket() as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            peer.setblocking(False)
            await loop.sock_connect(peer, ("127.0.0.1", port_of(engine)))
            frame = (65_536).to_bytes(4, "big") + bytes(65_536)
            sent = loop.create_task(loop.sock_sendall(peer, frame * 400))
            await until(lambda: injected(engine).undrained_bytes > 1 << 20, what="its memory fills")
            await until(lambda: server_of(engine).unwritable_s > 0, what="it stops at the bound")
            # A read that is under way is answered as a whole.
            assert injected(engine).undrained_bytes <= (4 << 20) + 10 * len(frame)
            await tune(engine, fault="")
            assert injected(engine).undrained_bytes == 0
            sent.cancel()
            await asyncio.wait([sent])
        await until(lambda: server_of(engine).connections_open == 1, what="the slow reader is gone")
        await goes_on(engine)


# The end.


@pytest.mark.parametrize(
    "server", [{"server": "streams"}, {"handler": f"{HERE}:echo"}], ids=["streams", "own"]
)
@pytest.mark.parametrize("place", ["loop", "apart"])
async def test_a_run_ends_with_every_fault_on(server: dict[str, str], place: str) -> None:
    every = (
        "block=10ms, cpu=100us, exception=1%, no-drain, cancel-storm=50/s, task-leak=500/s, "
        "descriptor-leak=20/s, full-executor, swallow-cancel"
    )
    async with faulty(every, clients=4, place=place, **server) as engine:
        await until(lambda: injected(engine).blocks and injected(engine).tasks_held)


async def test_what_own_code_cannot_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs an event loop that serves"):
        async with running(handler=f"{HERE}:echo_in_thread", fault="task-leak=5/s"):
            pass
    async with running(handler=f"{HERE}:echo_in_thread") as engine:
        with pytest.raises(ConfigError, match="needs a task for each connection"):
            await tune(engine, fault="cancel-storm=5/s")
        await goes_on(engine)


# In words.


def test_what_a_loop_is_held_up_by_on_purpose_is_called_so() -> None:
    code = requests.injected_block.__code__
    assert at(Spot(code, 0, code.co_firstlineno)).call == "the fault 'block'"
    code = LoopStandstill.hold.__code__
    assert at(Spot(code, 0, code.co_firstlineno)) == ("the stall", "", 0)


def test_the_summary_tells_what_was_injected() -> None:
    some = Injected(blocks=2, blocked_s=0.2, raised=1, tasks_leaked=1_200)
    assert told(some) == "blocked 2 times (200 ms), 1 request raised, 1,200 tasks leaked"
    assert not Injected()
    assert told(Injected()) == ""
