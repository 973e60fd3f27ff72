"""Sweeps that never happened, for tests of what is made from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sockscope.core.config.experiment import Experiment
from sockscope.core.results.axis import Axis
from sockscope.core.results.contest import Lap
from sockscope.core.results.design import Design
from sockscope.core.results.standing import Standing
from tests.core.races import APART, lap

SCATTER = (1.0, 0.98, 1.01, 0.99, 1.02, 1.0)
"""What the rounds of a step differ by, as a factor of its throughput."""


def design(*over: str, rounds: int = 6) -> Design:
    return Design(
        Experiment(APART),
        tuple(map(Axis.parse, over or ("clients=1..128",))),
        rounds=rounds,
        slice_s=1.0,
        warmup_s=0.3,
    )


def standing(
    swept: Design,
    per_s: Callable[[Mapping[str, float]], float],
    latency_s: Callable[[Mapping[str, float]], float] | None = None,
    scatter: Sequence[float] = SCATTER,
    figures: Mapping[str, float] | None = None,
) -> Standing:
    """Return how a sweep ended whose steps had this throughput, and this latency (else as long as queues)."""
    laps: dict[str, tuple[Lap, ...]] = {}
    for step in swept.steps:
        values = dict(step.values)
        rate = per_s(values)
        latency = latency_s(values) if latency_s else values[swept.axes[0].key] / rate
        laps[step.name] = tuple(
            lap(requests_per_s=rate * one, response_time_p50_s=latency / one, **(figures or {}))
            for one in scatter[: swept.rounds]
        )
    return Standing(swept.contest, laps=laps, elapsed_s=60.0, time_left_s=0.0, finished=True)
