"""The C program counts what it says, echoes every byte, and is built once."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import psutil
import pytest

from benchmarks.baselines import BaselineError, native

LIMIT_S = 60.0
Transport = Literal["tcp", "udp"]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = native.build(tmp_path_factory.mktemp("native"))
    if built is None:
        pytest.skip("no C compiler, or no epoll")
    return built


@contextmanager
def server(program: Path, transport: Transport) -> Iterator[int]:
    """The C server alone, and its port."""
    command = [str(program), "server", transport, str(LIMIT_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(json.loads(process.stdout.readline())["port"])
        finally:
            process.kill()


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_counts_round_trips_and_leaves_nothing_open(program: Path, transport: Transport) -> None:
    before = psutil.Process().num_fds()
    assert native.run_pair(transport, 4, 64, 0.1, program=program) > 0
    assert psutil.Process().num_fds() == before


@pytest.mark.parametrize(("transport", "size"), [("tcp", 3_000_000), ("udp", 65_507)])
def test_messages_larger_than_a_buffer(program: Path, transport: Transport, size: int) -> None:
    assert native.run_pair(transport, 2, size, 0.3, program=program) > 0


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_server_and_clients_apart_leave_nothing(program: Path, transport: Transport) -> None:
    before, children = psutil.Process().num_fds(), set(psutil.Process().children())
    assert native.run_apart(transport, 4, 64, 0.1, program=program) > 0
    assert psutil.Process().num_fds() == before
    assert set(psutil.Process().children()) <= children


def test_a_swarm_apart_that_fails_leaves_no_server(program: Path) -> None:
    children = set(psutil.Process().children())
    with pytest.raises(BaselineError, match="usage"):
        native.run_apart("tcp", 0, 64, 0.1, program=program)
    assert set(psutil.Process().children()) <= children


def test_prints_one_line_that_agrees_with_itself(program: Path) -> None:
    command = [str(program), "tcp", "4", "64", "0.1"]
    output = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout
    result = json.loads(output)
    assert output.count("\n") == 1
    assert set(result) == {"round_trips", "elapsed_s", "round_trips_per_s"}
    assert result["round_trips_per_s"] == pytest.approx(result["round_trips"] / result["elapsed_s"], rel=1e-3)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_server_and_swarm_meet_in_two_processes(program: Path, transport: Transport) -> None:
    with server(program, transport) as port:
        command = [str(program), "swarm", str(port), transport, "4", "64", "0.1"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    assert json.loads(done.stdout)["round_trips"] > 0


def test_the_server_returns_every_byte_to_a_slow_reader(program: Path) -> None:
    sent = os.urandom(8 << 20)
    with (
        server(program, "tcp") as port,
        socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as peer,
    ):

        def write() -> None:
            peer.sendall(sent)
            peer.shutdown(socket.SHUT_WR)

        writer = threading.Thread(target=write)
        writer.start()
        received = b"".join(iter(lambda: peer.recv(1 << 20), b""))
        writer.join(LIMIT_S)
    assert received == sent


def test_the_swarm_counts_what_its_server_saw(program: Path) -> None:
    """A server of our own counts the bytes: all round trips, and at most one more for each client."""
    size, echoed = 100, 0
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [str(program), "swarm", str(listener.getsockname()[1]), "tcp", "1", str(size), "0.1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            listener.settimeout(LIMIT_S)
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(LIMIT_S)
                while data := peer.recv(7):  # never a whole message: answers come in parts
                    peer.sendall(data)
                    echoed += len(data)
            output, _ = process.communicate(timeout=LIMIT_S)
    round_trips = json.loads(output)["round_trips"]
    assert round_trips * size <= echoed <= (round_trips + 1) * size


def test_a_swarm_without_a_server_fails(program: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        command = [str(program), "swarm", str(nobody.getsockname()[1]), "tcp", "1", "64", "0.1"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 1
    assert "refused" in done.stderr


def test_a_lost_datagram_voids_the_run(program: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        command = [str(program), "swarm", str(silent.getsockname()[1]), "udp", "3", "64", "0.05"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 1
    assert "3 of 3 clients got no answer" in done.stderr


@pytest.mark.parametrize(
    "words", ["", "tcp 4 64", "sctp 4 64 1", "tcp 0 64 1", "udp 1 65508 1", "tcp 1 1 nan"]
)
def test_wrong_usage_is_told(program: Path, words: str) -> None:
    done = subprocess.run(
        [str(program), *words.split()], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_a_failed_run_is_a_baseline_error(program: Path) -> None:
    with pytest.raises(BaselineError, match="usage"):
        native.run_pair("tcp", 0, 64, 0.1, program=program)


def test_is_compiled_once(program: Path) -> None:
    before = program.stat().st_mtime_ns
    assert native.build(program.parent) == program
    assert program.stat().st_mtime_ns == before
    assert list(program.parent.iterdir()) == [program]


def test_without_a_compiler_there_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert native.build(tmp_path) is None
