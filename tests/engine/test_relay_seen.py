"""What is seen through a relay: both ends of an exchange, the backlog and the listener behind it."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from sockscope.core.run.client_states import Doing, client_states, reception
from sockscope.core.run.snapshot import Capture, Cursors
from sockscope.engine.accept_queue import accept_queue
from sockscope.engine.engine import Engine
from sockscope.engine.listen_diag import drops_at
from tests.engine.runs import connections_of, exchanges_of, running, server_of, swarm_of, tune
from tests.engine.test_relay_runs import HARMLESS
from tests.waiting import until

RUNS: dict[str, dict[str, Any]] = {
    "tcp": {},
    "udp": {"transport": "udp"},
    "tls": {"tls": True},
    "blocking": {"client": "blocking", "server": "threaded"},
    "unix": {"family": "unix"},
    "ipv6 udp": {"family": "ipv6", "transport": "udp"},
    "in children": {"place": "apart"},
}


async def captured(engine: Engine) -> Capture:
    """Return the newest exchange with its bytes."""
    await until(lambda: exchanges_of(engine), what="an exchange is told")
    seen = await engine.capture(exchanges_of(engine)[-1].record_id)
    assert seen is not None
    return seen


@pytest.mark.parametrize("values", RUNS.values(), ids=RUNS)
async def test_the_server_s_side_of_an_exchange_is_found_behind_a_relay(values: dict[str, Any]) -> None:
    async with running(fault=HARMLESS, requests=24, **values) as engine:
        await engine.wait()
        await engine.settle()
        seen = await captured(engine)
        exchange = seen.exchange
        assert seen.relayed is not None
        assert seen.server is not None
        assert seen.server.request.data == seen.request.data
        assert exchange.service_time_s is not None
        ends = exchange.time_s, exchange.time_s + exchange.service_time_s
        assert ends[0] <= seen.server.read_s <= seen.server.answered_s <= ends[1]
        server_id, relayed = seen.server.conn_id, seen.relayed.address
        assert relayed != seen.local_address

        def clients_of_the_server() -> dict[int, str]:
            server = connections_of(engine, "server").server
            return {view.conn_id: view.remote_address for view in server.connections} if server else {}

        # A server elsewhere tells of its connections when it is asked again.
        await until(lambda: server_id in clients_of_the_server(), what="the server tells of its connections")
        assert clients_of_the_server()[server_id] == relayed


async def test_without_a_relay_nothing_is_said_to_have_gone_through_one() -> None:
    async with running(requests=4, fault=HARMLESS) as engine:
        await engine.wait()
        await tune(engine, fault="")
        engine.refill(40)
        await engine.wait()
        seen = await captured(engine)
        assert seen.relayed is None
        assert seen.server is not None


async def test_of_a_target_it_is_told_which_connection_of_the_relay_it_was() -> None:
    async with running(role="server") as server:
        target = server_of(server).address
        async with running(role="swarm", target=target, fault=HARMLESS, requests=8) as engine:
            await engine.wait()
            seen = await captured(engine)
            assert seen.relayed is not None
            assert seen.server is None
            views = connections_of(server, "server").server
            assert views is not None
            assert seen.relayed.address in [view.remote_address for view in views.connections]


@pytest.mark.parametrize("place", ["loop", "apart"])
async def test_who_is_in_the_backlog_behind_a_relay_is_seen_there(place: str) -> None:
    look = Cursors(most_events=0, most_exchanges=0, clients=True)
    async with running(
        0.0, clients=8, server="blocking", service_time_s=0.05, fault=HARMLESS, place=place
    ) as engine:

        def shows() -> bool:
            snapshot = engine.snapshot(look)
            states, seen = client_states(snapshot), reception(snapshot)
            found = {doing: count for doing, count in states.counts().items() if count}
            return (
                states.is_whole
                and found == {Doing.SERVED: 1, Doing.IN_BACKLOG: 7}
                and (seen.accepted, seen.in_service, seen.backlog) == (1, 1, 7)
            )

        await until(shows, what="one is served and seven are in the backlog")


async def test_over_udp_who_is_served_behind_a_relay_is_seen_there() -> None:
    look = Cursors(most_events=0, most_exchanges=0, clients=True)
    async with running(
        0.0, clients=6, permits=2, transport="udp", service_time_s=0.1, fault=HARMLESS
    ) as engine:
        await until(
            lambda: (
                client_states(engine.snapshot(look)).counts()
                == dict.fromkeys(Doing, 0) | {Doing.SERVED: 2, Doing.WAITING: 4}
            )
        )


async def test_the_listener_that_is_looked_at_is_the_target_s() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        target = listener.getsockname()
        async with running(
            0.0, clients=5, role="swarm", target=f"127.0.0.1:{target[1]}", fault=HARMLESS
        ) as engine:
            await until(lambda: accept_queue(target) in (5, None), what="five are in its backlog")
            swarm = swarm_of(engine)
            assert swarm.backlog == (accept_queue(target) or 0)
            assert swarm.listen_drops == drops_at(target)
            await tune(engine, fault="")
            assert swarm_of(engine).backlog >= swarm.backlog


@pytest.mark.parametrize("fault", ["", HARMLESS])
async def test_clients_of_unix_sockets_are_seen_being_served(fault: str) -> None:
    values: dict[str, Any] = {"family": "unix", "service_time_s": 5.0, "fault": fault}
    async with running(grace_s=0.0, **values) as engine:
        await until(
            lambda: client_states(engine.snapshot(Cursors(clients=True))).counts()[Doing.SERVED] == 4,
            what="all four are seen being served",
        )
