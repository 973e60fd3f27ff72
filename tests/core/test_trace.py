import math
from dataclasses import replace

import pytest

from sockscope.core.events import Event, EventKind
from sockscope.core.histogram import lower_edge_s, upper_edge_s
from sockscope.core.roles import SERVER, SWARM
from sockscope.core.run import trace as trace_module
from sockscope.core.run.changes import GAP_S
from sockscope.core.run.latency_slices import band_edge_s
from sockscope.core.run.snapshot import Snapshot
from sockscope.core.run.trace import Trace
from tests.core.runs import both, child

TICK_S = 0.2


def ticks(trace: Trace, start_s: float, end_s: float, per_s: float, before: int = 0) -> int:
    """Feed a steady rate from ``start_s`` to ``end_s`` of the run; return how many were answered by then."""
    for step in range(1, round((end_s - start_s) / TICK_S) + 1):
        elapsed = start_s + step * TICK_S
        trace.absorb(both(elapsed, before + round(per_s * step * TICK_S)))
    return before + round(per_s * (end_s - start_s))


def change_at(elapsed_s: float, answered: int, text: str = "permits 50 → 100") -> Snapshot:
    event = Event(100.0 + elapsed_s, EventKind.TUNING, "run", text=text, generation=1)
    return replace(both(elapsed_s, answered), events=(event,))


def test_a_point_per_tick_and_the_headline_of_the_last_second() -> None:
    trace = Trace()
    ticks(trace, 0.0, 4.0, per_s=1_000)
    rates = trace.series["requests_per_s"].values
    assert len(rates) == 19
    assert list(rates) == pytest.approx([1_000.0] * 19, rel=1e-6)
    assert all(isinstance(value, float | int) for series in trace.series.values() for value in series.values)
    assert trace.headline is not None
    assert trace.headline.measured_s == pytest.approx(1.0, abs=TICK_S)


def test_the_latencies_between_two_snapshots_are_a_slice() -> None:
    trace = Trace()
    answered = ticks(trace, 0.0, 4.0, per_s=1_000)
    assert [one.end_s - one.begin_s for one in trace.service_time] == pytest.approx([TICK_S] * 19)
    first = both(TICK_S, 200).main.service_time
    whole = both(4.0, answered).main.service_time
    kept = sum(sum(one.counts) for one in trace.service_time)
    assert kept == whole.total - first.total > 0
    for one in trace.service_time:
        for bucket in whole.counts:
            assert any(
                band_edge_s(band) <= lower_edge_s(bucket) < upper_edge_s(bucket) <= band_edge_s(band + 1)
                for band in one.bands
            )


def test_a_silence_is_a_gap() -> None:
    trace = Trace()
    ticks(trace, 0.0, 1.0, per_s=100)
    trace.absorb(both(1.0 + GAP_S * 3, 500))
    assert math.isnan(trace.series["requests_per_s"].values[-1])


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_module, "POINTS", 300)
    trace = Trace()
    for step in range(350):
        trace.absorb(change_at(step * TICK_S, step))
    assert max(len(series.times) for series in trace.series.values()) == 300
    assert len(trace.service_time) <= 300
    assert len(trace.changes) <= 100
    assert len(trace.markers) <= 200


def test_each_kind_of_process_has_its_series() -> None:
    hosted = {1: (SERVER,), 2: (SWARM,), 3: (SWARM,), 4: (SERVER, SWARM), 5: ("relay", SERVER)}

    def used(elapsed_s: float) -> Snapshot:
        """Each process takes a tenth of a core more than the one before it."""
        taken = both(elapsed_s)
        children = tuple(
            replace(child("", pid, replace(taken.resources, cpu_s=elapsed_s * pid / 10)), roles=roles)
            for pid, roles in hosted.items()
        )
        return replace(taken, processes=(*taken.processes, *children))

    trace = Trace()
    trace.absorb(used(1.0))
    trace.absorb(used(1.5))
    newest = {name: trace.series[f"{name}_cpu_ratio"].values[-1] for name in ("server", "clients", "child")}
    assert newest == pytest.approx({"server": 0.1, "clients": 0.3, "child": 0.5})


def test_clear_forgets_the_past() -> None:
    trace = Trace()
    ticks(trace, 0.0, 2.0, per_s=100)
    trace.absorb(change_at(2.1, 300))
    trace.clear()
    assert not trace.changes
    assert not trace.markers
    assert not any(series.times for series in trace.series.values())
