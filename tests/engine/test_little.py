"""Little's law holds: the service times and waits that are recorded fill the time of the clients."""

from typing import Any

import pytest

from sockscope.core.config.tuning import Tuning
from sockscope.core.run.cycle import cycle_of
from sockscope.core.run.figures import figures
from sockscope.core.run.little import accounted_ratio
from sockscope.core.run.snapshot import Snapshot
from sockscope.core.run.window import window
from sockscope.engine.engine import Engine
from tests.engine.runs import running, swarm_of
from tests.waiting import until

WINDOWS = 4
"""A busy machine that stops a process at an edge spoils one window; a fault in the books spoils each."""
QUICK = {"service_time_s": 0.0, "request_timeout_s": 60.0, "permits": 0}


@pytest.mark.parametrize(
    "tuning",
    [
        {"clients": 1},
        {"clients": 200, "client": "protocol"},
        {"clients": 20, "client": "streams"},
        {"clients": 20, "client": "blocking", "think_time_s": 0.001},
        {"clients": 20, "transport": "udp", "client": "blocking", "permits": 5},
        {"clients": 50, "lifetime": 1},
        {"clients": 50, "lifetime": 1, "transport": "udp"},
        {"clients": 50, "permits": 3, "think_time_s": 0.005},
        {"clients": 50, "pool": 5},
        {"clients": 50, "place": "apart"},
        {"clients": 40, "pool": 20, "permits": 1, "server": "blocking"},
        {"clients": 25, "permits": 20, "server": "pool", "lifetime": 5},
    ],
    ids=lambda tuning: " ".join(f"{name}={value}" for name, value in tuning.items()),
)
async def test_the_time_of_the_clients_is_accounted_for(tuning: dict[str, Any]) -> None:
    async with running(grace_s=0.0, **{**QUICK, **tuning}) as engine:
        await until(lambda: swarm_of(engine).connections_open == engine.tuning.connections)
        for _ in range(WINDOWS):
            if not (doubts := doubts_about(await next_window(engine), engine.tuning)):
                return
    raise AssertionError(doubts)


async def next_window(engine: Engine) -> Snapshot:
    """Return a window with fifteen requests of each client, so that those at its edges weigh little."""
    await engine.settle()
    began = engine.snapshot()
    wanted = began.main.totals.responses + 15 * engine.tuning.connections + 300
    await until(lambda: swarm_of(engine).totals.responses > wanted)
    await engine.settle()
    return window(began, engine.snapshot())


def doubts_about(seen: Snapshot, tuning: Tuning) -> list[str]:
    """Return what does not add up."""
    told, cycle, ratio = figures(seen), cycle_of(seen), accounted_ratio(seen)
    assert ratio is not None
    assert told.requests_per_s is not None
    assert told.queue_s is not None
    assert cycle.service_s is not None
    found = []
    if ratio != pytest.approx(1.0, abs=0.25):
        found.append(f"{ratio:.2f} of the time is accounted for")
    # Clients that think do so while the requests settle, and those with a lifetime connect in between.
    if (tuning.permits or tuning.pool) and not (cycle.think_s or tuning.lifetime):
        each_s, parts_s = tuning.clients / told.requests_per_s, told.queue_s + cycle.service_s
        if parts_s != pytest.approx(each_s, rel=0.25):
            found.append(f"wait and service take {parts_s} s of {each_s} s for a request")
    if cycle.wait_s != pytest.approx(told.queue_s, rel=0.25, abs=1e-4):
        found.append(f"waits of {cycle.wait_s} s and of {told.queue_s} s")
    return found
