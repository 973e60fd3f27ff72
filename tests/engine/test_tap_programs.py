"""Programs of others through a tap: it counts what their servers count."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sockscope.core.addresses import split_address
from sockscope.core.config.experiment import Experiment
from sockscope.engine.engine import Engine
from tests.engine.test_tap import tap_of
from tests.ports import unused_port
from tests.waiting import until

PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
NGINX = """
user root; daemon off; pid {place}/pid; error_log stderr; worker_processes 1;
events {{ worker_connections 64; }}
http {{ access_log {place}/served; client_body_temp_path {place}; proxy_temp_path {place};
  fastcgi_temp_path {place}; uwsgi_temp_path {place}; scgi_temp_path {place};
  server {{ listen 127.0.0.1:{port}; root {place}; }} }}
"""


def needed(*programs: str) -> None:
    if missing := [one for one in programs if shutil.which(one, path=PATH) is None]:
        pytest.skip(f"needs {' and '.join(missing)}")


async def done(*command: str) -> str:
    """Run a program to its end, and return what it writes."""
    child = await asyncio.create_subprocess_exec(*command, stdout=-1, stderr=-3, env={"PATH": PATH})
    written, _ = await child.communicate()
    return written.decode()


@asynccontextmanager
async def serving(port: int, *command: str) -> AsyncIterator[None]:
    """Run a server until it is done with."""
    child = await asyncio.create_subprocess_exec(*command, stdout=-3, stderr=-3, env={"PATH": PATH})
    try:
        while True:
            assert child.returncode is None
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
                continue
            writer.close()
            break
        yield
    finally:
        if child.returncode is None:
            child.terminate()
        await child.wait()


async def test_redis_counts_the_commands_that_the_tap_counts(tmp_path: Path) -> None:
    needed("redis-server", "redis-cli", "redis-benchmark")
    port = unused_port()
    server = ("redis-server", "--port", str(port), "--save", "", "--dir", str(tmp_path))
    async with serving(port, *server), Engine(Experiment(role="relay", target=f"127.0.0.1:{port}")) as engine:
        _, tap = split_address(engine.snapshot().main.address)
        await done("redis-cli", "-p", str(port), "config", "resetstat")
        for flags in ("-c 4 -t set", "-c 2 -P 8 -t get,lpush"):
            await done("redis-benchmark", "-p", str(tap), "-n", "100", "-q", *flags.split())
        await until(lambda: tap_of(engine).connections_open == 0)
        told = await done("redis-cli", "-p", str(port), "info", "commandstats")
        calls = {name: int(count) for name, count in re.findall(r"cmdstat_([\w|]+):calls=(\d+)", told)}
        calls.pop("config|resetstat")
        seen = tap_of(engine)
        assert seen.totals.requests == seen.totals.responses == sum(calls.values()) >= 300
        assert (seen.totals.unexpected, seen.in_flight, seen.serves_as) == (0, 0, "RESP")


async def test_nginx_serves_the_requests_that_the_tap_counts_byte_by_byte(tmp_path: Path) -> None:
    needed("nginx", "curl")
    port, big = unused_port(), os.urandom(10_000_000)
    (tmp_path / "big").write_bytes(big)
    (tmp_path / "conf").write_text(NGINX.format(place=tmp_path, port=port))
    server = ("nginx", "-e", "stderr", "-c", str(tmp_path / "conf"))
    async with serving(port, *server), Engine(Experiment(role="relay", target=f"127.0.0.1:{port}")) as engine:
        tap = f"http://{engine.snapshot().main.address}"
        await done("curl", "-s", f"{tap}/big", "-o", str(tmp_path / "came"), f"{tap}/none", "-o", "/dev/null")
        await done("curl", "-sI", f"{tap}/big")
        await until(lambda: tap_of(engine).connections_open == 0)
        served = tmp_path / "served"
        await until(lambda: len(served.read_text().splitlines()) >= 3)
        seen = tap_of(engine)
        assert (tmp_path / "came").read_bytes() == big
        assert seen.totals.requests == seen.totals.responses == len(served.read_text().splitlines()) == 3
        assert seen.serves_as == "HTTP/1"
