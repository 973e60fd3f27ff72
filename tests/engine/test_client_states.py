"""What the clients of real runs are doing, as the map of the swarm shows it."""

from __future__ import annotations

from typing import Any

import pytest

from sockscope.core.run.client_states import ClientStates, client_states, reception
from sockscope.core.run.snapshot import Cursors, Snapshot
from sockscope.engine.engine import Engine
from tests.engine.runs import running, swarm_of, tune
from tests.ports import unused_port
from tests.waiting import until

LOOK = Cursors(most_events=0, most_exchanges=0, clients=True)


class Watch:
    """Looks at a run until it shows what it is to show."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.snapshot: Snapshot = engine.snapshot(LOOK)

    @property
    def states(self) -> ClientStates:
        return client_states(self.snapshot)

    def shows(self, **counts: int) -> bool:
        """Whether exactly so many clients are in these states now, and none in another."""
        self.snapshot = self.engine.snapshot(LOOK)
        found = self.states.counts()
        assert sum(found.values()) == len(self.states.states) == len(self.states.numbers)
        return {doing.name.lower(): count for doing, count in found.items() if count} == counts

    async def until_shows(self, **counts: int) -> None:
        await until(lambda: self.shows(**counts), what=f"{counts} in {self.engine.snapshot(LOOK).roles}")


@pytest.mark.parametrize("permits", [0, 5])
@pytest.mark.parametrize("client", ["protocol", "streams", "blocking"])
async def test_a_blocking_server_serves_one_and_the_others_are_in_its_backlog(
    permits: int, client: str
) -> None:
    async with running(
        0.0, clients=8, permits=permits, server="blocking", client=client, service_time_s=0.05
    ) as engine:
        watch = Watch(engine)
        await watch.until_shows(served=1, in_backlog=7)
        assert watch.states.is_whole
        seen = reception(watch.snapshot)
        assert (seen.accepted, seen.in_service, seen.backlog) == (1, 1, 7), "as the kernel counts"


@pytest.mark.parametrize(
    "kind",
    [
        {"server": "protocol"},
        {"server": "streams", "client": "streams"},
        {"server": "epoll"},
        {"server": "threaded", "client": "blocking"},
        {"transport": "udp"},
        {"transport": "udp", "server": "threaded", "client": "blocking"},
    ],
    ids=lambda kind: "-".join(kind.values()),
)
async def test_permits_let_so_many_be_served_and_the_others_wait(kind: dict[str, Any]) -> None:
    async with running(0.0, clients=12, permits=3, service_time_s=0.1, **kind) as engine:
        watch = Watch(engine)
        await watch.until_shows(served=3, waiting=9)
        assert reception(watch.snapshot).in_service == 3


async def test_requests_that_are_not_admitted_yet_are_in_flight() -> None:
    async with running(0.0, clients=10, server_permits=2, service_time_s=0.1) as engine:
        await Watch(engine).until_shows(served=2, in_flight=8)


async def test_clients_think_and_are_idle_in_a_pause() -> None:
    async with running(0.0, clients=5, think_time_s=60.0) as engine:
        await Watch(engine).until_shows(thinking=5)
    async with running(0.0, clients=5, permits=2, service_time_s=0.01) as engine:
        engine.pause()
        await Watch(engine).until_shows(idle=5)


async def test_clients_of_a_pool_wait_for_its_connections() -> None:
    async with running(0.0, clients=9, pool=2, service_time_s=0.1) as engine:
        await Watch(engine).until_shows(served=2, waiting=7)


async def test_connections_of_an_open_loop_are_idle_until_something_is_due() -> None:
    async with running(0.0, clients=4, rate=1) as engine:
        await Watch(engine).until_shows(idle=4)


async def test_who_is_refused_backs_off_and_who_waits_in_vain_has_timed_out() -> None:
    async with running(0.0, clients=3, role="swarm", target=f"127.0.0.1:{unused_port()}") as engine:
        watch = Watch(engine)
        await watch.until_shows(backing_off=3)
        assert not watch.states.is_whole
    async with running(0.0, clients=3, service_time_s=30.0, request_timeout_s=0.05) as engine:
        await Watch(engine).until_shows(timed_out=3)


async def test_several_processes_are_one_swarm_in_the_order_of_its_numbers() -> None:
    async with running(0.0, clients=6, swarm_processes=2, server="blocking", service_time_s=0.05) as engine:
        watch = Watch(engine)
        await watch.until_shows(served=1, in_backlog=5)
        assert list(watch.states.numbers) == [1, 2, 3, 4, 5, 6]


async def test_who_leaves_is_no_client_any_more_and_nothing_is_sampled_unasked() -> None:
    async with running(0.0, clients=6, permits=2, service_time_s=0.01) as engine:
        watch = Watch(engine)
        await until(lambda: watch.shows(served=2, waiting=4))
        await tune(engine, clients=2)
        await watch.until_shows(served=2)
        assert swarm_of(engine).client_samples == ()
