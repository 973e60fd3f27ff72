"""Web applications of one's own, under the protocol of the server that they are written for."""

from __future__ import annotations

import asyncio
import sys
from importlib.util import find_spec
from typing import Any

import pytest

from sockscope.engine.engine import Engine
from sockscope.engine.own_code import look_for
from sockscope.engine.servers.asyncio import own_apps
from sockscope.errors import ConfigError
from tests.engine import own_servers
from tests.engine.runs import experiment, running, server_of, swarm_of
from tests.engine.test_own_server import peer, serving
from tests.waiting import until

HERE = "tests.engine.own_servers"
uvicorn = pytest.mark.skipif(find_spec("uvicorn") is None, reason="uvicorn is not installed")
aiohttp = pytest.mark.skipif(find_spec("aiohttp") is None, reason="aiohttp is not installed")
HTTP: dict[str, Any] = {"request": "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n", "answer": "http"}
APPLICATIONS = [
    pytest.param({"asgi": f"{HERE}:application"}, marks=uvicorn, id="asgi"),
    pytest.param({"handler": f"{HERE}:applicable"}, marks=uvicorn, id="asgi by its signature"),
    pytest.param({"protocol": f"{HERE}:make_web"}, marks=aiohttp, id="aiohttp"),
    pytest.param({"protocol": f"{HERE}:promise_web"}, marks=aiohttp, id="aiohttp's own factory"),
]


@pytest.mark.parametrize(
    "own",
    [
        *APPLICATIONS,
        pytest.param({"asgi": f"{HERE}:application", "place": "server"}, marks=uvicorn, id="in a process"),
    ],
)
async def test_both_ends_count_the_same(own: dict[str, Any]) -> None:
    own_servers.lifespan.clear()
    async with running(requests=60, **HTTP, **own) as engine:
        await engine.wait()
    swarm, server = swarm_of(engine).totals, server_of(engine)
    assert (swarm.responses, swarm.failed) == (60, 0)
    assert server.counts_frames
    assert (server.totals.requests, server.totals.responses, server.totals.errors) == (60, 60, 0)
    assert (server.totals.bytes_in, server.totals.bytes_out) == (swarm.bytes_out, swarm.bytes_in)
    if not own.keys() & {"protocol", "place"}:
        assert own_servers.lifespan == ["lifespan.startup", "lifespan.shutdown"]


@pytest.mark.parametrize("own", APPLICATIONS)
async def test_what_it_raises_is_counted_and_told(own: dict[str, Any]) -> None:
    failing = {**HTTP, "request": "GET /fails HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n", "reject": "/^HTTP.1.1 500/"}
    async with running(clients=2, **failing, **own) as engine:
        await until(lambda: server_of(engine).totals.errors >= 5)
        assert swarm_of(engine).totals.answers_rejected
        server = server_of(engine)
    assert server.last_trouble.startswith("ValueError at tests/engine/own_servers.py:")
    [raised] = server.raised
    assert (raised.what, raised.where.partition(":")[0]) == ("ValueError", "tests/engine/own_servers.py")


@pytest.mark.parametrize("own", [APPLICATIONS[0], APPLICATIONS[2]])
async def test_what_it_raises_is_counted_once_while_another_serves_here(own: dict[str, Any]) -> None:
    failing = {**HTTP, "request": "GET /fails HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"}
    async with serving(**own), running(requests=5, clients=1, **failing, **own) as engine:
        await engine.wait()
    assert server_of(engine).totals.errors == swarm_of(engine).totals.responses > 0


@pytest.mark.parametrize("own", APPLICATIONS)
@pytest.mark.parametrize(
    ("asked", "counted"),
    [
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 1),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 2),
        (b"GET /parts HTTP/1.0\r\nConnection: close\r\n\r\n", 1),
    ],
    ids=["body", "head", "close"],
)
async def test_what_any_client_asks_is_counted(own: dict[str, Any], asked: bytes, counted: int) -> None:
    async with serving(**own) as (endpoint, recorder), peer(endpoint) as (reader, writer):
        writer.write(asked)
        await until(lambda: recorder.totals().requests == counted)
        # Who is told of the end before it has answered may answer no more.
        await until(lambda: recorder.totals().responses == counted)
        writer.write_eof()
        assert (await reader.read()).count(b"HTTP/1.") == counted
        assert (recorder.counts_frames, recorder.errors) == (True, 0)


@uvicorn
async def test_what_is_no_http_leaves_requests_uncounted() -> None:
    async with (
        serving(asgi=f"{HERE}:application") as (endpoint, recorder),
        peer(endpoint) as (reader, writer),
    ):
        writer.write(b"hello\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        assert (recorder.counts_frames, recorder.errors) == (False, 0)


@pytest.mark.parametrize(
    ("own", "why"),
    [
        pytest.param({"asgi": f"{HERE}:never_starts"}, "within 0.05 s", marks=uvicorn),
        pytest.param({"protocol": f"{HERE}:promise_nothing"}, "within 0.05 s"),
        pytest.param({"protocol": f"{HERE}:make_fragile_web"}, ": SystemExit at tests/", marks=aiohttp),
    ],
    ids=str,
)
async def test_what_does_not_start_in_time_or_raises_is_refused(
    own: dict[str, Any], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_apps, "STARTUP_S", 0.05)
    with pytest.raises(ConfigError, match=f"did not start up ?{why}"):
        await Engine(experiment(**own, **HTTP)).start()
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()}, what="the end of what was begun")


@aiohttp
async def test_what_is_raised_at_the_end_is_told() -> None:
    async with running(requests=4, protocol=f"{HERE}:make_web_that_ends_badly", **HTTP) as engine:
        await engine.wait()
    assert [(row.what, row.message) for row in server_of(engine).raised] == [("LookupError", "at the end")]


@uvicorn
async def test_an_application_that_does_not_start_is_refused() -> None:
    engine = Engine(experiment(asgi=f"{HERE}:does_not_start", **HTTP))
    with pytest.raises(ConfigError, match="did not start up: ConnectionError: no database"):
        await engine.start()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_without_uvicorn_the_cure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    chosen = experiment(asgi=f"{HERE}:application", **HTTP)
    with pytest.raises(ConfigError, match=r"needs uvicorn.*pip install 'sockscope\[asgi\]'"):
        look_for(chosen)
    with pytest.raises(ConfigError, match=r"needs uvicorn.*pip install 'sockscope\[asgi\]'"):
        await Engine(chosen).start()
