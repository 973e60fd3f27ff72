"""A relay delays as long as it is told to, and lets through no more than it is told to.

A slow machine adds to a delay and takes from a rate, so that only the other side of each is exact.
"""

from __future__ import annotations

import asyncio
from time import perf_counter

import pytest

from tests.engine.runs import exchanges_of, running, swarm_of
from tests.engine.test_relay import (
    both_ends,
    figures,
    next_from,
    read_to_the_end,
    relaying,
    send_in_chunks,
    udp_target,
)
from tests.engine.test_relay_hostile import datagram_socket
from tests.waiting import until

DELAY_S = 0.005
RATE_BYTES_PER_S = 1_000_000
SIZE_BYTES = 100_000
MOST_OFF = 1.03


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_no_answer_comes_before_both_delays_are_over(transport: str) -> None:
    async with running(transport=transport, clients=8, requests=24, fault="delay=5ms") as engine:
        await engine.wait()
        took_s = [exchange.service_time_s for exchange in exchanges_of(engine)]
        assert len(took_s) == swarm_of(engine).totals.responses == 24
    known_s = [one for one in took_s if one is not None]
    assert len(known_s) == 24
    assert min(known_s) >= 2 * DELAY_S


@pytest.mark.parametrize("fault", ["rate=1MB/s up", "rate=1MB/s up, slice=900", "rate=1MB/s up, delay=3ms"])
async def test_a_stream_is_never_faster_than_its_rate(fault: str) -> None:
    async with both_ends(fault=fault) as (relay, client, server):
        began_s = perf_counter()
        sending = asyncio.create_task(send_in_chunks(client, bytes(SIZE_BYTES), [1_000] * 20))
        got = await read_to_the_end(server)
        took_s = perf_counter() - began_s
        await sending
        assert len(got) == SIZE_BYTES == figures(relay).up.bytes_out
    assert SIZE_BYTES / took_s <= RATE_BYTES_PER_S * MOST_OFF


async def test_connections_and_directions_share_a_rate_or_do_not() -> None:
    async with both_ends(fault="rate=1MB/s down") as (_, client, server):
        began_s = perf_counter()
        downwards = asyncio.create_task(send_in_chunks(server, bytes(SIZE_BYTES), []))
        # The other direction has no rate.
        await send_in_chunks(client, bytes(4 * SIZE_BYTES), [])
        up, down = await asyncio.gather(read_to_the_end(server), read_to_the_end(client))
        took_s = perf_counter() - began_s
        await downwards
        assert (len(up), len(down)) == (4 * SIZE_BYTES, SIZE_BYTES)
    assert SIZE_BYTES / took_s <= RATE_BYTES_PER_S * MOST_OFF


async def test_datagrams_are_never_faster_than_their_rate() -> None:
    size, count = 1_000, 100
    async with (
        udp_target() as (server, target),
        relaying(target, transport="udp", fault="rate=1MB/s up") as (relay, address),
    ):
        with datagram_socket(address) as client:
            began_s = perf_counter()
            for number in range(count):
                client.send(bytes(size))
                if number % 20 == 19:
                    await until(lambda sent=number + 1: figures(relay).up.datagrams_in == sent)  # type: ignore[misc]
            for _ in range(count):
                await next_from(server)
            took_s = perf_counter() - began_s
    assert size * count / took_s <= RATE_BYTES_PER_S * MOST_OFF
