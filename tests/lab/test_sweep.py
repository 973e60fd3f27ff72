"""Short real sweeps: that each step is measured as it is tuned, in which order, and what a failure leaves."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import psutil
import pytest

from sockscope import sweep
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.results.axis import Axis
from sockscope.core.results.design import Design
from sockscope.core.results.lap_figures import NAMES
from sockscope.core.results.scaling import curves
from sockscope.core.results.search import Search
from sockscope.core.results.standing import Standing
from sockscope.core.results.thresholds import Threshold
from sockscope.engine.engine import Engine
from sockscope.errors import ConfigError
from sockscope.lab.find import Find
from sockscope.lab.sweep import Sweep

QUICK = Tuning(clients=2, permits=0, service_time_s=0.0, request_timeout_s=10.0, place="loop")


def design(*over: str, rounds: int = 2, **tuned: Any) -> Design:
    experiment = Experiment(replace(QUICK, **tuned))
    return Design(experiment, tuple(map(Axis.parse, over)), rounds=rounds, slice_s=0.05, warmup_s=0.01)


async def result_of(swept: Design) -> list[Standing]:
    async with asyncio.timeout(60), aclosing(Sweep(swept).run()) as standings:
        return [standing async for standing in standings]


async def test_steps_are_measured_there_and_back_as_they_are_tuned() -> None:
    told = await result_of(design("clients=1,4", "service_time=2ms,4ms"))
    last = told[-1]
    assert (last.faults, last.finished, last.cut_short) == ({}, True, False)
    names = [contestant.name for contestant in last.contest.contestants]
    turns = [(standing.round, standing.running) for standing in told if standing.running]
    there, back = [(1, name) for name in names], [(2, name) for name in reversed(names)]
    assert list(dict.fromkeys(turns)) == [*there, *back]
    for name, laps in last.laps.items():
        least_s = 0.002 if "2ms" in name else 0.004
        most_per_s = (1 if "clients=1 " in name else 4) / least_s
        for lap in laps:
            assert lap.service_time_p50_s is not None
            assert lap.service_time_p50_s >= least_s * 0.99
            assert lap.requests_per_s is not None
            # At the ends of a slice answers count whose requests began before it.
            assert 0 < lap.requests_per_s <= most_per_s * 1.5
            assert lap.failed == 0


async def test_what_takes_new_sockets_or_processes_begins_anew() -> None:
    before = set(psutil.Process().children())
    told = await result_of(design("rcvbuf=8K,64K", "swarm_processes=1", rounds=1, place="server"))
    assert (told[-1].faults, told[-1].slices_done) == ({}, 2)
    assert set(psutil.Process().children()) == before


async def test_a_step_that_cannot_be_is_told_and_the_others_go_on() -> None:
    others = set(psutil.Process().children())
    sweep = Sweep(design("clients=1,2,3", rounds=2, place="server"))
    async with asyncio.timeout(60), aclosing(sweep.run()) as standings:
        async for standing in standings:
            if standing.running == "clients=2" and standing.round == 1 and not standing.faults:
                for server in set(psutil.Process().children()) - others:
                    server.kill()
    assert list(standing.faults) == ["clients=2"]
    assert "killed" in standing.faults["clients=2"]
    assert {name: len(laps) for name, laps in standing.laps.items()} == {
        "clients=1": 2, "clients=2": 0, "clients=3": 2,
    }  # fmt: skip


async def test_a_sweep_that_is_finished_early_keeps_whole_slices() -> None:
    sweep = Sweep(design("clients=1,2", rounds=100))
    async with asyncio.timeout(60), aclosing(sweep.run()) as standings:
        async for standing in standings:
            if standing.slices_done == 3:
                sweep.finish()
    assert (standing.finished, standing.cut_short, standing.slices_done) == (True, True, 3)


async def test_a_search_tries_values_until_two_that_are_close_tell_its_end() -> None:
    begun = design("clients=1..64", permits=1, service_time_s=0.002)
    asked = Search(begun.axes[0], Threshold.parse("response_p50<15ms", NAMES), 1)
    looking = Find(Design.finding(begun.experiment, asked, slice_s=0.05, warmup_s=0.01))
    async with asyncio.timeout(60):
        last = await looking.result()
    (curve,) = curves(looking.design, last)
    assert last.faults == {}
    assert curve.found is not None
    assert curve.found.complete
    # 64 clients that wait for one permit wait 63 times 2 ms.
    assert curve.found.broken is not None
    assert (curve.found.value or 0) < curve.found.broken <= 64
    assert curve.found.why_not.startswith("response_time_p50_s is ")
    assert all(one.verdict is not None for one in curve.steps)


async def test_a_server_elsewhere_is_swept_by_its_clients_alone() -> None:
    begun = design("clients=1,3", rounds=1, service_time_s=0.002)
    async with Engine(replace(begun.experiment, role="server")) as elsewhere:
        served = elsewhere.snapshot().server
        assert served is not None
        there = replace(begun.experiment, role="swarm", target=served.address)
        last = await Sweep(replace(begun, experiment=there)).result()
        assert elsewhere.snapshot().main.totals.requests > 0
    assert last.faults == {}
    laps = [lap for of in last.laps.values() for lap in of]
    assert [lap.cpu_ratio for lap in laps] == [None, None]
    assert all(lap.verdict is not None and (lap.requests_per_s or 0) > 0 for lap in laps)


async def test_what_an_open_loop_leaves_in_its_queue_is_none_of_the_next_step() -> None:
    told = await result_of(design("rate=20,4000", permits=1, service_time_s=0.005))
    assert told[-1].faults == {}
    # 4,000/s are due of which 200/s are answered; what waits then would be answered in the slice after it.
    assert all((lap.requests_per_s or 0) < 150 for lap in told[-1].laps["rate=20"])


def test_a_sweep_from_a_script() -> None:
    over = design("clients=1")
    result = sweep(over.experiment, "clients=1,2", rounds=1, slice_s=0.05)
    assert (result.report["type"], result.report["finished"]) == ("sweep", True)
    assert (result.figure("requests_per_s", "clients=2") or 0) > 0
    assert (result.figure("most_requests_per_s") or 0) > 0
    assert result.figure("knee") is None
    with pytest.raises(ConfigError, match="client is no number that can be turned"):
        sweep(over.experiment, "client=1")
    with pytest.raises(ConfigError, match="must be a range above 0"):
        sweep(over.experiment, "clients=1", find="p99<20ms")
