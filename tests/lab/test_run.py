"""A run from a script."""

from __future__ import annotations

import pytest

import sockscope
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.results.kinds import kind_of
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


def test_a_run_that_has_no_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="duration"):
        run(Experiment())
    with pytest.raises(ConfigError, match="gopher"):
        Experiment().speaking("gopher")


def test_a_run_that_fails_raises() -> None:
    nobody = Experiment(Tuning(clients=1), role="swarm", target="127.0.0.1:1", requests=5, give_up_s=0.2)
    with pytest.raises(EngineError, match="the run failed"):
        sockscope.run(nobody)
