"""When a run of a number of requests is given up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sockscope.core.config.tuning import Tuning
from sockscope.core.run.snapshot import RoleSnapshot, RunState, Totals
from sockscope.engine.patience import Patience
from tests.engine.peers import Scripted, tcp_peer
from tests.engine.runs import experiment, running, swarm_of
from tests.waiting import until

QUICK: dict[str, Any] = {"request_timeout_s": 0.05, "give_up_s": 0.2, "clients": 2, "role": "swarm"}


def garbage(connection: Scripted, data: bytes) -> None:
    connection.transport.write(b"garbage")


async def test_garbage_alone_ends_the_run() -> None:
    async with (
        tcp_peer(garbage) as port,
        running(target=f"127.0.0.1:{port}", requests=1_000_000, **QUICK) as engine,
    ):
        await engine.wait()
        assert engine.state is RunState.FAILED
        assert engine.error.startswith(
            "gave up after 250 ms without an answer (--give-up): a length was expected"
        )


async def test_answers_now_and_then_do_not() -> None:
    async with running(
        requests=1_000_000, service_time_s=0.3, **(QUICK | {"role": "both", "request_timeout_s": 1.0})
    ) as engine:
        await until(lambda: swarm_of(engine).totals.responses >= 3)
        assert engine.error == ""


def test_a_pause_takes_no_patience() -> None:
    watched = Patience(experiment(requests=1, give_up_s=1e-9))
    swarm = RoleSnapshot("swarm", "tcp", "", Totals(), 0)
    tuning = replace(Tuning(), request_timeout_s=0.0)
    looks = [watched.look(swarm, tuning, paused) for paused in (False, True, False, True)]
    assert [bool(why) for why in looks] == [False, False, True, False]


@pytest.mark.parametrize("values", [{"requests": 0}, {"requests": 5, "give_up_s": 0.0}])
def test_without_a_bound_nobody_looks(values: dict[str, Any]) -> None:
    assert not Patience(experiment(**values)).is_due
