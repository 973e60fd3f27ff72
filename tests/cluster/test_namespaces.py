"""A run over three machines, as far as one machine has them: network namespaces joined by veth pairs."""

from pathlib import Path
from typing import Any

import pytest

from sockscope.core.run.figures import process_figures
from sockscope.engine.engine import Engine
from sockscope.engine.tls.throw_away import make_certificate
from tests.cluster.namespaces import NET, NUMBERS, cluster, ip, joined, link, udp_sent, why_not
from tests.engine.runs import EVERYTHING, experiment, server_of, swarm_of, tune
from tests.waiting import until


def state_of(engine: Engine, name: str) -> str:
    return next(use.state for use in engine.snapshot().processes if use.name == name)


def texts(engine: Engine) -> list[str]:
    return [event.text for event in engine.snapshot(EVERYTHING).events]


async def all_workers_of(distributed: Any, address: str, pem: str) -> None:
    files = {f"tls_{what}": pem for what in ("ca_file", "client_cert", "client_key")}
    security = distributed.Security(**files, require_encryption=True)
    client = distributed.Client(
        address, asynchronous=True, timeout=60, set_as_default=False, security=security
    )
    async with client:
        await client.wait_for_workers(len(NUMBERS))


async def test_three_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts are those of each kernel; knobs are turned, one worker is cut off and healed, one is lost."""
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    if why := why_not():
        pytest.skip(why)
    from sockscope.engine.placement.cluster import dask_cluster, worker_process

    # Nothing here may be too slow for the machine that tests it.
    monkeypatch.setattr(dask_cluster, "REACH_S", 60.0)
    monkeypatch.setattr(worker_process, "LOST_S", 60.0)
    made, pem = make_certificate(), tmp_path / "all.pem"
    pem.write_bytes(made.chain + made.key)
    with joined(), cluster(tmp_path, pem) as (address, workers):
        await all_workers_of(distributed, address, str(pem))
        asked = experiment(
            place="cluster", cluster=address, cluster_ca=str(pem), cluster_cert=str(pem),
            clients=6, transport="udp", think_time_s=0.002,
        )  # fmt: skip
        before = list(map(udp_sent, NUMBERS))
        async with Engine(asked) as engine:
            names = [use.name for use in engine.snapshot().processes]
            served_at = server_of(engine).address.rpartition(":")[0]
            machines = sorted(name.rpartition(" at ")[2] for name in names[1:])
            assert machines == [f"{NET}.{number}" for number in NUMBERS]
            await until(lambda: swarm_of(engine).totals.responses > 100)
            engine.pause()
            await until(lambda: swarm_of(engine).in_flight == 0)
            await engine.settle()
            sent = [udp_sent(number) - then for number, then in zip(NUMBERS, before, strict=True)]
            server = int(served_at.rpartition(".")[2]) - 1
            total = swarm_of(engine).totals
            assert total.requests == total.responses == server_of(engine).totals.responses == sent[server]
            assert sum(sent) - sent[server] == total.requests
            assert min(sent) > 0
            kernel = engine.snapshot().resources.kernel_udp
            assert kernel is not None
            assert kernel.out_datagrams == kernel.in_datagrams == 2 * total.requests == sum(sent)
            cores = {(one.cores_of, one.machine_cores_taken) for one in process_figures(engine.snapshot())}
            ((whose, taken),) = cores
            assert whose == "", "one kernel runs them all, on the cores of this machine"
            assert (taken or 0.0) > 0
            engine.resume()
            await tune(engine, permits=2, transport="tcp", tls=True)
            await until(lambda: (now := swarm_of(engine).limiter).permits == 2 and now.waiting > 0)

            last = names[-1]
            number = int(last.rpartition(".")[2])
            ip("link", "set", link(number), "down")
            await until(lambda: state_of(engine, last).startswith("no answer"), what="the cut to be seen")
            ip("link", "set", link(number), "up")
            await until(lambda: state_of(engine, last) == "running", what="the worker to be back")

            # Where the scheduler hears of its end before we do, dask waits until another worker takes the
            # actor over, which none may: then it is lost by its silence.
            monkeypatch.setattr(worker_process, "LOST_S", 15.0)
            await engine.settle()
            workers[number - 1].kill()
            await until(lambda: "what was lost is divided anew" in texts(engine), what="the others to go on")
            await until(lambda: swarm_of(engine).connections_open == 6)
            answered = swarm_of(engine).totals.responses
            await until(lambda: swarm_of(engine).totals.responses > answered + 20)
            assert state_of(engine, last) == "lost"
            assert engine.error == ""
