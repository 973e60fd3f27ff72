"""A server that runs elsewhere on this machine: one of ours in a process of its own, and a real Redis."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sockscope.cli.aim import anew
from sockscope.core.config.experiment import Experiment
from tests.cli.command import PATIENCE_S, figures, next_line, running, sockscope

PING = ("--request", "PING\\r\\n", "--until", "\\r\\n")
REDIS = shutil.which("redis-server")
needs_redis = pytest.mark.skipif(REDIS is None, reason="needs redis-server on the PATH")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def redis(directory: Path) -> Iterator[tuple[str, int]]:
    """Run a Redis that keeps nothing; yield its address and its process id."""
    assert REDIS is not None
    port = free_port()
    child = subprocess.Popen(
        [REDIS, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
        cwd=directory,
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not ask(port, b"PING\r\n"):
            assert child.poll() is None
            assert time.monotonic() < deadline
        yield f"127.0.0.1:{port}", child.pid
    finally:
        child.terminate()
        child.wait(PATIENCE_S)


def ask(port: int, command: bytes) -> bytes:
    """Return what a Redis answers, or nothing while it does not listen."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as sock:
            sock.sendall(command)
            return sock.recv(65_536)
    except ConnectionRefusedError:
        return b""


@needs_redis
def test_a_redis_agrees_with_what_the_clients_counted(tmp_path: Path) -> None:
    with redis(tmp_path) as (address, pid):
        found = figures("run", "--target", address, *PING, "-n", "500", "-c", "10", "--pid", str(pid))
        totals = found["totals"]
        assert (totals["responses"], totals["errors"], totals["timeouts"]) == (500, 0, 0)
        assert (totals["bytes_out"], totals["bytes_in"]) == (500 * 6, 500 * 7)
        told = ask(int(address.rpartition(":")[2]), b"INFO commandstats\r\n").decode()
        calls = int(told.partition("cmdstat_ping:calls=")[2].partition(",")[0])
        assert calls == 501  # with the one that asked whether it is there
        [main, target] = found["processes"]
        assert (main["name"], target["name"], target["pid"], target["state"]) == (
            "main",
            "target",
            pid,
            "running",
        )
        assert target["rss_bytes"] > 1 << 20
        assert target["cpu_s"] >= 0
        assert (found["experiment"]["role"], found["experiment"]["target"]) == ("swarm", address)
        assert found["experiment"]["service_time_s"] is None


@needs_redis
def test_a_redis_by_the_other_ways_to_tell_an_answer(tmp_path: Path) -> None:
    request = tmp_path / "request"
    request.write_bytes(b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n")
    with redis(tmp_path) as (address, _):
        ask(int(address.rpartition(":")[2]), b"SET key " + b"x" * 20_000 + b"\r\n")
        found = figures("swarm", address, "--request", f"@{request}", "--expect", "20010", "-n", "50")
        assert (found["totals"]["responses"], found["totals"]["bytes_in"]) == (50, 50 * 20_010)
        # An error is an answer too, and a shorter one than is expected never ends.
        done = sockscope(
            "swarm", address, *PING[:2], "--expect", "8", "--timeout", "50ms", "-d", "0.3", "--json"
        )
        assert json.loads(done.stdout)["totals"]["responses"] == 0
        assert json.loads(done.stdout)["totals"]["timeouts"] > 0


@pytest.mark.parametrize("place", ["loop", "apart"])
def test_the_process_of_a_server_elsewhere_is_shown(place: str) -> None:
    with running("serve") as server:
        address = next_line(server).strip()
        done = sockscope(
            "run", "--target", address, "--pid", str(server.pid), "-c", "4", "-n", "200", "--place", place
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert f"SockScope: TCP clients, {address}," in done.stdout
        assert "\ntarget        CPU " in done.stdout
        assert "service 5 ms" not in done.stdout


def test_a_target_that_ends_is_told_and_does_not_end_the_run() -> None:
    with running("serve") as server:
        address = next_line(server).strip()
        with running(
            "run",
            "--target",
            address,
            "--pid",
            str(server.pid),
            "-c",
            "2",
            "-i",
            "50ms",
            "-d",
            "0",
            "--json-stream",
        ) as run:
            while not json.loads(next_line(run))["totals"]["responses"]:
                pass
            server.kill()
            server.wait(PATIENCE_S)
            while json.loads(next_line(run))["processes"][-1]["alive"]:
                pass
            told = json.loads(next_line(run))
            assert told["processes"][-1]["state"] == "has ended"
            assert told["processes"][-1]["cpu_ratio"] is None
            assert told["state"] == "running"
            assert run.poll() is None


HASTY = ("-n", "1000000", "-c", "2", "--timeout", "100ms", "--give-up", "300ms", "-i", "100ms")


@pytest.mark.parametrize("place", ["loop", "apart"])
def test_a_number_of_requests_that_nobody_answers_is_given_up(place: str) -> None:
    target = f"127.0.0.1:{free_port()}"
    done = sockscope("run", "--target", target, *HASTY, "--place", place)
    assert done.returncode == 1
    note, failure = done.stderr.splitlines()
    assert note == (
        "sockscope: no answer: Connection refused; retrying; the "
        "run fails if nothing is answered for 300 ms (--give-up)"
    )
    assert failure == (
        "sockscope: the run failed: gave up after 400 ms without an answer (--give-up): Connection refused"
    )


def test_a_pid_that_is_nobody_s_is_one_sentence() -> None:
    with running("serve") as server:
        address = next_line(server).strip()
    done = sockscope("run", "--target", address, "--pid", str(server.pid), "-d", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"sockscope: --pid = {server.pid}: there is no such process\n"


@pytest.mark.parametrize("before", ["127.0.0.1:1", "[::1]:1", "unix:/run/it"])
@pytest.mark.parametrize(
    ("target", "family"), [("127.0.0.1:6379", "ipv4"), ("[::1]:6379", "ipv6"), ("unix:@other", "unix")]
)
def test_a_new_target_may_be_of_another_family(before: str, target: str, family: str) -> None:
    aimed = anew(Experiment(), {"target": before})
    chosen = anew(aimed, {"target": target})
    assert (chosen.role, chosen.target, chosen.tuning.family) == ("swarm", target, family)
