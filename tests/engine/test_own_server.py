"""A server of one's own: served like any other, counted, and never the end of a run."""

from __future__ import annotations

import asyncio
import gc
import inspect
import re
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sockscope.core.config.experiment import Tuning
from sockscope.core.connection import ConnectionRecord, ConnectionState
from sockscope.core.events import CloseReason, Event, EventKind
from sockscope.core.run.snapshot import RoleSnapshot
from sockscope.core.wire.framing import encode
from sockscope.engine.loops import run_on
from sockscope.engine.own_code import load_handler, load_protocol, look_for, reload
from sockscope.engine.own_errors import ELSEWHERE, MOST_PLACES, RaisedTable, place_of, told
from sockscope.engine.recorder import Recorder
from sockscope.engine.role import Assignment
from sockscope.engine.servers.asyncio.own import OwnEndpoint, OwnServer
from sockscope.engine.servers.asyncio.own_guard import OwnGuard
from sockscope.engine.servers.endpoint import ServerContext
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
    {"protocol": f"{HERE}:Namespace.Echo"},
]
echoes = pytest.mark.parametrize("own", ECHOES, ids=lambda own: next(iter(own.values())).partition(":")[2])


@asynccontextmanager
async def serving(**values: Any) -> AsyncIterator[tuple[OwnEndpoint, Recorder]]:
    """Serve on loopback without a swarm."""
    chosen = experiment(**values)
    recorder = Recorder("server")
    host = "::1" if chosen.tuning.family == "ipv6" else "127.0.0.1"
    endpoint = OwnServer(chosen).open(
        ServerContext(chosen, recorder), Assignment(chosen.tuning, 0, (host, 0))
    )
    try:
        yield endpoint, recorder
    finally:
        endpoint.close(CloseReason.STOPPED)
        await until(lambda: endpoint.drained)
        assert not recorder.live


@asynccontextmanager
async def peer(endpoint: OwnEndpoint) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*endpoint.address)
    try:
        async with asyncio.timeout(10):
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
    ("client", "tuned"),
    [
        (client, tuned)
        for transport, client in LINKS
        for tuned in ({}, {"depth": 4}, {"depth": 4, "batch": 2}, {"pool": 2})
        if transport == "tcp" and not (client == "blocking" and tuned)
    ],
    ids=str,
)
@pytest.mark.parametrize("ends", [{"until": "\\r\\n"}, {"expect_bytes": 7}], ids=str)
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
        ({"protocol": f"{HERE}:make_nothing"}, "TypeError"),
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
    ("load", "reference", "why"),
    [
        (load_handler, "no_such_module:handle", "there is no module no_such_module, neither in"),
        (load_handler, "tests.no_such_module:handle", "there is no module tests.no_such_module"),
        (load_handler, f"{HERE}:no_such", "there is no no_such in"),
        (load_handler, f"{HERE}:Namespace.no_such", "there is no no_such in"),
        (load_handler, f"{HERE}:make_echo", "is not a function made by async def"),
        (load_handler, f"{HERE}:Echo", "is a protocol class: --protocol takes it"),
        (load_handler, "asyncio.subprocess:Process.wait", "must take (reader, writer), but takes (self)"),
        (load_protocol, f"{HERE}:echo", "is made by async def: --handler takes it"),
        (load_protocol, f"{HERE}:Awaitable", "is not a class derived from asyncio.Protocol"),
        (load_protocol, "asyncio:BufferedProtocol", "is not a class derived from asyncio.Protocol"),
        (load_protocol, f"{HERE}:awaitable", "must take no arguments, but takes (reader"),
        (load_protocol, "sys:path", "is no class or function but a list"),
    ],
)
async def test_what_will_not_serve_is_told(load: Any, reference: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(reference)
    [fault] = caught.value.faults
    assert fault.field == ("handler" if load is load_handler else "protocol")
    assert fault.value == reference
    assert why in fault.why


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
    first = load_handler(reference)
    assert reload(chosen) == ""
    edited("async def handle(r, w): return 2\n")
    assert reload(chosen) == "edited_server:handle was edited: the new run serves with it as it is now"
    second = load_handler(reference)
    assert first is not second
    assert await cast(Any, second)(None, None) == 2
    for broken in ("async def handle(r, w) return 3\n", "raise ValueError(33333333333333)\n"):
        edited(broken)
        with pytest.raises(ConfigError, match="importing edited_server raised"):
            reload(chosen)
        assert load_handler(reference) is second, "what was there stays"
    for unfit in ("def handle(r, w): return 3\n", "async def handle(r): return 4\n"):
        edited(unfit)
        for _ in "twice":
            with pytest.raises(ConfigError, match=r"is not a function made by async def|must take"):
                reload(chosen)
        assert load_handler(reference) is second, "what was there stays"


async def test_where_it_runs_in_a_child_its_syntax_is_looked_at(edited: Callable[[str], str]) -> None:
    chosen = experiment(
        handler=edited("async def handle(r, w): return 1\n").replace("server", "part"), place="server"
    )
    assert reload(chosen) == "the new run imports edited_part anew"
    edited("async def handle(r, w) return 3\n")
    with pytest.raises(ConfigError, match=r"SyntaxError at edited_part\.py:1"):
        reload(chosen)
    assert "edited_part" not in sys.modules
