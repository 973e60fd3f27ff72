"""A relay in front of a server model makes no difference to who talks to it through the relay.

These are tests of the models' own suite, whose peers connect to a relay. What the suite says of addresses and
of single reads holds for the model alone, so not all of it is asked here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sockscope.core.addresses import Address
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.models import ServerModel
from sockscope.engine.relay.relay import Relay
from sockscope.engine.role import Assignment
from sockscope.engine.servers.endpoint import Endpoint
from tests.engine import test_server_conformance as suite
from tests.engine.runs import experiment


class Behind:
    """An endpoint that is reached through a relay: everything is its own but the address."""

    def __init__(self, endpoint: Endpoint, address: Address) -> None:
        self._endpoint = endpoint
        self.address = address

    def __getattr__(self, name: str) -> Any:
        return getattr(self._endpoint, name)


@pytest.fixture(autouse=True)
def a_relay_in_front(monkeypatch: pytest.MonkeyPatch) -> None:
    serving = suite.serving

    @asynccontextmanager
    async def relayed(model: ServerModel, host: str = "", **values: Any) -> AsyncIterator[suite.Served]:
        tuning = experiment(transport=model.transport, **values).tuning
        async with serving(model, host, **values) as served:
            relay = Relay(Experiment(tuning))
            address = await relay.start(Assignment(tuning, 0, served.endpoint.address))
            try:
                yield suite.Served(served.model, Behind(served.endpoint, address), served.unfolded)
            finally:
                await relay.stop(0.0)

    monkeypatch.setattr(suite, "serving", relayed)


@suite.tcp_models
async def test_what_is_cut_anyhow_is_echoed_in_order(model: ServerModel) -> None:
    await suite.test_frames_cut_anyhow_are_echoed_in_order(model, "ipv4", "length", 0.001)


@suite.tcp_models
async def test_the_ends_of_a_connection(model: ServerModel) -> None:
    await suite.test_half_close_with_answers_due_gets_them_and_then_the_end(model)
    await suite.test_the_end_of_file_inside_a_frame_is_told(model)


@suite.concurrent_models
async def test_a_reset(model: ServerModel) -> None:
    await suite.test_a_reset_ends_the_connection_and_nothing_else(model, 0.0)


@suite.tcp_models
async def test_bytes_and_order(model: ServerModel) -> None:
    await suite.test_escape_sequences_are_bytes_like_any_other(model)
    await suite.test_the_order_is_kept_when_the_service_time_goes(model)


@suite.udp_models
@suite.families
async def test_datagrams(model: ServerModel, family: str) -> None:
    await suite.test_datagrams_are_echoed_whole(model, family, 0.002)
    await suite.test_numbers_tell_what_was_lost_doubled_and_out_of_order(model)
