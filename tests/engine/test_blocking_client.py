"""Clients that are threads: what they count, and that their threads come and go with them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from sockscope.core.config.models import CLIENTS, TRANSPORTS
from sockscope.engine.swarm.links import LINKS
from tests.engine.conftest import threads_of_ours
from tests.engine.runs import running, server_of, swarm_of, tune
from tests.engine.test_swarm import answered, counts_add_up, until_swarm
from tests.waiting import until

transports = pytest.mark.parametrize("transport", TRANSPORTS)


def test_every_client_model_that_may_be_chosen_is_there() -> None:
    assert set(LINKS) == {(transport, name) for transport in TRANSPORTS for name in CLIENTS}


@pytest.mark.parametrize(
    ("server", "values"),
    [
        ("default", {}),
        ("threaded", {"permits": 3, "service_time_s": 0.001}),
        ("default", {"request_bytes": 200_000, "lifetime": 9}),
        ("threaded", {"think_time_s": 0.001, "framing": "newline"}),
        ("default", {"framing": "none"}),
        ("threaded", {"lifetime": 1, "family": "ipv6"}),
        ("default", {"transport": "udp"}),
        ("threaded", {"transport": "udp", "permits": 3, "lifetime": 9, "think_time_s": 0.001}),
    ],
    ids=["steady", "permits", "large", "think", "none", "connections", "datagrams", "all over UDP"],
)
async def test_the_two_ends_count_the_same(server: str, values: dict[str, Any]) -> None:
    async with running(
        client="blocking", server=server, request_timeout_s=10.0, clients=5, **values
    ) as engine:
        await answered(engine, 40)
        await tune(engine, no_delay=False)
        await answered(engine, 40)
    swarm, server_side = swarm_of(engine).totals, server_of(engine).totals
    assert (swarm.errors, swarm.timeouts, server_side.errors) == (0, 0, 0)
    assert swarm.requests == swarm.responses == server_side.requests == server_side.responses
    assert (swarm.bytes_in, swarm.bytes_out) == (server_side.bytes_out, server_side.bytes_in)
    assert swarm.connections_opened == swarm.connections_closed
    # A thread that is stopped right after its connect has registered no connection, and who has asked nothing
    # over UDP is not known to the server.
    assert abs(server_side.connections_opened - swarm.connections_opened) <= 5
    assert swarm_of(engine).service_time.total == swarm.responses


@transports
async def test_a_thread_lives_as_long_as_its_client(transport: str) -> None:
    async with running(transport=transport, client="blocking", clients=8, lifetime=3) as engine:
        await answered(engine, 100)
        assert len(threads_of_ours()) == 8
        await tune(engine, clients=2)
        await until(lambda: len(threads_of_ours()) == 2, what="the threads of retired clients end")
        await answered(engine)
        await tune(engine, client="protocol")
        await until(lambda: not threads_of_ours(), what="no client blocks any more")
        await answered(engine)
    counts_add_up(swarm_of(engine))


@transports
async def test_a_knob_reaches_threads_that_go_on_by_themselves(transport: str) -> None:
    async with running(transport=transport, client="blocking", clients=6) as engine:
        await answered(engine, 50)
        await tune(engine, permits=2)
        await until_swarm(engine, lambda swarm: swarm.in_flight <= 2 and swarm.limiter.waiting >= 3)
        engine.pause()
        await until_swarm(engine, lambda swarm: not swarm.in_flight)
        requests = swarm_of(engine).totals.requests
        for _ in range(20):
            await asyncio.sleep(0)
        assert swarm_of(engine).totals.requests == requests
        engine.resume()
        await answered(engine, 50)
        await tune(engine, permits=0)
        await until_swarm(engine, lambda swarm: swarm.in_flight == 6)


@transports
async def test_clients_without_a_thread_say_so_and_try_again(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    async with running(transport=transport, client="blocking", clients=3) as engine:
        await until_swarm(engine, lambda swarm: swarm.totals.connections_failed >= 3)
        assert swarm_of(engine).totals.requests == 0
        monkeypatch.undo()
        await answered(engine)
        await until_swarm(engine, lambda swarm: swarm.connections_open == 3)
    counts_add_up(swarm_of(engine))


@transports
async def test_the_end_does_not_wait_for_an_answer_that_never_comes(transport: str) -> None:
    late: dict[str, Any] = {"service_time_s": 60.0, "request_timeout_s": 60.0, "transport": transport}
    async with running(grace_s=0.0, client="blocking", clients=5, **late) as engine:
        await until_swarm(engine, lambda swarm: swarm.in_flight == 5)
    totals = swarm_of(engine).totals
    assert (totals.requests, totals.errors) == (5, 5)
