"""Each bare pair counts round trips, closes what it opened, and refuses a run that it could not measure."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import psutil
import pytest
import uvloop

from benchmarks.baselines import BaselineError, bare
from tests.waiting import until
from tests.warm_children import children

LIMIT_S = 60.0
PAIRS = [bare.bare_tcp, bare.bare_unix, bare.bare_udp, bare.bare_udp_reader]
UDP_PAIRS = [bare.bare_udp, bare.bare_udp_reader]
Pair = Callable[..., Coroutine[Any, Any, float]]


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """A loop that has listened before: uvloop opens one spare descriptor with its first listener."""

    async def listen() -> None:
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, bare.LOOPBACK, 0)
        server.close()
        await server.wait_closed()

    with asyncio.Runner(loop_factory=request.param) as runner:
        runner.run(listen())
        yield runner


async def bounded(pair: Coroutine[Any, Any, float]) -> float:
    async with asyncio.timeout(LIMIT_S):
        return await pair


@pytest.mark.parametrize("pair", [*PAIRS, bare.bare_tls])
def test_counts_round_trips_and_leaves_nothing_open(runner: asyncio.Runner, pair: Pair) -> None:
    async def measure() -> tuple[float, int]:
        before = psutil.Process().num_fds()
        round_trips_per_s = await bounded(pair(4, 64, 0.1, warmup=0.02))
        return round_trips_per_s, psutil.Process().num_fds() - before

    round_trips_per_s, left_open = runner.run(measure())
    assert round_trips_per_s > 0
    assert left_open == 0


@pytest.mark.parametrize("pair", PAIRS)
def test_takes_more_connections_than_one_batch_and_the_largest_message(
    runner: asyncio.Runner, pair: Pair
) -> None:
    connections = bare.CONNECTS_AT_ONCE + 1
    assert runner.run(bounded(pair(connections, 64, 0.1, warmup=0.0))) > 0
    assert runner.run(bounded(pair(2, bare.LARGEST_MESSAGE_BYTES, 0.1, warmup=0.0))) > 0


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize(
    ("connections", "size", "seconds"),
    [(0, 64, 0.1), (4, 0, 0.1), (4, bare.LARGEST_MESSAGE_BYTES + 1, 0.1), (4, 64, 0)],
)
def test_refuses_what_cannot_be_measured(
    runner: asyncio.Runner, pair: Pair, connections: int, size: int, seconds: float
) -> None:
    with pytest.raises(ValueError, match=r"a message has|nothing to measure"):
        runner.run(bounded(pair(connections, size, seconds, warmup=0.0)))


@pytest.mark.parametrize("pair", PAIRS)
def test_a_cancelled_run_closes_everything_too(runner: asyncio.Runner, pair: Pair) -> None:
    async def cancel() -> int:
        before = psutil.Process().num_fds()
        task = asyncio.create_task(bounded(pair(4, 64, 10.0, warmup=0.0)))
        await until(lambda: psutil.Process().num_fds() > before + 4)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        return psutil.Process().num_fds() - before

    assert runner.run(cancel()) == 0


@pytest.mark.parametrize("pair", PAIRS)
def test_cancelled_in_any_turn_of_its_setup_it_closes_everything(runner: asyncio.Runner, pair: Pair) -> None:
    async def cancel_after(turns: int) -> None:
        before = psutil.Process().num_fds()
        task = asyncio.create_task(bounded(pair(4, 64, 10.0, warmup=0.0)))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        # The loop closes in its next turns what was cancelled in mid-connect.
        await until(lambda: psutil.Process().num_fds() == before)

    for turns in range(1, 30):
        runner.run(cancel_after(turns))


@pytest.mark.parametrize("pair", PAIRS)
def test_the_descriptor_limit_is_told_and_nothing_stays_open(runner: asyncio.Runner, pair: Pair) -> None:
    async def run_into_the_limit() -> int:
        before = psutil.Process().num_fds()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (before + 20, hard))
        try:
            with pytest.raises((BaselineError, OSError), match="Too many open files"):
                await bounded(pair(100, 64, 0.1, warmup=0.0))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await asyncio.sleep(0.01)
        return psutil.Process().num_fds() - before

    assert runner.run(run_into_the_limit()) == 0


@pytest.mark.parametrize("pair", UDP_PAIRS)
def test_a_lost_datagram_voids_the_run(
    runner: asyncio.Runner, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swallow(self: object, *datagram: object) -> None: ...

    monkeypatch.setattr(bare._DatagramClient, "start", swallow)
    monkeypatch.setattr(bare._SocketClient, "start", swallow)
    monkeypatch.setattr(bare, "ANSWER_LIMIT_S", 0.05)
    with pytest.raises(BaselineError, match="4 of 4 clients got no answer"):
        runner.run(bounded(pair(4, 64, 0.05, warmup=0.0)))


def test_a_lost_connection_voids_the_run(runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang_up(client: bare._StreamClient, message: bytes) -> None:
        client._transport.close()

    monkeypatch.setattr(bare._StreamClient, "start", hang_up)
    with pytest.raises(BaselineError, match="only 0 of 8 ends"):
        runner.run(bounded(bare.bare_tcp(4, 64, 0.2, warmup=0.0)))


def test_a_pair_apart_counts_round_trips_and_leaves_no_process() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(bounded(bare.bare_tcp_apart(4, 64, 0.1, warmup=0.02))) > 0
    assert children() == []
