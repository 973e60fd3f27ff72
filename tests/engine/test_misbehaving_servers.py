"""Servers that misbehave by a script, against every client model: a request has exactly one outcome.

The oracle is the accounting identity at the clients, looked at after every turn of the loop.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sockscope.core.run.adding import difference
from sockscope.core.run.snapshot import RoleSnapshot
from sockscope.engine.engine import Engine
from sockscope.engine.loops import loop_factory
from tests.engine.peers import Scripted, tcp_peer, udp_peer
from tests.engine.runs import running, swarm_of
from tests.waiting import until

TURNS = 60
"""Turns of the loop for which one script is looked at; most take microseconds, the rest a millisecond."""

ANSWERS: dict[str, Callable[[bytes], list[bytes]]] = {
    "echo": lambda data: [data],
    "nothing": lambda data: [],
    "half": lambda data: [data[: len(data) // 2]],
    "rest": lambda data: [data[len(data) // 2 :]],
    "in pieces": lambda data: [data[:3], data[3:]],
    "twice": lambda data: [data, data],
    "more": lambda data: [data + b"!"],
    "garbage": lambda data: [b"\xff" * 9],
    "another": lambda data: [data[:-1] + b"?"],
    "empty": lambda data: [b""],
}
"""What is written for a read, or sent for a datagram."""
STEPS = [*ANSWERS, "close", "half, then close", "reset", "late", "unasked later"]

steps = st.lists(st.sampled_from(STEPS), min_size=1, max_size=6)
greetings = st.sampled_from([b"", b"", b"220 ready\r\n", b"\0"])
tunings = st.fixed_dictionaries(
    {
        "permits": st.sampled_from([0, 1]),
        "think_time_s": st.sampled_from([0.0, 0.001]),
        "lifetime": st.sampled_from([0, 1, 3]),
        "request_bytes": st.sampled_from([16, 300]),
        "depth": st.sampled_from([1, 1, 3]),
    }
)
dialogues = st.sampled_from(
    [
        {"framing": "length"},
        {"framing": "newline"},
        {"framing": "fixed"},
        {"framing": "none"},
        {"request": "ping", "request_bytes": 4, "framing": "newline"},
        {"request": "ping\\n", "request_bytes": 5, "framing": "none"},
        {"request": "ping\\n", "request_bytes": 5, "until": "\\n"},
        {"request": "ping\\n", "request_bytes": 5, "expect_bytes": 5},
        {"request": "ping", "request_bytes": 4, "framing": "newline", "unasked": "count", "reject": "/!/"},
        {"request": "+a {n}\\r\\n\n*1\\r\\n+answer\\r\\n", "answer": "resp", "unasked": "count"},
        {"request": "+a {n}\\r\\n\n*1\\r\\n+answer\\r\\n", "until_line": "/a/", "reject": "/(?m)1\\s*$/"},
        {"request": "ping {n} {n}\\n", "until": "\\n", "preamble": "hello\\n", "accept": "/[^5]\\n/"},
        {"request": "hex:8203616263898000000000aa", "answer": "websocket", "unasked": "ignore"},
    ]
)


def follow(script: list[str]) -> Callable[[Scripted, bytes], None]:
    """Return a plan that does the next step of the script for each read of any connection."""
    todo = cycle(script)
    owed: list[bytes] = []

    def plan(connection: Scripted, data: bytes) -> None:
        step, transport = next(todo), connection.transport
        late, owed[:] = list(owed), []
        if step == "late":
            owed.append(data)
        elif step == "unasked later":
            transport.write(data)
            asyncio.get_running_loop().call_later(0.002, write_if_open, transport, b"news")
        elif step == "half, then close":
            transport.write(data[: len(data) // 2])
            transport.close()
        elif step == "close":
            transport.close()
        elif step == "reset":
            linger = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            transport.abort()
        else:
            for piece in [*late, *ANSWERS[step](data)]:
                transport.write(piece)

    return plan


def write_if_open(transport: asyncio.Transport, data: bytes) -> None:
    if not transport.is_closing():
        transport.write(data)


def is_balanced(swarm: RoleSnapshot) -> bool:
    totals = swarm.totals
    return totals.requests == totals.responses + totals.timeouts + totals.errors + swarm.in_flight


def has_errors(engine: Engine) -> bool:
    return swarm_of(engine).totals.errors > 0


async def check(values: dict[str, Any]) -> None:
    """Run clients against a target and look at their books at every moment and in every interval."""
    async with running(grace_s=0.0, role="swarm", clients=3, request_timeout_s=0.02, **values) as engine:
        before = swarm_of(engine)
        for turn in range(TURNS):
            await asyncio.sleep(0 if turn % 5 else 0.001)
            now = swarm_of(engine)
            assert is_balanced(now), now
            if turn % 50 == 49:
                engine.clear()
                assert is_balanced(swarm_of(engine))
                now = swarm_of(engine)
            elif turn % 50:
                passed = difference(before.totals, now.totals)
                assert min(getattr(passed, name) for name in passed.__slots__) >= 0, passed
            before = now
    assert is_balanced(swarm_of(engine))
    assert swarm_of(engine).in_flight == 0


def run(check: Any) -> None:
    with asyncio.Runner(loop_factory=loop_factory("uvloop")) as runner:
        runner.run(check)


bounded = settings(
    max_examples=6,
    deadline=None,
    # A script is short as it is, and to shorten it further takes minutes.
    phases=[Phase.explicit, Phase.generate],
)


@pytest.mark.parametrize("client", ["selector", "protocol", "streams", "blocking"])
@given(script=steps, greeting=greetings, tuned=tunings, dialogue=dialogues)
@bounded
def test_over_tcp_every_request_has_one_outcome(
    client: str, script: list[str], greeting: bytes, tuned: dict[str, Any], dialogue: dict[str, Any]
) -> None:
    if client == "blocking" or ("request" in dialogue and dialogue.get("framing") == "none"):
        tuned = tuned | {"depth": 1}

    async def against_it() -> None:
        async with tcp_peer(follow(script), greeting=greeting) as port:
            await check({"client": client, "target": f"127.0.0.1:{port}", **tuned, **dialogue})

    run(against_it())


@pytest.mark.parametrize("client", ["selector", "protocol", "streams", "blocking"])
async def test_every_client_says_in_the_same_words_how_the_server_ended_it(client: str) -> None:
    for step, words in (
        ("reset", "Connection reset by peer"),
        ("close", "the server closed the connection"),
        ("half, then close", "the server closed the connection after 5 B of an answer"),
    ):
        async with tcp_peer(follow([step])) as port:
            values: dict[str, Any] = {"client": client, "target": f"127.0.0.1:{port}", "request_bytes": 7}
            async with running(role="swarm", clients=1, **values) as engine:
                await until(partial(has_errors, engine))
                assert swarm_of(engine).last_trouble == words


@pytest.mark.parametrize("client", ["selector", "protocol", "streams", "blocking"])
async def test_who_thinks_does_not_ask_on_a_connection_that_the_server_has_closed(client: str) -> None:
    def answer_and_close(connection: Scripted, data: bytes) -> None:
        connection.transport.write(data)
        connection.transport.close()

    async with tcp_peer(answer_and_close) as port:
        values: dict[str, Any] = {"client": client, "target": f"127.0.0.1:{port}", "think_time_s": 0.02}
        async with running(role="swarm", clients=1, requests=4, **values) as engine:
            await engine.wait()
            totals, thought_s = swarm_of(engine).totals, engine.snapshot().elapsed_s
    assert (totals.responses, totals.errors, totals.connections_opened) == (4, 0, 4)
    assert thought_s >= 3 * 0.02, "it does not ask sooner for that"


@pytest.mark.parametrize("client", ["selector", "protocol", "streams", "blocking"])
async def test_a_reset_that_the_next_request_runs_into_is_a_reset(client: str) -> None:
    """Of two clients with one permit one is answered as the connection of the other is reset."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        values: dict[str, Any] = {"client": client, "target": f"127.0.0.1:{listener.getsockname()[1]}"}
        async with running(grace_s=0.0, role="swarm", clients=2, permits=1, **values) as engine:
            ends = [(await loop.sock_accept(listener))[0] for _ in range(2)]
            asking = [loop.create_task(loop.sock_recv(end, 1_000)) for end in ends]
            await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
            await until(lambda: swarm_of(engine).limiter.waiting == 1)
            served, other = sorted(range(2), key=lambda n: not asking[n].done())
            asking[other].cancel()
            ends[other].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            ends[served].send(asking[served].result())
            ends[other].close()
            await until(lambda: swarm_of(engine).totals.connections_closed == 1)
            swarm = swarm_of(engine)
            ends[served].close()
    assert (swarm.totals.connections_reset, swarm.last_trouble) == (1, "Connection reset by peer")


@pytest.mark.parametrize("client", ["selector", "protocol"])
@given(script=st.lists(st.sampled_from([*ANSWERS, "late"]), min_size=1, max_size=6), tuned=tunings)
@bounded
def test_over_udp_every_request_has_one_outcome(
    client: str, script: list[str], tuned: dict[str, Any]
) -> None:
    todo = cycle(script)
    owed: list[bytes] = []

    def plan(number: int, data: bytes) -> list[bytes]:
        step = next(todo)
        late, owed[:] = list(owed), []
        if step == "late":
            owed.append(data)
            return []
        return [*late, *ANSWERS[step](data)]

    async def against_it() -> None:
        async with udp_peer(plan) as peer:
            port = peer.transport.get_extra_info("sockname")[1]
            target = f"127.0.0.1:{port}"
            udp = {"client": client, "transport": "udp", "target": target}
            await check(udp | tuned | {"depth": 1})

    run(against_it())
