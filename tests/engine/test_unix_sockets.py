"""Unix sockets: their names and files, and what is different about them."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from sockscope.core.config.models import CLIENTS
from sockscope.core.events import CloseReason
from sockscope.engine import unix_sockets
from sockscope.engine.accept_queue import accept_queue
from sockscope.engine.engine import Engine
from sockscope.engine.servers.asyncio import datagram, own_datagram
from sockscope.errors import ConfigError, ListenError, ResourceLimitError
from tests.engine.runs import EVERYTHING, connections_of, running, server_of, swarm_of, tune
from tests.waiting import until

KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
NAME = f"sockscope-test-{os.getpid()}"
transports = pytest.mark.parametrize("transport", KINDS)


@asynccontextmanager
async def unix_run(bind: str, **values: Any) -> AsyncIterator[Engine]:
    async with running(bind=bind, family="unix", **values) as engine:
        yield engine


@contextmanager
def bound(path: Path, transport: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, KINDS[transport]) as sock:
        sock.bind(str(path))
        if transport == "tcp":
            sock.listen()
        yield sock


async def answered(engine: Engine, more: int = 10) -> None:
    before = swarm_of(engine).totals.responses
    await until(lambda: swarm_of(engine).totals.responses >= before + more)


async def refused(bind: str, transport: str = "tcp") -> str:
    with pytest.raises(ListenError) as caught:
        async with unix_run(bind, transport=transport):
            pass
    return str(caught.value)


# Files.


@transports
async def test_the_file_is_there_while_the_server_is(tmp_path: Path, transport: str) -> None:
    path = tmp_path / "it.sock"
    mask = os.umask(0o027)
    try:
        async with unix_run(f"unix:{path}", transport=transport, requests=40) as engine:
            await engine.wait()
            assert server_of(engine).address == f"unix:{path}"
            assert stat.S_ISSOCK(path.stat().st_mode)
            assert stat.S_IMODE(path.stat().st_mode) == 0o750
    finally:
        os.umask(mask)
    assert not path.exists()
    assert swarm_of(engine).totals.responses == server_of(engine).totals.requests == 40


@transports
async def test_what_is_left_of_a_server_is_replaced_and_what_is_used_is_not(
    tmp_path: Path, transport: str
) -> None:
    path = tmp_path / "it.sock"
    with bound(path, "tcp") as live:
        assert "somebody listens there" in await refused(f"unix:{path}", transport)
        live.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody has called there to find that out
            live.accept()
    async with unix_run(f"unix:{path}", transport=transport, requests=4) as engine:
        await engine.wait()
    assert not path.exists()


async def test_what_is_no_socket_stays_and_is_told(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_text("mine")
    link.symlink_to(path)
    for one in (path, link, tmp_path):
        assert "what is there is no socket, and stays" in await refused(f"unix:{one}")
    assert path.read_text() == "mine"
    assert "there is no such directory" in await refused(f"unix:{tmp_path}/none/it.sock")
    assert "a part of the path is no directory" in await refused(f"unix:{path}/it.sock")
    async with unix_run(f"unix:@{NAME}"):
        assert "somebody listens there" in await refused(f"unix:@{NAME}")


async def test_the_file_of_somebody_else_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "it.sock"
    async with unix_run(f"unix:{path}", requests=4) as engine:
        await engine.wait()
        path.unlink()
        other = bound(path, "tcp")
        other.__enter__()
    assert path.exists()
    other.__exit__(None, None, None)


async def test_one_path_through_every_change_of_the_server(tmp_path: Path) -> None:
    path = tmp_path / "it.sock"
    async with unix_run(f"unix:{path}", clients=2) as engine:
        for change in (
            {"server": "threaded"}, {"transport": "udp", "server": "default"}, {"transport": "tcp"},
            {"transport": "udp"}, {"place": "server"}, {"transport": "tcp", "place": "loop"},
        ):  # fmt: skip
            await tune(engine, **change)
            await answered(engine)
            with socket.socket(socket.AF_UNIX, KINDS[engine.tuning.transport]) as sock:
                sock.connect(str(path))
        with pytest.raises(ConfigError, match="is not an address of the family ipv4"):
            await tune(engine, family="ipv4")
    assert not path.exists()
    totals = swarm_of(engine).totals
    assert (totals.errors, totals.timeouts) == (0, 0)


async def test_a_server_that_cannot_take_over_leaves_the_file_to_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    path = tmp_path / "it.sock"
    async with unix_run(f"unix:{path}", clients=2, lifetime=2) as engine:
        await answered(engine)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            with pytest.raises(ResourceLimitError):
                await tune(engine, transport="udp", server="blocking")
        await answered(engine)  # on new connections, to the same file
        assert os.listdir(tmp_path) == ["it.sock"]
    assert os.listdir(tmp_path) == []
    assert swarm_of(engine).totals.connections_failed == 0


@transports
async def test_where_names_are_files_they_are_temporary(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, transport: str
) -> None:
    monkeypatch.setattr(unix_sockets, "ABSTRACT_NAMES", False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with unix_run("", transport=transport, lifetime=5, requests=40) as engine:
        await engine.wait()
        assert server_of(engine).address.startswith(f"unix:{tmp_path}/sockscope-")
    assert swarm_of(engine).totals.responses == 40
    assert os.listdir(tmp_path) == []
    assert "no abstract names" in await refused("unix:@name")


# What is different.


@pytest.mark.parametrize(("transport", "client"), list(product(KINDS, CLIENTS)))
async def test_both_ends_know_each_other_by_their_names(transport: str, client: str) -> None:
    async with unix_run("unix:", transport=transport, client=client, clients=3, requests=30) as engine:
        await engine.wait()
        ends = [
            {
                (view.local_address, view.remote_address)
                for view in connections_of(engine, role).roles[role].connections
            }
            for role in ("swarm", "server")
        ]
    assert {(theirs, ours) for ours, theirs in ends[1]} == ends[0]
    assert len({ours for ours, _ in ends[0]}) == 3
    assert all(name.startswith("unix:@") for pair in ends[0] for name in pair)


@pytest.mark.parametrize("client", CLIENTS)
async def test_who_finds_the_backlog_full_waits_for_a_place(client: str) -> None:
    async with unix_run(
        "unix:", server="blocking", backlog=1, lifetime=1, client=client, clients=8, requests=24,
        connect_timeout_s=60.0,
    ) as engine:  # fmt: skip
        await engine.wait()
    totals = swarm_of(engine).totals
    assert (totals.responses, totals.connections_opened, totals.failed) == (24, 24, 0)
    assert (totals.connections_failed, totals.connections_timed_out, totals.connections_refused) == (0, 0, 0)


async def test_the_kernel_tells_how_many_wait_in_a_backlog(tmp_path: Path) -> None:
    path = tmp_path / "it.sock"
    async with unix_run(f"unix:{path}", role="server", server="blocking", backlog=5) as engine:
        with ExitStack() as clients:
            for _ in range(4):
                clients.enter_context(socket.socket(socket.AF_UNIX)).connect(str(path))
            await until(lambda: server_of(engine).backlog == 3)
            assert accept_queue((f"unix:{path}", 0)) == 3
            options = {one.name: one.effective for one in server_of(engine).socket_options}
            assert options.pop("backlog") == 5
            assert options.keys() == {"SO_SNDBUF"}
    assert accept_queue((f"unix:{path}", 0)) is None


@pytest.mark.parametrize("server", ["protocol", "threaded", "epoll"])
async def test_buffers_are_those_that_were_asked_for(server: str) -> None:
    async with unix_run("unix:", server=server, clients=1, sndbuf_bytes=16_384) as engine:
        await answered(engine)
        for role in (server_of(engine), swarm_of(engine)):
            [buffer] = [one for one in role.socket_options if one.name == "SO_SNDBUF"]
            assert (buffer.requested, buffer.effective) == (16_384, 32_768)


@pytest.mark.parametrize("values", [*({"client": client} for client in CLIENTS), {"clients": 4, "depth": 10}])
async def test_datagrams_wait_for_room_and_what_never_left_is_not_lost(
    tmp_path: Path, values: dict[str, Any]
) -> None:
    path = tmp_path / "it.sock"
    with bound(path, "udp") as receiver:  # as a syslog that never answers, and does not even read
        async with running(
            role="swarm", target=f"unix:{path}", family="unix", transport="udp",
            requests=40, request_timeout_s=0.1, **({"clients": 40} | values),
        ) as engine:  # fmt: skip
            await until(lambda: swarm_of(engine).totals.timeouts == 40)
            await until(
                lambda: swarm_of(engine).totals.datagrams_lost == swarm_of(engine).totals.datagrams_sent
            )
        totals = swarm_of(engine).totals
        receiver.setblocking(False)
        received = 0
        while True:
            try:
                receiver.recv(100)
            except BlockingIOError:
                break
            received += 1
    assert (totals.requests, totals.timeouts, totals.errors) == (40, 40, 0)
    assert 0 < totals.datagrams_sent == received < 40
    assert (totals.datagrams_held, totals.datagrams_lost) == (40 - received, received)
    assert totals.bytes_out == 64 * received


OWN_DATAGRAMS = {"protocol": "tests.engine.own_servers:EchoDatagrams"}


# The small ones fill the queue of who does not read, the large ones our own buffer.
@pytest.mark.parametrize(("serves", "size"), [(OWN_DATAGRAMS, 1_000), (OWN_DATAGRAMS, 10_000), ({}, 10_000)])
async def test_a_server_reads_on_when_answers_to_a_peer_that_does_not_read_are_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serves: dict[str, Any], size: int
) -> None:
    for module in (own_datagram, datagram):
        monkeypatch.setattr(module, "MOST_HELD_S", 0.05)
    own = {"role": "server", "transport": "udp", "service_time_s": 0.0, **serves}
    path = str(tmp_path / "it.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "deaf.sock"))
        deaf.setblocking(False)
        async with unix_run(f"unix:{path}", **own) as engine, asyncio.timeout(60):
            while not server_of(engine).totals.errors:
                with suppress(BlockingIOError):
                    deaf.sendto(bytes(size), path)
                await asyncio.sleep(0)
            assert "answer not sent" in str(engine.snapshot(EVERYTHING).events)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
                peer.bind(str(tmp_path / "peer.sock"))
                peer.setblocking(False)
                peer.connect(path)
                await asyncio.get_running_loop().sock_sendall(peer, b"hello")
                assert await asyncio.get_running_loop().sock_recv(peer, 100) == b"hello"


async def test_a_server_misses_no_number_of_what_never_left() -> None:
    async with unix_run(
        "unix:", transport="udp", server="blocking", clients=20, service_time_s=0.05, request_timeout_s=0.05
    ) as engine:
        await until(lambda: swarm_of(engine).totals.timeouts >= 60)
        await tune(engine, service_time_s=0.0, request_timeout_s=10.0)
        await answered(engine, 200)
    assert swarm_of(engine).totals.datagrams_held > 0
    assert server_of(engine).totals.datagrams_lost == 0


@pytest.mark.parametrize("server", ["datagram", "blocking", "epoll"])
async def test_a_sender_without_a_name_cannot_be_answered(server: str) -> None:
    async with unix_run(f"unix:@{NAME}", role="server", transport="udp", server=server) as engine:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.connect(f"\0{NAME}")
            for _ in range(3):
                sock.send(b"log this")
        await until(lambda: server_of(engine).totals.unexpected == 3)
        told = [event for event in engine.snapshot(EVERYTHING).events if "without a name" in event.text]
        assert [event.address for event in told] == ["unix:(unnamed)"]
        # Others are served as ever.
        async with running(
            role="swarm", target=f"unix:@{NAME}", family="unix", transport="udp", requests=8
        ) as swarm:
            await swarm.wait()
        assert swarm_of(swarm).totals.responses == 8


async def test_a_stream_without_a_name_is_told_as_such() -> None:
    async with unix_run(f"unix:@{NAME}", role="server", framing="newline") as engine:
        for server in ("protocol", "streams", "threaded", "epoll"):
            await tune(engine, server=server)
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(f"\0{NAME}")
                sock.setblocking(False)
                await asyncio.get_running_loop().sock_sendall(sock, b"hello\n")
                assert await asyncio.get_running_loop().sock_recv(sock, 100) == b"hello\n"
                views = connections_of(engine, "server").roles["server"].connections
                assert max(views, key=lambda view: view.conn_id).remote_address == "unix:(unnamed)"


UDP_SERVERS = ["datagram", "blocking", "threaded", "epoll"]


@pytest.mark.parametrize("server", UDP_SERVERS)
async def test_answers_wait_for_room_too(server: str) -> None:
    """Three of these fill the send buffer of a server that has the system's."""
    async with unix_run(
        "unix:", transport="udp", server=server, clients=20, request_bytes=60_000, requests=100
    ) as engine:
        await engine.wait()
    totals = swarm_of(engine).totals
    assert (totals.responses, totals.failed, server_of(engine).totals.errors) == (100, 0, 0)


@pytest.mark.parametrize("server", UDP_SERVERS)
async def test_a_peer_that_reads_late_gets_every_answer_and_one_that_is_gone_has_ended(
    tmp_path: Path, server: str
) -> None:
    async with unix_run(
        f"unix:@{NAME}", role="server", transport="udp", server=server, service_time_s=0.001
    ) as engine:
        with bound(tmp_path / "peer.sock", "udp") as peer:
            peer.settimeout(10)
            for number in range(1, 21):  # a queue has room for 11
                await asyncio.to_thread(peer.sendto, number.to_bytes(8, "big"), f"\0{NAME}")
            answers = [int.from_bytes(await asyncio.to_thread(peer.recv, 100)) for _ in range(20)]
            assert sorted(answers) == list(range(1, 21))
            await asyncio.to_thread(peer.sendto, (21).to_bytes(8, "big"), f"\0{NAME}")
        await until(lambda: server_of(engine).totals.connections_closed == 1)
        [view] = connections_of(engine, "server").roles["server"].connections
        assert (view.remote_address, view.close_reason) == (f"unix:{tmp_path}/peer.sock", CloseReason.EOF)
        assert server_of(engine).totals.errors == 0
