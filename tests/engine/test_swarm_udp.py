"""UDP clients against a peer that loses, doubles, delays and swaps answers by a plan."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from typing import Any

import pytest

from sockscope.core.addresses import split_address
from sockscope.core.config.models import CLIENT_MODELS, CLIENTS
from sockscope.core.events import CloseReason, EventKind
from sockscope.core.run.datagrams import Flow, flows
from sockscope.core.run.snapshot import Totals
from sockscope.engine.engine import Engine
from sockscope.engine.sampler import kernel_udp
from tests.engine.peers import udp_peer
from tests.engine.runs import EVERYTHING, connections_of, exchanges_of, running, server_of, swarm_of, tune
from tests.ports import unused_port
from tests.waiting import until

REQUESTS = 60
DEEP = [name for name, model in CLIENT_MODELS.items() if model.pipelines]
deep_clients = pytest.mark.parametrize("client", DEEP)
each_way = pytest.mark.parametrize(
    "values", [{}, {"client": "streams"}, {"client": "blocking"}, {"depth": 10, "batch": 4}], ids=str
)


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
        async with asyncio.timeout(60):
            await engine.wait()
        await until(lambda: swarm_of(engine).totals.datagrams_received == peer.sent)
        await until(lambda: undecided(swarm_of(engine).totals) == 0, what="lost or late")
        totals = swarm_of(engine).totals
        assert totals.requests == totals.responses + totals.timeouts + totals.errors == REQUESTS
        assert (totals.datagrams_sent, peer.received) == (REQUESTS, REQUESTS)
        return totals


def under_way(engine: Engine) -> int:
    """Return how many requests are in flight, which at any moment are all that have not ended."""
    swarm = swarm_of(engine)
    assert swarm.totals.requests == swarm.totals.responses + swarm.totals.failed + swarm.in_flight
    return swarm.in_flight


def undecided(totals: Totals) -> int:
    return totals.timeouts - totals.datagrams_lost - totals.datagrams_late


@each_way
async def test_lost_answers(values: dict[str, Any]) -> None:
    totals = await counted(lambda n, data: [] if n % 5 == 0 else [data], **values)
    # An answer that the machine itself delays beyond the timeout is late, not lost.
    assert totals.datagrams_lost == 12
    assert totals.timeouts == 12 + totals.datagrams_late
    assert (totals.datagrams_duplicated, totals.datagrams_reordered) == (0, 0)


OWN: dict[str, Any] = {"request": "hex:0000 68656c6c6f", "id_field": "0:2"}


@pytest.mark.parametrize("client", ["selector", "blocking"])
async def test_a_field_of_ones_own_tells_which_request_a_datagram_answers(client: str) -> None:
    late: list[bytes] = []

    def plan(_: int, data: bytes) -> list[bytes]:
        if int.from_bytes(data[:2], "big") % 5 == 0:
            late.append(data + b"!")
            return []
        behind, late[:] = list(late), []
        return [*behind, data + b"!"]

    totals = await counted(plan, client=client, **OWN)
    assert (totals.datagrams_lost, totals.errors) == (1, 0)
    assert totals.datagrams_late == totals.timeouts - 1 >= 11
    assert (totals.unexpected, totals.response_bytes) == (0, totals.responses * 8)


async def test_without_such_a_field_a_late_answer_meets_no_other_request() -> None:
    asked = itertools.count(1)
    lossy: dict[str, Any] = {"request": "PING", "request_timeout_s": 0.3}
    totals = await counted(lambda *_: [] if next(asked) % 20 == 0 else [b"answer"], **lossy)
    assert (totals.timeouts, totals.datagrams_lost) == (3, 3)
    assert totals.connections_opened in (3, 4)


@pytest.mark.parametrize("client", CLIENTS)
async def test_what_is_filled_in_is_told_apart_whatever_is_under_way(client: str) -> None:
    asked: Counter[bytes] = Counter()

    def plan(_: int, data: bytes) -> list[bytes]:
        asked[data[2:]] += 1
        return [data]

    texts: dict[str, Any] = {
        "request": "hex:0000 207b6e7d\n..of {client}",
        "weights": "2,1",
        "id_field": "0:2",
    }
    depth = 4 if CLIENT_MODELS[client].pipelines else 1
    totals = await counted(plan, client=client, depth=depth, request_timeout_s=30.0, **texts)
    assert (totals.responses, totals.datagrams_reordered) == (60, 0)
    assert asked.pop(b"of 1") == 20
    assert len(asked) == 40
    assert set(asked.values()) == {1}


async def test_datagrams_of_ones_own_may_be_no_good_answers_or_none() -> None:
    totals = await counted(
        lambda _, data: [data + b"no"] if data[1] % 3 == 0 else [b"x", data + b"ok"],
        request_timeout_s=30.0,
        accept="/ok$/",
        **OWN,
    )
    assert (totals.answers_rejected, totals.errors, totals.unexpected) == (20, 20, 40)


@pytest.mark.parametrize(
    "values",
    [{}, {"think_time_s": 0.001}, {"depth": 6}, {"client": "streams"}, {"client": "blocking"}],
    ids=str,
)
async def test_doubled_answers(values: dict[str, Any]) -> None:
    def plan(number: int, data: bytes) -> list[bytes]:
        # None behind the last answer, which a thread would not wait for.
        return [data] * (1 + (number % 3 == 1) + (number % 6 == 1))

    totals = await counted(plan, request_timeout_s=30.0, **values)
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
        request_timeout_s=30.0,
    )
    # Three datagrams that are no answer, three times; the requests were answered all the same.
    assert (totals.unexpected, totals.errors, totals.responses, totals.timeouts) == (9, 0, 60, 0)
    assert totals.response_bytes == 60 * 64 < totals.bytes_in


@deep_clients
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


@each_way
async def test_a_port_where_nobody_listens_is_refused_and_tried_again(values: dict[str, Any]) -> None:
    async with running(
        grace_s=0.0,
        role="swarm",
        target=f"127.0.0.1:{unused_port()}",
        transport="udp",
        clients=2,
        request_timeout_s=30.0,
        **values,
    ) as engine:
        await until(lambda: swarm_of(engine).totals.connections_refused >= 4)
        await until(lambda: swarm_of(engine).last_trouble == "Connection refused")
    totals = swarm_of(engine).totals
    assert totals.requests == totals.responses + totals.timeouts + totals.errors
    assert totals.connections_refused <= totals.connections_opened
    assert totals.bytes_out == 64 * totals.datagrams_sent
    events = engine.snapshot(EVERYTHING).events
    closes = {event.reason for event in events if event.kind is EventKind.CLOSE}
    assert closes <= {CloseReason.REFUSED, CloseReason.STOPPED}


# Several requests under way.


@deep_clients
@pytest.mark.parametrize("own", [{}, OWN | {"accept": "/hello$/"}], ids=["numbered", "own"])
async def test_answers_in_any_order_are_each_that_to_its_request(client: str, own: dict[str, Any]) -> None:
    held: list[bytes] = []

    def plan(_: int, data: bytes) -> list[bytes]:
        held.append(data)
        if len(held) < 4:
            return []
        first, second, third, fourth = held
        held.clear()
        return [third, first, third, fourth, second]

    totals = await counted(plan, client=client, depth=4, batch=2, request_timeout_s=30.0, **own)
    assert (totals.responses, totals.failed, totals.unexpected) == (60, 0, 0)
    # Of each turn two came after one with a higher number, and one twice.
    assert (totals.datagrams_reordered, totals.datagrams_duplicated) == (30, 15)
    assert totals.response_bytes == 60 * (7 if own else 64)


@deep_clients
async def test_each_of_several_requests_has_a_clock_of_its_own(client: str) -> None:
    """Of five under way two are not answered: these alone time out, and the socket stays."""
    async with udp_peer(lambda n, data: [] if n % 5 in (1, 2) else [data]) as peer:
        target = "127.0.0.1:{}".format(peer.transport.get_extra_info("sockname")[1])
        values: dict[str, Any] = {"clients": 2, "depth": 5, "batch": 5, "requests": 20, "client": client}
        async with running(
            role="swarm", target=target, transport="udp", request_timeout_s=0.1, **values
        ) as engine:
            await until(lambda: under_way(engine) == 4)
            assert swarm_of(engine).limiter.in_flight == 2
            async with asyncio.timeout(60):
                await engine.wait()
            assert under_way(engine) == 0
            swarm = swarm_of(engine)
            ends = Counter(exchange.outcome for exchange in exchanges_of(engine))
    assert (swarm.totals.connections_opened, swarm.totals.errors) == (2, 0)
    assert ends["ok"] == swarm.totals.responses == swarm.service_time.total == 12
    assert ends["timeout"] == swarm.totals.timeouts == 8
    # As lower bounds they are as old as the timeout.
    assert swarm.unanswered.total == 8
    assert swarm.unanswered.sum_s == pytest.approx(8 * 0.1)


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_timeout_that_is_turned_acts_on_what_is_under_way(client: str) -> None:
    async with udp_peer(lambda n, data: []) as peer:
        target = "127.0.0.1:{}".format(peer.transport.get_extra_info("sockname")[1])
        values: dict[str, Any] = {"clients": 3, "client": client, "request_timeout_s": 60.0}
        async with running(grace_s=0.0, role="swarm", target=target, transport="udp", **values) as engine:
            await until(lambda: peer.received == 3)
            await tune(engine, request_timeout_s=0.02)
            await until(lambda: swarm_of(engine).totals.timeouts >= 6)
            assert swarm_of(engine).totals.connections_opened == 3


async def test_what_goes_out_with_one_call_comes_as_datagrams_of_their_own() -> None:
    sizes: Counter[int] = Counter()

    def plan(_: int, data: bytes) -> list[bytes]:
        sizes[len(data)] += 1
        return [data]

    templates = {"request": "short\nlonger than that\nshort", "weights": "1,1,1", "id_field": "0:2"}
    own: dict[str, Any] = {"depth": 30, "batch": 30, "request_timeout_s": 30.0, **templates}
    totals = await counted(plan, **own)
    assert (sizes, totals.responses) == ({5: 40, 16: 20}, 60)
    assert totals.bytes_in == totals.bytes_out == 40 * 5 + 20 * 16
    sizes.clear()
    await counted(plan, depth=30, batch=30, request_timeout_s=30.0)
    assert sizes == {64: 60}


@pytest.mark.parametrize(
    ("client", "server"),
    [("selector", "datagram"), ("selector", "threaded"), ("protocol", "epoll"), ("streams", "blocking")],
)
async def test_depth_and_batch_are_turned_while_datagrams_are_under_way(client: str, server: str) -> None:
    async with running(transport="udp", client=client, server=server, clients=4) as engine:
        for changes in ({"depth": 16}, {"batch": 8}, {"depth": 2, "batch": 1}, {"depth": 1}):
            answered = swarm_of(engine).totals.responses
            await tune(engine, **changes)
            await until(lambda a=answered: swarm_of(engine).totals.responses > a + 200)  # type: ignore[misc]
        engine.pause()
        await until(lambda: under_way(engine) == 0)
        # A thread counts an answer when it has sent it.
        await until(lambda: (now := server_of(engine).totals).requests == now.responses)
        swarm, served = swarm_of(engine).totals, server_of(engine).totals
        assert (swarm.errors, swarm.timeouts, swarm.connections_opened) == (0, 0, 4)
        assert swarm.requests == swarm.responses == served.requests == served.responses
        assert swarm.datagrams_sent == served.datagrams_received == swarm.requests


async def test_many_short_lived_sockets_are_neither_turned_away_nor_called_duplicates() -> None:
    async with running(
        transport="udp", clients=5, lifetime=1, requests=600, max_connections=200, request_timeout_s=30.0
    ) as engine:
        async with asyncio.timeout(60):
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
        async with asyncio.timeout(60):
            await engine.wait()
        assert server_of(engine).totals.datagrams_lost == 60 - server_of(engine).totals.requests
        assert swarm_of(engine).totals.timeouts > 0
    lost = server_of(engine).totals.datagrams_lost
    assert lost == 60 - server_of(engine).totals.requests > 0
    to_server, to_clients = flows(engine.snapshot())
    assert to_server == Flow(60, 60 - lost, 0, 0, lost, 0, 0, 0, on_the_way=0, not_explained=0)
    assert to_clients is not None
    assert (to_clients.sent, to_clients.not_explained) == (60 - lost, 0)


@pytest.mark.parametrize("client", CLIENTS)
async def test_what_the_kernel_drops_at_a_client_is_counted_whether_it_is_read_or_not(client: str) -> None:
    if kernel_udp() is None:
        pytest.skip("no SO_MEMINFO here")
    async with (
        udp_peer(lambda _, data: [data] * 100) as peer,
        running(
            role="swarm",
            target="127.0.0.1:{}".format(peer.transport.get_extra_info("sockname")[1]),
            transport="udp",
            client=client,
            clients=2,
            requests=4,
            rcvbuf_bytes=1_000,
        ) as engine,
    ):
        async with asyncio.timeout(60):
            await engine.wait()
        await until(lambda: peer.sent == 400)
    totals = swarm_of(engine).totals
    assert totals.datagrams_dropped > 0
    assert totals.datagrams_received + totals.datagrams_unread + totals.datagrams_dropped == 400


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
        # Of the first answer of each client nothing is known yet.
        assert 0 < snapshot.main.jitter.total <= 495
    after = kernel_udp()
    assert after is not None
    seen = server.datagrams_received + swarm.datagrams_received
    sent = server.datagrams_sent + swarm.datagrams_sent
    assert seen == sent == 1000
    assert after.in_datagrams - before.in_datagrams >= seen
    assert after.out_datagrams - before.out_datagrams >= sent
    assert snapshot.resources.kernel_udp is not None
    assert snapshot.resources.kernel_udp.in_datagrams >= seen
