"""How much of a field a run takes, by the number of its processes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sockscope.core.config.bounds import most_of
from sockscope.core.config.experiment import FIELDS, Experiment
from sockscope.core.config.tuning import Tuning


@pytest.mark.parametrize(
    ("tuning", "cluster", "most"),
    [
        ({}, "", 10_000),
        ({"place": "server"}, "", 10_000),
        ({"swarm_processes": 3}, "", 30_000),
        ({"place": "cluster"}, "local:3", 20_000),
        ({"place": "cluster"}, "tcp://127.0.0.1:8786", 1_000_000),
    ],
)
def test_each_process_of_the_clients_takes_so_many(tuning: dict[str, Any], cluster: str, most: int) -> None:
    for key in ("clients", "permits", "pool"):
        wide = Experiment(Tuning(**tuning), cluster=cluster, max_connections=1_000_000)
        fits = wide.with_values({"clients": most, "permits": 0, key: most})
        assert not list(fits.field_faults())
        over = fits.with_values({key: most + 1})
        assert [fault.field for fault in over.field_faults()] == [key]


def test_it_is_told_how_many_there_may_be_and_what_takes_more() -> None:
    def why(key: str, **values: Any) -> str:
        experiment = Experiment(cluster="local:3").with_values(values)
        return next(fault.why for fault in experiment.field_faults() if fault.field == key)

    assert why("clients", clients=10_001).startswith("must be at most 10,000 in one process; --swarm")
    told = "must be at most 20,000: 10,000 on each of 2 workers"
    assert why("clients", clients=20_001, place="cluster", max_connections=50_000) == told
    assert why("max_connections", clients=20_001, swarm_processes=3) == (
        "is less than the 20,001 connections of the clients: set it higher"
    )
    assert why("server_permits", server_permits=10_001, place="cluster").endswith(
        "--server-processes take so many each"
    )


def test_a_step_stops_at_what_the_processes_take() -> None:
    clients, tuning = FIELDS["clients"].spec, Tuning(clients=10_000)
    assert clients.step(10_000, +1, most=most_of(clients, tuning)) == 10_000
    wider = replace(tuning, swarm_processes=2)
    assert clients.step(10_000, +1, coarse=True, most=most_of(clients, wider)) == 20_000
    assert most_of(clients, replace(tuning, place="cluster"), workers=7) == 70_000
