"""The limit sentence of one second of a run, situation by situation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sockscope.core.run.findings import limit_of, limit_of_run
from sockscope.core.run.snapshot import RunState
from tests.core.runs import changed
from tests.scenarios.situations import SITUATIONS, Situation


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
def test_the_limit_is_named_with_its_evidence(situation: Situation) -> None:
    window = situation.window()
    found = limit_of(window)
    assert found.limit == situation.limit, found.text
    for word in situation.words:
        assert word in found.text
    for word in situation.never:
        assert word not in found.text
    # A run that has ended is judged alike.
    assert limit_of_run(replace(window, state=RunState.STOPPED)).limit == situation.limit


USED_UP = ("CPU", "blocked", "admission", "semaphore", "pool")


@pytest.mark.parametrize(
    "situation",
    [one for one in SITUATIONS if one.limit in USED_UP and one.answers and one.swarm is not None],
    ids=lambda situation: situation.name,
)
def test_a_run_that_has_made_all_its_requests_is_judged_by_what_it_counted(situation: Situation) -> None:
    window = replace(situation.window(), state=RunState.STOPPED)
    for name, one in window.roles.items():
        idle = replace(one.limiter, in_flight=0, waiting=0), replace(one.pool, in_flight=0, waiting=0)
        window = changed(window, name, in_flight=0, limiter=idle[0], pool=idle[1])
    assert limit_of_run(window).limit == situation.limit
