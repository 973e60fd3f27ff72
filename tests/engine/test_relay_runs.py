"""A relay comes with the first fault of the link and goes with the last, and nothing is lost by it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from sockscope.core.run.datagrams import Flow, flows
from sockscope.core.run.snapshot import Cursors, RoleSnapshot
from sockscope.engine.engine import Engine
from tests.engine.runs import running, server_of, swarm_of, tune
from tests.waiting import until

HARMLESS = "delay=100us"


def relay_of(engine: Engine) -> RoleSnapshot:
    relay = engine.snapshot().relay
    assert relay is not None
    return relay


async def answered(engine: Engine, more: int = 20) -> None:
    """Wait for so many answers, and until no connection is to be replaced any more."""
    before = swarm_of(engine).totals.responses
    await until(lambda: swarm_of(engine).totals.responses >= before + more, what=f"{more} more answers")
    if engine.tuning.lifetime:
        return  # there is always one on its way
    wanted = engine.tuning.connections, 0
    await until(lambda: (swarm_of(engine).connections_open, swarm_of(engine).rolling) == wanted)


async def gone(engine: Engine) -> None:
    """Wait until the relay has let go of everything."""
    await until(lambda: not relay_of(engine).connections_open, what="the relay has no connection any more")


RUNS: dict[str, dict[str, Any]] = {
    "tcp": {},
    "udp": {"transport": "udp"},
    "streams": {"client": "streams"},
    "blocking": {"client": "blocking"},
    "udp blocking": {"client": "blocking", "transport": "udp"},
    "tls": {"tls": True},
    "unix": {"family": "unix"},
    "unix datagrams": {"family": "unix", "transport": "udp"},
    "ipv6": {"family": "ipv6"},
    "open loop": {"rate": 500},
    "pool": {"pool": 2},
    "a connection per request": {"lifetime": 1},
    "server elsewhere": {"place": "server"},
}


@pytest.mark.parametrize("values", RUNS.values(), ids=RUNS)
async def test_a_relay_comes_and_goes_and_every_request_is_answered(values: dict[str, Any]) -> None:
    async with running(**values) as engine:
        await answered(engine)
        assert "relay" not in engine.snapshot().roles
        server = swarm_of(engine).address
        await tune(engine, fault=HARMLESS)
        await answered(engine)
        assert swarm_of(engine).address == relay_of(engine).address != server
        passed = relay_of(engine).relay
        assert passed is not None
        assert passed.up.reads + passed.up.datagrams_in > 0
        assert passed.down.writes + passed.down.datagrams_out > 0
        await tune(engine, fault="")
        await answered(engine)
        assert swarm_of(engine).address == server
    # What the relay has counted stays.
    await engine.settle()
    swarm, served, relay = swarm_of(engine).totals, server_of(engine).totals, relay_of(engine)
    assert (swarm.timeouts, swarm.errors, served.errors) == (0, 0, 0)
    assert swarm.requests == swarm.responses == served.requests == served.responses
    assert relay.relay is not None
    assert relay.relay.up.bytes_in == relay.relay.up.bytes_out == relay.totals.bytes_in
    assert relay.relay.down.bytes_in == relay.relay.down.bytes_out == relay.totals.bytes_out
    assert relay.relay.up.held == relay.relay.down.held == 0


async def test_a_relay_in_a_child_passes_on_for_every_process() -> None:
    async with running(swarm_processes=2, server_processes=2, clients=6, fault=HARMLESS) as engine:
        await answered(engine)
        assert "relay" in {process.name for process in engine.snapshot().processes}
        await tune(engine, fault="")
        await answered(engine)
        await until(lambda: "relay" not in {process.name for process in engine.snapshot().processes})
        await tune(engine, fault=HARMLESS, swarm_processes=1, server_processes=1, place="child")
        await answered(engine)
        await tune(engine, place="loop")
        await answered(engine)
    swarm, served = swarm_of(engine).totals, server_of(engine).totals
    assert (swarm.timeouts, swarm.errors) == (0, 0)
    assert swarm.requests == swarm.responses == served.responses


async def test_a_relay_goes_along_when_the_transport_changes() -> None:
    async with running(fault=HARMLESS) as engine:
        await answered(engine)
        for change in ({"transport": "udp"}, {"family": "ipv6"}, {"transport": "tcp"}, {"family": "unix"}):
            await tune(engine, **change)
            await answered(engine)
            assert relay_of(engine).transport == engine.tuning.transport
    swarm = swarm_of(engine).totals
    assert (swarm.timeouts, swarm.errors) == (0, 0)
    assert swarm.requests == swarm.responses


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_a_swarm_against_a_target_is_relayed_too(transport: str) -> None:
    async with running(role="server", transport=transport) as server:
        target = server_of(server).address
        async with running(role="swarm", transport=transport, target=target) as engine:
            await answered(engine)
            assert swarm_of(engine).address == target
            await tune(engine, fault=HARMLESS)
            await answered(engine)
            assert swarm_of(engine).address == relay_of(engine).address
            # What is between is not what the run is about.
            assert engine.snapshot().address == target
            await tune(engine, fault="")
            await answered(engine)
            assert engine.snapshot().address == swarm_of(engine).address == target
        swarm = swarm_of(engine).totals
        assert (swarm.timeouts, swarm.errors) == (0, 0)
        assert swarm.requests == swarm.responses


async def test_what_a_black_hole_has_swallowed_goes_on_when_it_is_taken_away() -> None:
    async with running(fault="black-hole=0ms up") as engine:
        await until(lambda: swarm_of(engine).in_flight == engine.tuning.clients)
        relayed = relay_of(engine).relay
        assert relayed is not None
        assert relayed.up.bytes_out == 0
        await tune(engine, fault="")
        await answered(engine)
        await gone(engine)
    swarm = swarm_of(engine).totals
    assert swarm.requests == swarm.responses


async def test_that_a_relay_comes_and_goes_is_in_the_log() -> None:
    async with running() as engine:
        await tune(engine, fault=HARMLESS)
        await tune(engine, fault="delay=200us")
        await tune(engine, fault="")
        events = engine.snapshot(Cursors(most_events=1_000)).events
        told = [event.text for event in events if event.text.startswith("relay")]
        assert told == [
            f"relay begins: {relay_of(engine).address}",
            "relay leaves when nothing passes it any more",
        ]


async def test_what_faults_do_to_datagrams_is_told_to_the_datagram_at_both_ends() -> None:
    fault = "loss=4% up, loss=3% down, duplicate=5% down, reorder=4% down, duplicate=3% up, delay=2ms"
    async with running(
        transport="udp", clients=16, depth=8, permits=0, requests=500, request_timeout_s=0.5, fault=fault
    ) as engine:
        await engine.wait()
        await until(lambda: not relay_of(engine).relay or relay_of(engine).relay.down.inside == 0)  # type: ignore[union-attr]
    snapshot = engine.snapshot()
    relay = relay_of(engine).relay
    assert relay is not None
    swarm, server = swarm_of(engine).totals, server_of(engine).totals
    up, down = relay.up, relay.down
    assert swarm.datagrams_sent == up.datagrams_in
    assert up.datagrams_in - up.impaired.lost + up.impaired.duplicated == up.datagrams_out
    assert up.datagrams_out == server.datagrams_received
    assert server.datagrams_sent == down.datagrams_in
    # Of what is doubled at the server, each copy is answered.
    assert server.datagrams_duplicated == up.impaired.duplicated
    assert 0 < swarm.datagrams_duplicated <= up.impaired.duplicated + down.impaired.duplicated
    for direction, share in ((up, 0.04), (down, 0.03)):
        expected = share * direction.datagrams_in
        error = (expected * (1 - share)) ** 0.5
        assert abs(direction.impaired.lost - expected) <= 4 * error
    for flow in flows(snapshot):
        assert flow is not None
        assert flow.sent == sum(filter(None, (getattr(flow, f.name) for f in fields(Flow)[1:])))
        assert flow.not_explained == 0


async def test_a_connection_that_a_fault_refuses_or_resets_is_counted_and_comes_back() -> None:
    async with running(fault="refuse=50%, reset=20ms", requests=0) as engine:
        await until(lambda: relay_of(engine).relay.up.reset >= 5 <= relay_of(engine).relay.up.refused)  # type: ignore[union-attr]
        assert swarm_of(engine).totals.connections_reset > 0
        # All of them: nobody listens any more, and the relay does not hear of who tries.
        await tune(engine, fault="refuse=100%, reset=20ms")
        refused = relay_of(engine).relay.up.refused  # type: ignore[union-attr]
        await until(lambda: swarm_of(engine).totals.connections_refused >= 5)
        assert relay_of(engine).relay.up.refused == refused  # type: ignore[union-attr]
        address = relay_of(engine).address
        await tune(engine, fault=HARMLESS)
        await answered(engine)
        assert swarm_of(engine).address == relay_of(engine).address == address
        await tune(engine, fault="")
        await answered(engine)
