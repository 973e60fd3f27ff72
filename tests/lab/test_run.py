"""A run from a script."""

from __future__ import annotations

import pytest

import sockscope
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.results.kinds import kind_of
from sockscope.core.results.run_result import report
from sockscope.core.run.snapshot import Snapshot
from sockscope.errors import ConfigError, EngineError
from sockscope.lab.run import run

OWN = "tests.engine.own_servers"


def test_an_experiment_goes_in_and_its_result_comes_out() -> None:
    redis = Experiment(Tuning(clients=1), handler=f"{OWN}:every_third_fails", requests=90)
    result = run(redis.speaking("redis"))
    assert (result.figure("requests"), result.figure("failed"), result.figure("answers_rejected")) == (
        90,
        30,
        30,
    )
    assert (result.figure("p99") or 0) > 0
    assert result.figure("kernel_udp.in_errors") in (None, 0)
    assert (kind_of(result.report).name, result.report["experiment"]["answer"]) == ("run", "resp")
    with pytest.raises(KeyError):
        result.figure("speed")


def test_an_interval_ends_when_it_is_due_and_not_where_a_process_has_reported_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sockscope.engine.placement.hosts.child.IDLE_REPORTS_S", 60.0)
    monkeypatch.setattr("sockscope.engine.placement.hosts.child.OFTEN_S", 0.0)
    found: list[list[int]] = []

    def kept(last: Snapshot, environment: object, windows: list[Snapshot]) -> dict[str, object]:
        found.append([one.main.totals.responses for one in windows])
        return report(last, environment, windows)  # type: ignore[arg-type]

    monkeypatch.setattr("sockscope.lab.run.report", kept)
    result = run(Experiment(Tuning(clients=1, think_time_s=0.01, place="child"), duration_s=1.3))
    (answered,) = found
    assert len(answered) == 2
    assert min(answered) > 0
    assert sum(answered) == result.figure("responses")


def test_a_run_that_has_no_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="duration"):
        run(Experiment())
    with pytest.raises(ConfigError, match="gopher"):
        Experiment().speaking("gopher")


def test_a_run_that_fails_raises() -> None:
    nobody = Experiment(Tuning(clients=1), role="swarm", target="127.0.0.1:1", requests=5, give_up_s=0.2)
    with pytest.raises(EngineError, match="the run failed"):
        sockscope.run(nobody)
