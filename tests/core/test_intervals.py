from dataclasses import replace
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.events import Event, EventKind
from sockscope.core.results.intervals import Intervals
from sockscope.core.results.run_result import interval
from sockscope.core.roles import SERVER, SWARM
from sockscope.core.run.adding import difference, joined
from sockscope.core.run.snapshot import ProcessUse, Snapshot, Totals
from sockscope.core.run.window import window
from tests.core.runs import both, changed, resources, role


def at(seconds: float, requests: int) -> Snapshot:
    return replace(both(seconds=seconds, requests=requests), resources=resources(cpu_s=seconds / 4))


def with_processes(snapshot: Snapshot, *pids: int) -> Snapshot:
    used = replace(snapshot.resources, time_s=snapshot.time_s, since_s=snapshot.started_s, machine_busy_s=8.0)
    processes = tuple(ProcessUse(f"child {pid}", pid, (), used, "uvloop", {}) for pid in pids)
    return replace(snapshot, resources=used, processes=processes)


def memory_of(*snapshots: Snapshot, most: int = 300) -> Intervals:
    memory = Intervals(most)
    for snapshot in snapshots:
        memory.absorb(snapshot)
    memory.finish(snapshots[-1])
    return memory


def test_an_interval_a_second_however_often_snapshots_come() -> None:
    found = memory_of(*[at(n / 5, n * 10) for n in range(16)]).reports()
    assert [one["duration_s"] for one in found] == pytest.approx([1, 1, 1])
    assert [one["elapsed_s"] for one in found] == pytest.approx([1, 2, 3])
    assert [one["totals"]["requests"] for one in found] == [50, 50, 50]
    assert found[1] == interval(window(at(1.0, 50), at(2.0, 100)))


def test_the_last_interval_may_be_shorter() -> None:
    found = memory_of(at(0, 0), at(1, 10), at(1.5, 15)).reports()
    assert [one["duration_s"] for one in found] == pytest.approx([1, 0.5])


def test_nothing_has_happened() -> None:
    memory = Intervals()
    memory.finish(at(1, 10))
    assert memory.reports() == []
    assert memory_of(at(0, 0)).reports() == []


def test_a_long_run_has_longer_intervals() -> None:
    memory = memory_of(*[at(n, n) for n in range(101)], most=8)
    found = memory.reports()
    assert len(found) < 8
    assert memory.length_s == 16
    assert sum(one["totals"]["requests"] for one in found) == 100
    assert sum(one["service_time_s"]["count"] for one in found) == 100
    assert sum(one["duration_s"] for one in found) == pytest.approx(100)


def test_the_warm_up_does_not_mix_with_what_follows() -> None:
    warm = [replace(at(n, n * 10), warming_up=True) for n in range(4)]
    measured = [replace(at(n, (n - 3) * 5), measured_since_s=103.0) for n in range(4, 8)]
    found = memory_of(*warm, *measured, most=6).reports()
    stub = [*warm, replace(at(3.001, 0), measured_since_s=103.0), *measured]
    assert min(one["duration_s"] for one in memory_of(*stub).reports()) > 0.9
    assert sum(one["totals"]["requests"] for one in found if one["warming_up"]) == 30
    assert sum(one["totals"]["requests"] for one in found if not one["warming_up"]) == 20


def test_figures_that_are_cleared_leave_no_intervals_behind() -> None:
    cleared = [replace(at(n, (n - 3) * 5), measured_since_s=103.0) for n in range(4, 7)]
    found = memory_of(*(at(n, n * 10) for n in range(4)), *cleared).reports()
    assert sum(one["duration_s"] for one in found) == pytest.approx(3)
    assert sum(one["totals"]["requests"] for one in found) == 15


def test_processes_are_joined_by_their_numbers() -> None:
    first = window(with_processes(at(0, 0), 7), with_processes(at(2, 10), 7))
    second = window(with_processes(at(2, 10), 7), with_processes(at(4, 20), 7, 8))
    together = joined(first, second)
    old, young = together.processes
    assert (old.pid, young.pid) == (7, 8)
    assert old.resources.cpu_s == pytest.approx(1)
    assert old.resources.measured_s == together.resources.measured_s == pytest.approx(4)
    assert old.resources.cpu_ratio == together.resources.cpu_ratio == pytest.approx(0.25)
    assert young == second.processes[1]
    assert together.resources.machine_busy_s == 0


def test_time_that_nothing_covers_is_not_counted() -> None:
    first = window(at(0, 0), at(1, 10))
    second = window(at(1, 10), replace(at(2, 4), measured_since_s=101.6))
    together = joined(first, second)
    assert together.measured_s == pytest.approx(1.4)
    assert together.main.totals.requests == 14


def test_the_rows_of_a_snapshot_are_not_kept() -> None:
    line = Event(101.0, EventKind.MARKER, "run", text="mark 1", generation=0)
    last = at(1, 10)
    relay = role("relay", Totals(), events=(line,))
    last = replace(changed(last, SWARM, events=(line,)), events=(line,))
    memory = memory_of(at(0, 0), replace(last, roles={**last.roles, "relay": relay}))
    kept = memory.windows[0]
    assert list(kept.roles) == [SERVER, SWARM, "relay"]
    assert not any([kept.events, *(one.events for one in kept.roles.values())])


@given(
    st.lists(st.tuples(st.floats(0.05, 3), st.integers(0, 9)), min_size=1, max_size=60),
    st.integers(2, 9),
)
def test_intervals_add_up_and_are_few(steps: list[tuple[float, int]], most: int) -> None:
    ends = accumulate(steps, lambda a, b: (a[0] + b[0], a[1] + b[1]), initial=(0.0, 0))
    snapshots = [at(seconds, requests) for seconds, requests in ends]
    memory = memory_of(*snapshots, most=most)
    found = memory.reports()
    whole = interval(difference(snapshots[0], snapshots[-1]))
    assert len(found) <= most
    for section, name in (("totals", "responses"), ("service_time_s", "count"), ("limiter", "acquired")):
        assert sum(one[section][name] for one in found) == whole[section][name]
    for section, name in (("resources", "cpu_s"), ("server", "bytes_in")):
        assert sum(one[section][name] for one in found) == pytest.approx(whole[section][name])
    assert sum(one["duration_s"] for one in found) == pytest.approx(whole["duration_s"])
    assert [one["elapsed_s"] for one in found] == sorted(one["elapsed_s"] for one in found)
