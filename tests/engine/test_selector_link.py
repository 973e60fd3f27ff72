"""The ``selector`` client: what its sockets can meet that a transport would have dealt with."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from sockscope.core.addresses import Address
from sockscope.core.events import CloseReason
from sockscope.core.run.snapshot import RunState
from sockscope.engine.loops import loop_factory
from sockscope.engine.swarm.links.tcp import TcpLink
from tests.engine.peers import Scripted, tcp_peer
from tests.engine.runs import connections_of, exchanges_of, running, server_of, swarm_of, tune
from tests.ports import unused_port
from tests.waiting import until

SELECTOR: dict[str, Any] = {"client": "selector"}


async def test_a_request_that_the_kernel_takes_in_parts_arrives_whole() -> None:
    async with running(
        **SELECTOR, clients=3, request_bytes=1 << 20, sndbuf_bytes=4_096, rcvbuf_bytes=4_096, requests=9,
        request_timeout_s=60.0,
    ) as engine:  # fmt: skip
        async with asyncio.timeout(60):
            await engine.wait()
        await engine.settle()
        totals = swarm_of(engine).totals
        assert (totals.requests, totals.responses, totals.errors) == (9, 9, 0)
        assert totals.bytes_out == totals.bytes_in == server_of(engine).totals.bytes_in == 9 * ((1 << 20) + 4)
        assert {exchange.outcome for exchange in exchanges_of(engine)} == {"ok"}


async def test_what_is_unsent_goes_out_before_more_is_pipelined() -> None:
    async with running(
        **SELECTOR, clients=2, depth=8, batch=2, request_bytes=100_000, sndbuf_bytes=4_096, requests=64,
        request_timeout_s=60.0,
    ) as engine:  # fmt: skip
        async with asyncio.timeout(60):
            await engine.wait()
        totals = swarm_of(engine).totals
        assert (totals.requests, totals.responses, totals.errors) == (64, 64, 0)


async def test_a_server_that_does_not_read_is_given_up_after_the_timeout() -> None:
    with full_listener(0) as port:
        async with running(
            grace_s=0.0, role="swarm", target=f"127.0.0.1:{port}", **SELECTOR, clients=1,
            request_bytes=8 << 20, request_timeout_s=0.05,
        ) as engine:  # fmt: skip
            await until(lambda: swarm_of(engine).totals.connections_closed >= 1)
            assert swarm_of(engine).totals.timeouts >= 1
            closed = [view for view in views_of(engine) if view.close_reason is not None]
            assert closed[0].close_reason is CloseReason.TIMEOUT


@contextlib.contextmanager
def full_listener(backlog: int) -> Iterator[int]:
    """Listen, and accept nobody."""
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as listener:
        yield listener.getsockname()[1]


def views_of(engine: Any) -> Any:
    swarm = connections_of(engine, "swarm").swarm
    assert swarm is not None
    return swarm.connections


async def test_a_connection_that_takes_too_long_is_a_connect_timeout() -> None:
    with full_listener(0) as port:
        async with running(
            grace_s=0.0, role="swarm", target=f"127.0.0.1:{port}", **SELECTOR, clients=5,
            connect_timeout_s=0.05, request_timeout_s=60.0,
        ) as engine:  # fmt: skip
            # Linux queues one more than the backlog; the others are not answered.
            await until(lambda: swarm_of(engine).totals.connections_timed_out >= 3)
            assert swarm_of(engine).clients_connecting + swarm_of(engine).clients_retrying >= 3


async def test_a_run_ends_while_connections_are_being_made() -> None:
    with full_listener(0) as port:
        async with running(
            grace_s=0.0, role="swarm", target=f"127.0.0.1:{port}", **SELECTOR, clients=5,
            connect_timeout_s=60.0, request_timeout_s=60.0,
        ) as engine:  # fmt: skip
            await until(lambda: swarm_of(engine).connections_open >= 1)
            assert swarm_of(engine).clients_connecting >= 3
        assert swarm_of(engine).connections_open == 0


async def test_a_slow_connection_is_made_when_there_is_room() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    port = listener.getsockname()[1]
    with listener:
        async with running(
            grace_s=0.0, role="swarm", target=f"127.0.0.1:{port}", **SELECTOR, clients=4,
            connect_timeout_s=60.0, request_timeout_s=60.0,
        ) as engine:  # fmt: skip
            await until(lambda: swarm_of(engine).connections_open >= 1)
            accepted = []
            listener.setblocking(False)

            def accept() -> bool:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        accepted.append(listener.accept()[0])
                return swarm_of(engine).connections_open == 4

            await until(accept, what="four connections")
            for sock in accepted:
                sock.close()


async def test_what_a_server_sends_before_it_resets_is_taken() -> None:
    linger = struct.pack("ii", 1, 0)

    def answer_and_reset(connection: Scripted, data: bytes) -> None:
        connection.transport.write(data)
        connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        connection.transport.close()

    async with (
        tcp_peer(answer_and_reset) as port,
        running(grace_s=0.0, role="swarm", target=f"127.0.0.1:{port}", **SELECTOR, clients=1) as engine,
    ):
        await until(lambda: swarm_of(engine).totals.connections_closed >= 3)
    totals = swarm_of(engine).totals
    assert totals.requests == totals.responses + totals.errors


async def test_what_comes_behind_urgent_data_is_read() -> None:
    def answer(connection: Scripted, data: bytes) -> None:
        descriptor = connection.transport.get_extra_info("socket").fileno()
        with socket.socket(fileno=os.dup(descriptor)) as sock:
            sock.send(data[:10])
            sock.send(b"!", socket.MSG_OOB)
            sock.send(data[10:])

    async with (
        tcp_peer(answer) as port,
        running(role="swarm", target=f"127.0.0.1:{port}", **SELECTOR, clients=3, requests=30) as engine,
    ):
        async with asyncio.timeout(60):
            await engine.wait()
        totals = swarm_of(engine).totals
        assert (totals.responses, totals.errors, totals.timeouts) == (30, 0, 0)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_it_runs_on_either_loop(loop: str, transport: str) -> None:
    async def run() -> None:
        async with running(**SELECTOR, loop=loop, transport=transport, requests=200) as engine:
            async with asyncio.timeout(60):
                await engine.wait()
            assert swarm_of(engine).totals.responses == 200
            await tune(engine, clients=9)
            await until(lambda: swarm_of(engine).clients == 9)

    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(run())


async def test_a_port_that_nobody_listens_at_is_refused() -> None:
    async with running(
        grace_s=0.0, role="swarm", target=f"127.0.0.1:{unused_port()}", **SELECTOR, clients=3
    ) as engine:
        await until(lambda: swarm_of(engine).totals.connections_refused >= 6)
        assert swarm_of(engine).totals.connections_opened == 0
        assert swarm_of(engine).last_trouble == "Connection refused"


@pytest.mark.parametrize("client", ["selector", "protocol"])
async def test_a_fault_while_connecting_fails_the_run_which_can_still_end(
    client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(link: TcpLink, target: Address) -> socket.socket:
        raise RuntimeError("nobody expects this")

    monkeypatch.setattr(TcpLink, "new_socket", broken)
    async with running(grace_s=0.0, client=client, clients=2) as engine:
        async with asyncio.timeout(60):
            await engine.wait()
        assert engine.state is RunState.FAILED
        assert "nobody expects this" in engine.error
        async with asyncio.timeout(60):
            await engine.stop(0.0)


async def test_more_than_one_buffer_of_answer_is_read_to_its_end() -> None:
    """What is read once is told once: an answer larger than a read, and an end right behind the last byte."""

    def answer_and_leave(connection: Scripted, data: bytes) -> None:
        connection.transport.write(b"x" * 300_000)
        connection.transport.close()

    async with (
        tcp_peer(answer_and_leave) as port,
        running(
            grace_s=0.0, role="swarm", target=f"127.0.0.1:{port}", **SELECTOR, clients=3, requests=15,
            request="ask", expect_bytes=300_000, think_time_s=0.05,
        ) as engine,
    ):  # fmt: skip
        async with asyncio.timeout(60):
            await engine.wait()
        swarm = swarm_of(engine)
        assert (swarm.totals.responses, swarm.totals.errors, swarm.totals.timeouts) == (15, 0, 0)
        await until(lambda: swarm_of(engine).totals.connections_closed >= 15, what="every end is noticed")


@pytest.mark.parametrize("client", ["selector", "protocol", "streams"])
async def test_connections_with_bytes_on_their_way_in_both_directions_are_replaced(client: str) -> None:
    """Without a framing a client asks again in the middle of an answer: both ends may wait to write."""
    async with running(
        grace_s=0.0, client=client, clients=5, framing="none", request_bytes=300_000, request_timeout_s=0.5
    ) as engine:
        await until(lambda: swarm_of(engine).totals.responses > 50)
        await tune(engine, framing="length")
        await until(lambda: not swarm_of(engine).rolling, what="replaced connections")
        answered = swarm_of(engine).totals.responses
        await until(lambda: swarm_of(engine).totals.responses > answered + 10)


@pytest.mark.parametrize("client", ["selector", "protocol", "streams", "blocking"])
async def test_reads_that_nobody_waits_for_are_no_answers(client: str) -> None:
    async with running(
        grace_s=0.0, client=client, clients=3, framing="none", request_bytes=300_000, think_time_s=0.001
    ) as engine:
        for _ in range(5):
            before = swarm_of(engine).totals.responses
            await until(lambda before=before: swarm_of(engine).totals.responses > before + 5)  # type: ignore[misc]
            swarm = swarm_of(engine)
            totals = swarm.totals
            assert totals.requests == totals.responses + totals.timeouts + totals.errors + swarm.in_flight
