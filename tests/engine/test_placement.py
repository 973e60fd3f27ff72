"""Roles in child processes: what they count, what is seen of them, and what is left when they are gone."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import psutil
import pytest

from sockscope.core.events import CloseReason, EventKind
from sockscope.core.run.figures import HEARTBEAT_S
from sockscope.core.run.findings import limit_of
from sockscope.core.run.snapshot import ConnectionQuery, ProcessUse, RunState
from sockscope.core.run.window import window
from sockscope.engine.engine import Engine
from sockscope.engine.placement.hosted_role import HostedRole
from sockscope.errors import ConfigError, EngineError, ListenError
from tests.engine.runs import (
    EVERYTHING,
    exchanges_of,
    experiment,
    port_of,
    server_of,
    swarm_of,
    tune,
)
from tests.engine.runs import running as saturated
from tests.ports import unused_port
from tests.waiting import until
from tests.warm_children import children

LAYOUTS: dict[str, dict[str, Any]] = {
    "server": {"place": "server"},
    "two and two": {"server_processes": 2, "swarm_processes": 2},
}
"""Between this process and a child, and among several."""
UDP_TWO_AND_TWO = LAYOUTS["two and two"] | {"transport": "udp"}
layouts = pytest.mark.parametrize("values", LAYOUTS.values(), ids=LAYOUTS)
NAMES = {
    "child": ["server and clients"],
    "server": ["server"],
    "apart": ["server", "clients"],
}


def running(grace_s: float = 10.0, **values: Any) -> AbstractAsyncContextManager[Engine]:
    """Run an experiment that leaves the cores to the processes that start, unless a test tells otherwise."""
    return saturated(grace_s, **({"service_time_s": 0.001} | values))


@pytest.fixture(autouse=True)
async def no_child_is_left(nothing_is_left: None) -> AsyncIterator[None]:
    yield
    left = children()
    for child in left:
        child.kill()
    assert left == []


async def answered(engine: Engine, more: int = 50) -> None:
    before = swarm_of(engine).totals.responses
    await until(lambda: swarm_of(engine).totals.responses >= before + more, what=f"{more} more answers")


def heartbeats(engine: Engine) -> list[int]:
    return [use.resources.loop_lag.total for use in engine.snapshot().processes]


def process_of(engine: Engine, name: str) -> ProcessUse:
    return next(use for use in engine.snapshot().processes if use.name == name)


def state_of(engine: Engine) -> RunState:
    return engine.state


def told(engine: Engine, kind: EventKind) -> list[str]:
    return [event.text for event in engine.snapshot(EVERYTHING).events if event.kind is kind]


def the_two_ends_agree(engine: Engine) -> None:
    swarm, server = swarm_of(engine), server_of(engine)
    one, other = swarm.totals, server.totals
    assert (one.errors, one.timeouts, one.connections_reset, other.errors) == (0, 0, 0, 0)
    assert one.requests == one.responses == other.requests == other.responses
    assert one.responses == swarm.service_time.total
    assert (one.bytes_in, one.bytes_out) == (other.bytes_out, other.bytes_in)
    assert (one.connections_opened, one.connections_closed) == (
        other.connections_opened, other.connections_closed,
    )  # fmt: skip
    assert (one.datagrams_lost, other.datagrams_lost) == (0, 0)
    assert (swarm.connections_open, server.connections_open, swarm.in_flight) == (0, 0, 0)


# What is counted.


@pytest.mark.parametrize("values", [LAYOUTS["two and two"], UDP_TWO_AND_TWO], ids=["TCP", "UDP"])
async def test_the_two_ends_count_the_same_wherever_they_are(values: dict[str, Any]) -> None:
    async with saturated(clients=20, permits=7, **values) as engine:
        await answered(engine, 300)
        await tune(engine, request_bytes=300, permits=0)
        await answered(engine, 300)
        await until(lambda: swarm_of(engine).connections_open == 20)
        assert swarm_of(engine).clients == 20
    the_two_ends_agree(engine)
    assert swarm_of(engine).totals.requests >= 600


async def test_fewer_clients_than_swarms_spend_the_budget_too() -> None:
    async with running(clients=1, permits=1, requests=50, swarm_processes=2, lifetime=1) as engine:
        async with asyncio.timeout(60):
            await engine.wait()
        await engine.settle()
        assert swarm_of(engine).totals.responses == 50
    the_two_ends_agree(engine)


async def test_clients_permits_and_connections_are_those_of_all_processes_together() -> None:
    values = {"server_processes": 2, "swarm_processes": 2, "clients": 31, "permits": 10}
    async with running(service_time_s=0.005, **values) as engine:
        await until(lambda: swarm_of(engine).connections_open == 31 == server_of(engine).connections_open)
        await until(lambda: swarm_of(engine).limiter.waiting)
        limiter = swarm_of(engine).limiter
        assert limiter.permits == 10
        assert limiter.in_flight <= 10
        await tune(engine, clients=8, permits=4)
        tuned = engine.snapshot()
        shared = [(use.generation, use.part is not None) for use in tuned.processes]
        assert shared == [(1, False)] * 3 + [(1, True)] * 2
        await until(lambda: swarm_of(engine).connections_open == 8)
        assert swarm_of(engine).limiter.permits == 4
        snapshot = engine.snapshot(replace(EVERYTHING, connections=ConnectionQuery(role="server")))
        # Closed ones are seen, too.
        await until(lambda: len(seen(engine, "server")) >= 31)
        numbers = [view.conn_id for view in seen(engine, "server")]
        assert len(set(numbers)) == len(numbers)
        assert snapshot.server is not None
        await until(lambda: swarm_of(engine).totals.responses > tuned.main.totals.responses + 20)
        since = window(tuned, engine.snapshot())
        parts = [use.part for use in since.processes if use.part is not None]
        assert sum(part.responses for part in parts) == since.main.totals.responses
        assert sum(part.service_time.total for part in parts) == since.main.service_time.total
    the_two_ends_agree(engine)


def seen(engine: Engine, role: str) -> tuple[Any, ...]:
    query = ConnectionQuery(role=role, limit=10_000)
    snapshot = engine.snapshot(replace(EVERYTHING, connections=query))
    found = snapshot.server if role == "server" else snapshot.swarm
    assert found is not None
    return found.connections


def still_open(engine: Engine, role: str) -> list[int]:
    return [view.conn_id for view in seen(engine, role) if view.close_reason is None]


async def test_several_servers_share_the_port_and_the_work() -> None:
    async with running(clients=10, server_processes=2, lifetime=5) as engine:
        await answered(engine, 300)
        port = port_of(engine)
        listeners = {
            child.pid
            for child in children()
            for connection in child.net_connections("tcp4")
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
        }
        assert listeners == {process_of(engine, "server").pid, process_of(engine, "server 2").pid}
        # Odd numbers are connections of the first server, even ones of the second.
        await until(lambda: {view.conn_id % 2 for view in seen(engine, "server")} == {0, 1})
    the_two_ends_agree(engine)


async def test_figures_begin_with_the_run_and_anew_after_a_warm_up() -> None:
    async with running(place="apart", warmup_s=0.15) as engine:
        assert engine.snapshot().warming_up
        await until(lambda: not engine.snapshot().warming_up)
        # The first reading asks the processes for their events, the next one has them.
        engine.snapshot(EVERYTHING)
        await engine.settle()
        snapshot = engine.snapshot(EVERYTHING)
        assert snapshot.measured_s < snapshot.elapsed_s
        opened = [e for e in snapshot.events if (e.role, e.kind) == ("swarm", EventKind.OPEN)]
        # All of them, unless the machine is so busy that one took longer than the warm-up.
        before = sum(event.time_s < snapshot.measured_since_s for event in opened)
        assert len(opened) == 4
        assert snapshot.main.totals.connections_opened == 4 - before
        await answered(engine)


# What is seen.


@layouts
async def test_the_processes_are_told_with_what_they_use(values: dict[str, Any]) -> None:
    async with running(**values) as engine:
        await answered(engine)
        before, beats = engine.snapshot(), heartbeats(engine)
        await answered(engine, 500)
        await until(lambda: all(map(int.__lt__, beats, heartbeats(engine))), what="heartbeats")
        await engine.settle()
        between = window(before, engine.snapshot())
        main, *others = between.processes
        names = NAMES.get(str(values.get("place")), ["server", "server 2", "clients", "clients 2"])
        assert [use.name for use in others] == names
        assert (main.name, main.pid) == ("main", os.getpid())
        assert main.roles == (("swarm",) if values.get("place") == "server" else ())
        assert {use.pid for use in others} == {child.pid for child in children()}
        for use in others:
            assert (use.state, use.alive) == ("running", True)
            assert (use.resources.rss_bytes or 0) > 1_000_000
            assert use.resources.threads == 1
            assert use.resources.measured_s > 0
            assert use.resources.descriptors
            assert use.resources.loop_lag.total > 0
            assert use.loop_name == engine.experiment.loop
            assert use.environment["allocator"] == "calm"
        assert sum(use.resources.cpu_s for use in others) > 0


async def test_the_loop_of_the_experiment_runs_in_the_child() -> None:
    for loop, name in (("asyncio", "SelectorLoop"), ("uvloop", "UvLoop")):
        async with running(place="child", loop=loop, protocol="tests.engine.loop_teller:Teller") as engine:
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(engine))
            async with asyncio.timeout(60):
                assert (await reader.readline()).decode().strip() == name
            writer.close()
            await writer.wait_closed()


@pytest.mark.parametrize(("transport", "place"), [("tcp", "child"), ("tcp", "server"), ("udp", "apart")])
async def test_a_capture_has_the_bytes_of_both_ends(transport: str, place: str) -> None:
    async with running(transport=transport, place=place, request_bytes=300, service_time_s=0.002) as engine:
        await until(lambda: exchanges_of(engine))
        exchange = exchanges_of(engine)[-1]
        capture = await engine.capture(exchange.record_id)
        assert capture is not None
        assert capture.exchange == exchange
        assert capture.server is not None
        assert capture.server.request == capture.request
        assert exchange.service_time_s is not None
        times = [exchange.time_s, capture.server.read_s, capture.server.answered_s]
        assert times == sorted(times)
        assert times[-1] <= exchange.time_s + exchange.service_time_s
        assert await engine.capture(10**9) is None
        assert await engine.capture(-1) is None


async def test_captures_of_several_swarms_are_told_apart() -> None:
    async with running(clients=6, swarm_processes=2, service_time_s=0.001) as engine:
        await until(lambda: {exchange.conn_id % 2 for exchange in exchanges_of(engine)} == {0, 1})
        exchanges = exchanges_of(engine)
        numbers = [exchange.record_id for exchange in exchanges]
        assert numbers == sorted(set(numbers))
        for exchange in exchanges[-6:]:
            capture = await engine.capture(exchange.record_id)
            assert capture is not None
            assert capture.exchange == exchange


async def test_hold_keeps_captures_in_the_child() -> None:
    async with running(place="child", clients=20, service_time_s=0.005) as engine:
        await until(lambda: exchanges_of(engine))
        first = exchanges_of(engine)[-1].record_id
        engine.hold(True)
        held = await engine.capture(first)
        assert held is not None
        await tune(engine, service_time_s=0.0)
        await until(lambda: swarm_of(engine).captures_overwritten > first)
        await tune(engine, service_time_s=0.005)
        assert await engine.capture(first) == held
        engine.hold(False)
        assert await engine.capture(first) is None


async def test_a_connection_is_closed_by_its_number() -> None:
    async with running(clients=6, service_time_s=0.002, **LAYOUTS["two and two"]) as engine:
        for role in ("server", "swarm"):
            await until(lambda: len(still_open(engine, role)) == 6)
            number = still_open(engine, role)[-1]
            assert await engine.close_connection(role, number)
            assert not await engine.close_connection(role, 999)
            await until(
                lambda: (
                    [view.close_reason for view in seen(engine, role) if view.conn_id == number]
                    == [CloseReason.CLOSED]
                )
            )
            await until(lambda: swarm_of(engine).connections_open == 6)


@layouts
async def test_a_budget_is_spent_exactly_and_readers_with_cursors_get_every_event_and_exchange_once(
    values: dict[str, Any],
) -> None:
    async with running(lifetime=3, requests=303, permits=2, service_time_s=0.0, **values) as engine:
        cursors = replace(EVERYTHING)
        exchanges: list[int] = []
        opened: list[tuple[str, int]] = []
        while len(exchanges) < 303:
            snapshot = engine.snapshot(cursors)
            assert snapshot.swarm is not None
            assert snapshot.events_missed == 0
            exchanges += [exchange.record_id for exchange in snapshot.swarm.exchanges]
            opened += [(e.role, e.conn_id) for e in snapshot.events if e.kind is EventKind.OPEN]
            cursors = replace(
                cursors, events=snapshot.events_cursor, exchanges=snapshot.swarm.exchanges_cursor
            )
            await asyncio.sleep(0)
        assert exchanges == list(range(303))
        async with asyncio.timeout(60):
            await engine.wait()
        await engine.settle()
        assert engine.snapshot().elapsed_s > 0
        snapshot = engine.snapshot(cursors)
        opened += [(e.role, e.conn_id) for e in snapshot.events if e.kind is EventKind.OPEN]
    assert len(opened) == len(set(opened))
    assert len(opened) == 2 * swarm_of(engine).totals.connections_opened >= 200
    assert swarm_of(engine).totals.requests == 303
    the_two_ends_agree(engine)


async def test_events_that_nobody_read_are_there_at_the_end() -> None:
    async with running(place="apart", clients=3) as engine:
        await answered(engine)
    events = engine.snapshot(EVERYTHING).events
    assert [event.time_s for event in events[1:-1]] == sorted(event.time_s for event in events[1:-1])
    for role in ("server", "swarm"):
        kinds = [event.kind for event in events if event.role == role]
        assert kinds.count(EventKind.OPEN) == kinds.count(EventKind.CLOSE) == 3


# Control.


async def test_who_connects_while_the_framing_changes_is_understood() -> None:
    """Between two roles elsewhere there is a moment in which only one has gone over."""
    async with running(place="child", clients=20, lifetime=1, request_timeout_s=60.0) as engine:
        await answered(engine)
        for framing in ("newline", "length", "newline"):
            await tune(engine, framing=framing)
            began = swarm_of(engine).totals.requests
            # Each client has asked twice since: who was not understood still waits.
            await until(lambda began=began: swarm_of(engine).totals.requests > began + 100)  # type: ignore[misc]
        engine.pause()
        await until(lambda: not swarm_of(engine).in_flight)
        assert swarm_of(engine).totals.failed == 0


async def test_pause_and_resume_reach_the_children_and_idle_ones_have_no_heartbeat() -> None:
    async with running(place="apart") as engine:
        await answered(engine)
        engine.pause()
        await engine.settle()
        await until(lambda: not swarm_of(engine).in_flight)
        await engine.settle()
        held, beats = swarm_of(engine).totals.requests, heartbeats(engine)
        await asyncio.sleep(3 * HEARTBEAT_S)
        await engine.settle()
        assert (swarm_of(engine).totals.requests, heartbeats(engine)) == (held, beats)
        engine.resume()
        await answered(engine)
        await until(lambda: all(map(int.__lt__, beats, heartbeats(engine))), what="heartbeats")


@pytest.mark.parametrize("place", ["child", "apart"])
async def test_an_error_in_the_child_arrives_as_what_it_is(place: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        engine = Engine(experiment(place=place, port=taken.getsockname()[1]))
        with pytest.raises(ListenError, match="the port is in use") as error:
            await engine.start()
        assert isinstance(error.value.os_error, OSError)
    assert engine.state is RunState.FAILED
    assert children() == []


async def test_a_change_that_cannot_be_in_the_child_leaves_everything_as_it_was() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        port = port_free_for_tcp(taken)
        async with running(place="apart", port=port) as engine:
            await answered(engine)
            with pytest.raises(ListenError, match="in use"):
                await tune(engine, transport="udp", clients=9)
            assert (engine.tuning.transport, engine.generation) == ("tcp", 0)
            await answered(engine)
            assert swarm_of(engine).clients == 4
        the_two_ends_agree(engine)


def port_free_for_tcp(taken: socket.socket) -> int:
    """Bind a UDP socket to a port below the ephemeral ones that TCP may use, and return it."""
    for port in range(10_000 + os.getpid() % 10_000, 30_000):
        with socket.socket() as tcp:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tcp.bind(("127.0.0.1", port))
                taken.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


async def test_the_transport_changes_in_the_children_too() -> None:
    async with running(clients=10, server_processes=2, swarm_processes=2) as engine:
        for transport in ("udp", "tcp"):
            await answered(engine)
            await tune(engine, transport=transport)
            await answered(engine)
            await until(lambda: not swarm_of(engine).rolling and not server_of(engine).draining)
    the_two_ends_agree(engine)


# From place to place.


@pytest.mark.parametrize(
    ("transport", "fixed_port", "places"),
    [
        ("tcp", False, ("apart", "server", "loop", "child", "server")),
        ("udp", True, ("apart", "child", "loop", "server")),
    ],
    ids=["TCP, any port", "UDP, fixed port"],
)
async def test_the_roles_go_from_place_to_place_and_lose_nothing(
    transport: str, fixed_port: bool, places: tuple[str, ...]
) -> None:
    port = unused_port() if fixed_port else 0
    async with running(
        transport=transport, clients=30, permits=10, service_time_s=0.001, port=port
    ) as engine:
        await until(lambda: swarm_of(engine).ready_s > 0.0)
        ready_s = swarm_of(engine).ready_s
        for place in places:
            await answered(engine, 30)
            await tune(engine, place=place)
            await answered(engine, 30)
            assert swarm_of(engine).clients == 30
            current = [use.name for use in engine.snapshot().processes if use.state == "running"]
            assert current == ["main", *NAMES.get(place, [])]
            assert swarm_of(engine).ready_s == ready_s
        assert engine.generation == len(places)
        await until(lambda: swarm_of(engine).connections_open == 30 == server_of(engine).connections_open)
        await until(lambda: len(children()) == 1)
    the_two_ends_agree(engine)
    events = engine.snapshot(EVERYTHING).events
    opened = [(event.role, event.conn_id) for event in events if event.kind is EventKind.OPEN]
    assert len(opened) == len(set(opened)) == 2 * swarm_of(engine).totals.connections_opened
    assert told(engine, EventKind.ERROR) == []
    assert told(engine, EventKind.TUNING)[0] == "place loop → apart"


async def test_the_budget_goes_along_from_place_to_place() -> None:
    async with running(clients=4, requests=2_000, think_time_s=0.001) as engine:
        for place in ("apart", "loop", "child"):
            await answered(engine, 10)
            # Paused, or a slow machine would have spent the budget before the new place is there.
            engine.pause()
            await tune(engine, place=place)
            engine.resume()
        async with asyncio.timeout(60):
            await engine.wait()
        await engine.settle()
        assert swarm_of(engine).totals.requests == 2_000
    the_two_ends_agree(engine)


async def test_the_number_of_processes_changes_live(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(clients=12, place="apart") as engine:
        for values in ({"server_processes": 2, "swarm_processes": 2}, {"server_processes": 1}):
            await answered(engine)
            await tune(engine, **values)
            await answered(engine)
        running_now = [use.name for use in engine.snapshot().processes if use.state == "running"]
        assert running_now == ["main", "server", "clients", "clients 2"]
        begin = HostedRole.start

        async def begin_in_vain(role: HostedRole, *arguments: Any) -> None:
            await begin(role, *arguments)
            raise EngineError("in vain")

        monkeypatch.setattr(HostedRole, "start", begin_in_vain)
        with pytest.raises(EngineError, match="in vain"):
            await tune(engine, swarm_processes=1)
    the_two_ends_agree(engine)  # with what was counted in vain


async def test_a_paused_run_is_paused_in_its_new_place() -> None:
    async with running() as engine:
        await answered(engine)
        engine.pause()
        await tune(engine, place="apart")
        await until(lambda: swarm_of(engine).connections_open == 4)
        await engine.settle()
        held = swarm_of(engine).totals.requests
        await engine.settle()
        assert swarm_of(engine).totals.requests == held
        engine.resume()
        await answered(engine)
    the_two_ends_agree(engine)


async def test_a_place_that_cannot_be_leaves_the_run_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as engine:
        await answered(engine)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", "/nowhere/python")
            with pytest.raises(EngineError, match="cannot start a child process"):
                await tune(engine, place="apart")
        assert (engine.tuning.place, engine.generation) == ("loop", 0)
        await answered(engine)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", "/bin/false")
            with pytest.raises(EngineError, match="ended with code 1"):
                await tune(engine, place="child")
        assert engine.state is RunState.RUNNING
        await answered(engine)
    the_two_ends_agree(engine)


async def test_a_server_alone_keeps_its_port_from_place_to_place() -> None:
    port = unused_port()
    async with running(role="server", port=port) as engine:
        for place in ("apart", "loop", "child"):
            await tune(engine, place=place)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"\0\0\0\2hi")
            async with asyncio.timeout(60):
                assert await reader.readexactly(6) == b"\0\0\0\2hi"
            writer.close()
            await writer.wait_closed()
        await engine.settle()
        assert server_of(engine).totals.responses == 3


async def test_requests_that_take_long_are_answered_at_the_old_place() -> None:
    async with running(clients=3, service_time_s=1.5, request_timeout_s=10.0) as engine:
        await until(lambda: swarm_of(engine).in_flight == 3)
        await tune(engine, place="apart")
        await until(lambda: swarm_of(engine).totals.responses >= 3)
        assert swarm_of(engine).totals.errors == 0


# Processes that die, and those that do not answer.


async def test_a_server_that_is_killed_is_told_and_any_change_starts_it_anew() -> None:
    async with running(place="apart") as engine:
        await answered(engine)
        server = process_of(engine, "server")
        await engine.settle()
        counted = server_of(engine).totals.requests
        os.kill(server.pid, signal.SIGKILL)
        await until(lambda: not process_of(engine, "server").alive)
        assert process_of(engine, "server").state == "was killed (SIGKILL)"
        assert engine.state is RunState.RUNNING
        sentence = f"server process {server.pid} was killed (SIGKILL)"
        assert told(engine, EventKind.ERROR) == [sentence]
        assert sentence in limit_of(engine.snapshot()).sentence
        assert server_of(engine).totals.requests >= counted > 0
        with pytest.raises(EngineError, match="its process has ended"):
            engine.stall()
        await until(lambda: swarm_of(engine).clients_retrying)
        await tune(engine, clients=5)
        await answered(engine)
        await engine.settle()
        assert process_of(engine, "server").pid != server.pid
        assert server_of(engine).totals.requests > counted
        await until(lambda: swarm_of(engine).connections_open == 5)


async def test_one_of_two_servers_may_die() -> None:
    async with running(clients=8, server_processes=2, role="server") as engine:
        os.kill(process_of(engine, "server 2").pid, signal.SIGKILL)
        await until(lambda: not process_of(engine, "server 2").alive)
        assert state_of(engine) is RunState.RUNNING
        os.kill(process_of(engine, "server").pid, signal.SIGTERM)
        async with asyncio.timeout(60):
            await engine.wait()
        assert state_of(engine) is RunState.FAILED
        assert "was killed (SIGTERM)" in engine.error


@pytest.mark.parametrize(("place", "name"), [("apart", "clients"), ("child", "server and clients")])
async def test_without_its_clients_the_run_has_failed(place: str, name: str) -> None:
    async with running(place=place) as engine:
        await answered(engine)
        counted = swarm_of(engine).totals.responses
        pid = process_of(engine, name).pid
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(60):
            await engine.wait()
        assert engine.state is RunState.FAILED
        assert engine.error == f"{name} process {pid} was killed (SIGKILL)"
        assert await engine.capture(0) is None
        assert not await engine.close_connection("swarm", 1)
    assert swarm_of(engine).totals.responses >= counted


async def test_a_child_whose_loop_is_blocked_holds_up_nobody_here() -> None:
    async with running(
        0.0, place="apart", clients=6, work="block", service_time_s=10.0, request_timeout_s=30.0
    ) as engine:
        await until(lambda: process_of(engine, "server").silent_s > 1.0, what="silence")
        snapshot = engine.snapshot()
        server = process_of(engine, "server")
        assert server.alive
        assert server.state.startswith("no answer for")
        assert process_of(engine, "clients").silent_s < 1.0
        found = limit_of(snapshot)
        assert found.limit == "blocked"
        assert f"server process {server.pid} has not answered" in found.sentence
    assert any("has not answered" in text for text in told(engine, EventKind.ERROR))
    assert engine.state is RunState.STOPPED


ORPHANS = """
import asyncio, sys
from sockscope import Engine, Experiment, Tuning

async def main():
    tuning = Tuning(place="apart", clients=60, work=sys.argv[1], service_time_s=float(sys.argv[2]))
    engine = Engine(Experiment(tuning=tuning))
    await engine.start()
    print(*(use.pid for use in engine.snapshot().processes[1:]), flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("work", [("wait", "0.0"), ("cpu", "0.5")], ids=lambda work: work[0])
async def test_a_killed_parent_leaves_no_child(work: tuple[str, str]) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ORPHANS, *work, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    async with asyncio.timeout(60):
        pids = [int(word) for word in (await parent.stdout.readline()).split()]
    assert len(pids) == 2
    assert all(map(lives, pids))
    parent.kill()
    await parent.wait()
    await until(lambda: not any(map(lives, pids)))


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_a_child_is_not_reached_by_the_terminal() -> None:
    async with running(place="child") as engine:
        assert os.getsid(process_of(engine, "server and clients").pid) != os.getsid(0)


@layouts
async def test_stopping_at_once_leaves_nothing(values: dict[str, Any]) -> None:
    engine = Engine(experiment(clients=50, **values))
    await engine.start()
    await engine.stop(0.0)
    assert children() == []
    totals = swarm_of(engine).totals
    assert totals.requests == totals.responses + totals.timeouts + totals.errors


async def test_a_start_that_is_cancelled_leaves_nothing() -> None:
    engine = Engine(experiment(place="apart"))
    starting = asyncio.create_task(engine.start())
    await until(children)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await until(lambda: not children())


# How memory is allocated.


async def test_the_allocator_of_a_child_is_chosen_by_its_environment() -> None:
    for allocator in ("calm", "default", "tuned"):
        async with running(place="child", allocator=allocator) as engine:
            use = process_of(engine, "server and clients")
            environ = psutil.Process(use.pid).environ()
            assert use.environment["allocator"] == allocator
            assert ("MALLOC_MMAP_THRESHOLD_" in environ) == (allocator == "tuned")
            stated = {name: value for name, value in use.environment.items() if name != "allocator"}
            assert stated.items() <= environ.items()
            await answered(engine)


async def test_a_tuned_allocator_needs_a_process_of_its_own() -> None:
    with pytest.raises(ConfigError, match="needs a process of its own"):
        await Engine(experiment(allocator="tuned")).start()


# Keys that come in the middle of a change.


@pytest.mark.parametrize("paused", [True, False], ids=["pause", "resume"])
async def test_who_pauses_or_resumes_during_a_change_of_place_is_heard(
    monkeypatch: pytest.MonkeyPatch, paused: bool
) -> None:
    async with running() as engine:
        if not paused:
            engine.pause()
        start = HostedRole.start
        key = engine.pause if paused else engine.resume

        async def with_a_key(role: HostedRole, *rest: Any) -> Any:
            asyncio.get_running_loop().call_soon(key)
            return await start(role, *rest)

        monkeypatch.setattr(HostedRole, "start", with_a_key)
        await tune(engine, place="child")
        assert state_of(engine) is (RunState.PAUSED if paused else RunState.RUNNING)
        if not paused:
            await answered(engine)
            return
        await until(lambda: not swarm_of(engine).in_flight)
        await engine.settle()
        counted = swarm_of(engine).totals.requests
        await engine.settle()
        assert swarm_of(engine).totals.requests == counted


async def test_a_stop_while_an_old_swarm_is_wound_up_loses_no_request() -> None:
    async with running(0.0, clients=10, service_time_s=30.0, request_timeout_s=60.0, place="child") as engine:
        await until(lambda: swarm_of(engine).in_flight == 10)
        await tune(engine, place="loop")
        await until(lambda: swarm_of(engine).in_flight == 20)
    totals = swarm_of(engine).totals
    assert (totals.requests, totals.errors, totals.responses) == (20, 20, 0)


async def test_without_descriptors_there_is_no_child_and_nothing_else_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipe, most = os.pipe, 1

    def used_up() -> tuple[int, int]:
        nonlocal most
        if not most:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        most -= 1
        return pipe()

    async with running() as engine:
        await until(lambda: swarm_of(engine).connections_open == 4 == server_of(engine).connections_open)
        opened = psutil.Process().num_fds()
        monkeypatch.setattr("sockscope.engine.placement.hosts.child_process.os.pipe", used_up)
        with pytest.raises(EngineError, match="cannot start a child process"):
            await tune(engine, place="child")
        await until(lambda: psutil.Process().num_fds() == opened)
        await answered(engine)
