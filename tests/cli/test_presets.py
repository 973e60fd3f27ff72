"""Protocols by their names, against real servers where there are any; their own count is the witness."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sockscope.core.config.presets import PRESETS
from tests.cli.command import PATIENCE_S, figures, sockscope
from tests.ports import unused_port

REQUESTS = 200
NGINX = """
daemon off; pid {directory}/pid; error_log /dev/null;
events {{}}
http {{
  access_log off; client_body_temp_path {directory}; proxy_temp_path {directory};
  fastcgi_temp_path {directory}; uwsgi_temp_path {directory}; scgi_temp_path {directory};
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 "hello"; }} location /told {{ stub_status; }} }}
}}
"""


def talk(port: int, says: bytes) -> str:
    """Say something on a connection of its own, and return all that comes back within a moment."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as sock:
        sock.sendall(says)
        sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(65_536), b"")).decode("latin-1")


def of_redis(port: int) -> int:
    told = talk(port, b"INFO commandstats\r\n")
    return int(told.partition("cmdstat_ping:calls=")[2].partition(",")[0] or 0)


def of_memcached(port: int) -> int:
    return int(talk(port, b"stats\r\nquit\r\n").partition("STAT cmd_get ")[2].partition("\r")[0])


def of_nginx(port: int) -> int:
    told = talk(port, b"GET /told HTTP/1.0\r\n\r\n")
    return int(told.partition("requests\n")[2].split()[2])


Started = Callable[[str, int, Path], list[str]]
REAL: dict[str, tuple[str, Started, Callable[[int], int] | None]] = {
    "redis": (
        "redis-server",
        lambda name, port, _: [name, "--port", str(port), "--bind", "127.0.0.1", "--save", ""],
        of_redis,
    ),
    "memcached": (
        "memcached",
        lambda name, port, _: [name, "-u", "nobody", "-l", "127.0.0.1", "-p", str(port)],
        of_memcached,
    ),
    "http": (
        "nginx",
        lambda name, port, directory: [name, "-c", written(directory, NGINX, port)],
        of_nginx,
    ),
    "mqtt": (
        "mosquitto",
        lambda name, port, directory: [
            name, "-c", written(directory, "listener {port} 127.0.0.1\nallow_anonymous true\n", port),
        ],
        None,
    ),
}  # fmt: skip


def written(directory: Path, text: str, port: int) -> str:
    path = directory / "conf"
    path.write_text(text.format(port=port, directory=directory))
    return str(path)


@contextmanager
def serving(command: list[str], port: int) -> Iterator[None]:
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not listens(port):
            assert child.poll() is None
            assert time.monotonic() < deadline
        yield
    finally:
        child.terminate()
        child.wait(PATIENCE_S)


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("protocol", REAL)
def test_a_real_server_counts_the_same_requests(protocol: str, tmp_path: Path) -> None:
    program, command, count = REAL[protocol]
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin")
    if found is None:
        pytest.skip(f"needs {program}")
    port = unused_port()
    with serving(command(found, port, tmp_path), port):
        before = count(port) if count is not None else 0
        totals = figures("run", "--target", f"127.0.0.1:{port}", "--as", protocol, *FEW)["totals"]
        assert (totals["responses"], totals["failed"], totals["unexpected"]) == (REQUESTS, 0, 0)
        if count is not None:
            # A server of the web counts who asks it for its count, too.
            assert count(port) - before == REQUESTS + (protocol == "http")


FEW = ("-n", str(REQUESTS), "-c", "5")


class Web(BaseHTTPRequestHandler):
    """The library's HTTP server: HTTP/1.0, each answer on a connection of its own."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_an_http_server_that_closes_each_connection() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        threading.Thread(target=server.serve_forever).start()
        target = f"127.0.0.1:{server.server_port}"
        totals = figures("run", "--target", target, "--as", "http", *FEW)["totals"]
        server.shutdown()
    assert (totals["responses"], totals["failed"], totals["response_bytes"]) == (
        REQUESTS,
        0,
        totals["bytes_in"],
    )


@pytest.mark.parametrize("protocol", PRESETS)
def test_a_protocol_is_a_few_values_that_can_be_printed_and_overridden(protocol: str) -> None:
    asked = ("run", "--target", "127.0.0.1:1", "--as", protocol, "--print-spec")
    printed = sockscope(*asked)
    assert (printed.returncode, printed.stderr) == (0, "")
    assert not any(line == 'request = ""' for line in printed.stdout.splitlines())
    other = sockscope(*asked, "--request", "hex:0102030405060708090a0b0c0d0e0f10")
    assert 'request = "hex:0102030405060708090a0b0c0d0e0f10"' in other.stdout.splitlines()
    if protocol != "dns":
        ends = sockscope(*asked, "--until", "END")
        assert {'until = "END"', 'answer = "framing"', 'length_field = ""'} <= set(ends.stdout.splitlines())


def test_an_unknown_protocol_is_told() -> None:
    told = sockscope("run", "--target", "127.0.0.1:1", "--as", "gopher")
    assert (told.returncode, told.stdout) == (2, "")
    assert "'gopher' is not one of" in told.stderr
