import math
from dataclasses import replace

import pytest

from sockscope.core.events import Event, EventKind
from sockscope.core.roles import SERVER, SWARM
from sockscope.core.run.snapshot import RunState, Snapshot
from sockscope.core.run.trace import EDGE_S, GAP_S, POINTS, SETTLE_S, Trace
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
    assert trace.headline is not None
    assert trace.headline.measured_s == pytest.approx(1.0, abs=TICK_S)


def test_a_change_is_told_before_and_after() -> None:
    trace = Trace()
    answered = ticks(trace, 0.0, 4.0, per_s=1_000)
    trace.absorb(change_at(4.1, answered + 100))
    ticks(trace, 4.1, 8.1, per_s=3_000, before=answered + 100)
    change = trace.changes[-1]
    assert change.text == "permits 50 → 100"
    assert change.before is not None
    assert change.before.requests_per_s == pytest.approx(1_000)
    assert change.after is not None
    assert change.after.requests_per_s == pytest.approx(3_000, rel=0.01)


def test_the_comparison_stays_as_it_was_once_it_is_complete() -> None:
    trace = Trace()
    answered = ticks(trace, 0.0, 4.0, per_s=1_000)
    trace.absorb(change_at(4.1, answered))
    answered = ticks(trace, 4.1, 4.1 + SETTLE_S + EDGE_S + 2, per_s=3_000, before=answered)
    settled = trace.changes[-1].after
    ticks(trace, 4.1 + SETTLE_S + EDGE_S + 2, 12.0, per_s=1, before=answered)
    assert trace.changes[-1].after is settled


def test_a_pause_is_no_effect_of_the_change_before_it() -> None:
    trace = Trace()
    answered = ticks(trace, 0.0, 4.0, per_s=1_000)
    trace.absorb(change_at(4.0, answered))
    answered = ticks(trace, 4.0, 5.0, per_s=3_000, before=answered)
    told = trace.changes[-1].after
    assert told is not None
    trace.absorb(replace(both(5.2, answered), state=RunState.PAUSED))
    trace.absorb(replace(both(5.4, answered), state=RunState.PAUSED))
    ticks(trace, 5.6, 6.0, per_s=3_000, before=answered)
    assert trace.changes[-1].after is told


def test_two_changes_in_a_row_do_not_mix() -> None:
    trace = Trace()
    answered = ticks(trace, 0.0, 4.0, per_s=1_000)
    trace.absorb(change_at(4.0, answered))
    answered = ticks(trace, 4.0, 6.0, per_s=3_000, before=answered)
    trace.absorb(change_at(6.1, answered, "clients 100 → 50"))
    before = trace.changes[-1].before
    assert before is not None
    assert before.requests_per_s == pytest.approx(3_000, rel=0.01)


def test_a_change_at_once_after_another_has_no_figures_before() -> None:
    trace = Trace()
    trace.absorb(change_at(0.1, 0))
    assert trace.changes[-1].before is None


def test_a_silence_is_a_gap() -> None:
    trace = Trace()
    ticks(trace, 0.0, 1.0, per_s=100)
    trace.absorb(both(1.0 + GAP_S * 3, 500))
    assert math.isnan(trace.series["requests_per_s"].values[-1])


def test_memory_is_bounded() -> None:
    trace = Trace()
    for step in range(POINTS + 50):
        trace.absorb(change_at(step * TICK_S, step))
    assert all(len(series.times) <= POINTS for series in trace.series.values())
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
