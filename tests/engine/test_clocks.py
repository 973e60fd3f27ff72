"""The two clocks of a request: since it was written (service time), and since it was wanted (response)."""

from __future__ import annotations

from typing import Any

import pytest

from sockscope.engine.swarm.links import LINKS
from tests.engine.runs import running, swarm_of
from tests.waiting import until

KINDS: list[dict[str, Any]] = [{"transport": transport, "client": name} for transport, name in LINKS]
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind.values()))


@kinds
async def test_the_wait_for_a_permit_is_in_the_response_time(kind: dict[str, Any]) -> None:
    async with running(clients=4, permits=1, **kind) as engine:
        await until(lambda: swarm_of(engine).totals.responses >= 200)
    swarm = swarm_of(engine)
    service, response = swarm.service_time, swarm.response_time
    assert response.total == service.total
    assert service.mean_s is not None
    assert response.mean_s is not None
    # Three others have the permit before it, one after the other.
    assert response.mean_s > 2 * service.mean_s


@kinds
async def test_where_nothing_waits_the_two_are_the_same(kind: dict[str, Any]) -> None:
    async with running(clients=4, **kind) as engine:
        await until(lambda: swarm_of(engine).totals.responses >= 200)
    swarm = swarm_of(engine)
    assert swarm.response_time == swarm.service_time
    assert swarm.totals.requests_due == swarm.totals.requests


@pytest.mark.parametrize("waits", [{"pool": 1}, {"lifetime": 1}], ids=["pool", "lifetime"])
async def test_the_wait_for_a_connection_is_in_the_response_time(waits: dict[str, Any]) -> None:
    async with running(clients=4, **waits) as engine:
        await until(lambda: swarm_of(engine).totals.responses >= 200)
    swarm = swarm_of(engine)
    assert swarm.response_time.total == swarm.service_time.total
    assert swarm.response_time != swarm.service_time


WAITS = [{"permits": 1}, {"pool": 1}, {"server": "blocking", "permits": 1}]


@pytest.mark.parametrize("waits", WAITS, ids=["permit", "pool", "place"])
async def test_who_waits_to_ask_counts_with_the_time_since_the_wish(waits: dict[str, Any]) -> None:
    async with running(0.0, clients=4, service_time_s=60.0, request_timeout_s=120.0, **waits) as engine:
        await until(lambda: swarm_of(engine).awaited.total == 1)
        await until(lambda: swarm_of(engine).response_awaited.total == 4)
        swarm = swarm_of(engine)
        assert swarm.awaited.total == swarm.in_flight == 1


async def test_what_was_given_up_is_as_old_as_its_wish() -> None:
    async with running(0.1, clients=2, permits=1, service_time_s=60.0, request_timeout_s=0.05) as engine:
        await until(lambda: swarm_of(engine).totals.timeouts >= 4)
    swarm = swarm_of(engine)
    assert swarm.response_unanswered.total == swarm.unanswered.total
    assert swarm.response_unanswered.sum_s > swarm.unanswered.sum_s
