from dataclasses import replace
from itertools import pairwise

import pytest

from sockscope.core.censoring import Ages
from sockscope.core.roles import SWARM
from sockscope.core.run.adding import joined, origin
from sockscope.core.run.figures import figures
from sockscope.core.run.snapshot import KernelUdp, Snapshot, Totals
from sockscope.core.run.window import drained, window
from tests.core.runs import both, changed, child, main_process, of_roles, resources, role


def test_a_window_counts_from_the_earlier_snapshot_on() -> None:
    before = replace(both(seconds=1, requests=100), resources=resources(cpu_s=0.2))
    after = replace(both(seconds=3, requests=400), resources=resources(cpu_s=0.6))
    between = window(before, after)
    assert between.measured_s == pytest.approx(2)
    assert between.elapsed_s == pytest.approx(3)
    assert between.swarm is not None
    assert between.server is not None
    assert between.swarm.totals.requests == between.server.totals.requests == 300
    assert between.swarm.service_time.total == 300
    assert between.swarm.limiter.acquired == 300
    assert between.swarm.limiter.permits == 50
    assert between.resources.cpu_s == pytest.approx(0.4)
    assert between.resources.kernel_udp == KernelUdp(0, 0, 0, 0)


def test_what_was_under_way_at_the_end_is_in_the_percentiles_only() -> None:
    end = both(seconds=2, requests=100)
    late = Ages({1.5: 2})
    waited_for = changed(both(seconds=3, requests=104), SWARM, unanswered=late, connected_s=12.0, idle_s=2.0)
    whole = drained(end, waited_for)
    assert whole.swarm is not None
    assert (whole.swarm.totals, whole.measured_s) == (end.main.totals, end.measured_s)
    assert (whole.swarm.service_time.total, whole.swarm.unanswered) == (104, late)
    assert (whole.swarm.connected_s, whole.swarm.idle_s) == (12.0, 2.0), "they are in the same time"


def test_paused_time_is_not_in_a_rate() -> None:
    before, after = both(seconds=1, requests=100), replace(both(seconds=5, requests=300), paused_s=3.0)
    between = window(before, after)
    assert between.paused_s == 3
    assert between.measured_s == pytest.approx(1)
    assert figures(between).requests_per_s == pytest.approx(200)


def test_windows_add_up() -> None:
    marks = [both(seconds=s, requests=n) for s, n in ((0, 0), (1, 100), (2, 250), (3, 400))]
    parts = [window(a, b).main for a, b in pairwise(marks)]
    whole = window(marks[0], marks[-1]).main
    assert sum(part.totals.requests for part in parts) == whole.totals.requests
    assert sum(part.service_time.total for part in parts) == whole.service_time.total


def test_a_window_begins_where_the_figures_were_cleared() -> None:
    before = both(seconds=1, requests=100)
    cleared = replace(both(seconds=3, requests=20), measured_since_s=102.0)
    between = window(before, cleared)
    assert between.main.totals.requests == 20
    assert between.measured_s == pytest.approx(1)


def test_a_third_role_is_counted_like_the_others() -> None:
    before, after = (
        replace(taken, roles={**taken.roles, "relay": role("relay", Totals(requests=requests))})
        for taken, requests in ((both(seconds=1), 5), (both(seconds=2), 12))
    )
    assert window(before, after).roles["relay"].totals.requests == 7


def test_a_role_that_is_not_there_stays_away() -> None:
    before, after = both(seconds=1), both(seconds=2)
    alone = replace(before, roles=of_roles(before.swarm))
    assert window(alone, replace(after, roles=of_roles(after.swarm))).server is None


def of_three_processes(seconds: float, requests: int, cpu_s: float) -> Snapshot:
    """Return a run in which each child has used a little more than the process before it."""
    used = replace(resources(cpu_s=cpu_s), time_s=100.0 + seconds, since_s=100.0, machine_busy_s=2 * cpu_s)
    children = (child("server", 7, replace(used, cpu_s=1.5 * cpu_s)), child("clients", 8, used))
    whole = both(seconds, requests)
    return replace(whole, resources=used, processes=(main_process(used), *children))


def test_each_process_is_counted_from_its_own_moment() -> None:
    before, after = of_three_processes(1, 10, 0.2), of_three_processes(3, 30, 0.6)
    late = replace(after.processes[1], resources=replace(after.processes[1].resources, time_s=104.0))
    between = window(before, replace(after, processes=(after.processes[0], late, after.processes[2])))
    main, server, clients = (process.resources for process in between.processes)
    assert (main.measured_s, server.measured_s, clients.measured_s) == (2.0, 3.0, 2.0)
    assert server.cpu_ratio == pytest.approx(0.6 / 3)
    assert clients.cpu_ratio == main.cpu_ratio == pytest.approx(0.2)
    assert main.machine_busy_s == pytest.approx(0.8)


def test_a_process_that_came_later_is_counted_from_its_beginning() -> None:
    before, after = both(1), of_three_processes(3, 30, 0.6)
    assert window(before, after).processes[1].resources.cpu_s == pytest.approx(0.9)


def test_joined_windows_are_the_window_of_both() -> None:
    marks = [of_three_processes(s, 100 * s, 0.1 * s * s) for s in (1, 2, 4)]
    both_together = joined(window(marks[0], marks[1]), window(marks[1], marks[2]))
    whole = window(marks[0], marks[2])
    assert both_together.resources.measured_s == pytest.approx(whole.resources.measured_s)
    assert both_together.resources.machine_busy_s == pytest.approx(whole.resources.machine_busy_s)
    for one, other in zip(both_together.processes, whole.processes, strict=True):
        assert one.resources.cpu_ratio == pytest.approx(other.resources.cpu_ratio)


def test_from_its_origin_the_window_of_a_run_is_the_run() -> None:
    taken = of_three_processes(3, 300, 0.6)
    whole = window(origin(taken), taken)
    assert whole.measured_s == taken.measured_s
    assert whole.main.totals == taken.main.totals
    assert whole.main.service_time == taken.main.service_time
    assert [p.resources.cpu_ratio for p in whole.processes] == [
        p.resources.cpu_ratio for p in taken.processes
    ]
    assert origin(taken).main.totals == Totals()
