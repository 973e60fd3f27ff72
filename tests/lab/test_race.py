"""Short real races: what they measure, what they tell, and that they leave nothing behind."""

from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import psutil
import pytest

from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.results.contest import Contest, Contestant
from sockscope.core.results.standing import Standing, rows
from sockscope.errors import ConfigError, ResourceLimitError
from sockscope.lab import ports, race
from sockscope.lab.race import Race, check_descriptors

QUICK = Tuning(clients=4, permits=0, service_time_s=0.0, request_timeout_s=10.0, place="loop")


def contestant(name: str, experiment: Experiment | None = None, **tuned: Any) -> Contestant:
    base = experiment or Experiment()
    return Contestant(name, replace(base, tuning=replace(QUICK, **tuned)))


def contest(*contestants: Contestant, **values: Any) -> Contest:
    quick: dict[str, Any] = {"rounds": 2, "slice_s": 0.05, "warmup_s": 0.02}
    return Contest(contestants, **{**quick, **values})


async def result_of(contest: Contest) -> list[Standing]:
    async with asyncio.timeout(60), aclosing(Race(contest).run()) as standings:
        return [standing async for standing in standings]


def taken_port() -> socket.socket:
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    held.listen()
    return held


# What is measured.


async def test_contestants_take_turns_until_the_rounds_are_done() -> None:
    told = await result_of(contest(contestant("a"), contestant("b", request_bytes=32), rounds=3))
    last = told[-1]
    assert {name: len(laps) for name, laps in last.laps.items()} == {"a": 3, "b": 3}
    assert (last.finished, last.cut_short, last.time_left_s) == (True, False, 0.0)
    turns = [(standing.round, standing.running) for standing in told if standing.running]
    assert list(dict.fromkeys(turns)) == [(1, "a"), (1, "b"), (2, "a"), (2, "b"), (3, "a"), (3, "b")]
    for row in rows(last):
        assert row.rank is not None
        for lap in last.laps[row.name]:
            assert lap.requests_per_s is not None
            assert lap.requests_per_s > 0
            assert lap.duration_s is not None
            assert lap.duration_s > 0
            assert lap.connections_per_s == 0
            assert lap.failed == 0
            assert lap.rss_bytes is not None


async def test_outside_of_their_slices_contestants_are_quiet() -> None:
    running = Race(contest(contestant("a"), contestant("b"), rounds=1))
    async with asyncio.timeout(60), aclosing(running.run()) as standings:
        async for standing in standings:
            if standing.running == "b" and standing.partial is None and not standing.laps["b"]:
                a = running._lanes["a"]._clients()
                before = a.snapshot()
                assert before.main.in_flight == 0
                await asyncio.sleep(0.01)
                assert a.snapshot().main.totals == before.main.totals


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_a_batch_makes_exactly_its_connections(transport: str) -> None:
    both = contest(
        contestant("a", lifetime=1, transport=transport),
        contestant("b", lifetime=1, transport=transport, service_time_s=0.01),
        requests=20,
    )
    told = await result_of(both)
    a, b = told[-1].laps["a"], told[-1].laps["b"]
    for lap in (*a, *b):
        assert lap.duration_s is not None
        assert lap.requests_per_s == pytest.approx(20 / lap.duration_s)
        assert lap.connections_per_s == pytest.approx(20 / lap.duration_s)
        assert lap.failed == 0
    # 20 requests by 4 clients are 5 service times in a row for each of them.
    assert all(lap.duration_s is not None and lap.duration_s >= 0.05 for lap in b)


async def test_over_tls_the_clients_of_each_know_its_server() -> None:
    pytest.importorskip("cryptography")
    told = await result_of(contest(contestant("a", tls=True, lifetime=1), contestant("b"), requests=8))
    assert [lap.failed for laps in told[-1].laps.values() for lap in laps] == [0] * 4


async def test_a_batch_of_persistent_clients() -> None:
    told = await result_of(contest(contestant("a"), requests=30))
    laps = told[-1].laps["a"]
    assert len(laps) == 2
    assert all(lap.connections_per_s == 0 and lap.failed == 0 for lap in laps)


async def test_servers_and_clients_in_processes_of_their_own() -> None:
    two = contest(contestant("a", place="apart"), contestant("b", place="apart", swarm_processes=2))
    children = set(psutil.Process().children())
    told = await result_of(two)
    last = told[-1]
    assert (last.faults, last.slices_done) == ({}, 4)
    for lap in (*last.laps["a"], *last.laps["b"]):
        assert lap.requests_per_s is not None
        assert lap.requests_per_s > 0
        assert lap.failed == 0
        assert lap.threads == 1
        assert lap.rss_bytes is not None
        assert lap.rss_bytes > 1_000_000
        assert lap.cpu_ratio is not None
        assert lap.clients_cpu_ratio is not None
    assert set(psutil.Process().children()) <= children


async def test_a_batch_between_processes() -> None:
    two = contest(
        contestant("a", place="apart", lifetime=1),
        Contestant("b", Experiment(replace(QUICK, place="apart", lifetime=1), loop="asyncio")),
        requests=25,
    )
    last = (await result_of(two))[-1]
    assert last.faults == {}
    for lap in (*last.laps["a"], *last.laps["b"]):
        assert lap.duration_s is not None
        assert lap.connections_per_s == pytest.approx(25 / lap.duration_s)
        assert lap.failed == 0


async def test_a_server_that_is_killed_drops_out() -> None:
    going = Race(contest(contestant("a", place="apart"), contestant("b", place="apart"), rounds=3))
    async with asyncio.timeout(60), aclosing(going.run()) as standings:
        async for standing in standings:
            if standing.running == "b" and standing.round == 1 and not standing.laps["b"]:
                lane = going._lanes["b"]._server
                assert lane is not None
                (server,) = lane.snapshot().processes[1:]
                if psutil.pid_exists(server.pid):
                    psutil.Process(server.pid).kill()
    assert "killed" in standing.faults["b"]
    assert len(standing.laps["a"]) == 3


async def test_figures_so_far_are_told() -> None:
    told = await result_of(contest(contestant("a"), rounds=1, slice_s=0.6))
    partial = [standing.partial for standing in told if standing.partial is not None]
    assert partial
    assert all((lap.requests_per_s or 0) > 0 for lap in partial)


async def test_the_time_left_goes_down() -> None:
    told = await result_of(contest(contestant("a"), contestant("b")))
    left = [standing.time_left_s for standing in told]
    assert left[0] == pytest.approx(4 * 0.07)
    assert left[-1] == 0.0
    batch = await result_of(contest(contestant("a"), requests=5))
    assert batch[0].time_left_s is None
    assert [s.time_left_s is None for s in batch if s.laps["a"]] == [False] * sum(
        1 for s in batch if s.laps["a"]
    )


# Contestants that fail.


async def test_the_result_is_how_it_ended() -> None:
    async with asyncio.timeout(60):
        last = await Race(contest(contestant("a"))).result()
    assert last.finished
    assert last.slices_done == 2


async def test_one_that_cannot_start_does_not_keep_the_others_from_racing() -> None:
    with taken_port() as held:
        port = held.getsockname()[1]
        told = await result_of(contest(contestant("a"), contestant("b", Experiment(port=port))))
    last = told[-1]
    assert "cannot listen" in last.faults["b"]
    assert (len(last.laps["a"]), len(last.laps["b"])) == (2, 0)
    assert [(row.name, row.rank) for row in rows(last)] == [("a", 1), ("b", None)]


async def test_one_that_fails_in_mid_race_keeps_its_figures() -> None:
    running = Race(contest(contestant("a"), contestant("b"), rounds=3))
    async with asyncio.timeout(60), aclosing(running.run()) as standings:
        async for standing in standings:
            if standing.round == 2 and standing.running == "a" and "b" not in standing.faults:
                lane = running._lanes["b"]._server
                assert lane is not None
                lane.fail(RuntimeError("broken"))
    assert "broken" in standing.faults["b"]
    assert (len(standing.laps["a"]), len(standing.laps["b"])) == (3, 1)


async def test_a_batch_that_nobody_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sockscope.lab.lane.STALL_S", 0.05)
    unanswered = contestant(
        "a", lifetime=1, request_timeout_s=0.05, connect_timeout_s=0.05, service_time_s=0.2
    )
    told = await result_of(contest(unanswered, requests=5, rounds=1))
    last = told[-1]
    (lap,) = last.laps["a"] or (None,)
    # Every request times out: that is a result without an answer, not a race that hangs.
    assert lap is None
    assert "no request of the batch was answered" in last.faults["a"]


# Limits.


async def test_what_is_wrong_is_told_before_the_start() -> None:
    with pytest.raises(ConfigError, match="takes part twice"):
        await result_of(contest(contestant("a"), contestant("a")))


def test_descriptors_are_counted_over_all_that_share_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "descriptor_limit", lambda: 20_000)
    check_descriptors(contest(contestant("a", clients=9_000)))
    two = [contestant(name, clients=9_000) for name in "ab"]
    with pytest.raises(ResourceLimitError, match="2 contestants in this process need 36,128 descriptors"):
        check_descriptors(contest(*two))
    check_descriptors(contest(*(contestant(name, clients=9_000, place="apart") for name in "ab")))


def test_ports_are_counted_for_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "ephemeral_range", lambda: range(1_000))
    one = contestant("a", lifetime=1, family="ipv6")
    ports.check_ports(contest(one, requests=500, rounds=2))
    with pytest.raises(ResourceLimitError, match=r"a makes 1,002 connections in 2 rounds"):
        ports.check_ports(contest(one, requests=501, rounds=2))
    ports.check_ports(contest(contestant("a", lifetime=1), requests=501, rounds=2))
    ports.check_ports(contest(contestant("a", lifetime=2, family="ipv6"), requests=501, rounds=2))
    ports.check_ports(contest(one, rounds=1_000))


# Ending it.


async def test_a_race_that_is_finished_early_has_what_it_has() -> None:
    running = Race(contest(contestant("a"), contestant("b"), rounds=1_000))
    async with asyncio.timeout(60), aclosing(running.run()) as standings:
        async for standing in standings:
            if standing.laps["a"] and standing.running == "b":
                running.finish()
    assert (standing.finished, standing.cut_short) == (True, True)
    assert (len(standing.laps["a"]), len(standing.laps["b"])) == (1, 0)


async def test_a_race_that_is_cancelled_leaves_nothing() -> None:
    """That nothing is left is looked at by the fixture of every test here."""
    running = Race(contest(contestant("a"), contestant("b"), rounds=1_000))
    begun = asyncio.Event()

    async def watch() -> None:
        async with aclosing(running.run()) as standings:
            async for standing in standings:
                if standing.slices_done:
                    begun.set()

    task = asyncio.create_task(watch())
    async with asyncio.timeout(60):
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert running._lanes == {}


async def test_a_watcher_that_raises_leaves_nothing() -> None:
    async def watch() -> None:
        async with asyncio.timeout(60), aclosing(Race(a_long_one).run()) as standings:
            async for standing in standings:
                if standing.running:
                    raise OSError(errno.ENOSPC, "full")

    a_long_one = contest(contestant("a"), rounds=1_000)
    with pytest.raises(OSError, match="full"):
        await watch()
