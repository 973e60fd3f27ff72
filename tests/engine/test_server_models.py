"""Server models under a run: going over from one to the other, what both ends count, what each refuses."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import itertools
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from sockscope.core.config.models import FD_SETSIZE, SERVER_MODELS, SERVERS_OF, ServerModel
from sockscope.core.config.tuning import Tuning
from sockscope.core.events import CloseReason
from sockscope.core.wire.framing import encode
from sockscope.core.wire.sequence import SEQUENCE_BYTES
from sockscope.engine.engine import Engine
from sockscope.engine.limits import open_descriptors, raise_descriptor_limit
from sockscope.engine.recorder import Recorder
from sockscope.engine.role import Assignment
from sockscope.engine.servers import registry
from sockscope.engine.servers.endpoint import ServerContext
from sockscope.engine.servers.registry import LACKING, PRESENT_MODELS, lacks, model_for, open_endpoint
from sockscope.errors import ConfigError, EngineError, ListenError, ResourceLimitError
from tests.engine.runs import experiment, port_of, running, server_of, swarm_of, tune
from tests.engine.test_server_conformance import connected, serving
from tests.waiting import until

NAMES = {
    transport: [model.name for model in PRESENT_MODELS if model.transport == transport]
    for transport in ("tcp", "udp")
}
models = pytest.mark.parametrize("model", PRESENT_MODELS, ids=lambda model: f"{model.transport}-{model.name}")


async def answered(engine: Engine, more: int = 20) -> None:
    before = swarm_of(engine).totals.responses
    await until(lambda: swarm_of(engine).totals.responses >= before + more, what=f"{more} more answers")


def faultless(engine: Engine) -> None:
    totals = swarm_of(engine).totals
    assert (totals.errors, totals.timeouts, totals.connections_reset, totals.datagrams_lost) == (0, 0, 0, 0)
    assert (totals.connections_refused, server_of(engine).totals.errors) == (0, 0)


def test_every_name_that_may_be_chosen_is_a_model_or_absent_with_a_reason() -> None:
    absent = [model for model in SERVER_MODELS.values() if model not in PRESENT_MODELS]
    assert {model.mechanism for model in absent} == LACKING
    for model in SERVER_MODELS.values():
        if model in absent:
            with pytest.raises(ConfigError, match=lacks(model)):
                model_for(model.transport, model.name)
        else:
            assert lacks(model) == ""
            assert model_for(model.transport, model.name) is model


def test_every_file_that_opens_a_model_is_named_by_one() -> None:
    folder = Path(registry.__file__).parent
    opening = {
        ".".join(path.relative_to(folder).with_suffix("").parts)
        for path in folder.glob("*/*.py")
        if "def open_endpoint(" in path.read_text()
    }
    assert opening == {model.module for model in SERVER_MODELS.values()}


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_model_that_does_not_serve_the_transport_is_refused(transport: str) -> None:
    other = {"tcp": "datagram", "udp": "streams"}[transport]
    with pytest.raises(ConfigError, match=f"over {transport.upper()}: {', '.join(SERVERS_OF[transport])}"):
        model_for(transport, other)


@models
async def test_the_two_ends_count_the_same(model: ServerModel) -> None:
    # One client where one is served at a time: a second would only time out.
    clients = 1 if (model.transport, model.at_once) == ("tcp", 1) else 4
    async with running(
        transport=model.transport, server=model.name, clients=clients, lifetime=9, request_timeout_s=10.0
    ) as engine:
        await answered(engine, 40)
        await tune(engine, permits=3, service_time_s=0.001)
        await answered(engine, 40)
        await tune(engine, permits=0, service_time_s=0.0, lifetime=0, request_bytes=1000)
        await answered(engine, 40)
    swarm, server = swarm_of(engine).totals, server_of(engine).totals
    faultless(engine)
    assert swarm.requests == swarm.responses == server.requests == server.responses >= 120
    assert (swarm.bytes_in, swarm.bytes_out) == (server.bytes_out, server.bytes_in)
    if model.transport == "tcp":  # over UDP, a socket that has sent nothing is unknown to the server
        assert (swarm.connections_opened, swarm.connections_closed) == (
            server.connections_opened, server.connections_closed,
        )  # fmt: skip
    assert (swarm_of(engine).connections_open, server_of(engine).connections_open) == (0, 0)


@pytest.mark.parametrize(
    ("transport", "values"),
    [("tcp", {}), ("udp", {}), ("tcp", {"reuse_address": False})],
    ids=["tcp", "udp", "no reuse"],
)
async def test_models_take_over_from_each_other_at_the_same_address(
    transport: str, values: dict[str, Any]
) -> None:
    """Round by several steps, while the traffic goes on: no port is given up, nobody is refused."""
    async with running(
        transport=transport, clients=1, server=NAMES[transport][0], request_timeout_s=10.0, **values
    ) as engine:
        address = server_of(engine).address
        # Without SO_REUSEADDR one of each family: on the loop, in threads, by a selector.
        names = NAMES[transport] if not values else ("protocol", "threaded", "epoll")
        for turn in (turn for step in (1, 2, -1) for turn in range(0, step * len(names), step)):
            await tune(engine, server=names[turn % len(names)])
            await answered(engine, 5)
            assert server_of(engine).address == address
        await until(lambda: not server_of(engine).draining)
        faultless(engine)
    swarm, server = swarm_of(engine).totals, server_of(engine).totals
    assert swarm.requests == swarm.responses == server.requests == server.responses
    assert (server.datagrams_lost, server.datagrams_duplicated) == (0, 0)


async def test_a_crowd_rolls_over_to_another_model_without_an_error() -> None:
    async with running(clients=60, permits=20, service_time_s=0.002, request_timeout_s=10.0) as engine:
        for name in ("threaded", "epoll", "streams", "pool", "poll", "protocol"):
            await tune(engine, server=name)
            await answered(engine, 200)
            await until(lambda: not swarm_of(engine).rolling)
        faultless(engine)


async def test_the_transport_changes_between_threads() -> None:
    async with running(server="threaded", clients=5) as engine:
        for transport in ("udp", "tcp", "udp", "tcp"):
            await tune(engine, transport=transport)
            await answered(engine, 20)
        faultless(engine)


async def test_a_model_that_cannot_serve_leaves_the_one_before_in_place() -> None:
    async with running(clients=3) as engine:
        with crowded_descriptors():
            address = server_of(engine).address
            with pytest.raises(ResourceLimitError, match="select watches descriptors below 1,024 only"):
                await tune(engine, server="select")
            assert (engine.tuning.server, server_of(engine).address) == ("default", address)
            await answered(engine)
        await tune(engine, server="select")
        await answered(engine)
        faultless(engine)


@pytest.mark.parametrize("model", [m for m in PRESENT_MODELS if m.threaded],
                         ids=lambda model: f"{model.transport}-{model.name}")  # fmt: skip
async def test_without_a_thread_to_serve_in_the_server_stays_as_it_was(
    model: ServerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with running(transport=model.transport, clients=2) as engine:
        address = server_of(engine).address
        sockets = open_descriptors()
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            with pytest.raises(ResourceLimitError, match="cannot start a thread"):
                await tune(engine, server=model.name)
        assert open_descriptors() == sockets
        await answered(engine)
        await tune(engine, server=model.name, clients=1)
        await answered(engine)
        assert server_of(engine).address == address
        faultless(engine)


# What select cannot do.


@contextlib.contextmanager
def crowded_descriptors() -> Any:
    """Have every descriptor below FD_SETSIZE in use."""
    raise_descriptor_limit()
    with contextlib.ExitStack() as held:
        source = held.enter_context(socket.socket())
        while True:
            twin = held.enter_context(source.dup())
            if twin.fileno() >= FD_SETSIZE:
                break
        yield


def out_of_the_way(sock: socket.socket) -> socket.socket:
    """Return the socket under a descriptor that is above all that select can watch."""
    moved = fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, FD_SETSIZE * 2)
    sock.close()
    return socket.socket(fileno=moved)


def test_select_says_at_once_that_it_has_no_room() -> None:
    async def open_it() -> None:
        with crowded_descriptors():
            async with serving(model_for("tcp", "select")):
                raise AssertionError("select has room")

    with pytest.raises(EngineError, match="use epoll or poll"):
        asyncio.run(open_it())


async def test_select_turns_away_whom_it_cannot_watch_and_serves_the_others() -> None:
    wire = encode("length", b"x")
    async with serving(model_for("tcp", "select")) as served, connected(served) as first:
        raise_descriptor_limit()
        first.sock = out_of_the_way(first.sock)
        await served.accepted()
        with crowded_descriptors():
            async with connected(served) as second:
                assert await second.recv_all() == b""
                await until(lambda: served.recorder.rejected == 1)
                event = [event for event in served.recorder.events.since(0).items if event.is_fault][-1]
                assert event.reason is CloseReason.LIMIT
                assert "select watches those below 1,024" in event.text
                await first.send(wire)
                assert await first.recv_exactly(len(wire)) == wire
        async with connected(served) as third:
            await third.send(wire)
            assert await third.recv_exactly(len(wire)) == wire


# The reactions of a model to its tuning.


@pytest.mark.parametrize(
    ("name", "work"),
    [
        ("blocking", "wait"), ("threaded", "cpu"), ("pool", "block"), ("select", "cpu"), ("poll", "block"),
        ("epoll", "wait"), ("epoll", "cpu"),
    ],
)  # fmt: skip
async def test_work_is_spent_in_the_threads_of_the_server_and_the_end_does_not_wait_for_it(
    name: str, work: str
) -> None:
    wire = encode("length", b"x")
    tuning = experiment(server=name, work=work, service_time_s=60.0).tuning
    async with (
        serving(model_for("tcp", name), work=work, service_time_s=0.02) as served,
        connected(served) as peer,
    ):
        await peer.send(wire * 2)
        assert await peer.recv_exactly(len(wire) * 2) == wire * 2
        read_s, answered_s, *_ = served.recorder.exchanges.since(0).items[0]
        assert answered_s - read_s >= 0.019
        await served.endpoint.apply(tuning, 1)
        await peer.send(wire)
        await served.asked(3)
        served.endpoint.close(CloseReason.STOPPED)
        await until(lambda: served.endpoint.drained)
        assert served.recorder.closed[-1].close_reason is CloseReason.STOPPED


@pytest.mark.parametrize(("work", "waits"), [("wait", False), ("block", True), ("cpu", True)])
async def test_a_loop_that_is_kept_serves_nobody_else(work: str, waits: bool) -> None:
    """The lesson of ``block``: what one connection costs, everybody pays."""
    wire = encode("length", b"x")
    async with (
        serving(model_for("tcp", "epoll"), work=work, service_time_s=0.15) as served,
        connected(served) as first,
        connected(served) as second,
    ):
        await first.send(wire)
        await second.send(wire)
        assert await first.recv_exactly(len(wire)) == wire
        assert await second.recv_exactly(len(wire)) == wire
        done = sorted(served.recorder.exchanges.since(0).items, key=lambda exchange: exchange[0])
        (_, first_done_s, *_), (second_read_s, *_) = done
        assert (second_read_s >= first_done_s) == waits


async def test_more_than_the_pool_waits_in_the_backlog() -> None:
    model = model_for("tcp", "pool")
    wire = encode("length", b"x")
    async with serving(model) as served, contextlib.AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(connected(served)) for _ in range(model.at_once + 1)]
        for peer in peers:
            await peer.send(wire)
        for peer in peers[:-1]:
            assert await peer.recv_exactly(len(wire)) == wire
        assert (served.recorder.opened, peers[-1].received) == (model.at_once, 0)
        peers[0].sock.close()
        assert await peers[-1].recv_exactly(len(wire)) == wire


@pytest.mark.parametrize("name", ["blocking", "threaded", "epoll"])
async def test_datagrams_wait_for_their_turn_or_do_not(name: str) -> None:
    model = model_for("udp", name)
    numbers = range(1, 6)
    async with serving(model, service_time_s=0.03) as served, connected(served) as peer:
        for number in numbers:
            peer.sock.send(number.to_bytes(8, "big"))
        answers = [int.from_bytes(await peer.recv(), "big") for _ in numbers]
        assert sorted(answers) == list(numbers)
        await until(lambda: served.recorder.totals().responses == 5)
        times = [(read_s, done_s) for read_s, done_s, *_ in served.recorder.exchanges.since(0).items]
        one_after_the_other = all(
            read_s >= done_s for (_, done_s), (read_s, _) in itertools.pairwise(sorted(times))
        )
        assert one_after_the_other == (name == "blocking")


def test_an_endpoint_that_cannot_listen_leaves_no_thread() -> None:
    async def open_twice(name: str) -> None:
        held = socket.create_server(("127.0.0.1", 0))
        try:
            context = ServerContext(experiment(server=name), Recorder("server"))
            with pytest.raises(EngineError, match="port is in use"):
                open_endpoint(context, Assignment(Tuning(server=name), 0, held.getsockname()))
        finally:
            held.close()

    for name in NAMES["tcp"]:
        asyncio.run(open_twice(name))


# Changes at an awkward moment.


@pytest.mark.parametrize("change", [{"request_bytes": 128}, {"framing": "newline"}], ids=str)
async def test_who_waits_in_the_backlog_is_heard_with_the_frames_of_before(change: dict[str, Any]) -> None:
    # While one is served the others wait with a request out.
    async with running(
        grace_s=0.5, clients=5, server="blocking", framing="fixed", request_bytes=64, request_timeout_s=30.0
    ) as engine:
        await until(lambda: swarm_of(engine).connections_open == 5)
        await until(lambda: swarm_of(engine).totals.responses > 20)
        await tune(engine, **change)
        await until(lambda: not swarm_of(engine).rolling)
        await until(lambda: swarm_of(engine).totals.responses > 500)
        assert (swarm_of(engine).totals.timeouts, server_of(engine).totals.errors) == (0, 0)


@pytest.mark.parametrize("turns", range(5))
async def test_clients_that_retire_before_they_dial_do_not_dial(turns: int) -> None:
    # The few datagrams of two hundred that are lost are made up for soon.
    async with running(grace_s=0.5, clients=200, request_timeout_s=1.0) as engine:
        for _ in range(turns):
            await asyncio.sleep(0)
        await tune(engine, transport="udp")
        await until(lambda: swarm_of(engine).totals.responses > 200)
        totals = swarm_of(engine).totals
        assert (totals.connections_refused, totals.errors) == (0, 0)


async def test_datagrams_are_not_lost_by_two_changes_of_the_server_while_a_peer_is_silent() -> None:
    async with running(role="server", transport="udp") as engine:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.connect(("127.0.0.1", port_of(engine)))
            for number in range(1, 51):
                peer.send(number.to_bytes(SEQUENCE_BYTES, "big"))
            await until(lambda: server_of(engine).totals.datagrams_received == 50)
            await tune(engine, server="epoll")
            await tune(engine, server="threaded")
            peer.send((51).to_bytes(SEQUENCE_BYTES, "big"))
            await until(lambda: server_of(engine).totals.datagrams_received == 51)
            assert server_of(engine).totals.datagrams_lost == 0


@pytest.mark.parametrize("before", ["datagram", "blocking", "epoll"])
async def test_without_a_descriptor_for_its_successor_a_server_goes_on(
    before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def used_up(_: socket.socket) -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async with running(transport="udp", server=before) as engine:
        await until(lambda: swarm_of(engine).totals.responses > 20)
        with monkeypatch.context() as patch:
            patch.setattr(socket.socket, "dup", used_up)
            with pytest.raises(ListenError, match="no descriptors are left"):
                await tune(engine, server="threaded")
        counted = swarm_of(engine).totals.responses
        await until(lambda: swarm_of(engine).totals.responses > counted + 100)
        assert swarm_of(engine).totals.timeouts == 0
