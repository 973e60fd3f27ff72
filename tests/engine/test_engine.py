"""The control surface: what a face does to a run, and what is left when it is over."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from benchmarks import known_delays
from sockscope.core.addresses import family_name, split_address
from sockscope.core.config.experiment import READY
from sockscope.core.config.tuning import Tuning
from sockscope.core.connection import ConnectionState
from sockscope.core.events import CloseReason, EventKind
from sockscope.core.run.snapshot import Cursors, RunState, Totals
from sockscope.engine.engine import Engine
from sockscope.engine.standstill import LoopStandstill
from sockscope.engine.stops import STOPS
from sockscope.errors import ConfigError, EngineError, ListenError, StateError
from tests.engine.conftest import open_sockets
from tests.engine.runs import (
    EVERYTHING,
    connections_of,
    exchanges_of,
    experiment,
    port_of,
    running,
    server_of,
    swarm_of,
    tune,
)
from tests.ports import unused_port
from tests.waiting import until

transports = pytest.mark.parametrize("transport", ["tcp", "udp"])


async def answered(engine: Engine, more: int = 20) -> None:
    before = swarm_of(engine).totals.responses
    await until(lambda: swarm_of(engine).totals.responses >= before + more, what=f"{more} more answers")


def state_of(engine: Engine) -> RunState:
    return engine.state


def faultless(engine: Engine) -> None:
    totals = swarm_of(engine).totals
    assert (totals.errors, totals.timeouts, totals.connections_reset, totals.datagrams_lost) == (0, 0, 0, 0)
    assert server_of(engine).totals.errors == 0


async def test_figures_for_a_script() -> None:
    async with running() as engine:
        await answered(engine)
        before = engine.snapshot()
        await answered(engine)
        since, whole = engine.figures(before), engine.figures()
        assert whole.length_s > since.length_s > 0
        for found in (whole, since):
            assert found.requests_per_s is not None
            assert found.p50_s is not None
            assert round(found.requests_per_s * found.length_s) >= 20
            assert 0 < found.p50_s <= (found.p99_s or 0)


# What both ends count is the same.


WORKLOADS: dict[str, dict[str, Any]] = {
    "steady": {},
    "permits": {"permits": 3, "service_time_s": 0.001},
    "lifetime": {"request_bytes": 5000, "lifetime": 9},
    "think": {"think_time_s": 0.001, "request_bytes": 8},
}
FRAMINGS = [("newline", "lifetime"), ("fixed", "permits"), ("none", "steady"), ("none", "think")]
"""Each of the others, with a workload whose requests come in another order or number."""


@pytest.mark.parametrize(
    ("transport", "framing", "family", "workload"),
    [
        *(("tcp", "length", "ipv4", workload) for workload in WORKLOADS),
        *(("tcp", framing, "ipv4", work) for framing, work in FRAMINGS),
        *(("udp", "length", "ipv4", work) for work in ("steady", "permits", "lifetime")),
        *((transport, "length", "ipv6", "lifetime") for transport in ("tcp", "udp")),
        ("tcp", "none", "unix", "lifetime"),
        ("udp", "length", "unix", "steady"),
    ],
)
async def test_the_two_ends_count_the_same(transport: str, framing: str, family: str, workload: str) -> None:
    chosen = {"transport": transport, "framing": framing, "family": family} | WORKLOADS[workload]
    async with running(**chosen) as engine:
        await answered(engine, 60)
        # Turn knobs that change how exchanges are counted, and let the fast paths settle again.
        await tune(engine, request_bytes=engine.tuning.request_bytes + 1)
        await answered(engine, 60)
    swarm, server = swarm_of(engine).totals, server_of(engine).totals
    faultless(engine)
    assert swarm.requests == swarm.responses == server.requests == server.responses >= 120
    assert (swarm.bytes_in, swarm.bytes_out) == (server.bytes_out, server.bytes_in)
    assert (swarm.connections_opened, swarm.connections_closed) == (
        server.connections_opened, server.connections_closed,
    )  # fmt: skip
    assert (swarm.datagrams_sent, swarm.datagrams_received) == (
        server.datagrams_received, server.datagrams_sent,
    )  # fmt: skip
    assert swarm_of(engine).service_time.total == swarm.responses
    assert (swarm_of(engine).connections_open, server_of(engine).connections_open) == (0, 0)


async def test_bytes_are_those_of_the_wire() -> None:
    for transport, framing, wire in (("tcp", "length", 104), ("tcp", "newline", 101), ("udp", "length", 100)):
        async with running(transport=transport, framing=framing, request_bytes=100, requests=50) as engine:
            await engine.wait()
        assert engine.tuning.wire_bytes == wire
        assert server_of(engine).totals.bytes_in == swarm_of(engine).totals.bytes_in == 50 * wire


# Turning knobs.


async def test_the_transport_and_the_family_change_live() -> None:
    async with running(clients=15, permits=7, service_time_s=0.001) as engine:
        for changes in (
            {"transport": "udp"},
            {"transport": "tcp"},
            {"family": "ipv6"},
            {"transport": "udp"},
            {"family": "unix"},
            {"transport": "tcp"},
            {"family": "ipv4"},
        ):
            await answered(engine)
            await tune(engine, **changes)
            await answered(engine)
            assert family_name(split_address(server_of(engine).address)[0]) == engine.tuning.family
            await until(lambda: not swarm_of(engine).rolling)
            await answered(engine)
            assert swarm_of(engine).transport == server_of(engine).transport == engine.tuning.transport
        await until(lambda: swarm_of(engine).connections_open == engine.tuning.clients)
        faultless(engine)
        assert engine.generation == 7
        assert server_of(engine).totals.datagrams_lost == 0
        tunings = [
            event.text for event in engine.snapshot(EVERYTHING).events if event.kind is EventKind.TUNING
        ]
        assert tunings[0] == "transport tcp → udp"
    swarm, server = swarm_of(engine).totals, server_of(engine).totals
    assert swarm.requests == swarm.responses == server.requests


async def test_a_reader_gets_every_tuning_however_many_connections_it_opens() -> None:
    cursors, told = Cursors(most_events=1, most_exchanges=0), list[str]()
    async with running(clients=10) as engine:
        for family in ("ipv6", "ipv4", "ipv6"):
            await tune(engine, family=family)
            await until(lambda: not swarm_of(engine).rolling)
            snapshot = engine.snapshot(cursors)
            cursors = replace(cursors, events=snapshot.events_cursor)
            told += [event.text for event in snapshot.events if event.kind is EventKind.TUNING]
    assert told == ["family ipv4 → ipv6", "family ipv6 → ipv4", "family ipv4 → ipv6"]


@pytest.mark.parametrize(
    ("transport", "changes"),
    [
        ("tcp", {"rcvbuf_bytes": 50_000}),
        ("udp", {"sndbuf_bytes": 40_000}),
        ("tcp", {"framing": "newline"}),
        ("udp", {"framing": "fixed"}),
    ],
)
async def test_a_knob_that_needs_new_sockets_rolls_every_connection(
    transport: str, changes: dict[str, Any]
) -> None:
    async with running(transport=transport, clients=30, permits=10, service_time_s=0.001) as engine:
        await until(lambda: swarm_of(engine).connections_open == 30)
        opened = swarm_of(engine).totals.connections_opened
        await tune(engine, **changes)
        await until(lambda: not swarm_of(engine).rolling and swarm_of(engine).connections_open == 30)
        await answered(engine)
        assert swarm_of(engine).totals.connections_opened == opened + 30
        faultless(engine)
        options = {option.name: option for option in swarm_of(engine).socket_options}
        for name, attribute in (("SO_RCVBUF", "rcvbuf_bytes"), ("SO_SNDBUF", "sndbuf_bytes")):
            if asked := changes.get(attribute):
                assert (options[name].requested, options[name].effective) == (asked, 2 * asked)


@pytest.mark.parametrize("framing", ["newline", "fixed", "none"])
async def test_a_new_framing_while_clients_are_still_coming_spoils_no_request(framing: str) -> None:
    async with running(clients=80) as engine:
        for _ in range(3):
            await asyncio.sleep(0)
            await tune(engine, framing=framing)
            await asyncio.sleep(0)
            await tune(engine, framing="length")
        await until(lambda: not swarm_of(engine).rolling and swarm_of(engine).connections_open == 80)
        await answered(engine)
        faultless(engine)


async def test_a_change_to_the_same_tuning_is_none() -> None:
    async with running() as engine:
        await engine.apply(engine.tuning)
        assert engine.generation == 0
        assert engine.snapshot().generation == 0


async def test_a_change_that_cannot_be_leaves_the_run_as_it_was() -> None:
    async with running() as engine:
        port = port_of(engine)
        before = engine.tuning
        with pytest.raises(ConfigError, match="clients"):
            await tune(engine, clients=0)
        with pytest.raises(ConfigError, match="UDP"):
            await tune(engine, transport="udp", request_bytes=70_000)
        assert (engine.tuning, engine.generation, engine.state) == (before, 0, RunState.RUNNING)
        assert port_of(engine) == port
        await answered(engine)
        faultless(engine)


async def test_a_port_that_is_taken_for_the_other_transport_leaves_the_run_as_it_was() -> None:
    port = unused_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", port))
        async with running(port=port) as engine:
            await answered(engine)
            with pytest.raises(ListenError, match="in use"):
                await tune(engine, transport="udp", clients=9)
            assert (engine.tuning.transport, engine.tuning.clients, engine.generation) == ("tcp", 4, 0)
            told = [event.text for event in engine.snapshot(EVERYTHING).events]
            assert any("tcp → udp" in text and "could not be done: cannot listen" in text for text in told)
            await answered(engine)
            assert swarm_of(engine).connections_open == 4
            taken.close()
            await tune(engine, transport="udp")
            await answered(engine)
            faultless(engine)


# The run and its states.


async def test_an_engine_starts_once() -> None:
    async with running() as engine:
        assert state_of(engine) is RunState.RUNNING
        with pytest.raises(StateError, match="cannot start while the run is running"):
            await engine.start()
    for _ in range(2):
        await engine.stop()
    assert state_of(engine) is RunState.STOPPED
    with pytest.raises(StateError):
        await engine.start()
    with pytest.raises(StateError, match="change the tuning"):
        await engine.apply(Tuning(clients=3))


async def test_before_the_start_there_is_nothing_to_see() -> None:
    engine = Engine(experiment())
    for operation in (engine.snapshot, engine.clear):
        with pytest.raises(StateError):
            operation()
    with pytest.raises(StateError):
        await tune(engine, clients=2)
    engine.pause()
    engine.resume()
    await engine.stop()
    assert state_of(engine) is RunState.IDLE


async def test_what_was_in_flight_when_the_process_was_stopped_is_no_timeout() -> None:
    async with running(depth=2, request_timeout_s=0.3, service_time_s=0.02) as engine:
        await answered(engine)
        time.sleep(0.4)  # noqa: ASYNC251  # nothing runs, as in a stop,
        STOPS.continued()  # and this is how it ends
        await answered(engine)
        totals, seen = swarm_of(engine).totals, engine.snapshot(EVERYTHING)
    assert totals.timeouts == 0
    assert seen.paused_s > 0.3
    assert seen.measured_s == pytest.approx(seen.elapsed_s - seen.paused_s)
    assert any("resumed after being stopped for" in event.text for event in seen.events)


async def test_pause_and_resume_are_states() -> None:
    async with running() as engine:
        engine.resume()
        assert state_of(engine) is RunState.RUNNING
        engine.pause()
        engine.pause()
        assert state_of(engine) is RunState.PAUSED
        await tune(engine, clients=2)
        await until(lambda: swarm_of(engine).connections_open == 2)
        engine.resume()
        assert state_of(engine) is RunState.RUNNING
        await answered(engine)
        seen = engine.snapshot()
        assert seen.paused_s > 0
        assert seen.measured_s == pytest.approx(seen.elapsed_s - seen.paused_s)
        engine.pause()
    assert state_of(engine) is RunState.STOPPED


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_a_port_in_use_is_told_and_nothing_is_left(transport: str) -> None:
    kind = socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM
    handler = asyncio.get_running_loop().get_exception_handler()
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if transport == "tcp":
            taken.listen()
        before = open_sockets()
        engine = Engine(experiment(transport=transport, port=taken.getsockname()[1]))
        with pytest.raises(ListenError, match="the port is in use"):
            await engine.start()
        assert state_of(engine) is RunState.FAILED
        assert "in use" in engine.snapshot().error
        assert open_sockets() == before
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert asyncio.get_running_loop().get_exception_handler() is handler
        await engine.stop()
        assert state_of(engine) is RunState.FAILED


async def test_an_address_of_another_machine_is_told_with_the_fix() -> None:
    engine = Engine(experiment(bind="192.0.2.1"))
    with pytest.raises(ListenError, match="no such address; leave out --bind"):
        await engine.start()


async def test_a_faulty_experiment_does_not_start() -> None:
    engine = Engine(experiment(clients=0, port=99_999))
    with pytest.raises(ConfigError) as caught:
        await engine.start()
    assert {fault.field for fault in caught.value.faults} == {"clients", "port"}
    assert state_of(engine) is RunState.IDLE


async def test_the_run_ends_after_its_duration() -> None:
    async with running(duration_s=0.1) as engine:
        async with asyncio.timeout(60):
            await engine.wait()
        snapshot = engine.snapshot()
        assert snapshot.elapsed_s >= 0.1
        assert snapshot.state is RunState.RUNNING
    assert engine.snapshot().elapsed_s == engine.snapshot().elapsed_s


async def test_figures_begin_after_the_warm_up() -> None:
    async with running(warmup_s=0.1, requests=10_000_000) as engine:
        assert engine.snapshot().warming_up
        await until(lambda: not engine.snapshot().warming_up)
        await until(lambda: swarm_of(engine).connections_open == 4)
        snapshot = engine.snapshot(EVERYTHING)
        assert snapshot.measured_s < snapshot.elapsed_s
        opened = [e.time_s for e in snapshot.events if (e.role, e.kind) == ("swarm", EventKind.OPEN)]
        # All of them, unless the machine is so busy that one took longer than the warm-up.
        before = sum(time_s < snapshot.measured_since_s for time_s in opened)
        assert len(opened) == 4
        assert snapshot.main.totals.connections_opened == 4 - before
        await answered(engine)


async def test_figures_begin_when_every_client_has_a_connection() -> None:
    async with running(warmup_s=READY, clients=50) as engine:
        await until(lambda: not engine.snapshot().warming_up)
        snapshot = engine.snapshot()
        assert snapshot.swarm is not None
        assert snapshot.started_s < snapshot.swarm.ready_s <= snapshot.measured_since_s
        assert (snapshot.swarm.connections_open, snapshot.swarm.totals.connections_opened) == (50, 0)
        await answered(engine)


async def test_figures_begin_without_those_that_find_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sockscope.engine.engine.READY_PATIENCE_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        target = f"127.0.0.1:{taken.getsockname()[1]}"
    async with running(warmup_s=READY, role="swarm", target=target) as engine:
        await until(lambda: not engine.snapshot().warming_up)
        snapshot = engine.snapshot(EVERYTHING)
        assert snapshot.main.ready_s == 0
        assert "the figures begin with 0 of 4 connections" in [event.text for event in snapshot.events]


async def test_clear_lets_every_cumulative_figure_begin_anew() -> None:
    async with running(permits=2) as engine:
        await answered(engine, 50)
        engine.pause()
        await until(lambda: not swarm_of(engine).in_flight)
        engine.clear()
        snapshot = engine.snapshot(EVERYTHING)
        assert snapshot.swarm is not None
        assert snapshot.server is not None
        assert snapshot.swarm.totals == snapshot.server.totals == Totals()
        assert snapshot.swarm.service_time.total == 0
        assert (snapshot.swarm.limiter.acquired, snapshot.swarm.limiter.waited) == (0, 0)
        assert len(snapshot.swarm.exchanges) >= 50
        assert snapshot.swarm.connections_open == 4
        assert snapshot.events[-1].text == "figures cleared"
        engine.resume()
        await answered(engine, 10)
        totals = swarm_of(engine).totals
        assert swarm_of(engine).service_time.total == totals.responses


async def test_an_exception_in_a_callback_ends_the_run_as_failed() -> None:
    async with running() as engine:
        await answered(engine)

        def broken() -> None:
            raise ZeroDivisionError("a bug")

        asyncio.get_running_loop().call_soon(broken)
        async with asyncio.timeout(60):
            await engine.wait()
        assert state_of(engine) is RunState.FAILED
        assert engine.snapshot().error == "internal error: ZeroDivisionError('a bug')"
        faults = [event for event in engine.snapshot(EVERYTHING).events if event.kind is EventKind.ERROR]
        assert "a bug" in faults[-1].text
        with pytest.raises(StateError):
            await tune(engine, clients=2)
    assert state_of(engine) is RunState.FAILED
    assert swarm_of(engine).connections_open == 0


@pytest.mark.parametrize("client", ["selector", "protocol", "streams"])
async def test_a_run_that_is_stopped_while_a_client_connects_can_still_be_read(client: str) -> None:
    """Whatever turn of the loop it is: a transport may be about to be made of the socket, or just made."""
    for turns in range(6):
        engine = Engine(experiment(clients=1, client=client))
        await engine.start()
        await answered(engine)
        await tune(engine, rcvbuf_bytes=65_536)
        for _ in range(turns):
            await asyncio.sleep(0)
        stopping = asyncio.create_task(engine.stop(0.0))
        while not stopping.done():
            await asyncio.sleep(0)
            engine.snapshot()
        assert engine.snapshot().main.connections_open == 0


async def test_what_fails_while_it_stops_is_a_failure_and_a_second_stop_changes_nothing() -> None:
    engine = Engine(experiment())
    await engine.start()
    await answered(engine)
    engine.fail(ValueError("a bug"))
    await engine.stop(0.0)
    length_s = engine.snapshot().elapsed_s
    await engine.stop(0.0)
    assert (engine.state, engine.snapshot().elapsed_s) == (RunState.FAILED, length_s)
    late = Engine(experiment())
    await late.start()
    asyncio.get_running_loop().call_soon(late.fail, ValueError("a bug"))
    await late.stop(1.0)
    assert late.state is RunState.FAILED


@transports
@pytest.mark.parametrize(("grace_s", "ramp"), [(0.0, True), (1.0, False)], ids=["ramp", "steady"])
async def test_stop_leaves_no_task_no_socket_and_no_open_book(
    transport: str, grace_s: float, ramp: bool
) -> None:
    before = open_sockets()
    handler = asyncio.get_running_loop().get_exception_handler()
    for service_time_s in (0.0, 0.02):
        engine = Engine(experiment(transport=transport, clients=60, service_time_s=service_time_s))
        await engine.start()
        if ramp:
            for _ in range(3):
                await asyncio.sleep(0)
        else:
            await answered(engine, 120)
            other = "udp" if transport == "tcp" else "tcp"
            await tune(engine, transport=other)
        await engine.stop(grace_s)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert (swarm_of(engine).connections_open, server_of(engine).connections_open) == (0, 0)
        assert swarm_of(engine).limiter.in_flight == 0
        totals = swarm_of(engine).totals
        assert totals.requests == totals.responses + totals.timeouts + totals.errors
        if grace_s and not ramp:
            assert totals.errors == 0
    await until(lambda: open_sockets() == before)
    assert asyncio.get_running_loop().get_exception_handler() is handler


# Looking closer.


@transports
async def test_a_capture_has_the_bytes_of_both_ends(transport: str) -> None:
    async with running(transport=transport, request_bytes=300, requests=40, service_time_s=0.001) as engine:
        await engine.wait()
        exchanges = exchanges_of(engine)
        assert len(exchanges) == 40
        views = connections_of(engine, "swarm").swarm
        assert views is not None
        addresses = {view.conn_id: view.local_address for view in views.connections}
        for exchange in exchanges:
            capture = await engine.capture(exchange.record_id)
            assert capture is not None
            assert capture.server is not None
            assert capture.response == capture.request
            assert capture.server.request.data == capture.request.data
            assert len(capture.request.data) == 256
            assert capture.request.real_length == engine.tuning.wire_bytes
            assert capture.local_address == addresses[exchange.conn_id]
            assert capture.remote_address == server_of(engine).address
            assert exchange.service_time_s is not None
            sent_s, answered_s = exchange.time_s, exchange.time_s + exchange.service_time_s
            assert sent_s <= capture.server.read_s <= capture.server.answered_s <= answered_s
        assert await engine.capture(40) is None
        assert await engine.capture(-1) is None


async def test_hold_keeps_captures_that_would_be_overwritten() -> None:
    async with running(clients=20) as engine:
        await answered(engine, 100)
        first = exchanges_of(engine)[0].record_id
        engine.hold(True)
        held = await engine.capture(first)
        assert held is not None
        await until(lambda: swarm_of(engine).captures_overwritten > first)
        assert await engine.capture(first) == held
        assert held.server is not None
        engine.hold(False)
        assert await engine.capture(first) is None


@transports
@pytest.mark.parametrize("role", ["server", "swarm"])
async def test_a_connection_can_be_closed_by_its_number(transport: str, role: str) -> None:
    # Over UDP the answer that a closed connection owes is waited for.
    timeout_s = 2.0 if transport == "udp" else 10.0
    async with running(
        transport=transport, clients=3, service_time_s=0.002, request_timeout_s=timeout_s
    ) as engine:
        await until(lambda: swarm_of(engine).connections_open == 3 == server_of(engine).connections_open)
        assert await engine.close_connection(role, 2)
        assert not await engine.close_connection(role, 999)

        def closed() -> bool:
            snapshot = connections_of(engine, role)
            seen = snapshot.server if role == "server" else snapshot.swarm
            assert seen is not None
            view = next(view for view in seen.connections if view.conn_id == 2)
            return view.close_reason is CloseReason.CLOSED and view.state is ConnectionState.CLOSED

        await until(closed)
        await until(lambda: swarm_of(engine).connections_open == 3)
        await answered(engine)
        assert swarm_of(engine).totals.errors <= 1
        assert server_of(engine).totals.datagrams_lost == 0


async def test_a_server_alone_serves_whoever_comes() -> None:
    async with running(role="server") as engine:
        assert engine.snapshot().swarm is None
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(engine))
        writer.write(b"\0\0\0\2hi")
        async with asyncio.timeout(60):
            assert await reader.readexactly(6) == b"\0\0\0\2hi"
        view = connections_of(engine, "server").main.connections[0]
        assert (view.requests, view.responses, view.bytes_in, view.bytes_out) == (1, 1, 6, 6)
        assert view.tcp is not None
        assert view.tcp.rtt_s is not None
        assert (view.tcp.retransmits, view.tcp.bytes_acked) == (0, 6)
        writer.close()
        await writer.wait_closed()
        await until(lambda: server_of(engine).totals.connections_closed == 1)


async def test_a_swarm_alone_cannot_change_its_target_s_family() -> None:
    async with (
        running(role="server") as server,
        running(role="swarm", target=server_of(server).address) as engine,
    ):
        await answered(engine)
        with pytest.raises(ConfigError, match="family"):
            await tune(engine, family="ipv6")
        await tune(engine, clients=6)
        await until(lambda: server_of(server).connections_open == 6)
        assert engine.snapshot().server is None


async def test_a_run_does_not_end_while_it_is_paused() -> None:
    async with running(duration_s=0.1) as engine:
        engine.pause()
        over = asyncio.create_task(engine.wait())
        await until(lambda: engine.snapshot().elapsed_s > 0.2)
        assert not over.done()
        engine.resume()
        await over
        assert engine.snapshot().measured_s >= 0.1


@pytest.mark.parametrize("kind", list(known_delays.DELAYS_S))
async def test_latencies_are_those_of_a_server_that_knows_its_own(kind: str) -> None:
    """However busy the machine is: each request takes at least what it takes at the server."""
    measured = await known_delays.measure(kind, requests=60)
    assert len(measured.took_s) == measured.clients.total == 60
    assert len(measured.between_writes_s) == 60 - known_delays.CLIENTS
    for ratio in (0.1, 0.5, 0.9, 0.99, 1.0):
        assert measured.away(ratio)[1] >= 0


# A stall.

STALL_S = 0.12


def longest_silence_s(engine: Engine) -> float:
    """Return the longest time between two answers of the only client, among those that are kept."""
    ends_s = [
        one.time_s + one.service_time_s for one in exchanges_of(engine) if one.service_time_s is not None
    ]
    return max((later - end for end, later in pairwise(ends_s)), default=0.0)


@pytest.mark.parametrize(
    "server",
    [
        {},
        {"place": "server"},
        {"server": "threaded"},
        {"transport": "udp", "server": "threaded"},
        {"handler": "tests.engine.own_servers:echo_in_thread"},
    ],
    ids=lambda server: "-".join(str(value).rpartition(":")[2] for value in server.values()) or "protocol",
)
async def test_a_stalled_server_answers_nobody_for_so_long_and_then_goes_on(server: dict[str, Any]) -> None:
    async with running(clients=1, think_time_s=0.001, stall_s=STALL_S, **server) as engine:
        await answered(engine)
        engine.stall()
        with pytest.raises(EngineError, match="still stands"):
            engine.stall()
        # A thread may have been past the point where it stands still, and answers once meanwhile.
        await until(lambda: longest_silence_s(engine) > STALL_S / 2, what="a silence as long as the stall")
        await answered(engine)
        [marker] = [e for e in engine.snapshot(EVERYTHING).events if e.kind is EventKind.MARKER]
        assert marker.text == "server stalled for 120 ms"
        faultless(engine)


async def test_a_planned_stall_comes_by_itself_and_a_server_elsewhere_has_none() -> None:
    async with running(role="server", stall_at_s=0.01, stall_s=0.01) as server:
        await until(lambda: any("stalled" in e.text for e in server.snapshot(EVERYTHING).events))
        async with running(role="swarm", target=server_of(server).address) as clients:
            with pytest.raises(EngineError, match="cannot be stalled: it is not a server of this run"):
                clients.stall()
            clients.pause()
            with pytest.raises(StateError, match="paused"):
                clients.stall()
    with pytest.raises(StateError):
        server.stall()


def test_what_a_stall_takes_of_a_loop_is_known_afterwards() -> None:
    standstill = LoopStandstill()
    assert standstill.within_s(0.0, time.perf_counter()) == 0
    standstill.hold(0.01)
    began_s, ended_s = standstill.began_s, standstill.ended_s
    length_s = ended_s - began_s
    assert length_s >= 0.01
    assert standstill.within_s(began_s - 1, ended_s + 1) == pytest.approx(length_s)
    assert standstill.within_s(began_s + 0.004, ended_s + 1) == pytest.approx(length_s - 0.004)
    assert standstill.within_s(ended_s + 1, ended_s + 2) == 0
    assert standstill.within_s(began_s - 2, began_s - 1) == 0


async def test_readers_with_cursors_get_every_event_and_exchange_once() -> None:
    async with running(lifetime=3, requests=120) as engine:
        cursors = replace(EVERYTHING)
        exchanges: list[int] = []
        events = 0
        opened = 0
        over = asyncio.create_task(engine.wait())
        while not over.done() or len(exchanges) < 120:
            snapshot = engine.snapshot(cursors)
            assert snapshot.swarm is not None
            assert snapshot.swarm.exchanges_missed == snapshot.events_missed == 0
            exchanges += [exchange.record_id for exchange in snapshot.swarm.exchanges]
            events += len(snapshot.events)
            opened += sum(e.kind is EventKind.OPEN and e.role == "swarm" for e in snapshot.events)
            cursors = replace(
                cursors, events=snapshot.events_cursor, exchanges=snapshot.swarm.exchanges_cursor
            )
            await asyncio.sleep(0)
        assert exchanges == list(range(120))
        assert opened >= 40
        assert events == cursors.events


LIMITED = """
import asyncio, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
from sockscope import Engine, Experiment, Tuning
from sockscope.errors import ResourceLimitError
from dataclasses import replace

async def main():
    try:
        await Engine(Experiment(tuning=Tuning(clients=5000))).start()
    except ResourceLimitError as error:
        print(error.resource, error.limit, error, sep="|")
    async with Engine(Experiment(tuning=Tuning(clients=5))) as engine:
        try:
            await engine.apply(replace(engine.tuning, clients=500))
        except ResourceLimitError as error:
            print(error, engine.tuning.clients, engine.state.value, sep="|")

asyncio.run(main())
"""


def test_more_clients_than_descriptors_are_refused_with_the_numbers_and_the_fix() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], capture_output=True, text=True, timeout=60, check=True
    )
    first, second = done.stdout.splitlines()
    assert first == (
        "descriptors|200|5,000 clients need 10,064 descriptors, but this process may open 200; "
        "use at most 68 clients, or raise the limit first: ulimit -n 10064"
    )
    assert second.endswith("ulimit -n 1064|5|running")
