"""UDP clients against a peer that loses, doubles, delays and swaps answers by a plan."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sockscope.core.addresses import split_address
from sockscope.core.events import CloseReason, EventKind
from sockscope.core.run.snapshot import Totals
from sockscope.engine.sampler import kernel_udp
from tests.engine.peers import udp_peer
from tests.engine.runs import EVERYTHING, connections_of, running, server_of, swarm_of
from tests.ports import unused_port
from tests.waiting import until

REQUESTS = 60


async def counted(plan: Any, **values: Any) -> Any:
    """Let one client ask a planned peer ``REQUESTS`` times; return its totals and the peer."""
    async with (
        udp_peer(plan) as peer,
        running(
            role="swarm",
            target="127.0.0.1:{}".format(peer.transport.get_extra_info("sockname")[1]),
            transport="udp",
            clients=1,
            requests=REQUESTS,
            **({"request_timeout_s": 0.02} | values),
        ) as engine,
    ):
        async with asyncio.timeout(30):
            await engine.wait()
        await until(lambda: swarm_of(engine).totals.datagrams_received == peer.sent)
        await until(lambda: undecided(swarm_of(engine).totals) == 0, what="lost or late")
        totals = swarm_of(engine).totals
        assert totals.requests == totals.responses + totals.timeouts == REQUESTS
        assert (totals.datagrams_sent, peer.received) == (REQUESTS, REQUESTS)
        return totals


def undecided(totals: Totals) -> int:
    return totals.timeouts - totals.datagrams_lost - totals.datagrams_late


async def test_lost_answers() -> None:
    totals = await counted(lambda n, data: [] if n % 5 == 0 else [data])
    # An answer that the machine itself delays beyond the timeout is late, not lost.
    assert totals.datagrams_lost == 12
    assert totals.timeouts == 12 + totals.datagrams_late
    assert (totals.datagrams_duplicated, totals.datagrams_reordered) == (0, 0)


@pytest.mark.parametrize("think_time_s", [0.0, 0.001])
async def test_doubled_answers(think_time_s: float) -> None:
    totals = await counted(
        lambda n, data: [data] * (1 + (n % 3 == 0) + (n % 6 == 0)),
        think_time_s=think_time_s,
        request_timeout_s=5.0,
    )
    assert (totals.datagrams_duplicated, totals.responses, totals.timeouts) == (30, 60, 0)
    assert (totals.datagrams_lost, totals.datagrams_late, totals.datagrams_reordered) == (0, 0, 0)


async def test_late_answers_come_before_the_next_one() -> None:
    kept: list[bytes] = []

    def plan(number: int, data: bytes) -> list[bytes]:
        if number % 10 == 0 and number < REQUESTS:
            kept.append(data)
            return []
        late, kept[:] = list(kept), []
        return [*late, data]

    totals = await counted(plan)
    assert totals.datagrams_lost == 0
    assert totals.timeouts == totals.datagrams_late >= 5
    assert (totals.datagrams_reordered, totals.datagrams_duplicated) == (0, 0)


async def test_late_answers_that_come_after_the_next_one_are_out_of_order() -> None:
    kept: list[bytes] = []

    def plan(number: int, data: bytes) -> list[bytes]:
        if number % 10 == 0 and number < REQUESTS:
            kept.append(data)
            return []
        late, kept[:] = list(kept), []
        return [data, *late, *late]

    totals = await counted(plan)
    assert totals.datagrams_lost == 0
    assert totals.timeouts == totals.datagrams_late >= 5
    assert (totals.datagrams_reordered, totals.datagrams_duplicated) == (5, 5)


async def test_answers_that_are_none_are_counted_and_do_no_harm() -> None:
    totals = await counted(
        lambda n, data: [b"short", b"\xff" * 64, data + b"!", data] if n % 20 == 0 else [data],
        request_timeout_s=5.0,
    )
    # Three datagrams that are no answer, three times; the requests were answered all the same.
    assert (totals.unexpected, totals.errors, totals.responses, totals.timeouts) == (9, 0, 60, 0)
    assert totals.response_bytes == 60 * 64 < totals.bytes_in


@pytest.mark.parametrize("client", ["selector", "protocol"])
async def test_datagrams_that_come_before_the_first_request_are_read_and_counted(client: str) -> None:
    async with udp_peer(lambda n, data: []) as peer:
        target = "127.0.0.1:{}".format(peer.transport.get_extra_info("sockname")[1])
        values: dict[str, Any] = {"clients": 2, "permits": 1, "client": client, "transport": "udp"}
        async with running(grace_s=0.0, role="swarm", target=target, **values) as engine:
            await until(lambda: swarm_of(engine).connections_open == 2)
            swarm = connections_of(engine, "swarm").swarm
            assert swarm is not None
            for view in swarm.connections:
                peer.transport.sendto(b"?", split_address(view.local_address))
                peer.transport.sendto(b"news for you", split_address(view.local_address))
            await until(lambda: swarm_of(engine).totals.unexpected == 4)
            totals = swarm_of(engine).totals
            assert (totals.datagrams_received, totals.datagrams_duplicated, totals.errors) == (4, 0, 0)


async def test_a_port_where_nobody_listens_is_refused_and_tried_again() -> None:
    async with running(
        grace_s=0.0,
        role="swarm",
        target=f"127.0.0.1:{unused_port()}",
        transport="udp",
        clients=2,
        request_timeout_s=5.0,
    ) as engine:
        await until(lambda: swarm_of(engine).totals.connections_refused >= 4)
        assert swarm_of(engine).last_trouble == "Connection refused"
    totals = swarm_of(engine).totals
    assert totals.requests == totals.responses + totals.timeouts + totals.errors
    events = engine.snapshot(EVERYTHING).events
    closes = {event.reason for event in events if event.kind is EventKind.CLOSE}
    assert closes <= {CloseReason.REFUSED, CloseReason.STOPPED}


async def test_many_short_lived_sockets_are_neither_turned_away_nor_called_duplicates() -> None:
    async with running(
        transport="udp", clients=5, lifetime=1, requests=600, max_connections=200, request_timeout_s=5.0
    ) as engine:
        async with asyncio.timeout(30):
            # More sockets than may be remembered: silent ones are forgotten to make room.
            await until(lambda: server_of(engine).totals.requests >= 100)
            assert server_of(engine).totals.datagrams_duplicated == 0
        totals = server_of(engine).totals
        assert totals.connections_opened == totals.requests


@pytest.mark.parametrize("server", ["datagram", "blocking", "epoll"])
async def test_what_the_kernel_drops_at_the_server_is_lost(server: str) -> None:
    if kernel_udp() is None:
        pytest.skip("no SO_MEMINFO here")
    # Sixty at once find room for a few, and most sockets send this one datagram only.
    values: dict[str, Any] = {"clients": 60, "lifetime": 1, "requests": 60, "rcvbuf_bytes": 1_000}
    values |= {"work": "block", "service_time_s": 0.002}
    async with running(transport="udp", server=server, request_timeout_s=0.05, **values) as engine:
        async with asyncio.timeout(30):
            await engine.wait()
        assert server_of(engine).totals.datagrams_lost == 60 - server_of(engine).totals.requests
        assert swarm_of(engine).totals.timeouts > 0
    lost = server_of(engine).totals.datagrams_lost
    assert lost == 60 - server_of(engine).totals.requests > 0


async def test_the_kernel_counts_from_the_first_datagram_on_wherever_the_clients_are() -> None:
    if kernel_udp() is None:
        pytest.skip("no /proc/net/snmp here")
    async with running(transport="udp", clients=50, requests=50, place="apart") as engine:
        await engine.wait()
        await engine.settle()
        seen = engine.snapshot().resources.kernel_udp
    assert seen is not None
    assert seen.in_datagrams >= 100
    assert seen.out_datagrams >= 100


async def test_the_kernel_has_counted_at_least_as_many_datagrams() -> None:
    before = kernel_udp()
    if before is None:
        pytest.skip("no /proc/net/snmp here")
    async with running(transport="udp", clients=5, requests=500) as engine:
        await engine.wait()
        snapshot = engine.snapshot()
        server, swarm = server_of(engine).totals, swarm_of(engine).totals
    after = kernel_udp()
    assert after is not None
    seen = server.datagrams_received + swarm.datagrams_received
    sent = server.datagrams_sent + swarm.datagrams_sent
    assert seen == sent == 1000
    assert after.in_datagrams - before.in_datagrams >= seen
    assert after.out_datagrams - before.out_datagrams >= sent
    assert snapshot.resources.kernel_udp is not None
    assert snapshot.resources.kernel_udp.in_datagrams >= seen
