"""A client between its connections: what it waits for, and what must not outlive a connection."""

from __future__ import annotations

import asyncio
from itertools import cycle
from unittest.mock import Mock

import pytest

from sockscope.core.events import CloseReason
from sockscope.engine.swarm.client import Client
from sockscope.engine.swarm.dialler import Dialler
from sockscope.engine.swarm.swarm import Swarm
from tests.engine.peers import Scripted, tcp_peer
from tests.engine.runs import running, swarm_of
from tests.waiting import until


class Timers:
    """A loop that has nothing but timers."""

    def __init__(self) -> None:
        self.made: list[Mock] = []

    def call_later(self, delay_s: float, call: object) -> Mock:
        """Return a timer that remembers whether it was cancelled."""
        self.made.append(Mock())
        return self.made[-1]


def test_closing_twice_leaves_no_timer_that_would_close_the_next_connection() -> None:
    loop = Timers()
    swarm = Mock(loop=loop, recorder=Mock(errors=0))
    link = Mock(unsent=True, record=None, give_up=Mock(return_value=0))
    client = Client(swarm, 0, lambda swarm, client: link)
    client.pacer = Mock(idle_since_s=0.0)
    client.leave(CloseReason.CLOSED)
    client.leave(CloseReason.CLOSED)
    assert loop.made
    client.lost(CloseReason.RESET)
    assert all(timer.cancel.called for timer in loop.made)


async def test_a_connection_that_had_answers_ends_a_row_of_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[int] = []
    backoff_s = Swarm.backoff_s

    def noted(swarm: Swarm, row: int) -> float:
        failures.append(row)
        return backoff_s(swarm, row)

    # Not after the same number of answers each time, which is no failure but a server's habit.
    due = cycle((1, 2))
    lifetimes: dict[Scripted, int] = {}

    def answer_and_close(connection: Scripted, data: bytes) -> None:
        connection.transport.write(data)
        if connection not in lifetimes:
            lifetimes[connection] = next(due)
        if connection.turn == lifetimes[connection]:
            connection.transport.close()

    monkeypatch.setattr(Swarm, "backoff_s", noted)
    async with (
        tcp_peer(answer_and_close) as port,
        running(grace_s=0.0, role="swarm", target=f"127.0.0.1:{port}", clients=1) as engine,
    ):
        await until(lambda: len(failures) >= 4)
        assert swarm_of(engine).totals.responses >= 4
    assert set(failures) == {1}


async def test_another_target_is_connected_to_from_any_address() -> None:
    dialler = Dialler(asyncio.get_running_loop(), Mock(), lambda: None)
    dialler.aim((("127.0.0.1", 1),))
    dialler.source = "127.0.0.2"
    dialler.aim((("127.0.0.1", 1),))
    assert dialler.source == "127.0.0.2"
    dialler.aim((("::1", 1),))
    assert (dialler.target, dialler.source) == (("::1", 1), "")
