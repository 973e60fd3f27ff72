"""Experiments, engines and peers as the tests of the engine need them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from typing import Any

from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.roles import SERVER, SWARM
from sockscope.core.run.adding import difference
from sockscope.core.run.snapshot import ConnectionQuery, Cursors, Exchange, RoleSnapshot, Snapshot
from sockscope.engine.engine import Engine
from sockscope.engine.placement.placed_role import NOTHING
from sockscope.engine.role import Assignment
from sockscope.engine.servers.endpoint import Endpoint, ServerContext
from sockscope.engine.servers.registry import open_endpoint

_TUNED = {field.name for field in fields(Tuning)}
EVERYTHING = Cursors(most_events=100_000, most_exchanges=100_000)


def experiment(**values: Any) -> Experiment:
    """Return a small, fast experiment with these values, live and fixed ones alike."""
    tuned = {name: values.pop(name) for name in list(values) if name in _TUNED}
    # A loaded machine may hold a loop up for more than the default second: that is no fault of the engine.
    quick: dict[str, Any] = {"clients": 4, "permits": 0, "service_time_s": 0.0, "request_timeout_s": 10.0}
    return Experiment(Tuning(**(quick | tuned)), **values)


@asynccontextmanager
async def running(grace_s: float = 10.0, **values: Any) -> AsyncIterator[Engine]:
    """Run the experiment with these values until the block ends, and what is in flight then is answered."""
    engine = Engine(experiment(**values))
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop(grace_s)


def exchanges_of(engine: Engine) -> tuple[Exchange, ...]:
    return swarm_of(engine, EVERYTHING).exchanges


async def tune(engine: Engine, **changes: Any) -> None:
    await engine.apply(replace(engine.tuning, **changes))


def swarm_of(engine: Engine, cursors: Cursors | None = None) -> RoleSnapshot:
    return _role_of(engine, SWARM, cursors)


def server_of(engine: Engine) -> RoleSnapshot:
    return _role_of(engine, SERVER)


def _role_of(engine: Engine, name: str, cursors: Cursors | None = None) -> RoleSnapshot:
    """Return what a snapshot tells of one role; who polls need not read the machine and the processes."""
    if cursors is None and (baseline := engine._baseline) is not None:
        role, before = engine._placement.read(name, NOTHING), baseline.roles.get(name)
        return role if before is None else difference(before, role)
    seen = engine.snapshot(cursors).roles.get(name)
    assert seen is not None
    return seen


def connections_of(engine: Engine, role: str) -> Snapshot:
    query = ConnectionQuery(role=role, limit=10_000)
    return engine.snapshot(replace(EVERYTHING, connections=query))


def port_of(engine: Engine) -> int:
    return int(server_of(engine).address.rpartition(":")[2])


def opened(context: ServerContext, host: str = "") -> Endpoint:
    """Return an endpoint of the model that the experiment names, on loopback unless told otherwise."""
    tuning = context.experiment.tuning
    host = host or ("::1" if tuning.family == "ipv6" else "127.0.0.1")
    return open_endpoint(context, Assignment(tuning, 0, (host, 0)))
