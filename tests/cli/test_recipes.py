"""The recipes of docs/recipes.md: each runs as it is typed, and shows what the page says.

In a ``console`` block commands stand behind ``$``; a line that ends with a backslash goes on, and everything
else is output, of which ``…`` stands for any part. A ``python`` block that begins with the name of a file is
that file. Words must come as they are written. Zero is zero; another figure stands for any that is not, and a
share for any. The ports of the page are others here, runs are short, and where other programs take the CPU,
that is the limit.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import (
    BaseServer,
    DatagramRequestHandler,
    StreamRequestHandler,
    ThreadingTCPServer,
    UDPServer,
)
from typing import Any

import pytest

from tests.cli.command import COMMAND, PATIENCE_S, WARM, clean_environment, sockscope
from tests.cli.warm import WarmCommand
from tests.ports import unused_port

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
RECIPES = dict(re.findall(r"^## (\d+\. .+?)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))
LENGTHS = ("200ms", "2s")
"""Of each run; where a busy machine has decided what came out of short ones, longer ones are made."""
LENGTHS_COMPARED = ("1s", "4s")
"""Where runs are compared."""
RACE = ("--quiet", "--rounds", "1", "--warmup", "50ms", "--slice")
SLICES = {LENGTHS[0]: "100ms", LENGTHS_COMPARED[0]: "100ms"}
PROGRAMS = {"curl", "git", "jq", "memcached", "mosquitto", "openssl", "redis-server"}
"""What a recipe may start besides Python and SockScope."""
PATH = os.pathsep.join([str(Path(COMMAND).parent), os.environ["PATH"], "/usr/sbin"])
IDENTITY = {
    f"GIT_{who}_{what}": "recipe@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
}
"""What git wants to know of whoever commits."""
FIGURE = re.compile(r"(?<![\w.])\d[\d,.]*(?: (?:[nµm]?s|[kMGT]?B)\b)?")
ANY_FIGURE = r"(?!0(?![\d.,]))\d[\d,.]*(?: (?:[nµm]?s|[kMGT]?B)\b)?"


class Web(BaseHTTPRequestHandler):
    """Says that it is well, and nothing else."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b'{"status": "ok"}' if self.path == "/health" else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Mail(StreamRequestHandler):
    """Speaks first, and agrees to everything."""

    def handle(self) -> None:
        self.wfile.write(b"220 ready\r\n")
        for _ in self.rfile:
            self.wfile.write(b"250 ok\r\n")


class Names(DatagramRequestHandler):
    """Knows of no error and of no address (RFC 1035, section 4.1.1)."""

    def handle(self) -> None:
        query = self.rfile.read()
        self.wfile.write(query[:2] + b"\x81\x80" + query[4:])


class WebSocket(StreamRequestHandler):
    """Answers each text with itself and a ping with a pong, masked with zeros (RFC 6455, section 5.2)."""

    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        while len(head := self.rfile.read(6)) == 6:
            opcode, size = head[0], head[1] & 0x7F
            self.wfile.write(bytes([0x8A if opcode == 0x89 else opcode, size]) + self.rfile.read(size))


class Threads(ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


SERVERS: Mapping[int, Callable[[int], BaseServer]] = {
    8025: lambda port: Threads(("127.0.0.1", port), Mail),
    8053: lambda port: UDPServer(("127.0.0.1", port), Names),
    8080: lambda port: Threads(("127.0.0.1", port), Web),
    8765: lambda port: Threads(("127.0.0.1", port), WebSocket),
}
"""Where the page takes it that a server runs, and what runs there instead."""


class Terminal:
    """Where a recipe is typed: ``seen`` is what it writes."""

    def __init__(self, directory: Path, place: str, length: str) -> None:
        self._directory = directory
        self._brief = {"SOCKSCOPE_DURATION": length, "SOCKSCOPE_CLIENTS": "20"}
        self._race = (*RACE, SLICES.get(length, "1s"))
        self._place = place
        self._code = 0
        self._child: subprocess.Popen[Any] | None = None
        self._env = {"PATH": PATH, "SOCKSCOPE_HISTORY": str(directory / "history.db"), **IDENTITY}
        self.seen = ""

    def type(self, command: str) -> None:
        """Run a command to its end, or until it serves."""
        if self._child is not None:
            command = command.replace("$!", str(self._child.pid))
        words = shlex.shlex(command, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        name, *arguments = words
        if command.endswith("&"):
            self._begin(command.removesuffix("&"))
        elif command == "kill %1; wait":
            self.end()
            self.seen += (self._directory / "written").read_text()
        elif name != "sockscope" or not {"|", ">", ";"}.isdisjoint(arguments):
            self._take(self._shell(f"(exit {self._code}); {command}", **self._brief))
        else:
            if arguments[0] == "sweep":
                arguments += [*self._race, "--place", "loop"]
            if arguments[0] == "race":
                arguments += [*self._race, *(("--service-time", "5ms") if "guide" in arguments else ())]
            self._take(sockscope(*arguments, env={**self._env, **self._brief}, cwd=self._directory))

    def _shell(self, command: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", command], cwd=self._directory, env=clean_environment(**self._env, **env),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip

    def _take(self, done: subprocess.CompletedProcess[str]) -> None:
        self._code = done.returncode
        self.seen += done.stdout + done.stderr

    def _begin(self, command: str) -> None:
        words = shlex.split(command)
        with (self._directory / "written").open("wb") as written:
            given: dict[str, Any] = {
                "cwd": self._directory, "env": clean_environment(**self._env),
                "stdin": subprocess.DEVNULL, "stdout": written, "stderr": subprocess.STDOUT,
            }  # fmt: skip
            if words[0] == "sockscope":
                self._child = WarmCommand(WARM, [COMMAND, *words[1:]], **given)
            else:
                self._child = subprocess.Popen(["bash", "-c", f"exec {command}"], **given)
        deadline = time.monotonic() + PATIENCE_S
        while not self._serves():
            assert self._child.poll() is None, (self._directory / "written").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def _serves(self) -> bool:
        """Tell whether a Unix socket is there, somebody listens on a TCP port, or a UDP port is taken."""
        if not self._place.isdigit():
            return (self._directory / self._place).is_socket()
        address = ("127.0.0.1", int(self._place))
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            if tcp.connect_ex(address) == 0:
                return True
            try:
                udp.bind(address)
            except OSError:
                return True
            return False

    def end(self) -> None:
        """End what runs in the background."""
        if self._child is not None:
            self._child.terminate()
            self._child.wait(PATIENCE_S)


def lines_of(recipe: str) -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", recipe, re.S)
    return "".join(blocks).replace("\\\n", "").splitlines()


def shown_in(recipe: str) -> list[str]:
    """Return patterns of the parts that are shown, which hold however lines are wrapped."""
    parts = [""]
    for line in lines_of(recipe):
        if line == "…" or line.startswith("$ "):
            parts.append("")
        else:
            parts[-1] += f" {line}"
    return [pattern(words_of(part)) for part in parts if part]


def words_of(text: str) -> str:
    """Return the text in one line, without how many requests were under way at the end, if any were."""
    return re.sub(r" \([\d,]+ under way at the end\)", "", " ".join(text.split()))


def pattern(words: str) -> str:
    pieces, at = "", 0
    for figure in FIGURE.finditer(words):
        at, before = figure.end(), words[at : figure.start()]
        is_share = words.startswith(" %", at)
        pieces += re.escape(before) + (r"\d+" if is_share else "0" if figure[0] == "0" else ANY_FIGURE)
    shown = (pieces + re.escape(words[at:])).replace("…", ".*?")
    return re.sub(r"limit\\ (.*)", r"limit (?:\1|(?:other programs|machine CPU|CPU): .*?)", shown)


@contextlib.contextmanager
def elsewhere(recipe: str) -> Iterator[str]:
    """Yield the recipe with ports that are free here, or of servers like those that it speaks of."""
    with contextlib.ExitStack() as stack:
        for port in dict.fromkeys(re.findall(r"127\.0\.0\.1:(\d+)", recipe)):
            here = unused_port()
            if serves := SERVERS.get(int(port)):
                server = stack.enter_context(serves(here))
                threading.Thread(target=server.serve_forever, args=(0.02,)).start()
                stack.callback(server.shutdown)
            recipe = re.sub(rf"\b{port}\b", str(here), recipe)
        yield recipe


def needed(recipe: str) -> list[str]:
    """Return the programs that the recipe starts and that are not here."""
    words = set(re.findall(r"[\w-]+", "\n".join(lines_of(recipe))))
    return [program for program in PROGRAMS & words if shutil.which(program, path=PATH) is None]


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_shows_what_the_page_says(title: str, tmp_path: Path) -> None:
    if missing := needed(RECIPES[title]):
        pytest.skip(f"needs {' and '.join(missing)}")
    for length in LENGTHS_COMPARED if "sockscope diff" in RECIPES[title] else LENGTHS:
        directory = tmp_path / length
        directory.mkdir()
        with elsewhere(RECIPES[title]) as recipe:
            if not (fault := lacking(recipe, followed(recipe, directory, length))):
                return
    raise AssertionError(fault)


def followed(recipe: str, directory: Path, length: str) -> str:
    """Type the recipe in a directory; return what was seen."""
    for text, name in re.findall(r"```python\n(# (\w+\.py).*?)```", recipe, re.S):
        (directory / name).write_text(text)
    [place, *_] = re.findall(r"unix:([\w./]+)|127\.0\.0\.1:(\d+)", recipe) or [("", "")]
    terminal = Terminal(directory, "".join(place), length)
    try:
        for line in lines_of(recipe):
            if line.startswith("$ "):
                terminal.type(line[2:])
    finally:
        terminal.end()
    return words_of(terminal.seen)


def lacking(recipe: str, seen: str) -> str:
    """Return what should have been seen and was not; nothing when all of it was."""
    at = 0
    for part in shown_in(recipe):
        found = re.compile(part).search(seen, at)
        if found is None:
            return f"{part} is not in {seen[at:]}"
        at = found.end()
    return ""


def test_the_recipes_are_numbered_and_show_something() -> None:
    assert [title.partition(".")[0] for title in RECIPES] == [str(n) for n in range(1, len(RECIPES) + 1)]
    assert len(RECIPES) >= 20
    assert all(map(shown_in, RECIPES.values()))
