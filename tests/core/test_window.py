from dataclasses import replace
from itertools import pairwise

import pytest

from sockscope.core.snapshot import KernelUdp
from sockscope.core.window import window
from tests.core.runs import both, resources


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


def test_a_role_that_is_not_there_stays_away() -> None:
    alone = replace(both(seconds=1), server=None)
    assert window(alone, replace(both(seconds=2), server=None)).server is None
