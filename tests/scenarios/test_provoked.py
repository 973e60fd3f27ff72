"""Situations that are provoked on real sockets, and what the limit of the run is said to be.

Where a situation leaves the cores idle a busy machine does not change it; those of full cores are data.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sockscope.core.run.findings import Finding, limit_of
from sockscope.core.run.snapshot import Snapshot
from sockscope.core.run.window import window
from sockscope.engine.engine import Engine
from tests.engine.runs import running
from tests.ports import unused_port
from tests.waiting import until

SECONDS = 0.6
"""Length of the windows that are judged."""
HANDLERS = f"{__package__}.handlers"
LATE = {"request_timeout_s": 30.0}
SLEEPS = {"work": "block", "service_time_s": 0.01}

PROVOKED: list[tuple[str, str, str, dict[str, Any]]] = [
    *(
        (f"{server} {place} {permits}", "server", f"{server} serves", {
            "server": server, "place": place, "permits": permits, "clients": clients, **LATE,
        })
        for server, clients, place, permits in (
            ("blocking", 8, "loop", 0), ("blocking", 8, "loop", 3), ("blocking", 8, "apart", 1),
            ("pool", 110, "loop", 0), ("pool", 110, "loop", 50),
        )
    ),
    *(
        (f"{server} over {transport}, {place}", "blocked", "holds up all the others for 10.0 ms", {
            "server": server, "transport": transport, "place": place, "clients": 8, "permits": 4, **SLEEPS,
        })
        for transport, server, place in (
            ("tcp", "protocol", "loop"), ("tcp", "streams", "apart"), ("tcp", "epoll", "loop"),
            ("udp", "datagram", "loop"), ("udp", "blocking", "apart"),
        )
    ),
    ("think", "think time", "think 300 ms", {"think_time_s": 0.3, "service_time_s": 0.005, "clients": 30}),
    ("service", "service time", "200 ms of", {"service_time_s": 0.2, "clients": 30}),
    ("permits", "semaphore", "3 of 3 permits", {"service_time_s": 0.1, "clients": 20, "permits": 3}),
    ("UDP permits", "semaphore", "3 of 3", {"service_time_s": 0.1, "permits": 3, "transport": "udp"}),
    ("admission", "admission", "2 of 2", {"service_time_s": 0.1, "clients": 20, "server_permits": 2}),
    ("pool of connections", "pool", "2 of 2", {"service_time_s": 0.1, "clients": 20, "pool": 2}),
    ("timeouts", "timeouts", "service time alone", {"service_time_s": 5.0, "request_timeout_s": 0.1}),
    ("UDP timeouts", "timeouts", "100 %", {
        "service_time_s": 5.0, "request_timeout_s": 0.1, "transport": "udp",
    }),
    ("a handler that raises", "own code", "handlers.py:12", {"handler": f"{HANDLERS}:raises"}),
    ("a handler that blocks", "blocked", "is held up for", {"handler": f"{HANDLERS}:blocks", "clients": 8}),
    ("a handler that waits", "server", "handlers:waits", {"handler": f"{HANDLERS}:waits"}),
]  # fmt: skip


async def until_found(engine: Engine, limit: str, word: str) -> Finding:
    """Wait for a window with this limit, and return what it says."""
    found = [Finding("", "")]
    begin = [engine.snapshot()]

    def named() -> bool:
        now: Snapshot = engine.snapshot()
        if now.time_s - begin[0].time_s < SECONDS:
            return False
        found.append(limit_of(window(begin[0], now)))
        begin[0] = now
        return found[-1].limit == limit and word in found[-1].text

    try:
        await until(named, timeout_s=15.0)
    except AssertionError:
        raise AssertionError(f"not {limit} ({word}) but {found[1:]}") from None
    return found[-1]


@pytest.mark.parametrize(
    ("limit", "word", "values"), [case[1:] for case in PROVOKED], ids=[case[0] for case in PROVOKED]
)
async def test_a_provoked_limit_is_named(limit: str, word: str, values: dict[str, Any]) -> None:
    async with running(grace_s=0.0, **values) as engine:
        await until_found(engine, limit, word)


SERVER = """
import socket, sys, threading, time
mode = sys.argv[1]
listener = socket.create_server(("127.0.0.1", 0), backlog=64)
print(listener.getsockname()[1], flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), __import__("os")._exit(0)), daemon=True).start()
def talk(sock):
    try:
        while data := sock.recv(65536):
            time.sleep(0.2 if mode == "slow" else 0.001)
            sock.sendall(data)
    except OSError:
        pass
while True:
    if mode == "deaf":
        time.sleep(60)
    sock, _ = listener.accept()
    talk(sock) if mode == "one" else threading.Thread(target=talk, args=(sock,), daemon=True).start()
"""


@contextmanager
def server_elsewhere(mode: str) -> Iterator[tuple[int, int]]:
    """A server in a process of its own; its port and number."""
    command = [sys.executable, "-c", SERVER, mode]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process.pid
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("mode", "limit", "word"),
    [
        ("slow", "server", "waits for something itself"),
        ("one", "backlog", "wait in the backlog"),
        ("deaf", "backlog", "wait in the backlog"),
        ("stopped", "process", "is stopped"),
    ],
)
async def test_a_server_elsewhere_is_the_limit(mode: str, limit: str, word: str) -> None:
    with server_elsewhere(mode) as (port, pid):
        there = {"role": "swarm", "target": f"127.0.0.1:{port}", "pid": pid}
        async with running(grace_s=0.0, clients=20, **there, **LATE) as engine:
            if mode == "stopped":
                os.kill(pid, signal.SIGSTOP)
            found = await until_found(engine, limit, word)
            assert "more clients" not in found.text


async def test_nobody_listens() -> None:
    async with running(grace_s=0.0, role="swarm", target=f"127.0.0.1:{unused_port()}") as engine:
        await until_found(engine, "server", "connection refused")
