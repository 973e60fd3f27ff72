"""The laws of adding, on every figure of a snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Annotated, Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sockscope.core.events import Event, EventKind
from sockscope.core.histogram import Histogram
from sockscope.core.roles import SERVER, SWARM
from sockscope.core.run.adding import (
    Cumulative,
    Current,
    Earliest,
    Every,
    FirstKnown,
    Gauge,
    Lasting,
    Maximum,
    Nested,
    difference,
    ended,
    joined,
    listed,
    origin,
    since,
    total,
)
from sockscope.core.run.snapshot import (
    KernelUdp,
    LimiterStatistics,
    ProcessUse,
    Resources,
    RoleSnapshot,
    Snapshot,
    Totals,
)
from sockscope.core.run.window import window
from tests.core.runs import both, histogram
from tests.each import each

RELAY = "relay"


def plain(figures: Any) -> Any:
    """Return figures as plain data that can be compared, whatever their classes say of equality."""
    if is_dataclass(figures):
        return {f.name: plain(getattr(figures, f.name)) for f in fields(figures)}
    if isinstance(figures, Mapping):
        return {key: plain(one) for key, one in figures.items()}
    if isinstance(figures, tuple):
        return tuple(plain(one) for one in figures)
    return figures


class Step(NamedTuple):
    """What happens from one snapshot to the next; whole seconds, so that sums are exact."""

    counts: list[int]
    durations: list[float]
    gauges: list[int]
    seconds: int


steps = st.builds(
    Step,
    st.lists(st.integers(0, 1_000), min_size=len(fields(Totals)), max_size=len(fields(Totals))),
    st.lists(st.sampled_from([0.001, 0.002, 0.5, 3.0]), max_size=5),
    st.lists(st.integers(0, 50), min_size=12, max_size=12),
    st.integers(1, 9),
)


def counted(past: Sequence[Step]) -> list[int]:
    return [sum(column) for column in zip(*(step.counts for step in past), strict=True)]


def durations(past: Sequence[Step]) -> Histogram:
    return histogram(*(seconds for step in past for seconds in step.durations))


def limiter_at(past: Sequence[Step]) -> LimiterStatistics:
    acquired, waited, wait_s, *_ = counted(past)
    permits, in_flight, waiting, *_ = past[-1].gauges
    return LimiterStatistics(permits, in_flight, waiting, acquired, waited, float(wait_s))


def role_at(past: Sequence[Step], name: str = SWARM) -> RoleSnapshot:
    """Return a role after ``past``."""
    gauges = past[-1].gauges
    return RoleSnapshot(
        name,
        "tcp",
        "127.0.0.1:7007",
        Totals(*counted(past)),
        gauges[3],
        time_s=float(sum(step.seconds for step in past)),
        counts_frames=gauges[4] > 0,
        draining=gauges[5],
        rolling=gauges[6],
        captures_recorded=counted(past)[4],
        last_conn_id=counted(past)[5],
        clients=gauges[7],
        in_flight=gauges[8],
        limiter=limiter_at(past),
        pool=limiter_at(past),
        service_time=durations(past),
        began_s=float(gauges[9]),
        last_answer_s=float(counted(past)[6]),
    )


def resources_at(past: Sequence[Step], began_s: float) -> Resources:
    """Return what a process used that began at ``began_s``."""
    counts = counted(past)
    return Resources(
        cpu_s=float(counts[7]),
        rss_bytes=past[-1].gauges[10],
        descriptors=None,
        descriptor_limit=1_024,
        voluntary_switches=counts[8],
        involuntary_switches=None,
        loop_lag=durations(past),
        kernel_udp=KernelUdp(*counts[9:13]),
        machine_busy_s=float(counts[13]),
        time_s=began_s + sum(step.seconds for step in past),
        since_s=began_s,
    )


def snapshot_at(past: Sequence[Step], came: Mapping[str, int]) -> Snapshot:
    """Return a run after ``past``; ``came`` tells after how many steps roles and processes (``pid``) came."""
    used = resources_at(past, 100.0)
    return replace(
        both(),
        time_s=used.time_s,
        roles={name: role_at(past[at:], name) for name, at in came.items() if at < len(past)},
        resources=used,
        processes=tuple(
            ProcessUse(name, pid, (name,), resources_at(past[at:], 100.0 + pid), "uvloop", {})
            for pid, (name, at) in enumerate(came.items())
            if at < len(past)
        ),
    )


@st.composite
def runs(draw: st.DrawFn) -> list[Snapshot]:
    """Draw three moments of a run to which roles and processes come one by one."""
    past = draw(st.lists(steps, min_size=3, max_size=3))
    came = {name: draw(st.integers(0, 3)) for name in (SERVER, SWARM, RELAY)}
    return [snapshot_at(past[:number], came) for number in (1, 2, 3)]


parts = st.lists(steps, min_size=1, max_size=2).map(role_at)


@settings(max_examples=10)
@given(runs())
def test_two_windows_joined_are_the_window_of_both(run: list[Snapshot]) -> None:
    first, second, third = run
    assert plain(joined(window(first, second), window(second, third))) == plain(window(first, third))


@settings(max_examples=10)
@given(runs())
def test_between_a_snapshot_and_itself_nothing_happened(run: list[Snapshot]) -> None:
    nothing = difference(run[2], run[2])
    assert nothing.measured_s == nothing.resources.measured_s == 0
    for role in nothing.roles.values():
        assert (role.totals, role.service_time) == (Totals(), Histogram())
        assert (role.limiter.acquired, role.limiter.waited, role.limiter.wait_s) == (0, 0, 0)
    for process in nothing.processes:
        assert (process.resources.cpu_s, process.resources.voluntary_switches) == (0, 0)
        assert process.resources.kernel_udp == KernelUdp(0, 0, 0, 0)


@settings(max_examples=10)
@given(runs())
def test_from_its_origin_the_window_of_a_run_is_the_run(run: list[Snapshot]) -> None:
    for taken in (*run, window(run[0], run[2])):
        assert plain(difference(origin(taken), taken)) == plain(taken)
        assert all(role.totals == Totals() for role in origin(taken).roles.values())


@settings(max_examples=10)
@given(parts, parts, parts)
def test_in_which_order_processes_are_added_makes_no_difference(
    one: RoleSnapshot, other: RoleSnapshot, third: RoleSnapshot
) -> None:
    whole = plain(total([one, other, third]))
    assert plain(total([total([one, other]), third])) == whole
    assert plain(total([one, total([other, third])])) == whole
    # What cannot be added is that of the first.
    alike = [replace(part, time_s=1.0) for part in (one, other)]
    assert plain(total(alike)) == plain(total(alike[::-1]))


@settings(max_examples=10)
@given(st.lists(steps, min_size=2, max_size=2), st.lists(steps, min_size=2, max_size=2))
def test_the_window_of_several_processes_is_that_of_each_added_up(one: list[Step], other: list[Step]) -> None:
    before, after = ([role_at(one[:n]), role_at(other[:n])] for n in (1, 2))
    each = [difference(*pair) for pair in zip(before, after, strict=True)]
    assert plain(difference(total(before), total(after))) == plain(total(each))


@settings(max_examples=10)
@given(parts, parts)
def test_who_has_ended_stays_in_the_counts_alone(live: RoleSnapshot, gone: RoleSnapshot) -> None:
    whole, everybody = total([live, ended(gone)]), total([live, gone])
    assert (whole.totals, whole.service_time) == (everybody.totals, everybody.service_time)
    assert whole.limiter.acquired == everybody.limiter.acquired
    assert whole.limiter.permits == live.limiter.permits
    assert (whole.clients, whole.in_flight, whole.began_s) == (live.clients, live.in_flight, live.began_s)


# Each kind on its own.


@dataclass(frozen=True)
class Inner:
    count: Cumulative[int]


@dataclass(frozen=True)
class Outer:
    count: Cumulative[int | None] = 0
    ever: Lasting[int] = 0
    there: Gauge[int] = 0
    highest: Maximum[int] = 0
    began_s: Earliest[float] = 0.0
    agreed: Every[bool] = True
    name: Current[str] = ""
    trouble: FirstKnown[str] = ""
    inner: Nested[Inner | None] = None
    rows: Annotated[tuple[Inner, ...], listed("count")] = ()
    time_s: Current[float] = 0.0
    since_s: Annotated[float, since("time_s")] = 0.0


@dataclass(frozen=True)
class Undeclared:
    count: Cumulative[int]
    forgotten: int


BEFORE = Outer(5, 1, 7, 3, 0.0, True, "first", "", Inner(2), (), 10.0, 1.0)
AFTER = Outer(8, 4, 6, 9, 2.0, False, "second", "refused", Inner(3), (Inner(1),), 12.0, 1.0)


def test_a_difference_takes_from_what_is_counted_and_from_nothing_else() -> None:
    assert difference(BEFORE, AFTER) == replace(AFTER, count=3, inner=Inner(1), since_s=10.0)


def test_windows_are_joined_without_the_time_between_them() -> None:
    later = replace(AFTER, since_s=11.0)
    assert joined(BEFORE, later) == replace(AFTER, count=13, inner=Inner(5), since_s=11.0 - 9.0)


def test_parts_are_added() -> None:
    whole = total([BEFORE, AFTER, Outer(began_s=1.0)])
    assert whole == Outer(13, 5, 13, 9, 1.0, False, "first", "refused", Inner(5), (Inner(1),), 10.0, 1.0)


def test_an_origin_is_the_moment_when_counting_began() -> None:
    assert origin(AFTER) == replace(AFTER, count=0, inner=Inner(0), rows=(Inner(0),), time_s=1.0)


def test_who_has_ended_is_not_there() -> None:
    assert ended(AFTER) == replace(AFTER, there=0, began_s=0.0)


def test_what_is_not_known_of_one_is_not_known_of_both() -> None:
    unknown = replace(BEFORE, count=None)
    assert difference(unknown, AFTER).count is None
    assert joined(AFTER, unknown).count is None
    assert total([AFTER, unknown]).count is None
    assert origin(unknown).count is None


def test_figures_without_earlier_ones_are_counted_from_their_own_beginning() -> None:
    none = replace(BEFORE, inner=None)
    assert difference(none, AFTER).inner == joined(none, AFTER).inner == Inner(3)
    assert total([none, AFTER]).inner == Inner(3)
    assert difference(AFTER, none).inner is origin(none).inner is ended(none).inner is None


@each("adding", [origin, ended, lambda one: total([one]), lambda one: joined(one, one)])
def test_a_field_without_a_kind_is_refused(adding: Any) -> None:
    with pytest.raises(TypeError, match=r"Undeclared\.forgotten does not declare how it adds"):
        adding(Undeclared(1, 2))


def test_events_of_several_are_in_order_of_time() -> None:
    def line(time_s: float) -> Event:
        return Event(time_s, EventKind.MARKER, SWARM)

    role = both().roles[SWARM]
    one, other = (replace(role, events=(line(at), line(at + 2.0))) for at in (1.0, 2.0))
    assert [event.time_s for event in total([one, other]).events] == [1.0, 2.0, 3.0, 4.0]
