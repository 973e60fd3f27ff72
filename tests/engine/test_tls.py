"""TLS between real ends: what it takes is counted, what fails has its reason, what is hostile is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sockscope.core.config.experiment import Experiment
from sockscope.core.config.models import CLIENTS
from sockscope.core.config.tls import Certificate
from sockscope.core.config.tuning import Tuning
from sockscope.core.events import CloseReason
from sockscope.engine.engine import Engine
from sockscope.engine.loops import run_on
from sockscope.engine.servers.registry import PRESENT_MODELS
from sockscope.engine.tls.contexts import ClientTls, check_files
from sockscope.engine.tls.throw_away import make_certificate
from sockscope.errors import ConfigError
from tests.engine.runs import (
    EVERYTHING,
    exchanges_of,
    experiment,
    port_of,
    running,
    server_of,
    swarm_of,
    tune,
)
from tests.waiting import until

pytest.importorskip("cryptography")
SERVERS = [model.name for model in PRESENT_MODELS if model.transport == "tcp"]
ON_LOOP = [model.name for model in PRESENT_MODELS if model.transport == "tcp" and not model.threaded]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Return what keeps a certificate with its key in a file, and returns the file's name."""
    folder, made = tmp_path_factory.mktemp("tls"), dict[str, Certificate]()

    def keep(name: str) -> str:
        path = folder / f"{name}.pem"
        if name not in made:
            made[name] = make_certificate([name])
            path.write_bytes(made[name].key + made[name].chain)
        return str(path)

    return keep


@asynccontextmanager
async def tls_server(serve: Serve, pem: str, **facts: Any) -> AsyncIterator[str]:
    """Serve over TLS by asyncio's own means, and yield the address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    for name, value in facts.items():
        setattr(context, name, value)
    async with serving(serve, ssl=context) as target:
        yield target


@asynccontextmanager
async def serving(serve: Serve, **more: Any) -> AsyncIterator[str]:
    tasks: set[asyncio.Task[None]] = set()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await serve(reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(served, "127.0.0.1", 0, **more)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x16\x03\x03\xff\xff" + bytes(70_000))
    await silence(reader, writer)


async def no_patience(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
    await silence(reader, writer)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_and_server_speaks_it_and_reuses_sessions(client: str, loop: str) -> None:
    async def run() -> None:
        for server in SERVERS if (client, loop) == ("protocol", "uvloop") else ON_LOOP:
            values: dict[str, Any] = {
                "tls": True,
                "client": client,
                "server": server,
                "request_bytes": 40_000,
            }
            async with running(clients=1, lifetime=2, requests=6, alpn="one,two", **values) as engine:
                await engine.wait()
                swarm, served = swarm_of(engine), server_of(engine)
                assert swarm.tls == served.tls
                assert swarm.tls.startswith("TLSv1.3 TLS_")
                assert swarm.tls.endswith(" one")
                capture = await engine.capture(exchanges_of(engine)[0].record_id)
                assert capture is not None
                assert capture.tls
                assert capture.server is not None
                assert b"sockscope abc" in capture.request.data  # as it was before it was encrypted
                for role in (swarm, served):
                    assert role.totals.responses == 6
                    assert role.totals.connections_opened == role.totals.handshakes == 3
                    assert role.totals.sessions_reused == 2
                    assert role.handshake_time.total == 3
                    assert role.totals.failed == role.totals.handshakes_failed == 0
                    assert role.totals.connections_truncated == 0
                    assert role.totals.bytes_in == role.totals.bytes_out == 6 * 40_004

    run_on(loop, run())


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("serve", "values", "why"),
    [
        ("own", {"tls_name": "127.0.0.9"}, ": IP address mismatch"),
        ("own", {"tls_ca": ""}, "self-signed certificate (--tls-ca"),
        (echo, {}, "the other end speaks no TLS"),
        (http, {}, "the other end speaks no TLS"),
        (nonsense, {}, "TLS: "),
        (silence, {"connect_timeout_s": 0.05}, "no handshake in time"),
        (no_patience, {}, "closed the connection during the handshake"),
    ],
    ids=["mismatch", "unknown CA", "echo", "http", "nonsense", "silence", "closes"],
)
async def test_a_handshake_that_fails_is_counted_with_its_reason(
    serve: str | Serve, values: dict[str, Any], why: str, client: str, files: Callable[..., str]
) -> None:
    plan = tls_server(echo, files("own")) if isinstance(serve, str) else serving(serve)
    facts: dict[str, Any] = {"tls_ca": files("own"), "tls_name": "localhost", "tls": True, "client": client}
    facts |= values
    async with plan as target, running(clients=2, role="swarm", target=target, **facts) as engine:
        await until(lambda: swarm_of(engine).totals.handshakes_failed >= 2)
        assert why in swarm_of(engine).last_trouble
        totals = swarm_of(engine).totals
        assert totals.connections_opened == totals.requests == totals.handshakes == 0
        assert totals.connections_failed == totals.connections_timed_out == totals.connections_reset == 0


@pytest.mark.parametrize("client", CLIENTS)
async def test_an_end_without_goodbye_is_no_end_of_an_answer(client: str, files: Callable[..., str]) -> None:
    says_goodbye = False

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        writer.write(b"all there is, perhaps")
        if says_goodbye:
            writer.close()
            await writer.wait_closed()
        else:
            sock = writer.get_extra_info("socket")
            await asyncio.sleep(0)
            with socket.fromfd(sock.fileno(), sock.family, sock.type) as below:
                below.shutdown(socket.SHUT_WR)

    facts: dict[str, Any] = {
        "tls": True,
        "tls_ca": files("own"),
        "answer": "eof",
        "request": "?",
        "client": client,
    }
    async with (
        tls_server(serve, files("own")) as target,
        running(clients=1, role="swarm", target=target, **facts) as engine,
    ):
        await until(lambda: swarm_of(engine).totals.connections_truncated >= 2)
        # A thread counts the one a little before the other.
        await until(lambda: swarm_of(engine).totals.errors >= 2)
        assert "it may have been cut off" in swarm_of(engine).last_trouble
        assert swarm_of(engine).totals.responses == 0
        says_goodbye = True
        await until(lambda: swarm_of(engine).totals.responses >= 2)


@pytest.mark.parametrize("client", CLIENTS)
async def test_what_is_no_tls_after_a_handshake_is_no_failed_handshake(
    client: str, files: Callable[..., str]
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        os.write(writer.get_extra_info("socket").fileno(), b"HTTP/1.0 400 Bad Request\r\n\r\n")
        await silence(reader, writer)

    facts: dict[str, Any] = {"tls_ca": files("own"), "tls_name": "localhost", "tls": True, "client": client}
    plan = tls_server(serve, files("own"))
    async with plan as target, running(clients=1, role="swarm", target=target, **facts) as engine:
        await until(lambda: swarm_of(engine).totals.errors >= 1)
        totals = swarm_of(engine).totals
        assert (totals.handshakes_failed, totals.responses) == (0, 0)
        assert "after the handshake is no TLS" in swarm_of(engine).last_trouble


def shaken(over: ssl.SSLSocket) -> bool:
    try:
        over.do_handshake()
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return False
    return True


@pytest.mark.parametrize("server", SERVERS)
async def test_hostile_clients_are_counted_events(server: str) -> None:
    async with running(role="server", tls=True, server=server) as engine:
        port = int(server_of(engine).address.rpartition(":")[2])
        with contextlib.ExitStack() as stack:
            for says in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"\xff" * 9):
                peer = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                peer.sendall(says)
                if says.startswith(b"\x16"):
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    peer.close()
            await until(lambda: server_of(engine).totals.handshakes_failed == 3)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            for says_goodbye in (True, False):
                peer = socket.create_connection(("127.0.0.1", port))
                peer.settimeout(0.0)
                over = stack.enter_context(context.wrap_socket(peer, do_handshake_on_connect=False))
                await until(partial(shaken, over))
                await until(lambda: server_of(engine).connections_open)
                if says_goodbye:
                    with contextlib.suppress(ssl.SSLWantReadError):
                        over.unwrap()
                over.shutdown(socket.SHUT_WR)
                await until(lambda: not server_of(engine).connections_open)
                assert server_of(engine).totals.connections_truncated == (not says_goodbye)
            # Who never says anything holds up nobody, not even the end.
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            faults = [e for e in engine.snapshot(EVERYTHING).events if e.reason is CloseReason.TLS]
            assert len(faults) == 3
            assert all(event.text.startswith("TLS: ") and event.address for event in faults)
            assert server_of(engine).totals.connections_opened == 2
            async with asyncio.timeout(60):
                await engine.stop(0.0)


async def test_both_ends_can_show_certificates(files: Callable[..., str]) -> None:
    certificates: dict[str, Any] = {"tls_cert": files("own"), "tls_client_cert": files("client")}
    async with running(tls=True, **certificates) as engine:
        await until(lambda: swarm_of(engine).totals.responses >= 4)
        assert server_of(engine).totals.handshakes == 4
        port = int(server_of(engine).address.rpartition(":")[2])
        facts: dict[str, Any] = {
            "role": "swarm",
            "target": f"127.0.0.1:{port}",
            "tls_ca": files("own"),
            "tls": True,
        }
        async with running(clients=1, **facts) as stranger:
            await until(lambda: server_of(engine).totals.handshakes_failed >= 1)
            await until(lambda: swarm_of(stranger).totals.errors)
            assert "without TLS's close_notify" in swarm_of(stranger).last_trouble
            assert swarm_of(stranger).totals.responses == 0


async def test_the_path_of_a_unix_socket_is_no_name_in_a_certificate(tmp_path: Path) -> None:
    async with running(tls=True, bind=f"unix:{tmp_path}/é", family="unix") as engine:
        await until(lambda: swarm_of(engine).totals.responses >= 1)


async def test_the_certificate_made_for_a_run_is_trusted_wherever_its_server_is_and_no_other() -> None:
    """As where a server of a cluster has gone over to a worker that nobody knew when it was made."""
    async with running(tls=True, role="server") as server:
        facts: dict[str, Any] = {
            "role": "swarm",
            "target": f"127.0.0.1:{port_of(server)}",
            "tls": True,
            "tls_name": "elsewhere.example",
        }
        engine, stranger = (
            Engine(experiment(**facts), made) for made in (server.certificate, make_certificate())
        )
        async with engine, stranger:
            await until(lambda: swarm_of(engine).totals.responses >= 4)
            await until(lambda: swarm_of(stranger).totals.handshakes_failed >= 1)
            assert "certificate" in swarm_of(stranger).last_trouble
            assert swarm_of(stranger).totals.responses == 0


def has_opened(engine: Engine, connections: int) -> bool:
    return swarm_of(engine).totals.connections_opened > connections


async def test_it_is_switched_on_and_off_while_the_run_goes_on() -> None:
    async with running(clients=8, lifetime=3, think_time_s=0.001) as engine:
        for tls in (True, False) * 3:  # each time some are about to connect
            await tune(engine, tls=tls)
            await until(lambda: not swarm_of(engine).rolling)
            handshakes = 0
            for _ in range(2):  # some were under way
                before = swarm_of(engine).totals
                await until(partial(has_opened, engine, before.connections_opened + 20))
                handshakes = swarm_of(engine).totals.handshakes - before.handshakes
            assert handshakes >= 20 if tls else handshakes == 0
        assert swarm_of(engine).totals.failed == 0
        assert swarm_of(engine).totals.handshakes_failed == 0


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_no_password_is_asked_for(files: Callable[..., str], tmp_path: Path) -> None:
    encrypted = tmp_path / "key.pem"
    command = [
        "openssl",
        "pkey",
        "-in",
        files("own"),
        "-aes128",
        "-passout",
        "pass:x",
        "-out",
        str(encrypted),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    with pytest.raises(ConfigError, match=r"tls_client_key = .* has an encrypted private key"):
        check_files(Experiment(tls_client_cert=files("own"), tls_client_key=str(encrypted)))


@pytest.mark.parametrize(
    ("values", "field", "why"),
    [
        ({"tls_ca": "nowhere.pem"}, "tls_ca", "cannot be read"),
        ({"tls_cert": "."}, "tls_cert", "not a regular file"),
        ({"tls_cert": __file__}, "tls_cert", "no certificate in PEM"),
        ({"tls_ca": __file__}, "tls_ca", "no file of certificates"),
        ({"tls_key": __file__}, "tls_key", "needs the certificate"),
        ({"alpn": "h2,,x"}, "alpn", "empty name"),
        ({"tls_name": "a b"}, "tls_name", "neither a host name nor an address"),
        ({"tls_insecure": True, "tls_ca": __file__}, "tls_insecure", "nothing would be checked"),
    ],
)
async def test_what_will_not_do_is_refused(values: dict[str, Any], field: str, why: str) -> None:
    with pytest.raises(ConfigError) as refused:
        await Engine(Experiment(Tuning(tls=True), **values)).start()
    assert [fault.field for fault in refused.value.faults] == [field]
    assert why in refused.value.faults[0].why


async def test_without_a_certificate_or_what_makes_one_the_cure_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(ConfigError, match=r"give --tls-cert, .*pip install 'sockscope\[tls\]'"):
        await Engine(Experiment(Tuning(tls=True))).start()


def test_behind_a_relay_the_certificate_is_that_of_the_target() -> None:
    aimed = ClientTls(Experiment(Tuning(tls=True), role="swarm", target="127.0.0.2:7443"), None)
    assert aimed.name_of(("127.0.0.2", 7443)) == aimed.name_of(("127.0.0.1", 40_000)) == "127.0.0.2"
    assert ClientTls(Experiment(Tuning(tls=True)), None).name_of(("127.0.0.1", 40_000)) == "127.0.0.1"
