"""Races that never happened, for tests of what is made from them."""

from __future__ import annotations

from dataclasses import replace

from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.results.contest import FIGURES, Contest, Contestant, Lap
from sockscope.core.results.standing import Standing

APART = Tuning(clients=100, permits=0, service_time_s=0.0, place="apart")


def contestant(name: str, uses_loop: bool = True, loop: str = "uvloop", **tuned: object) -> Contestant:
    return Contestant(name, Experiment(replace(APART, **tuned), loop=loop), uses_loop)  # type: ignore[arg-type]


def lap(**figures: float | None) -> Lap:
    """Return a lap of a second with these figures; what is not given is plausible and constant."""
    usual: dict[str, float | None] = {
        "duration_s": 1.0,
        "connections_per_s": 0.0,
        "requests_per_s": 1_000.0,
        "service_time_p50_s": 0.001,
        "service_time_p99_s": 0.002,
        "response_time_p50_s": 0.001,
        "response_time_p99_s": 0.002,
        "schedule_lateness_p99_s": None,
        "requests_dropped": 0,
        "cpu_ratio": 0.5,
        "clients_cpu_ratio": 0.4,
        "others_cpu_ratio": 0.02,
        "cpu_s_per_request": 20e-6,
        "rss_bytes": 30_000_000,
        "threads": 1,
        "voluntary_switches": 7,
        "involuntary_switches": 3,
        "timeouts": 0,
        "errors": 0,
        "failed": 0,
        "answers_rejected": 0,
        "connects_failed": 0,
    }
    assert set(usual) == set(FIGURES)
    return Lap(**{**usual, **figures})  # type: ignore[arg-type]


def rates(*values: float, **more: float | None) -> tuple[Lap, ...]:
    """Return a lap for each rate."""
    return tuple(lap(requests_per_s=value, **more) for value in values)


def two_servers(**more: object) -> Standing:
    """Return the result of a race of three rounds in which ``fast`` was twice as fast as ``slow``."""
    contest = Contest(
        (contestant("slow", uses_loop=False, server="threaded"), contestant("fast")),
        rounds=3,
        baseline="slow",
    )
    standing = Standing(
        contest,
        laps={"slow": rates(1_000, 1_100, 900), "fast": rates(2_000, 2_200, 1_800, cpu_ratio=0.97)},
        elapsed_s=8.0,
        time_left_s=0.0,
        finished=True,
    )
    return replace(standing, **more)  # type: ignore[arg-type]


def batches(*durations: float, requests: int = 100, **more: float | None) -> tuple[Lap, ...]:
    """Return a lap for each time that a batch took."""
    return tuple(
        lap(duration_s=d, requests_per_s=requests / d, connections_per_s=requests / d, **more)
        for d in durations
    )
