"""Little's law holds: the service times and waits that are recorded fill the time of the clients."""

from typing import Any

import pytest

from sockscope.core.run.cycle import cycle_of
from sockscope.core.run.figures import figures
from sockscope.core.run.little import accounted_ratio
from sockscope.core.run.window import window
from tests.engine.runs import running, swarm_of
from tests.waiting import until

QUICK = {"service_time_s": 0.0, "request_timeout_s": 60.0, "permits": 0}


@pytest.mark.parametrize(
    "tuning",
    [
        {"clients": 1},
        {"clients": 1_100},
        {"clients": 50, "client": "protocol"},
        {"clients": 20, "client": "streams"},
        {"clients": 20, "client": "blocking", "think_time_s": 0.001},
        {"clients": 50, "transport": "udp"},
        {"clients": 50, "lifetime": 1},
        {"clients": 50, "lifetime": 1, "transport": "udp"},
        {"clients": 50, "permits": 3},
        {"clients": 50, "permits": 3, "think_time_s": 0.005},
        {"clients": 50, "pool": 5},
        {"clients": 50, "place": "apart"},
        {"clients": 20, "permits": 1, "server": "blocking"},
        {"clients": 40, "pool": 20, "permits": 1, "server": "blocking"},
        {"clients": 20, "permits": 5, "server": "blocking", "lifetime": 5},
        {"clients": 25, "permits": 20, "server": "pool", "lifetime": 5},
    ],
    ids=lambda tuning: " ".join(f"{name}={value}" for name, value in tuning.items()),
)
async def test_the_time_of_the_clients_is_accounted_for(tuning: dict[str, Any]) -> None:
    async with running(grace_s=0.0, **{**QUICK, **tuning}) as engine:
        wanted = engine.tuning.connections
        await until(lambda: swarm_of(engine).connections_open == wanted)
        await engine.settle()
        began = engine.snapshot()
        # Fifteen of each client: a request in flight at an edge is wholly in the window, or not at all.
        await until(
            lambda: swarm_of(engine).totals.responses > began.main.totals.responses + 15 * wanted + 1_000
        )
        await engine.settle()
        seen = window(began, engine.snapshot())
        ratio = accounted_ratio(seen)
        assert ratio is not None
        assert ratio == pytest.approx(1.0, abs=0.35)
        told, cycle = figures(seen), cycle_of(seen)
        assert told.requests_per_s is not None
        assert told.queue_s is not None
        assert cycle.service_s is not None
        # Clients that think do so while the requests settle, and those with a lifetime connect in between.
        waits = engine.tuning.permits or engine.tuning.pool
        if waits and not (cycle.think_s or engine.tuning.lifetime):
            each_s = engine.tuning.clients / told.requests_per_s
            assert told.queue_s + cycle.service_s == pytest.approx(each_s, rel=0.4)
        assert cycle.wait_s == pytest.approx(told.queue_s, rel=0.3, abs=1e-4)
