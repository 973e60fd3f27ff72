"""One's own handler or protocol through the installed command, in the loop and in child processes."""

import json
import signal
import socket
from pathlib import Path

import pytest

from tests.cli.command import figures, finished, next_line, running, sockscope

MODULE = """\
import asyncio
import os
import sys


async def handle(reader, writer):
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()


def blocking(sock):
    while data := sock.recv(4096):
        sock.sendall(data)


async def shout(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())


async def sometimes(reader, writer):
    for _ in range(20):
        writer.write(await reader.readline())
    raise KeyError("no \\x1b[2J more")


async def chatty(reader, writer):
    while line := await reader.readline():
        print("got", line)
        writer.write(line)


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Broken(Echo):
    def data_received(self, data):
        return 1 / 0


def plain(one, other):
    pass


async def deranged(reader, writer):
    if sys.stdout != 3:
        sys.stderr.close()
        sys.stdout = 3
        os.closerange(0, 3)
        sys.setrecursionlimit(50)
    await handle(reader, writer)
    os.fork()
"""
RAISES, DIVIDES = (
    f"mine.py:{MODULE[: MODULE.index(what)].count(chr(10)) + 1}"
    for what in ("raise KeyError", "return 1 / 0")
)
LINES = ("--framing", "newline", "-c", "4")
SERVES_AS = {"mine:handle": "coroutines", "mine:Echo": "protocol", "mine:blocking": "threads"}
HERE_AND_ELSEWHERE = pytest.mark.parametrize("place", ["loop", "apart"])
UNTIL_LINE = ("--request", "ping\\n", "--until", "\\n")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MODULE)
    return tmp_path


@pytest.mark.parametrize(
    ("own", "place"),
    [
        *((("--handler", "mine:handle"), place) for place in ("loop", "child", "server", "apart")),
        *((("--protocol", "mine:Echo"), place) for place in ("loop", "apart")),
        (("--handler", "mine:blocking"), "apart"),
    ],
)
def test_ones_own_server_is_served_and_counted(own: tuple[str, str], place: str, here: Path) -> None:
    found = figures("run", *own, *LINES, "--place", place, "-n", "300", cwd=here)
    totals, server = found["totals"], found["server"]
    assert (totals["responses"], totals["errors"], totals["timeouts"]) == (300, 0, 0)
    assert (server["requests"], server["responses"], server["errors"]) == (300, 300, 0)
    assert server["bytes_in"] == totals["bytes_out"]
    assert found["experiment"][own[0][2:]] == own[1]
    assert found["experiment"]["service_time_s"] is found["experiment"]["server"] is None
    assert found["server_trouble"] is None
    assert (
        found["serves_as"]
        == {"mine:handle": "coroutines", "mine:Echo": "protocol", "mine:blocking": "threads"}[own[1]]
    )


@HERE_AND_ELSEWHERE
def test_answers_of_ones_own_need_not_echo(place: str, here: Path) -> None:
    own = ("--handler", "mine:shout", *UNTIL_LINE, "-c", "4")
    found = figures("run", *own, "--place", place, "-n", "300", cwd=here)
    assert (found["totals"]["responses"], found["totals"]["errors"]) == (300, 0)
    assert found["totals"]["bytes_in"] == found["totals"]["bytes_out"] == 300 * 5
    assert (found["server"]["requests"], found["server"]["reads"]) == (None, 300)
    assert (found["experiment"]["request_bytes"], found["experiment"]["framing"]) == (5, "none")


@pytest.mark.parametrize("client", ["protocol", "streams"])
def test_every_client_takes_such_answers(client: str, here: Path) -> None:
    own = ("--handler", "mine:shout", *UNTIL_LINE, "-c", "4", "--client", client, "--depth", "1")
    assert figures("run", *own, "-n", "200", cwd=here)["totals"]["responses"] == 200


@HERE_AND_ELSEWHERE
def test_a_handler_that_raises_is_told_and_the_run_goes_on(place: str, here: Path) -> None:
    done = sockscope(
        "run", "--handler", "mine:sometimes", *LINES, "--place", place, "-d", "1", "--json", cwd=here
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["server"]["errors"] > 0
    assert found["totals"]["responses"] >= 20
    assert found["state"] == "stopped"
    assert found["server_trouble"] == f"KeyError at {RAISES}: 'no \\x1b[2J more'"


def test_a_protocol_that_always_raises_answers_nobody_and_is_told(here: Path) -> None:
    done = sockscope("run", "--protocol", "mine:Broken", *LINES, "-d", "0.3", cwd=here)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"no request was answered: the server raised ZeroDivisionError at {DIVIDES} " in done.stderr
    assert "--framing" not in done.stderr
    assert "served by mine:Broken (protocol)" in done.stdout
    assert f"last ZeroDivisionError at {DIVIDES}: division by zero" in " ".join(done.stdout.split())


def test_what_it_prints_does_not_spoil_the_figures(here: Path) -> None:
    done = sockscope("run", "--handler", "mine:chatty", *LINES, "-n", "20", "--json", cwd=here)
    assert done.returncode == 0
    assert json.loads(done.stdout)["totals"]["responses"] == 20
    assert done.stderr.count("got b'") == 20


def test_what_it_does_to_the_standard_streams_changes_nothing(here: Path) -> None:
    done = sockscope(
        "run", "--handler", "mine:deranged", *LINES, "-n", "20", "--json", "--fail-if", "p50>0", cwd=here
    )
    assert (done.returncode, json.loads(done.stdout)["totals"]["responses"]) == (3, 20)
    assert done.stderr.startswith("sockscope: --fail-if p50>0")


def test_it_serves_alone_for_any_client(here: Path) -> None:
    with running("serve", "--handler", "mine:shout", "--framing", "newline", cwd=here) as child:
        host, port = next_line(child).strip().rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=60) as peer:
            peer.sendall(b"hello\n")
            assert peer.recv(100) == b"HELLO\n"
            child.send_signal(signal.SIGINT)
            assert peer.recv(100) == b""
        code, out, _ = finished(child)
    assert code == 0
    assert "served by mine:shout (coroutines), framing newline" in out
    assert "1 answered of 1" in out


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (
            ["--handler", "nowhere:handle"],
            "--handler = 'nowhere:handle': there is no module nowhere, neither in",
        ),
        (["--handler", "mine"], "--handler = 'mine' is not module:function, such as my_server:handle"),
        (["--protocol", "mine.py:Echo"], "a module is named without .py, such as mine:handle"),
        (["--handler", "mine:nothing"], "there is no nothing in"),
        (["--asgi", "mine:app", "-u"], "--udp cannot be combined with --asgi, which serves TCP"),
        (["--handler", "mine:plain"], "takes (one, other), which may be either: name or annotate them"),
        (["--protocol", "mine:sys"], "is neither a class nor a function, but a module"),
        (
            ["--handler", "broken:handle"],
            "importing broken raised NameError at broken.py:1: name 'oops' is not",
        ),
    ],
    ids=lambda value: value[1] if isinstance(value, list) else "",
)
@pytest.mark.parametrize("place", ["loop", "child"])
def test_what_will_not_serve_is_one_sentence(arguments: list[str], why: str, place: str, here: Path) -> None:
    (here / "broken.py").write_text("oops\n")
    done = sockscope("run", *arguments, "--place", place, "-d", "0", cwd=here)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("sockscope: ")
    assert why in done.stderr
    assert done.stderr.count("\n") == 1
