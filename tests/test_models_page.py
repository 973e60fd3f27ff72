"""The code in docs/models.md is what it says: each server echoes, to two clients where it serves two."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sockscope.core.config.models import SERVER_MODELS, SERVERS_OF

PAGE = (Path(__file__).parent.parent / "docs" / "models.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))
SERVERS = {
    title: block
    for title, text in SECTIONS.items()
    for block in re.findall(r"```python\n(.*?)```", text, re.S)
    if "def serve(" in block
}
DRIVER = """
import socket as _socket
_kind = _socket.SOCK_DGRAM if {udp} else _socket.SOCK_STREAM
_sock = _socket.socket(_socket.AF_INET, _kind)
_sock.bind(("127.0.0.1", 0))
if not {udp}:
    _sock.listen()
print(_sock.getsockname()[1], flush=True)
serve(_sock)
"""
PATIENCE_S = 60.0


def test_every_model_has_a_row_and_a_section_or_is_of_asyncio() -> None:
    for transport, names in SERVERS_OF.items():
        table = PAGE[PAGE.index(f"| over {transport.upper()} |") :]
        for name in names:
            assert f"| `{name}` |" in table
    titles = " ".join(SECTIONS)
    for model in SERVER_MODELS.values():
        if model.threaded:
            assert f"`{model.name}`" in titles


@pytest.mark.parametrize("title", SERVERS)
def test_the_code_of_a_model_serves(title: str) -> None:
    if "epoll" in title and not sys.platform.startswith("linux"):
        pytest.skip("the code names epoll")
    udp = "UDP" in title
    with subprocess.Popen(
        [sys.executable, "-c", SERVERS[title] + DRIVER.format(udp=udp)], stdout=subprocess.PIPE
    ) as server:
        try:
            assert server.stdout is not None
            address = ("127.0.0.1", int(server.stdout.readline()))
            kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
            for text in (b"first", b"second"):
                with socket.socket(socket.AF_INET, kind) as peer:
                    peer.settimeout(PATIENCE_S)
                    peer.connect(address)
                    for turn in range(3):
                        peer.send(text * (turn + 1))
                        assert peer.recv(100) == text * (turn + 1)
        finally:
            server.kill()


def test_the_code_of_the_client_asks() -> None:
    block = re.findall(r"```python\n(.*?)```", SECTIONS["The `blocking` client"], re.S)[0]
    names: dict[str, object] = {}
    exec(block, names)
    ask = names["ask"]
    assert callable(ask)
    with subprocess.Popen(
        [sys.executable, "-c", SERVERS["`blocking`"] + DRIVER.format(udp=False)], stdout=subprocess.PIPE
    ) as server:
        try:
            assert server.stdout is not None
            ask(("127.0.0.1", int(server.stdout.readline())), b"x" * 100_000, 5)
        finally:
            server.kill()


def test_the_code_of_the_clients_over_udp_asks() -> None:
    block = re.findall(r"```python\n(.*?)```", SECTIONS["Clients over UDP"], re.S)[0]
    names: dict[str, Any] = {}
    exec(block, names)
    with subprocess.Popen(
        [sys.executable, "-c", SERVERS["`blocking` over UDP"] + DRIVER.format(udp=True)],
        stdout=subprocess.PIPE,
    ) as server:
        try:
            assert server.stdout is not None
            address = ("127.0.0.1", int(server.stdout.readline()))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.connect(address)
                assert names["ask"](sock, b"request", 5) == 5
                if sys.platform.startswith("linux"):
                    assert names["ask_together"](sock, b"request", 5) == 5
                assert asyncio.run(names["ask_in_a_coroutine"](sock, b"request", 5)) == 5
        finally:
            server.kill()
