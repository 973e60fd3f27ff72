"""A server of one's own: served like any other, counted, and never the end of a run."""

from __future__ import annotations

import asyncio
import gc
import inspect
import re
import signal
import socket
import ssl
import struct
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sockscope.core.config.tuning import Tuning
from sockscope.core.connection import ConnectionRecord, ConnectionState
from sockscope.core.events import CloseReason, Event, EventKind
from sockscope.core.run.snapshot import RoleSnapshot
from sockscope.core.wire.framing import encode
from sockscope.engine import own_life
from sockscope.engine.captures import CAPTURE_BYTES, payload_of
from sockscope.engine.loops import run_on
from sockscope.engine.own_code import imported_anew, load, look_for, reload
from sockscope.engine.own_errors import ELSEWHERE, MOST_PLACES, RaisedTable, place_of, told
from sockscope.engine.own_forms import Form
from sockscope.engine.own_process import lent_process
from sockscope.engine.recorder import Recorder
from sockscope.engine.role import Assignment
from sockscope.engine.servers.asyncio.own import OwnEndpoint
from sockscope.engine.servers.asyncio.own_guard import OwnGuard
from sockscope.engine.servers.endpoint import ServerContext
from sockscope.engine.servers.own_server import OwnServer
from sockscope.engine.servers.threads import own as threads_own
from sockscope.engine.servers.threads.own import OwnThreadsEndpoint
from sockscope.engine.swarm.links import LINKS
from sockscope.errors import ConfigError, ListenError
from tests.engine import own_servers
from tests.engine.conftest import open_sockets
from tests.engine.runs import (
    EVERYTHING,
    exchanges_of,
    experiment,
    running,
    server_of,
    swarm_of,
    tune,
)
from tests.waiting import until

HERE = "tests.engine.own_servers"
ECHOES = [
    {"handler": f"{HERE}:echo"},
    {"handler": f"{HERE}:awaitable"},
    {"protocol": f"{HERE}:Echo"},
    {"protocol": f"{HERE}:make_echo"},
    {"protocol": f"{HERE}:promise_echo"},
    {"protocol": f"{HERE}:Namespace.Echo"},
]
echoes = pytest.mark.parametrize("own", ECHOES, ids=lambda own: next(iter(own.values())).partition(":")[2])


@asynccontextmanager
async def serving(**values: Any) -> AsyncIterator[tuple[Any, Recorder]]:
    """Serve on loopback without a swarm."""
    chosen = experiment(**values)
    recorder = Recorder("server")
    host = "::1" if chosen.tuning.family == "ipv6" else "127.0.0.1"
    server = OwnServer(chosen)
    await server.begin()
    endpoint = server.open(ServerContext(chosen, recorder), Assignment(chosen.tuning, 0, (host, 0)))
    assert isinstance(endpoint, OwnEndpoint | OwnThreadsEndpoint)
    try:
        yield endpoint, recorder
    finally:
        endpoint.close(CloseReason.STOPPED)
        await until(lambda: endpoint.drained)
        await server.end()
        recorder.fold()
        assert not recorder.live


@asynccontextmanager
async def peer(endpoint: Any) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*endpoint.address)
    try:
        async with asyncio.timeout(60):
            yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def closed(recorder: Recorder) -> ConnectionRecord:
    await until(lambda: recorder.closed, what="the server closes the connection")
    return recorder.closed[-1]


def errors_of(recorder: Recorder) -> list[Event]:
    return [event for event in recorder.events.newest_first() if event.kind is EventKind.ERROR]


# Serving.


@echoes
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
@pytest.mark.parametrize("framing", ["length", "newline", "fixed"])
async def test_both_ends_count_the_same(own: dict[str, Any], family: str, framing: str) -> None:
    async with running(framing=framing, family=family, requests=200, **own) as engine:
        await engine.wait()
    swarm, server = swarm_of(engine).totals, server_of(engine)
    assert (swarm.responses, swarm.errors, swarm.timeouts) == (200, 0, 0)
    assert server.counts_frames
    assert (server.totals.requests, server.totals.responses, server.totals.errors) == (200, 200, 0)
    assert (server.totals.bytes_in, server.totals.bytes_out) == (swarm.bytes_out, swarm.bytes_in)
    assert server.totals.reads == server.totals.writes == 200
    assert server.totals.connections_closed == swarm.connections_opened == 4


@pytest.mark.parametrize(
    "own",
    [
        *({"handler": f"{HERE}:{name}"} for name in (
            "make_handler", "calls_back", "returns_a_task", "Methods", "methods.bound", "Methods.static",
            "partial_echo", "decorated",
        )),
        *({"protocol": f"{HERE}:{name}"} for name in ("EchoFromABuffer", "make_buffering", "Upgrades")),
        *({"handler": f"{HERE}:{name}"} for name in (
            "blocks", "blocks_with_address", "blocks_on_files", "blocks_on_pieces", "blocks_on_the_rest",
            "StreamRequests", "Requests", "CallableOnSockets",
        )),
        {"handler": f"{HERE}:makes_a_blocking_one", "handler_arg": "size=5"},
    ],
    ids=lambda own: next(iter(own.values())).partition(":")[2],
)  # fmt: skip
async def test_whatever_asyncio_can_call_serves(own: dict[str, Any]) -> None:
    async with running(framing="newline", requests=60, lifetime=10, **own) as engine:
        await engine.wait()
    swarm, server = swarm_of(engine).totals, server_of(engine)
    assert (swarm.responses, swarm.errors, swarm.timeouts) == (60, 0, 0)
    assert (server.totals.requests, server.totals.responses, server.raised) == (60, 60, ())
    assert (server.totals.bytes_in, server.totals.bytes_out) == (swarm.bytes_out, swarm.bytes_in)
    if "uffer" in next(iter(own.values())):
        assert server.totals.reads >= 60 * 5, "65 B in reads of 16 B"


LINES: dict[str, Any] = {"request": "ping\\n", "until": "\\n", "requests": 20}


@pytest.mark.parametrize("own", [
    {"handler": f"{HERE}:prefixes"}, {"handler": f"{HERE}:Prefixing"}, {"handler": f"{HERE}:make_prefixing"},
    {"protocol": f"{HERE}:PrefixingProtocol"}, {"protocol": f"{HERE}:make_prefixing_protocol"},
], ids=lambda own: next(iter(own.values())).partition(":")[2])  # fmt: skip
async def test_arguments_are_for_the_server_or_for_what_makes_it(own: dict[str, Any]) -> None:
    async with running(handler_arg="prefix=5 >\ntimes=2", **own, **LINES) as engine:
        await engine.wait()
    swarm = swarm_of(engine).totals
    assert (swarm.responses, swarm.bytes_in) == (20, 20 * len("5 >5 >ping\n"))
    for arguments in ("prefix=x\nsize=1", "times=1"):
        with pytest.raises(ConfigError, match=r"must take|takes .*--handler-arg"):
            load(experiment(handler_arg=arguments, **own))


def hooks_of(startup: str, shutdown: str) -> dict[str, Any]:
    names = {"startup": startup, "shutdown": shutdown}
    return {key: f"{HERE}:{name}" for key, name in names.items() if name}


@pytest.mark.parametrize(
    ("startup", "shutdown", "greeting", "lived"),
    [
        ("prepare", "end", b"prepared ", ["ended b'prepared '"]),
        ("around", "end", b"around ", ["left", "ended b'around '"]),
        ("", "end", b"", ["ended b''"]),
    ],
)
async def test_what_comes_before_and_after_the_server(
    startup: str, shutdown: str, greeting: bytes, lived: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_servers, "lived", [])
    hooks = hooks_of(startup, shutdown)
    async with running(handler=f"{HERE}:greets", **hooks, **LINES) as engine:
        await engine.wait()
        assert own_servers.lived == []
    swarm = swarm_of(engine).totals
    assert (swarm.responses, swarm.bytes_in) == (20, 20 * len(greeting + b"ping\n"))
    assert own_servers.lived == lived
    assert server_of(engine).raised == ()


@pytest.mark.parametrize(
    ("startup", "why"),
    [
        ("fails_at_once", "raised ValueError at tests/engine/own_servers.py:"),
        ("generates", "is a generator: put @contextlib.asynccontextmanager above it"),
        ("either", "must take no arguments, but takes (a, b)"),
        ("never_returns", "does not return within 0.05 s: it waits at tests/engine/own_servers.py:"),
    ],
)
async def test_a_startup_that_fails_is_told(startup: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_life, "STARTUP_S", 0.05)
    before = open_sockets()
    with pytest.raises(ConfigError) as caught:
        async with running(handler=f"{HERE}:greets", startup=f"{HERE}:{startup}", **LINES):
            pass
    [fault] = caught.value.faults
    assert (fault.field, fault.value) == ("startup", f"{HERE}:{startup}")
    assert why in fault.why
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert open_sockets() <= before


@pytest.mark.parametrize(
    ("startup", "shutdown", "told"),
    [
        ("fails_at_the_end", "", "ValueError at tests/engine/own_servers.py:"),
        ("fails_meanwhile", "", "ValueError at tests/engine/own_servers.py:"),
        ("", "never_returns", "never_returns does not return within 0.2 s: it waits at tests/engine/own"),
    ],
)
async def test_what_fails_later_is_counted_and_told(
    startup: str, shutdown: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_life, "SHUTDOWN_S", 0.2)
    hooks = hooks_of(startup, shutdown)
    async with running(handler=f"{HERE}:greets", **hooks, **LINES) as engine:
        await engine.wait()
    server = server_of(engine)
    assert told in server.last_trouble
    assert server.totals.errors == 1
    assert swarm_of(engine).totals.responses == 20
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_what_goes_by_in_tls_is_counted_as_plain_bytes(loop: str) -> None:
    async def talk() -> tuple[int, int, int, CloseReason | None]:
        trusting = ssl.create_default_context(cafile=Path(__file__).with_name("localhost.pem"))
        own: dict[str, Any] = {"handler": f"{HERE}:starts_tls", "framing": "newline"}
        async with serving(**own) as (endpoint, recorder):
            async with peer(endpoint) as (reader, writer):
                for line in (b"before\n", b"STARTTLS\n", b"within\n", b"again\n"):
                    writer.write(line)
                    assert await reader.readline() == line
                    if line == b"STARTTLS\n":
                        await writer.start_tls(trusting, server_hostname="localhost")
            record, totals = await closed(recorder), recorder.totals()
            assert (recorder.errors, recorder.counts_frames) == (0, True)
            recorder.fold()
            exchange = recorder.exchanges.get(2)
            assert exchange is not None
            assert exchange[3:] == (b"within\n", b"within\n")
            return totals.requests, totals.bytes_in, totals.bytes_out, record.close_reason

    assert run_on(loop, talk()) == (4, 29, 29, CloseReason.EOF)


# Over UDP.


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("name", ["EchoDatagrams", "LateDatagrams", "EchoEither"])
def test_a_datagram_protocol_serves_and_both_ends_count_the_same(name: str, loop: str) -> None:
    async def run() -> None:
        async with running(protocol=f"{HERE}:{name}", transport="udp", requests=100) as engine:
            await engine.wait()
            exchange = exchanges_of(engine)[-1]
            capture = await engine.capture(exchange.record_id)
            assert capture is not None
            assert capture.server is not None
            assert capture.server.request.data == capture.request.data
        swarm, server = swarm_of(engine).totals, server_of(engine)
        assert (swarm.responses, swarm.timeouts, swarm.errors) == (100, 0, 0)
        totals = server.totals
        assert (totals.requests, totals.responses, totals.datagrams_lost) == (100, 100, 0)
        assert (totals.datagrams_received, totals.datagrams_sent) == (100, 100)
        assert (totals.bytes_in, totals.bytes_out) == (swarm.bytes_out, swarm.bytes_in)

    run_on(loop, run())


async def test_a_datagram_protocol_answers_what_it_likes() -> None:
    asked: dict[str, Any] = {"request": "ping", "accept": "PING", "requests": 40}
    async with running(protocol=f"{HERE}:ShoutDatagrams", transport="udp", **asked) as engine:
        await engine.wait()
    assert (swarm_of(engine).totals.responses, swarm_of(engine).totals.answers_rejected) == (40, 0)
    assert server_of(engine).totals.datagrams_lost == 0


async def test_a_datagram_protocol_that_raises_goes_on_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_servers, "lived", [])
    values: dict[str, Any] = {"transport": "udp", "request_timeout_s": 0.02}
    async with running(protocol=f"{HERE}:FailingDatagrams", **values) as engine:
        await until(lambda: server_of(engine).totals.errors >= 3)
        answered = swarm_of(engine).totals.responses
        await until(lambda: swarm_of(engine).totals.responses > answered)
    [raised] = server_of(engine).raised
    assert (raised.what, raised.count) == ("ValueError", server_of(engine).totals.errors)
    assert own_servers.lived == ["lost"]


async def test_a_protocol_of_either_kind_follows_the_transport() -> None:
    before = open_sockets()
    async with running(protocol=f"{HERE}:EchoEither") as engine:
        for transport in ("udp", "tcp", "udp"):
            await tune(engine, transport=transport)
            seen = swarm_of(engine).totals.responses
            await until(lambda seen=seen: swarm_of(engine).totals.responses > seen + 20)  # type: ignore[misc]
            assert server_of(engine).transport == transport
    assert open_sockets() <= before


@pytest.mark.parametrize(
    ("name", "transport", "why"),
    [
        ("EchoDatagrams", "tcp", "cannot be combined with --protocol, which serves UDP"),
        ("Echo", "udp", "cannot be combined with --protocol, which serves TCP"),
        ("UnmadeDatagrams", "udp", r"raised ValueError at tests/engine/own_servers.py:\d+: third"),
    ],
)
async def test_the_other_transport_is_refused(name: str, transport: str, why: str) -> None:
    before = open_sockets()
    with pytest.raises(ConfigError, match=why):
        async with running(protocol=f"{HERE}:{name}", transport=transport):
            pass
    assert open_sockets() <= before


# In threads.


@asynccontextmanager
async def in_threads(name: str, **values: Any) -> AsyncIterator[tuple[OwnThreadsEndpoint, Recorder]]:
    async with serving(handler=f"{HERE}:{name}", framing="newline", **values) as (endpoint, recorder):
        assert isinstance(endpoint, OwnThreadsEndpoint)
        yield endpoint, recorder


@pytest.mark.parametrize(
    ("name", "reason", "text"),
    [
        ("fails_after_one", CloseReason.RAISED, "ValueError at tests/engine/own_servers.py:"),
        ("exits_after_one", CloseReason.RAISED, "SystemExit at tests/engine/own_servers.py:"),
        ("sends_a_file_and_leaves", CloseReason.CLOSED, f"left by {HERE}:"),
        ("blocks_with_address", CloseReason.EOF, ""),
    ],
)
async def test_how_a_connection_in_a_thread_ends(name: str, reason: CloseReason, text: str) -> None:
    async with in_threads(name) as (endpoint, recorder), peer(endpoint) as (reader, writer):
        writer.write(b"hello\n")
        writer.write_eof()
        answer = await reader.read()
        recorder.start()
        await closed(recorder)
        recorder.stop()
        record, totals = recorder.closed[-1], recorder.totals()
        assert (record.close_reason, record.close_text[: len(text)]) == (reason, text)
        assert (totals.reads, totals.bytes_in, totals.bytes_out) == (1, 6, len(answer))
        raised = reason is CloseReason.RAISED
        assert (recorder.errors, sum(row.count for row in endpoint.server.raised.rows())) == (raised, raised)


@pytest.mark.parametrize("name", ["asks_for_the_lost", "blocks", "blocks_with_address", "StreamRequests"])
async def test_a_peer_that_is_gone_at_once_is_no_fault_of_the_code_in_a_thread(name: str) -> None:
    async with in_threads(name) as (endpoint, recorder):
        for _ in range(20):
            with socket.create_connection(endpoint.address) as gone:
                gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        recorder.start()
        await until(lambda: len(recorder.closed) == 20)
        recorder.stop()
        assert (recorder.errors, errors_of(recorder)) == (0, [])


async def test_tls_of_its_own_in_a_thread_is_served_and_not_counted() -> None:
    trusting = ssl.create_default_context(cafile=Path(__file__).with_name("localhost.pem"))
    async with in_threads("blocks_in_tls") as (endpoint, recorder), peer(endpoint) as (reader, writer):
        await writer.start_tls(trusting, server_hostname="localhost")
        writer.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
        recorder.fold()
        assert not recorder.counts_frames
        assert "what goes by after detach() at tests/engine/own_servers.py:" in errors_of(recorder)[0].text
        # Nobody hangs up: the end is brought about from here.
        endpoint.close(CloseReason.STOPPED)
        await until(lambda: endpoint.drained)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("spins", "had to be broken off: it did not end with its connection"),
        ("swallows_its_end", "does not end and is left behind at tests/engine/own_servers.py:"),
    ],
)
async def test_a_thread_that_does_not_end_is_ended_or_told(
    name: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads_own, "BREAK_S", 0.2)
    own_servers.spared.clear()
    before = open_sockets()
    values: dict[str, Any] = {"handler": f"{HERE}:{name}", "framing": "newline", "clients": 1}
    async with running(grace_s=0.0, request_timeout_s=60.0, **values) as engine:
        await until(lambda: swarm_of(engine).totals.responses >= 1)
    assert any(told in event.text for event in engine.snapshot(EVERYTHING).events)
    own_servers.spared.set()
    await until(lambda: not any("sockscope" in thread.name for thread in threading.enumerate()))
    assert open_sockets() <= before


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("how", ["garbage", "gone", "stopped"])
def test_a_handshake_that_fails_ends_its_connection(loop: str, how: str) -> None:
    async def talk() -> int:
        async with serving(handler=f"{HERE}:starts_tls", framing="newline") as (endpoint, recorder):
            async with peer(endpoint) as (reader, writer):
                writer.write(b"STARTTLS\n")
                assert await reader.readline() == b"STARTTLS\n"
                if how == "garbage":
                    writer.write(b"no handshake\n")
                    await reader.read()
                elif how == "stopped":
                    endpoint.close(CloseReason.STOPPED)
            await closed(recorder)
            await until(lambda: endpoint.drained)
            return recorder.errors

    assert run_on(loop, talk()) == (how == "garbage")


def test_a_file_that_is_sent_is_counted() -> None:
    sent = Path(own_servers.__file__).read_bytes()

    async def talk() -> None:
        async with (
            serving(handler=f"{HERE}:sends_a_file", framing="newline") as (endpoint, recorder),
            peer(endpoint) as (reader, writer),
        ):
            for _ in range(2):
                writer.write(b"send\n")
                assert await reader.readexactly(len(sent)) == sent
            await until(lambda: recorder.totals().writes == 2)
            assert (recorder.totals().bytes_out, recorder.counts_frames) == (2 * len(sent), False)
            recorder.fold()
            exchange = recorder.exchanges.get(1)
            assert exchange is not None
            payload = payload_of(exchange[4])  # type: ignore[arg-type]
            assert (payload.data, payload.real_length) == (sent[:CAPTURE_BYTES], len(sent))

    run_on("asyncio", talk())


async def test_a_frame_in_pieces_is_one_request_and_what_the_server_read_is_captured() -> None:
    async with (
        serving(handler=f"{HERE}:read_exactly") as (endpoint, recorder),
        peer(endpoint) as (reader, writer),
    ):
        wire = encode("length", b"x" * 64)
        for reads, piece in enumerate((wire[:1], wire[1:10], wire[10:]), 1):
            writer.write(piece)
            await until(lambda reads=reads: recorder.totals().reads == reads)  # type: ignore[misc]
        assert await reader.readexactly(68) == wire
        totals = recorder.totals()
        assert (totals.messages_torn, totals.reads_merged) == (1, 0)
        writer.write(wire + wire)
        assert await reader.readexactly(136) == wire + wire
        both = recorder.totals()
        assert (both.requests, both.messages_torn, both.reads_merged) == (3, 1, 1)
        assert (totals.requests, totals.responses, totals.reads, totals.writes) == (1, 1, 3, 1)
        recorder.fold()
        exchange = recorder.exchanges.get(0)
        assert exchange is not None
        read_s, answered_s, _, request, answer = exchange
        assert 0 < read_s <= answered_s
        assert (request.data, request.reads, request.real_length) == (wire, (1, 10), 68)  # type: ignore[union-attr]
        assert answer == wire


async def test_the_inspector_shows_both_ends() -> None:
    values: dict[str, Any] = {"request": "ping\\n", "until": "\\n", "handler": f"{HERE}:shout"}
    async with running(requests=20, **values) as engine:
        await engine.wait()
        exchange = exchanges_of(engine)[-1]
        capture = await engine.capture(exchange.record_id)
        assert capture is not None
        assert capture.framing == "until \\n"
        assert capture.request.data == b"ping\n"
        assert capture.response is not None
        assert capture.response.data == b"PING\n"
        assert capture.server is not None
        assert capture.server.request.data == b"ping\n"
        assert exchange.time_s <= capture.server.read_s <= capture.server.answered_s


@pytest.mark.parametrize(
    ("own", "dialogue"),
    [
        ({"handler": f"{HERE}:pong"}, {"request": "PING\\r\\n", "until": "\\r\\n"}),
        ({"handler": f"{HERE}:pong"}, {"request": "PING\\r\\n", "expect_bytes": 7}),
        ({"handler": f"{HERE}:shout"}, {"request": "ping\\n", "framing": "none"}),
        ({"handler": f"{HERE}:shout"}, {"request": "ping", "framing": "newline"}),
    ],
    ids=["until", "expect", "none", "newline"],
)
@pytest.mark.parametrize(
    "tuned", [{}, {"permits": 2}, {"lifetime": 3}], ids=["steady", "permits", "lifetime"]
)
async def test_an_answer_need_not_be_the_request(
    own: dict[str, Any], dialogue: dict[str, Any], tuned: dict[str, Any]
) -> None:
    async with running(requests=120, **own, **dialogue, **tuned) as engine:
        await engine.wait()
    swarm, server = swarm_of(engine).totals, server_of(engine)
    assert (swarm.requests, swarm.responses, swarm.errors, swarm.timeouts) == (120, 120, 0, 0)
    assert server.counts_frames == (dialogue.get("framing") == "newline")
    if server.counts_frames:
        assert (server.totals.requests, server.totals.responses) == (120, 120)
    assert server.totals.bytes_in == swarm.bytes_out
    assert {exchange.outcome for exchange in exchanges_of(engine)} == {"ok"}


@pytest.mark.parametrize(
    ("client", "tuned", "ends"),
    [
        (client, tuned, ends)
        for transport, client in LINKS
        for tuned, ends in (
            ({}, {"until": "\\r\\n"}),
            ({"depth": 4}, {"expect_bytes": 7}),
            ({"depth": 4, "batch": 2}, {"answer": "resp"}),
            ({"pool": 2}, {"until": "\\r\\n"}),
        )
        if transport == "tcp" and not (client == "blocking" and tuned)
    ],
    ids=str,
)
async def test_every_client_takes_such_answers(
    client: str, tuned: dict[str, Any], ends: dict[str, Any]
) -> None:
    asked: dict[str, Any] = {"handler": f"{HERE}:pong", "request": "PING\\r\\n", "client": client}
    async with running(requests=120, **asked, **tuned, **ends) as engine:
        await engine.wait()
    swarm = swarm_of(engine).totals
    assert (swarm.requests, swarm.responses, swarm.errors, swarm.timeouts) == (120, 120, 0, 0)
    assert (swarm.bytes_out, swarm.bytes_in) == (120 * 6, 120 * 7)


@pytest.mark.parametrize(
    ("dialogue", "why"),
    [({"request": "twice", "framing": "newline"}, "more than the answer"),
     ({"request": "twice\\n", "until": "\\n"}, "more than the answer"),
     ({"framing": "newline"}, "does not echo")],
)  # fmt: skip
async def test_what_is_no_answer_stays_garbage(dialogue: dict[str, Any], why: str) -> None:
    async with running(handler=f"{HERE}:shout", **dialogue) as engine:
        await until(lambda: swarm_of(engine).totals.errors >= 4)
        events = engine.snapshot(EVERYTHING).events
        assert any(event.reason is CloseReason.GARBAGE and why in event.text for event in events)
    assert swarm_of(engine).totals.responses == 0


async def test_an_answer_that_does_not_end_in_time_times_out() -> None:
    never: dict[str, Any] = {"request": "ping\\n", "until": "\\0", "handler": f"{HERE}:shout"}
    async with running(request_timeout_s=0.02, **never) as engine:
        await until(lambda: swarm_of(engine).totals.timeouts >= 4)
    assert swarm_of(engine).totals.responses == 0


async def test_bytes_that_are_not_the_framing_leave_requests_uncounted() -> None:
    async with serving(protocol=f"{HERE}:Echo") as (endpoint, recorder), peer(endpoint) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await reader.readexactly(18) == b"GET / HTTP/1.1\r\n\r\n"
        assert not recorder.counts_frames
        assert (recorder.totals().reads, recorder.totals().errors) == (1, 0)


async def test_the_tuning_reaches_what_it_can() -> None:
    async with running(handler=f"{HERE}:echo", max_connections=4) as engine:
        await tune(engine, no_delay=False, framing="newline", family="ipv6")
        await until(lambda: "[::1]" in server_of(engine).address)
        await until(lambda: swarm_of(engine).totals.responses > 50 and not swarm_of(engine).rolling)
        options = {option.name: option.effective for option in server_of(engine).socket_options}
        assert options["TCP_NODELAY"] == 0
        for changes, key in (({"service_time_s": 1.0}, "service_time"), ({"work": "cpu"}, "work")):
            with pytest.raises(ConfigError) as caught:
                await tune(engine, **changes)
            assert [(fault.field, "serves, not a model" in fault.why) for fault in caught.value.faults] == [
                (key, True)
            ]
        with pytest.raises(ConfigError, match="cannot be combined with --handler"):
            await tune(engine, transport="udp")


# What ends a connection.


@pytest.mark.parametrize(
    ("own", "reason", "text"),
    [
        ({"handler": f"{HERE}:leave_open"}, CloseReason.CLOSED, "left by"),
        ({"handler": f"{HERE}:close_at_once"}, CloseReason.CLOSED, "closed by"),
    ],
)
async def test_the_user_closes(own: dict[str, str], reason: CloseReason, text: str) -> None:
    async with serving(**own) as (endpoint, recorder), peer(endpoint) as (reader, writer):
        with suppress(OSError):  # it may close with bytes unread
            writer.write(b"hello")
            await reader.read()
        record = await closed(recorder)
        assert (record.close_reason, record.close_text) == (reason, f"{text} {own['handler']}")
        assert recorder.errors == 0


@echoes
async def test_the_peer_closes(own: dict[str, str]) -> None:
    async with serving(**own) as (endpoint, recorder), peer(endpoint) as (reader, writer):
        writer.write(b"hello")
        writer.write_eof()
        assert await reader.read() == b"hello"
        assert (await closed(recorder)).close_reason is CloseReason.EOF
        assert recorder.errors == 0


async def test_a_half_closed_connection_may_go_on() -> None:
    async with (
        serving(protocol=f"{HERE}:HalfCloser") as (endpoint, recorder),
        peer(endpoint) as (reader, writer),
    ):
        writer.write(b"hello ")
        writer.write_eof()
        assert await reader.read() == b"hello goodbye"
        record = await closed(recorder)
        assert (record.close_reason, record.frames_in) == (CloseReason.EOF, 0)


@pytest.mark.parametrize("how", ["eof", "reset"])
async def test_a_peer_that_leaves_is_no_fault_of_a_handler_that_does_not_mind(how: str) -> None:
    async with serving(handler=f"{HERE}:read_exactly") as (endpoint, recorder), peer(endpoint) as (_, writer):
        writer.write(b"x")
        await until(lambda: recorder.totals().reads)
        if how == "reset":
            writer.transport.get_extra_info("socket").setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER
            writer.transport.abort()
        else:
            writer.write_eof()
        record = await closed(recorder)
        assert record.close_reason is (CloseReason.RESET if how == "reset" else CloseReason.EOF)
        await until(lambda: not endpoint._handlers)
        assert (recorder.errors, errors_of(recorder)) == (0, [])


async def test_silence_closes_a_connection() -> None:
    async with (
        serving(handler=f"{HERE}:echo", idle_timeout_s=0.05) as (endpoint, recorder),
        peer(endpoint) as (reader, _),
    ):
        assert await reader.read() == b""
        assert (await closed(recorder)).close_reason is CloseReason.IDLE


async def test_a_key_closes_a_connection() -> None:
    async with serving(handler=f"{HERE}:echo") as (endpoint, recorder), peer(endpoint):
        await until(lambda: endpoint.connections)
        assert endpoint.close_connection(1, CloseReason.CLOSED)
        assert (await closed(recorder)).close_reason is CloseReason.CLOSED


@pytest.mark.parametrize("name", ["echo", "read_exactly"])
async def test_a_server_that_stops_lets_the_handler_answer(name: str) -> None:
    async with serving(handler=f"{HERE}:{name}") as (endpoint, recorder), peer(endpoint) as (reader, writer):
        wire = encode("length", b"x" * 64)
        writer.write(wire)
        await until(lambda: recorder.totals().writes)
        endpoint.finish(CloseReason.STOPPED)
        assert await reader.read() == wire
        assert recorder.errors == 0
        assert (await closed(recorder)).close_reason is CloseReason.STOPPED
        await until(lambda: endpoint.drained)


async def test_a_peer_that_does_not_read_is_seen() -> None:
    async with (
        serving(handler=f"{HERE}:echo", sndbuf_bytes=4096) as (endpoint, recorder),
        peer(endpoint) as (reader, writer),
    ):
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        chunk = bytes(65_536)
        while not any(r.state is ConnectionState.PAUSED for r in recorder.records()):
            writer.write(chunk)
            await asyncio.sleep(0)


# What raises.


@pytest.mark.parametrize(
    ("own", "text"),
    [
        ({"protocol": f"{HERE}:FragileAtMaking"}, "RuntimeError at {place}: in __init__"),
        ({"protocol": f"{HERE}:FragileAtOpening"}, "RuntimeError at {place}: in connection_made"),
        ({"protocol": f"{HERE}:FragileAtReading"}, "RuntimeError at {place}: in data_received"),
        ({"protocol": f"{HERE}:FragileAtEnd"}, "RuntimeError at {place}: in eof_received"),
        ({"protocol": f"{HERE}:FragileBuffer"}, "RuntimeError at {place}: in get_buffer"),
        ({"handler": f"{HERE}:exit_process"}, "SystemExit at {place}: bye"),
        ({"handler": f"{HERE}:cancel_itself"}, "CancelledError at {place}"),
    ],
    ids=lambda value: next(iter(value.values())).partition(":")[2] if isinstance(value, dict) else "",
)
async def test_what_the_users_code_raises_is_counted_and_told(own: dict[str, str], text: str) -> None:
    async with serving(**own) as (endpoint, recorder), peer(endpoint) as (reader, writer):
        with suppress(OSError):  # it may have closed already, and with bytes unread
            writer.write(b"x" * 10)
            writer.write_eof()
            await reader.read()
        record = await closed(recorder)
        assert record.close_reason is CloseReason.RAISED
        wanted = re.escape(text).replace(r"\{place\}", r"tests/engine/own_servers\.py:\d+")
        assert re.match(wanted, record.close_text), record.close_text
        [error] = errors_of(recorder)
        assert (error.text, error.reason, error.conn_id) == (record.close_text, CloseReason.RAISED, 1)
        assert (recorder.errors, endpoint.server.last_trouble) == (1, record.close_text)


async def test_what_is_raised_after_the_end_is_told_and_changes_nothing() -> None:
    async with serving(protocol=f"{HERE}:FragileAtLoss") as (endpoint, recorder):
        async with peer(endpoint):
            await until(lambda: recorder.opened)
        assert (await closed(recorder)).close_reason is CloseReason.EOF
        await until(lambda: recorder.errors == 1)
        assert "in connection_lost" in errors_of(recorder)[0].text


async def test_a_run_goes_on_however_often_a_handler_raises() -> None:
    async with running(handler=f"{HERE}:raise_on_third", clients=3) as engine:
        await until(lambda: server_of(engine).totals.errors >= 6)
        server, swarm = server_of(engine), swarm_of(engine).totals
        assert (engine.state.value, engine.error) == ("running", "")
    assert swarm.responses >= 12
    line = inspect.getsourcelines(own_servers.fail)[1] + 1
    assert server.last_trouble == (
        f"ValueError at tests/engine/own_servers.py:{line}: third \\x1b[2J is\\nenough"
    )
    [raised] = server.raised
    assert (raised.what, raised.where) == ("ValueError", f"tests/engine/own_servers.py:{line}")
    assert (raised.message, raised.count) == ("third \\x1b[2J is\\nenough", server.totals.errors)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("name", own_servers.ELSEWHERE)
def test_the_users_code_never_ends_a_run_wherever_it_raises(
    name: str, loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_servers, "chosen", [name])

    async def run() -> RoleSnapshot:
        async with running(handler=f"{HERE}:raise_elsewhere", clients=2) as engine:
            # Some are told of only when they are collected.
            await until(lambda: gc.collect() + 1 and sum(row.count for row in server_of(engine).raised) >= 5)
            answered = swarm_of(engine).totals.responses
            await until(lambda: swarm_of(engine).totals.responses > answered)
            assert (engine.state.value, engine.error) == ("running", "")
        assert engine.error == ""
        return server_of(engine)

    # As the faces have it: without a handler of theirs a KeyboardInterrupt may be anybody's.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        with lent_process({signal.SIGINT}):
            server = run_on(loop, run())
    finally:
        signal.signal(signal.SIGINT, before)
    places = {row.where for row in server.raised}
    assert all(re.fullmatch(rf"tests/engine/own_servers\.py:\d+|{HERE}:raise_elsewhere", p) for p in places)
    assert server.totals.errors >= 5


def test_ctrl_c_is_not_taken_for_what_the_users_code_raised() -> None:
    async def run() -> None:
        async with running(handler=f"{HERE}:echo", clients=1) as engine:
            await until(lambda: swarm_of(engine).totals.responses)
            asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
            await asyncio.sleep(60)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_on("asyncio", run())
    finally:
        signal.signal(signal.SIGINT, before)


# The end.


@pytest.mark.parametrize("name", ["never_end", "deaf_to_cancel"])
async def test_a_handler_that_never_ends_is_ended(name: str) -> None:
    before = open_sockets()
    async with running(grace_s=0.0, handler=f"{HERE}:{name}", clients=3, request_timeout_s=60.0) as engine:
        await until(lambda: swarm_of(engine).totals.responses >= 3)
    assert engine.error == ""
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert open_sockets() <= before
    broken_off = [e.text for e in engine.snapshot(EVERYTHING).events if "had to be broken off" in e.text]
    assert len(broken_off) == (3 if name == "deaf_to_cancel" else 0)


# What will not do.


@pytest.mark.parametrize(
    ("key", "reference", "why"),
    [
        ("handler", "no_such_module:handle", "there is no module no_such_module, neither in"),
        (
            "handler",
            f"{HERE}.py:echo",
            "a module is named without .py, such as tests.engine.own_servers:handle",
        ),
        ("handler", "tests.no_such_module:handle", "there is no module tests.no_such_module"),
        ("handler", f"{HERE}:no_such", "there is no no_such in"),
        ("handler", f"{HERE}:Namespace.no_such", "there is no no_such in"),
        ("handler", f"{HERE}:make_nothing", "makes an object, which does not take (reader, writer), or"),
        ("handler", f"{HERE}:fail", "raised ValueError at tests/engine/own_servers.py:"),
        ("handler", "asyncio.subprocess:Process.wait", "must take (reader, writer), but takes (self)"),
        ("handler", f"{HERE}:async_on_a_socket", "must take (reader, writer), but takes (sock: "),
        ("handler", f"{HERE}:either", "takes (a, b), which may be either: name or annotate them (reader,"),
        ("protocol", f"{HERE}:Awaitable", "is not a class derived from asyncio.Protocol"),
        ("protocol", f"{HERE}:make_nothing", "makes an object, which is neither a protocol nor makes any"),
        ("protocol", f"{HERE}:either", "must take no arguments, but takes (a, b); --handler-arg gives them"),
        (
            "asgi",
            f"{HERE}:echo",
            "is no ASGI application, which takes (scope, receive, send), but a function",
        ),
        ("protocol", "sys:path", "is neither a class nor a function, but a list"),
    ],
)
async def test_what_will_not_serve_is_told(key: str, reference: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(experiment(**{key: reference}))
    [fault] = caught.value.faults
    assert (fault.field, fault.value) == (key, reference)
    assert why in fault.why


@pytest.mark.parametrize(
    ("reference", "form"),
    [("echo", Form.COROUTINE), ("awaitable", Form.COROUTINE), ("Echo", Form.PROTOCOL),
     ("make_echo", Form.PROTOCOL), ("promise_echo", Form.PROMISED), ("application", Form.ASGI),
     ("applicable", Form.ASGI)],
)  # fmt: skip
@pytest.mark.parametrize("key", ["handler", "protocol"])
async def test_what_it_is_shows_by_itself(key: str, reference: str, form: Form) -> None:
    assert load(experiment(**{key: f"{HERE}:{reference}"})).form is form


_STARTS_A_LOOP = "import asyncio\nasync def main():\n    pass\n"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import json\njson.loads('x')\n", "raised JSONDecodeError at broken_{n}.py:2: Expecting value"),
        ("def f(:\n", "raised SyntaxError at broken_{n}.py:1: invalid syntax"),
        ("import no_such_thing\n", "raised ModuleNotFoundError at broken_{n}.py:1: No module named"),
        ("raise SystemExit(3)\n", "raised SystemExit at broken_{n}.py:1: 3"),
        ("raise ValueError('\\x1b[2J')\n", "raised ValueError at broken_{n}.py:1: \\x1b[2J"),
        ("raise BaseException('odd')\n", "raised BaseException at broken_{n}.py:1: odd"),
        (_STARTS_A_LOOP + "asyncio.run(main())\n", "starts an event loop, at broken_{n}.py:4; put"),
        (_STARTS_A_LOOP + "asyncio.get_event_loop().run_forever()\n", "event loop, at broken_{n}.py:4"),
        (_STARTS_A_LOOP + "import uvloop; uvloop.run(main())\n", "event loop, at broken_{n}.py:4"),
    ],
    ids=["json", "syntax", "import", "exit", "escape", "base", "run", "this loop", "uvloop"],
)
async def test_a_module_that_raises_is_told_with_the_place(
    source: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    name = f"broken_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    look_for(experiment(handler=f"{name}:handle"))
    with pytest.raises(ConfigError) as caught:
        async with running(handler=f"{name}:handle"):
            pass
    assert why.replace("broken_{n}", name) in str(caught.value)


async def test_looking_for_a_module_does_not_import_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "never_imported.py").write_text("raise AssertionError\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    look_for(experiment(protocol="never_imported:P"))
    look_for(experiment())
    assert "never_imported" not in sys.modules
    with pytest.raises(ConfigError, match="there is no module never_there, neither in"):
        look_for(experiment(protocol="never_there.deeper:P"))


async def test_a_port_in_use_is_told() -> None:
    async with serving(handler=f"{HERE}:echo") as (endpoint, _):
        with pytest.raises(ListenError, match="the port is in use"):
            async with running(handler=f"{HERE}:echo", port=endpoint.address[1]):
                pass


def test_an_exception_without_a_place_or_a_message_is_told() -> None:
    assert told(ValueError()) == "ValueError"
    assert told(KeyError("a\nb")) == "KeyError: 'a\\nb'"
    assert len(told(ValueError("x" * 1000))) < 230


# What is told of an exception.


def _raised_by(call: Callable[[], object]) -> BaseException:
    try:
        call()
    except BaseException as error:  # noqa: BLE001  # whatever it is
        return error
    raise AssertionError("it did not raise")


def test_an_exception_that_cannot_tell_its_message_is_told_all_the_same() -> None:
    error = _raised_by(own_servers.raise_unspeakable)
    line = inspect.getsourcelines(own_servers.raise_unspeakable)[1] + 1
    place = f"Unspeakable at tests/engine/own_servers.py:{line}"
    assert told(error) == f"{place}: (its __str__ raised KeyboardInterrupt)"


def test_nothing_of_an_exception_reaches_the_terminal_raw() -> None:
    odd = type("Odd\x1b[2J", (Exception,), {})("\x1b[31m\n")
    assert told(odd) == "Odd\\x1b[2J: \\x1b[31m\\n"
    table = RaisedTable()
    table.add(odd)
    assert table.rows()[0].what == "Odd\\x1b[2J"


def test_of_a_group_each_exception_is_told_and_counted_at_its_own_place() -> None:
    error = _raised_by(own_servers.raise_group)
    line = inspect.getsourcelines(own_servers.fail)[1] + 1
    assert re.fullmatch(
        rf"ExceptionGroup at tests/engine/own_servers.py:\d+: two \(2 sub-exceptions\): "
        rf"ValueError at tests/engine/own_servers.py:{line}: third .*; KeyError: 'x'",
        told(error),
    )
    table = RaisedTable()
    for _ in range(3):
        table.add(error, "mine:handle")
    assert [(row.what, row.where, row.count) for row in table.rows()] == [
        ("ValueError", f"tests/engine/own_servers.py:{line}", 3),
        ("KeyError", place_of(error), 3),
    ]


def test_the_table_of_what_was_raised_is_bounded() -> None:
    table = RaisedTable()
    for number in range(1_000):
        table.add(ValueError(), f"mine.py:{number}")
    rows = table.rows()
    assert (len(rows), sum(row.count for row in rows), rows[0].where) == (MOST_PLACES + 1, 1_000, ELSEWHERE)


def test_compiled_code_and_ours_are_never_the_place() -> None:
    """A frame of a .pyx has a file name that is found nowhere."""
    code = compile("raise ValueError('no')", "uvloop/handles/handle.pyx", "exec")
    error = _raised_by(lambda: exec(code))
    assert re.match(r"ValueError at tests/engine/test_own_server\.py:\d+: no", told(error))
    assert told(_raised_by(lambda: Tuning(transport="carrier pigeon").validated())).startswith(
        "ConfigError at tests/engine/test_own_server.py"
    )


async def test_two_guards_that_overlap_leave_no_hook_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    reached: list[object] = []
    monkeypatch.setattr(threading, "excepthook", reached.append)
    monkeypatch.setattr(sys, "unraisablehook", reached.append)
    servers = [SimpleNamespace(raised=RaisedTable(), name="mine", last_trouble="") for _ in "ab"]
    first, second = (OwnGuard(cast(Any, server), Recorder("server")) for server in servers)
    for step in (first.begin, second.begin, first.end, second.end):
        step()
    told_of = SimpleNamespace(exc_value=_raised_by(own_servers.raise_group))
    for hook in (threading.excepthook, sys.unraisablehook):
        cast(Any, hook)(told_of)
    assert reached == [told_of, told_of]
    assert not any(server.raised.rows() for server in servers)
    asyncio.get_running_loop().set_exception_handler(None)


# What was edited.


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Writes the module ``edited_server``, of the same length each time; forgets it at the end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(source: str) -> str:
        (tmp_path / "edited_part.py").write_text(source)
        (tmp_path / "edited_server.py").write_text("from edited_part import handle\n")
        return "edited_server:handle"

    yield write
    for name in ("edited_part", "edited_server"):
        sys.modules.pop(name, None)


async def test_a_server_that_was_edited_is_imported_anew(edited: Callable[[str], str]) -> None:
    reference = edited("async def handle(r, w): return 1\n")
    chosen = experiment(handler=reference)
    first = load(chosen).call
    assert reload(chosen) == ""
    edited("async def handle(r, w): return 2\n")
    assert reload(chosen) == "edited_server:handle was edited: the new run serves with it as it is now"
    second = load(chosen).call
    assert first is not second
    assert await cast(Any, second)(None, None) == 2
    for broken in ("async def handle(r, w) return 3\n", "raise ValueError(33333333333333)\n"):
        edited(broken)
        with pytest.raises(ConfigError, match="importing edited_server raised"):
            reload(chosen)
        assert load(chosen).call is second, "what was there stays"
    for unfit in ("def handle(a, b): return 3\n", "async def handle(r): return 4\n"):
        edited(unfit)
        for _ in "twice":
            with pytest.raises(ConfigError, match=r"which may be either|must take"):
                reload(chosen)
        assert load(chosen).call is second, "what was there stays"


async def test_where_it_runs_in_a_child_its_syntax_is_looked_at(edited: Callable[[str], str]) -> None:
    chosen = experiment(
        handler=edited("async def handle(r, w): return 1\n").replace("server", "part"), place="server"
    )
    assert reload(chosen) == "the new run imports edited_part anew"
    edited("async def handle(r, w) return 3\n")
    with pytest.raises(ConfigError, match=r"SyntaxError at edited_part\.py:1"):
        reload(chosen)
    assert "edited_part" not in sys.modules


ANSWERS = "async def handle(r, w):\n    while await r.readline():\n        w.write(%r)\n"


@pytest.mark.parametrize("place", ["loop", "server"])
async def test_an_edit_is_taken_up_while_the_run_goes_on(place: str, edited: Callable[[str], str]) -> None:
    reference = edited(ANSWERS % b"first\n")
    asked: dict[str, Any] = {"request": "ping\\n", "until": "\\n", "place": place}
    async with running(handler=reference, **asked) as engine:

        async def answered(answer: bytes) -> None:
            while True:
                capture = await engine.capture(exchanges_of(engine)[-1].record_id)
                if capture is not None and capture.response and capture.response.data == answer:
                    return
                await asyncio.sleep(0.01)

        await until(lambda: exchanges_of(engine), what="an answer")
        async with asyncio.timeout(60):
            await answered(b"first\n")
            assert (await engine.reload(), engine.generation) == ("", 0)
            edited("async def handle(r, w) oops\n")
            with pytest.raises(ConfigError, match=r"SyntaxError at edited_part\.py:1"):
                await engine.reload()
            edited("pass\n" + ANSWERS % b"second\n")
            assert (await engine.reload(), engine.generation) == ("edited edited_part.py +2 −1", 1)
            await answered(b"second\n")
        await until(lambda: not swarm_of(engine).rolling, what="no connection is of the old code")
        events = engine.snapshot(EVERYTHING).events
        assert [e.text for e in events if e.kind is EventKind.TUNING] == ["edited edited_part.py +2 −1"]
    assert swarm_of(engine).totals.failed == server_of(engine).totals.errors == 0


async def test_an_application_that_was_edited_has_a_life_of_its_own(edited: Callable[[str], str]) -> None:
    pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    source = "from tests.engine.own_servers import application as handle\n"
    own_servers.lifespan.clear()
    async with running(asgi=edited(source)) as engine:
        edited("from tests.engine.own_servers import does_not_start as handle\n")
        with pytest.raises(ConfigError, match="did not start up: ConnectionError: no database"):
            await engine.reload()
        assert own_servers.lifespan == ["lifespan.startup"]
        edited("pass\n" + source)
        assert await engine.reload()
        await until(lambda: len(own_servers.lifespan) == 3, what="the end of the old one")
        assert own_servers.lifespan == ["lifespan.startup", "lifespan.startup", "lifespan.shutdown"]
    assert swarm_of(engine).totals.failed == 0
    assert own_servers.lifespan.count("lifespan.shutdown") == 2


def test_a_module_that_was_imported_late_is_read_anew(edited: Callable[[str], str]) -> None:
    chosen = experiment(
        handler=edited("async def handle(r, w):\n    import edited_late\n    return edited_late.N\n")
    )
    late = Path("edited_late.py")
    late.write_text("N = 1\n")
    assert asyncio.run(load(chosen).call(None, None)) == 1
    late.write_text("N = 2\n# edited\n")
    with imported_anew(chosen) as told_of:
        assert told_of.startswith("edited_late.py")
    assert asyncio.run(load(chosen).call(None, None)) == 2
    sys.modules.pop("edited_late")


async def test_a_server_that_its_code_has_ended_begins_anew_with_the_edit(
    edited: Callable[[str], str],
) -> None:
    reference = edited("import os\nasync def handle(r, w):\n    os._exit(3)\n")
    asked: dict[str, Any] = {"request": "ping\\n", "until": "\\n", "place": "server"}
    async with running(handler=reference, clients=1, **asked) as engine:
        await until(lambda: "code 3" in str(engine.snapshot(EVERYTHING).events), what="the end of the server")
        edited(ANSWERS % b"second\n")
        assert await engine.reload() == "server begun anew"
        await until(lambda: swarm_of(engine).totals.responses > 10, what="answers")
        assert engine.error == ""
