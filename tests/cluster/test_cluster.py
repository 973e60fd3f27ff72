"""Runs whose roles are on the workers of a cluster: they count, are turned, and end as they do elsewhere."""

import asyncio
import errno
import json
import logging
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, aclosing, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from sockscope.core.addresses import Address
from sockscope.core.config.cluster import host_of, is_here, parse_cluster
from sockscope.core.config.experiment import Experiment
from sockscope.core.results.contest import Contest, Contestant
from sockscope.core.run.shortfall import shortfall
from sockscope.core.run.snapshot import UNDIVIDED
from sockscope.engine.engine import Engine
from sockscope.engine.host_limits import host_limits
from sockscope.engine.placement import placement
from sockscope.engine.placement.cluster import actor, joining, machine, membership, preflight, worker_process
from sockscope.engine.placement.cluster.actor import Begun, ChildActor, Exchanged
from sockscope.engine.placement.cluster.asking import asking
from sockscope.engine.placement.cluster.cluster import Cluster
from sockscope.engine.placement.cluster.greeting import check_greeting
from sockscope.engine.placement.cluster.hosts import hosts_on, serving_host, whose_cores
from sockscope.engine.placement.cluster.joining import joined
from sockscope.engine.placement.cluster.worker_process import WorkerProcess, reports_s
from sockscope.engine.tls.throw_away import make_certificate
from sockscope.errors import ConfigError, EngineError, ResourceLimitError
from sockscope.lab.race import Race
from tests.cli.command import finished, next_line
from tests.cli.command import running as running_command
from tests.engine.runs import EVERYTHING, experiment, running, server_of, swarm_of, tune
from tests.waiting import until

NEEDED = "dask.distributed is not installed"


def texts(engine: Engine) -> list[str]:
    return [event.text for event in engine.snapshot(EVERYTHING).events]


def pids_of(engine: Engine) -> dict[str, int]:
    return {use.name: use.pid for use in engine.snapshot().processes[1:]}


def parent_of(pid: int) -> psutil.Process:
    parent = psutil.Process(pid).parent()
    assert parent is not None
    return parent


@contextmanager
def another_worker(of: psutil.Process) -> Iterator[None]:
    """Have one more worker of the cluster of this machine that ``of`` is one of."""
    held = parent_of(of.pid).net_connections()
    listening = {one.laddr.port for one in held if one.status == psutil.CONN_LISTEN}
    ours = psutil.Process().net_connections()
    port = next(one.raddr.port for one in ours if one.raddr and one.raddr.port in listening)
    flags = ("--no-nanny", "--no-dashboard", "--nthreads", "1", "--host", "127.0.0.1")
    command = (sys.executable, "-m", "distributed.cli.dask_worker", f"tcp://127.0.0.1:{port}")
    with subprocess.Popen([*command, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as worker:
        try:
            yield
        finally:
            worker.kill()


async def test_a_run_on_three_workers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They count as one, are turned as one, take in a worker that comes, and do without one that is lost.

    Each has a clock of its own here, as far as is known, and that is found to be ours.
    """
    pytest.importorskip("distributed", reason=NEEDED)
    monkeypatch.setattr("sockscope.engine.placement.cluster.worker_process.clock_name", lambda: "another")
    monkeypatch.setattr("sockscope.engine.placement.cluster.dask_cluster.JOIN_EVERY_S", 0.2)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    asked: dict[str, Any] = {"place": "cluster", "cluster": "local:2", "clients": 6, "think_time_s": 0.001}
    async with running(**asked) as engine, AsyncExitStack() as more:
        assert os.listdir(tmp_path) == []  # so that nothing is left there, however the workers end
        begun = pids_of(engine)
        assert list(begun) == ["server", "clients"]
        assert any(text.startswith("the clock of clients is ") for text in texts(engine))
        await until(lambda: swarm_of(engine).totals.responses > 20)
        more.enter_context(another_worker(parent_of(begun["server"])))
        await until(
            lambda: any(" has joined: the clients" in text for text in texts(engine)), what="a worker"
        )
        await until(lambda: len(engine.snapshot().processes) == 4, what="the clients to go over")
        everybody = psutil.Process().children(recursive=True)
        # But what other tests fork from.
        family = [one for one in everybody if not any("tests." in word for word in one.cmdline())]
        pids = pids_of(engine)
        assert list(pids) == ["server", "clients", "clients 2"]
        assert pids["server"] == begun["server"]
        assert len({parent_of(pid) for pid in pids.values()}) == 3
        for use in engine.snapshot().processes[1:]:
            assert abs(use.clock_offset_s) <= use.clock_error_s != 0
        await until(lambda: all(use.worker_cpu_s > 0 for use in engine.snapshot().processes[1:]))
        assert len({use.worker for use in engine.snapshot().processes}) == 4, "that of the engine has none"

        await until(lambda: swarm_of(engine).totals.responses > 100)
        engine.pause()
        await engine.settle()  # before the pause nothing may have been in flight for a moment
        await until(lambda: swarm_of(engine).in_flight == 0)
        await engine.settle()
        swarm, server = swarm_of(engine), server_of(engine)
        assert swarm.totals.requests == swarm.totals.responses == server.totals.responses
        assert swarm.response_time.total == swarm.totals.responses
        engine.resume()

        await a_race_beside(engine)

        with monkeypatch.context() as patch:
            patch.setattr(preflight, "RESERVED_DESCRIPTORS", 1 << 40)
            with pytest.raises(
                ResourceLimitError, match=r"^the server on the worker tcp://127.0.0.1:\d+ needs"
            ):
                await tune(engine, clients=8)
        await tune(engine, clients=9, permits=2, transport="udp")
        assert server_of(engine).transport == "udp"
        await until(lambda: (now := swarm_of(engine).limiter).permits == 2 and now.waiting > 0)
        assert swarm_of(engine).in_flight <= 2

        psutil.Process(pids["server"]).kill()
        await until(lambda: any("server process" in text for text in texts(engine)))
        await tune(engine, permits=0, transport="tcp")
        await until_it_answers(engine)

        lost = pids["clients 2"]
        before = swarm_of(engine).totals.responses
        parent_of(lost).kill()
        await until(lambda: "what was lost is divided anew" in texts(engine), what="the others to go on")
        assert swarm_of(engine).totals.responses >= before
        await until(lambda: swarm_of(engine).connections_open == 9)
        await until_it_answers(engine)
        row = next(use for use in engine.snapshot().processes if use.pid == lost)
        assert (row.alive, row.name, row.state) == (False, "clients 2", "lost")
        assert any(f"clients 2 process {lost} is lost" in text for text in texts(engine))
        assert engine.error == ""
    _, left = psutil.wait_procs(family, timeout=60)
    assert [process.cmdline() for process in left] == []


async def a_race_beside(engine: Engine) -> None:
    """Run a race on the cluster that the run is on: it is not brought up a second time."""
    asked, own = engine.experiment, psutil.Process()
    before = own.children()
    tuning = replace(asked.tuning, clients=2)
    contest = Contest(
        (Contestant("one", replace(asked, tuning=tuning)),), rounds=1, slice_s=0.05, warmup_s=0.0
    )
    async with aclosing(Race(contest).run()) as standings:
        async for last in standings:
            assert own.children() == before
            told = last
    assert (told.failure, told.faults) == ("", {})
    (lap,) = told.laps["one"]
    assert lap.requests_per_s
    assert lap.clients_cpu_ratio is not None
    assert own.children() == before


async def until_it_answers(engine: Engine) -> None:
    answered = swarm_of(engine).totals.responses
    await until(lambda: swarm_of(engine).totals.responses > answered + 20, what="answers")


def test_a_cluster_ends_with_the_command() -> None:
    pytest.importorskip("distributed", reason=NEEDED)
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
    assert [process.cmdline() for process in left] == []


async def test_a_cluster_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    dask_cluster = pytest.importorskip("sockscope.engine.placement.cluster.dask_cluster", reason=NEEDED)
    monkeypatch.setattr(dask_cluster, "REACH_S", 0.01)
    engine = Engine(experiment(place="cluster", cluster="tcp://127.0.0.1:9"))
    with pytest.raises(EngineError, match=r"no cluster with workers answers at tcp://127.0.0.1:9"):
        await engine.start()
    # Nor does a logger of dask write to the terminal, which may have a dashboard on it.
    for logger in map(logging.getLogger, ("distributed", "distributed.client", "tornado.application")):
        assert not any(isinstance(handler, logging.StreamHandler) for handler in logger.handlers)
        assert logger.handlers
        assert not logger.propagate


async def test_a_file_that_is_no_certificate_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason=NEEDED)
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives import serialization

    pem, locked, made = tmp_path / "none.pem", tmp_path / "locked.pem", make_certificate()
    pem.write_text("garbage")
    key = serialization.load_pem_private_key(made.key, None)
    hidden = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    locked.write_bytes(made.chain + hidden)
    for ca, cert, why in (
        (pem, pem, "^cluster_ca = .* is no file of certificates in PEM"),
        (locked, pem, "^cluster_cert = .* is no certificate in PEM with its private key"),
        (locked, locked, "^cluster_cert = .* has an encrypted private key"),
        (locked, tmp_path / "no", "^cluster_cert = .* cannot be read: no such file or directory"),
    ):
        files = {"cluster_ca": str(ca), "cluster_cert": str(cert)}
        with pytest.raises(ConfigError, match=why):
            await Engine(experiment(place="cluster", cluster="tls://127.0.0.1:9", **files)).start()


class Countable:
    """A cluster that counts how often it is reached and left, and may not be there."""

    workers = ("tcp://127.0.0.1:1", "tcp://127.0.0.1:2")

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.joined, self.left = 0, 0
        self.let_in = asyncio.Event()
        CLUSTERS.append(self)

    async def join(self) -> None:
        self.joined += 1
        await self.let_in.wait()
        if self.experiment.cluster == "local:9":
            raise EngineError("not there")

    async def leave(self) -> None:
        self.left += 1


CLUSTERS: list[Countable] = []


@pytest.fixture
def clusters(monkeypatch: pytest.MonkeyPatch) -> list[Countable]:
    dask_cluster = pytest.importorskip("sockscope.engine.placement.cluster.dask_cluster", reason=NEEDED)
    monkeypatch.setattr(dask_cluster, "DaskCluster", Countable)
    CLUSTERS.clear()
    return CLUSTERS


async def test_who_names_the_same_cluster_shares_it_until_the_last_leaves(clusters: list[Countable]) -> None:
    server, swarm = (
        experiment(place="cluster", cluster="local:2", **values)
        for values in ({"role": "server"}, {"role": "swarm", "target": "127.0.0.1:7"})
    )
    joining = [asyncio.create_task(joined(one)) for one in (server, swarm)]
    waiting = asyncio.create_task(joined(swarm))
    await until(lambda: clusters != [] and clusters[0].joined == 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    clusters[0].let_in.set()
    first, second = await asyncio.gather(*joining)
    assert (first.serves, second.serves) == (True, False)
    first.serve(("127.0.0.1", 7))
    assert second.serves
    second.refuse("tcp://127.0.0.1:1")
    assert (len(first.workers), len(second.workers)) == (2, 1)
    await first.leave()
    await first.leave()
    assert (second.serves, clusters[0].left) == (False, 0)
    await second.leave()
    assert [(one.joined, one.left) for one in clusters] == [(1, 1)]


async def test_a_cluster_that_cannot_be_reached_is_that_for_all(clusters: list[Countable]) -> None:
    asked = experiment(place="cluster", cluster="local:9")
    joining = [asyncio.create_task(joined(asked)) for _ in range(2)]
    await until(lambda: clusters != [])
    clusters[0].let_in.set()
    found = await asyncio.gather(*joining, return_exceptions=True)
    assert list(map(str, found)) == ["not there", "not there"]
    race = asyncio.create_task(Race(Contest((Contestant("one", asked),))).result())
    await until(lambda: len(clusters) == 2)
    clusters[1].let_in.set()
    with pytest.raises(EngineError, match="not there"):
        await race
    alone = asyncio.create_task(joined(asked))
    await until(lambda: len(clusters) == 3 and clusters[2].joined == 1)
    alone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await alone
    assert [one.left for one in clusters] == [1, 1, 1]


async def test_what_is_missing_without_dask_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "sockscope.engine.placement.cluster.dask_cluster", raising=False)
    engine = Engine(experiment(place="cluster", cluster="local:2"))
    with pytest.raises(EngineError, match=r"needs dask.distributed, which is not installed: pip install"):
        await engine.start()


@pytest.mark.usefixtures("warm_children")
async def test_a_child_ends_of_which_nobody_asks_anything_or_whose_actor_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dropped = actor.ChildActor()
    pid = (await dropped.begin("clients", "calm")).pid
    del dropped
    monkeypatch.setattr(actor, "LEASE_S", 0.01)
    kept = actor.ChildActor()
    begun = await kept.begin("clients", "calm")
    await until(lambda: not psutil.pid_exists(begun.pid), what="the child to be ended")
    told = await kept.exchange(0, b"", closes=False, within_s=60.0)
    assert told.outcome == "was killed (SIGKILL)"
    await until(lambda: not psutil.pid_exists(pid), what="the child of the one that was dropped to be ended")


class Scheduler:
    """Names these workers, or fails by what is in their place."""

    def __init__(self, *told: Exception | list[str]) -> None:
        self.told = list(told)

    async def identity(self, n_workers: int) -> dict[str, Any]:
        told = self.told.pop(0) if len(self.told) > 1 else self.told[0]
        if isinstance(told, Exception):
            raise told
        return {"workers": dict.fromkeys(told)}


async def test_who_is_lost_and_who_comes_is_known_by_what_the_scheduler_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever goes wrong with it is told once, and it is asked again."""
    dask_cluster = pytest.importorskip("sockscope.engine.placement.cluster.dask_cluster", reason=NEEDED)
    monkeypatch.setattr(dask_cluster, "JOIN_EVERY_S", 0.0)
    cluster = dask_cluster.DaskCluster(experiment(place="cluster", cluster="tcp://127.0.0.1:1"))
    cluster.workers, cluster._seen = ("one", "two"), {"one", "two"}
    heard: list[tuple[str, str]] = []
    for name in ("on_join", "on_loss", "on_trouble"):
        getattr(cluster, name).add(lambda text, name=name: heard.append((name, text)))
    beginning = asyncio.create_task(begin_on(cluster, "two"))
    bad = OSError("gone"), KeyError("workers")
    watching = asyncio.create_task(cluster._watch(Scheduler(*bad, ["one", "two"], ["three", "one"])))
    await until(lambda: len(heard) == 3)
    why = "the scheduler of the cluster does not answer: gone"
    assert heard == [("on_trouble", why), ("on_loss", "two"), ("on_join", "three")]
    assert cluster.workers == ("one",)
    with pytest.raises(EngineError, match="the worker two is lost"):
        await beginning
    watching.cancel()


async def begin_on(cluster: Any, worker: str) -> None:
    """Begin a child on a worker that never says that it has begun."""

    class Placed:
        status = "pending"
        began = asyncio.Event()

        def __await__(self) -> Generator[Any, None, Any]:
            return self.began.wait().__await__()

        def release(self) -> None:
            """Nothing to do: it was never placed."""

    class Client:
        def as_current(self) -> AbstractContextManager[None]:
            return nullcontext()

        def submit(self, *_: object, **__: object) -> Placed:
            return Placed()

    cluster._client = Client()
    await cluster.begin(worker, "clients", "calm")


async def test_what_is_no_scheduler_is_told_from_one() -> None:
    """dask itself waits for one that is silent, and asks for as much memory as the first bytes say."""
    says, ended = [b"", b"HTTP/1.1 400 Bad Request\r\n", bytes(8)], asyncio.Event()

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            if says[0]:
                writer.write(says[0])
                await reader.read()
        writer.close()
        ended.set()

    async with await asyncio.start_server(say, "127.0.0.1", 0) as server:
        address = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        while says:
            ended.clear()
            with pytest.raises(EngineError, match="is no scheduler of dask"):
                await check_greeting(address, None, 60.0)
            await ended.wait()
            del says[0]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(EngineError, match=f"answers at {address}: what listens there says nothing"):
            await check_greeting(address, None, 0.02)


async def test_what_only_begins_as_a_scheduler_is_one_sentence() -> None:
    """Frames of dask's (distributed/protocol/utils.py), in which there is nothing of its."""
    pytest.importorskip("distributed", reason=NEEDED)
    frame = struct.pack("<3Q", 19, 1, 3) + b"\xff\0\0"

    told = asyncio.Event()

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame * 9)
        await told.wait()  # dask lets its own end go when it is collected
        writer.transport.abort()

    async with await asyncio.start_server(say, "127.0.0.1", 0) as server:
        address = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(EngineError, match="is no scheduler of dask, or one of another version: unpack"):
            await joined(experiment(place="cluster", cluster=address))
        told.set()
        await asyncio.sleep(0)
    assert not joining._REACHED


async def test_time_for_which_this_process_was_stopped_is_no_silence_of_a_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    news, answers = Exchanged(b"news"), asyncio.get_running_loop().create_future()
    with pytest.raises(TimeoutError):
        await worker_process._answer(asyncio.shield(answers), 0.001)
    monkeypatch.setattr(worker_process, "SLOW_S", -60.0)  # whoever wakes up has been stopped
    asked = asyncio.create_task(worker_process._answer(asyncio.shield(answers), 0.001))
    await asyncio.sleep(0.01)
    answers.set_result(news)
    assert await asked is news


@pytest.mark.parametrize(("workers", "every_s"), [(1, 0.1), (10, 0.1), (20, 0.2), (50, 0.5), (1_000, 0.5)])
def test_the_more_workers_the_less_often_each_reports(workers: int, every_s: float) -> None:
    assert reports_s(workers) == every_s


class Elsewhere:
    """A cluster whose worker has another version."""

    class Actor:
        is_killed = False

        async def kill(self) -> None:
            self.is_killed = True

    path: tuple[str, ...] = ()
    is_here = False

    def __init__(self, workers: int = 1, serves: bool = True) -> None:
        self.on_join: set[Callable[[str], None]] = set()
        self.on_loss: set[Callable[[str], None]] = set()
        self.on_trouble: set[Callable[[str], None]] = set()
        self.workers = tuple(f"tcp://192.0.2.{number}:7" for number in range(workers))
        self.serves = serves
        self.limits = dict.fromkeys(self.workers, host_limits())
        self.actor = self.Actor()

    async def begin(self, worker: str, name: str, allocator: str) -> tuple[Any, Begun]:
        return self.actor, Begun(1, {}, "SockScope 9", "")

    async def admit(self, worker: str) -> None:
        self.workers += (worker,)

    def refuse(self, worker: str) -> None:
        self.workers = tuple(other for other in self.workers if other != worker)

    def lose(self, worker: str) -> None:
        self.refuse(worker)

    def serve(self, address: Address) -> None:
        """Nothing to do: nobody asks that server."""

    async def leave(self) -> None:
        """Nothing to do: it was never reached."""


@pytest.mark.parametrize(
    ("workers", "serves", "generating"), [(3, True, (1, 3)), (1, True, (0, 1)), (3, False, (0, 3))]
)
def test_who_asks_has_every_worker_that_does_not_serve(
    workers: int, serves: bool, generating: tuple[int, int]
) -> None:
    cluster = Elsewhere(workers, serves)
    assert hosts_on(cluster, generates=False).workers == cluster.workers[:1]
    assert hosts_on(cluster, generates=True).workers == cluster.workers[slice(*generating)]


class Here(Elsewhere):
    """Two workers that are no processes: this loop has their actors. One that comes has another version."""

    path = tuple(sys.path)
    is_here = True
    come = "tcp://127.0.0.1:3"

    def __init__(self) -> None:
        super().__init__()
        self.workers = ("tcp://127.0.0.1:1", "tcp://127.0.0.1:2")

    async def begin(self, worker: str, name: str, allocator: str) -> tuple[Any, Begun]:
        if worker == self.come:
            return await super().begin(worker, name, allocator)
        actor = ChildActor()
        return actor, await actor.begin(name, allocator)


@pytest.mark.usefixtures("warm_children")
async def test_the_run_goes_on_without_a_worker_that_comes_and_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that comes together with it is used."""
    cluster = Here()

    async def joined(experiment: Experiment) -> Cluster:
        return cluster

    monkeypatch.setattr(membership, "joined", joined)
    async with running(place="cluster", cluster="local:2", clients=2, think_time_s=0.02) as engine:
        begun, workers = pids_of(engine), cluster.workers
        for hear in cluster.on_join:
            hear(cluster.come)
            hear("tcp://127.0.0.1:4")
        why = f"a worker that has come is not used: the worker {cluster.come} has SockScope 9"
        await until(lambda: any(text.startswith(why) for text in texts(engine)), what="its refusal")
        joined_anew = "the worker tcp://127.0.0.1:4 has joined: the clients are divided anew"
        await until(lambda: joined_anew in texts(engine))
        await until_it_answers(engine)
        assert (cluster.workers, engine.error) == ((*workers, "tcp://127.0.0.1:4"), "")
        assert pids_of(engine)["server"] == begun["server"]
    assert not cluster.on_join | cluster.on_loss | cluster.on_trouble


class Silent(Here):
    """The same; one that comes is never heard of, and none begins a second child."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[str] = []

    async def begin(self, worker: str, name: str, allocator: str) -> tuple[Any, Begun]:
        if worker in self.begun:
            await asyncio.Event().wait()
        self.begun.append(worker)
        return await super().begin(worker, name, allocator)

    async def admit(self, worker: str) -> None:
        await asyncio.Event().wait()


async def test_a_run_that_ends_while_it_is_divided_anew_does_not_wait_for_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It tells that nobody has the part of the one that is lost."""
    cluster = Silent()
    cluster.workers += ("tcp://127.0.0.1:4",)

    async def joined(experiment: Experiment) -> Cluster:
        return cluster

    monkeypatch.setattr(membership, "joined", joined)
    async with running(place="cluster", cluster="local:3", clients=2, think_time_s=0.02) as engine:
        for hear in cluster.on_join:
            hear("tcp://127.0.0.1:5")
        cluster.lose("tcp://127.0.0.1:4")
        for lost in list(cluster.on_loss):
            lost("tcp://127.0.0.1:4")
        row = next(use for use in engine.snapshot().processes if use.name == "clients 2")
        assert (row.alive, row.state) == (False, UNDIVIDED)
    assert "the run ends before the part of clients 2 is divided anew" in texts(engine)
    assert shortfall(engine.snapshot()) == f"clients 2 process {row.pid}: {UNDIVIDED}"


async def test_what_is_lost_while_a_run_begins_is_divided_anew_and_a_fault_in_that_ends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin = placement.Placement.start

    async def lose(self: placement.Placement, *arguments: Any) -> None:
        await begin(self, *arguments)
        self._on_loss()

    async def divide(self: placement.Placement, *arguments: Any) -> None:
        raise KeyError("a fault")

    monkeypatch.setattr(placement.Placement, "start", lose)
    monkeypatch.setattr(placement.Placement, "divide_anew", divide)
    async with running() as engine, asyncio.timeout(60):
        await engine.wait()
    assert engine.error == "internal error: KeyError('a fault')"


async def test_where_one_more_is_lost_meanwhile_those_that_are_left_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, tried = experiment(place="cluster", cluster="local:3"), list[int]()
    cluster, placed = Elsewhere(3), placement.Placement(asked, lambda text, fatal: None)

    async def apply(self: placement.Placement, *_: object) -> None:
        tried.append(len(cluster.workers))
        if len(tried) == 1:
            cluster.lose(cluster.workers[-1])
        if len(tried) != 2:
            raise EngineError("it cannot be")

    monkeypatch.setattr(placement.Placement, "apply", apply)
    placed._membership.cluster = cluster
    await placed.divide_anew(asked.tuning, 0, ("127.0.0.1", 0))
    with pytest.raises(EngineError, match="it cannot be"):
        await placed.divide_anew(asked.tuning, 0, ("127.0.0.1", 0))
    assert tried == [3, 2, 2]


@pytest.mark.parametrize("faulty", ["channel", "exchange"])
async def test_no_fault_in_an_exchange_is_silent(faulty: str) -> None:
    class Listening(asyncio.Protocol):
        error: Exception | None = None

        def data_received(self, data: bytes) -> None:
            raise KeyError(data)

        def connection_lost(self, error: Exception | None) -> None:
            self.error = error

    class Saying(Elsewhere.Actor):
        async def exchange(self, *_: object) -> Exchanged:
            if faulty == "exchange":
                raise KeyError("key of the actor")
            return Exchanged(b"news", "was killed" if self.is_killed else "")

    class Alike(Elsewhere):
        actor = Saying()

        async def begin(self, worker: str, name: str, allocator: str) -> tuple[Any, Begun]:
            return self.actor, Begun(1, {}, machine.versions(), machine.clock_name())

    ended: list[str] = []
    cluster, channel = Alike(), Listening()
    (worker,), cluster.actor = cluster.workers, Saying()
    process = WorkerProcess(cluster, worker, "clients", "calm", ended.append, lambda: False)
    await process.start(channel)
    process.say(b"")
    if faulty == "channel":
        await until(lambda: channel.error is not None)
        process.kill()
        await until(lambda: ended == ["was killed"])
        assert str(channel.error) == "b'news'"
        assert cluster.workers == (worker,)
    else:
        await until(lambda: ended != [])
        assert (len(ended), cluster.workers) == (1, ())


def test_a_directory_whose_owner_is_gone_is_removed_by_the_next_cluster_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    local = pytest.importorskip("sockscope.engine.placement.cluster.local", reason=NEEDED)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, held, other = (tmp_path / name for name in (f"{local.PREFIX}1", f"{local.PREFIX}2", "other"))
    for directory in (left, held, other):
        (directory / "worker").mkdir(parents=True)
    lock = local._locked(str(held))
    own = Path(local._own_directory())
    os.close(lock)
    assert set(tmp_path.iterdir()) == {own, held, other}


def test_why_the_workers_of_this_machine_have_not_started_is_what_led_to_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    local = pytest.importorskip("sockscope.engine.placement.cluster.local", reason=NEEDED)
    monkeypatch.setattr(local, "SEMAPHORES", str(tmp_path))
    try:
        try:
            raise OSError(errno.EMFILE, "Too many open files")
        except OSError:
            raise AssertionError("Status.init") from None
    except AssertionError as error:
        told = RuntimeError("a worker failed to start")
        told.__cause__ = error
    assert local.why(told) == "its workers cannot be started: Too many open files"
    monkeypatch.setattr(local, "SEMAPHORES", gone := str(tmp_path / "gone"))
    assert (
        local.why(KeyError()).endswith(
            f"KeyError (Python's multiprocessing, which starts them, needs {gone}, "
            "and that cannot be written)"
        )
        or sys.platform != "linux"
    )


class Garbage(Elsewhere):
    """Its worker has what is ours, and answers with anything."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer = answer

    async def begin(self, worker: str, name: str, allocator: str) -> tuple[Any, Begun]:
        return self, Begun(1, {}, machine.versions(), machine.clock_name())

    async def exchange(self, *_: object) -> object:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def kill(self) -> None:
        """Nothing to do: it has no child."""


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (pickle.UnpicklingError("invalid load key"), "answers garbage: invalid load key"),
        (b"x" * 9, "answers garbage: bytes"),
        (Exchanged("no bytes"), "answers garbage: incoming is of type str"),  # type: ignore[arg-type]
        (Exchanged(bytes(1 << 26 | 1)), "answers garbage: 67,108,865 B at once"),
        (Exchanged(b"", cpu_s=float("nan")), "answers garbage: a processor time of nan s"),
        (ConnectionError("gone"), "does not answer any more"),
    ],
)
async def test_a_worker_whose_answer_is_none_is_lost(answer: object, why: str) -> None:
    cluster, ended = Garbage(answer), asyncio.get_running_loop().create_future()
    process = WorkerProcess(cluster, "w", "clients", "calm", ended.set_result, lambda: True)
    cluster.workers = ("w",)
    await process.start(asyncio.Protocol())
    process.say(b"setup")
    assert await ended == f"is lost: the worker w {why}"
    assert not process.alive
    assert not cluster.workers


def test_what_is_asked_of_a_cluster_fails_in_one_sentence() -> None:
    for error, why in [
        (KeyError("python"), "W answers as no other SockScope or dask of these versions does: 'python'"),
        (ModuleNotFoundError("No sockscope"), "W cannot run SockScope (No sockscope); install the same"),
        (ConnectionError(), "W does not answer: ConnectionError"),
        (EngineError("W is lost"), "W is lost"),
    ]:
        with pytest.raises(EngineError) as told, asking("W"):
            raise error
        assert str(told.value).startswith(why)


async def test_a_worker_with_other_versions_is_refused() -> None:
    ended: list[str] = []

    process = WorkerProcess(
        elsewhere := Elsewhere(), "tcp://192.0.2.1:7", "clients", "calm", ended.append, lambda: False
    )
    with pytest.raises(EngineError, match=r"7 has SockScope 9; use the same as here: SockScope "):
        await process.start(asyncio.Protocol())
    assert elsewhere.actor.is_killed
    assert not process.alive


def test_workers_that_one_kernel_runs_have_the_cores_of_the_first_of_them() -> None:
    cluster = Elsewhere(5)
    kernels = ("a", "b", "a", "", host_limits().kernel)
    cluster.limits = {
        worker: replace(host_limits(), kernel=kernel)
        for worker, kernel in zip(cluster.workers, kernels, strict=True)
    }
    assert [whose_cores(cluster, worker) for worker in (*cluster.workers, "tcp://127.0.0.1:7")] == [
        "192.0.2.0", "192.0.2.1", "192.0.2.0", "192.0.2.3", "", "",
    ]  # fmt: skip
    cluster.lose(cluster.workers[0])
    assert whose_cores(cluster, "tcp://192.0.2.2:7") == "192.0.2.0", "a name that is in use stays"


def test_a_machine_that_does_not_allow_its_part_is_told_before_a_run() -> None:
    """A role has a process to itself: 1,000 clients in two of them need 500 descriptors each, and more."""
    cluster = Elsewhere(3)
    few = replace(host_limits(), hard_descriptors=600, ephemeral_ports=range(400))
    asked = experiment(place="cluster", cluster="tcp://192.0.2.0:8786", clients=500, transport="udp")
    with_more = replace(asked.tuning, clients=1_000)

    cluster.limits["tcp://192.0.2.2:7"] = few
    preflight.check_workers(asked, asked.tuning, cluster)
    with pytest.raises(
        ResourceLimitError, match=r"clients on the worker tcp://192.0.2.2:7 need 500 ephemeral"
    ):
        preflight.check_workers(asked, with_more, cluster)
    cluster.limits["tcp://192.0.2.2:7"] = replace(few, hard_descriptors=560, ephemeral_ports=None)
    with pytest.raises(
        ResourceLimitError, match=r"need 564 descriptors for 500 clients of 1,000, but .* 560"
    ):
        preflight.check_workers(asked, with_more, cluster)
    preflight.check_workers(asked, replace(with_more, pool=100), cluster)
    preflight.check_bounds(replace(with_more, clients=20_000, permits=20_000), cluster)
    with pytest.raises(ConfigError, match="must be at most 20,000: 10,000 on each of 2 workers"):
        preflight.check_bounds(replace(with_more, clients=20_001), cluster)
    cluster.limits = {"tcp://192.0.2.0:7": replace(few, hard_descriptors=560)}
    preflight.check_workers(asked, with_more, cluster)
    with pytest.raises(ResourceLimitError, match=r"server on the worker tcp://192.0.2.0:7 needs 1,064"):
        preflight.check_workers(asked, replace(with_more, transport="tcp"), cluster)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("local:1", "needs 2 to 64 workers"),
        ("local:x", "needs 2 to 64 workers"),
        ("here", "is neither local:N nor the address of a scheduler"),
        ("tcp://127.0.0.1", "is neither local:N nor"),
        ("udp://127.0.0.1:8786", "is neither local:N nor"),
    ],
)
def test_a_cluster_that_is_none_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_cluster(text)


def test_a_server_on_a_worker_is_reached_by_an_address_of_its_family() -> None:
    assert serving_host("tls://192.0.2.1:7", "ipv4") == "192.0.2.1"
    assert serving_host("tls://[2001:db8::1]:7", "ipv6") == "2001:db8::1"
    assert serving_host("tls://bench.example:7", "ipv6") == "bench.example"
    for family in ("ipv6", "unix"):
        with pytest.raises(EngineError, match=r"which is not IPv6: use|Unix sockets do not reach"):
            serving_host("tls://192.0.2.1:7", family)


def test_addresses_of_clusters() -> None:
    good = ("local", "local:2", "tcp://127.0.0.1:8786", "tcp://[::1]:8786", "tls://bench.example:8786")
    assert [parse_cluster(text) for text in good] == list(good)
    assert list(map(is_here, good[2:])) == [True, True, False]
    assert list(map(host_of, good[2:])) == ["127.0.0.1", "::1", "bench.example"]


@pytest.mark.parametrize(
    ("values", "faulty"),
    [
        ({}, ["place"]),
        ({"cluster": "local:2", "swarm_processes": 2}, ["swarm_processes"]),
        ({"cluster": "tcp://192.0.2.1:8786"}, ["cluster"]),
        ({"cluster": "tcp://192.0.2.1:8786", "allow_insecure_cluster": True}, []),
        ({"cluster": "tls://192.0.2.1:8786"}, ["cluster"]),
        ({"cluster": "tls://192.0.2.1:8786", "cluster_ca": "ca.pem"}, ["cluster"]),
        ({"cluster": "local:1"}, ["cluster"]),
        ({"cluster": "192.0.2.1:8786"}, ["cluster"]),
        ({"cluster": "tls://192.0.2.1:8786", "cluster_ca": "ca.pem", "cluster_cert": "me.pem"}, []),
        ({"cluster": "tcp://127.0.0.1:8786"}, []),
    ],
)
def test_a_cluster_beyond_this_machine_is_reached_over_tls(values: dict[str, Any], faulty: list[str]) -> None:
    asked = experiment(place="cluster", **values)
    assert [fault.field for fault in asked.field_faults()] == faulty


async def test_the_fastest_answer_bounds_what_a_clock_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever part of each round trip was the way there, the offset is within the error that is told."""
    now_s = 100.0
    monkeypatch.setattr(machine, "perf_counter", lambda: now_s)
    trips = iter([(0.5, 0.1), (0.001, 0.003), (0.2, 0.0)])

    async def their_time_s() -> float:
        nonlocal now_s
        there_s, back_s = next(trips)
        theirs_s = now_s + there_s - 40.0
        now_s += there_s + back_s
        return theirs_s

    offset_s, error_s = await machine.clock_offset(their_time_s, 3)
    assert error_s == pytest.approx(0.002)
    trips = iter([(0.5, 0.1), (0.001, 0.003)])
    slow = await machine.clock_offset(their_time_s, 2, within_s=0.1)
    assert slow[1] == pytest.approx(0.3), "one answer is enough where they are slow"
    assert abs(offset_s - 40.0) <= error_s
