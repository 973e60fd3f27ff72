"""Runs whose roles are on the workers of a cluster: they count, are turned, and end as they do elsewhere."""

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest

from sockscope.core.config.cluster import parse_cluster
from sockscope.engine.engine import Engine
from sockscope.errors import EngineError
from tests.cli.command import finished, next_line
from tests.cli.command import running as running_command
from tests.engine.runs import EVERYTHING, experiment, running, server_of, swarm_of, tune
from tests.waiting import until


@asynccontextmanager
async def on_cluster(cluster: str, **values: Any) -> AsyncIterator[Engine]:
    async with running(place="cluster", cluster=cluster, think_time_s=0.001, **values) as engine:
        yield engine


async def test_counts_add_up_over_the_workers(cluster: str) -> None:
    """A budget is divided between two workers with clients, and the third has served all of it."""
    async with on_cluster(cluster, clients=6, requests=301) as engine:
        await engine.wait()
        await engine.settle()
        swarm, server = swarm_of(engine), server_of(engine)
        assert swarm.totals.requests == swarm.totals.responses == server.totals.responses == 301
        assert (swarm.totals.errors, swarm.connections_open) == (0, 6)
        assert swarm.response_time.total == 301
        names = [use.name for use in engine.snapshot().processes]
        assert names == ["main", "server", "clients", "clients 2"]
        pids = {use.pid for use in engine.snapshot().processes[1:]}
        parents = {psutil.Process(pid).ppid() for pid in pids}
        assert len(pids) == len(parents) == 3
    await until(lambda: not any(map(psutil.pid_exists, pids)), what="the children to end")


async def test_a_knob_acts_on_every_worker(cluster: str) -> None:
    async with on_cluster(cluster, clients=4) as engine:
        await tune(engine, clients=9, permits=2)
        assert engine.generation == 1
        await until(lambda: swarm_of(engine).connections_open == 9)
        await until(lambda: swarm_of(engine).limiter.permits == 2 and swarm_of(engine).limiter.waiting > 0)
        assert swarm_of(engine).in_flight <= 2
        before = swarm_of(engine).totals.responses
        await tune(engine, transport="udp")
        await until(lambda: server_of(engine).transport == "udp")
        await until(lambda: swarm_of(engine).totals.responses > before + 50, what="answers over UDP")
        # A server that is killed is told of, and begins anew with the next knob.
        server = next(use.pid for use in engine.snapshot().processes if use.name == "server")
        psutil.Process(server).kill()
        await until(lambda: not next(use for use in engine.snapshot().processes if use.pid == server).alive)
        assert engine.error == ""
        await tune(engine, permits=1, transport="tcp")
        answered = swarm_of(engine).totals.responses
        await until(lambda: swarm_of(engine).totals.responses > answered, what="answers of another server")


async def test_a_port_in_use_is_one_sentence(cluster: str) -> None:
    async with running() as engine:
        port = int(server_of(engine).address.rpartition(":")[2])
        other = Engine(experiment(place="cluster", cluster=cluster, port=port, role="server"))
        with pytest.raises(EngineError, match=f"cannot listen on 127.0.0.1:{port}: the port is in use"):
            await other.start()


def test_a_cluster_of_ones_own_ends_with_the_command() -> None:
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    flags = ("--place", "cluster", "--cluster", "local:2", "-c", "2", "--service-time", "1ms")
    with running_command("run", *flags, "-d", "0", "--json-stream", "-i", "20ms") as command:
        told = json.loads(next_line(command))
        family = psutil.Process(command.pid).children(recursive=True)
        command.send_signal(signal.SIGINT)
        code, out, err = finished(command)
    assert (code, err) == (0, "sockscope: stopping; press Ctrl+C again to quit at once\n")
    summary = json.loads(out.splitlines()[-1])
    assert summary["state"] == "stopped"
    answered = summary["totals"]["responses"]
    assert 0 < answered <= summary["server"]["responses"] <= answered + 2
    assert [one["name"] for one in told["processes"]] == ["main", "server", "clients"]
    _, left = psutil.wait_procs(family, timeout=60)
    assert left == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("local:1", "needs 2 to 64 workers"),
        ("local:x", "needs 2 to 64 workers"),
        ("here", "is neither local:N nor the address of a scheduler"),
        ("tcp://127.0.0.1", "is neither local:N nor"),
        ("tcp://192.0.2.1:8786", "is not on this machine"),
    ],
)
def test_a_cluster_that_is_none_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_cluster(text)


def test_addresses_of_clusters_here() -> None:
    good = ("local", "local:2", "tcp://127.0.0.1:8786", "tcp://[::1]:8786")
    assert [parse_cluster(text) for text in good] == list(good)


async def test_a_cluster_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    dask_cluster = pytest.importorskip("sockscope.engine.placement.cluster.dask_cluster")
    monkeypatch.setattr(dask_cluster, "REACH_S", 0.01)
    engine = Engine(experiment(place="cluster", cluster="tcp://127.0.0.1:9"))
    with pytest.raises(EngineError, match=r"no cluster with workers answers at tcp://127.0.0.1:9"):
        await engine.start()


async def test_a_lost_worker_leaves_the_others_its_part(cluster: str) -> None:
    """What it had counted is kept, its process is told of as lost, and the others have its clients."""
    async with on_cluster(cluster, clients=6) as engine:
        await until(lambda: swarm_of(engine).totals.responses > 20)
        lost = next(use.pid for use in engine.snapshot().processes if use.name == "clients 2")
        before = swarm_of(engine).totals.responses
        psutil.Process(psutil.Process(lost).ppid()).kill()
        await until(lambda: texts(engine)[-1] == "what was lost is divided anew", what="the others to go on")
        assert swarm_of(engine).totals.responses >= before
        await until(lambda: swarm_of(engine).connections_open == 6)
        answered = swarm_of(engine).totals.responses
        await until(lambda: swarm_of(engine).totals.responses > answered + 20, what="answers of the others")
        row = next(use for use in engine.snapshot().processes if use.pid == lost)
        assert (row.alive, row.name, row.state) == (False, "clients 2", "lost")
        assert any(f"clients 2 process {lost} is lost" in text for text in texts(engine))
        assert engine.error == ""
        await engine.conclude()
        assert swarm_of(engine).totals.responses <= server_of(engine).totals.responses


def texts(engine: Engine) -> list[str]:
    return [event.text for event in engine.snapshot(EVERYTHING).events]
