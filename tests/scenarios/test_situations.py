"""The limit sentence of one second of a run, situation by situation."""

from __future__ import annotations

from dataclasses import replace

from sockscope.core.run.findings import RULES, limit_of, limit_of_run, verdict_of
from sockscope.core.run.snapshot import RunState
from tests.core.runs import changed
from tests.each import each
from tests.scenarios.situations import SITUATIONS, Busy, Situation


@each("situation", SITUATIONS)
def test_the_limit_is_named_with_its_evidence(situation: Situation) -> None:
    window = situation.window()
    found = limit_of(window)
    assert situation.limit in (found.kind, found.limit), found.sentence
    verdict = verdict_of(window)
    assert verdict.finding == found
    for one in (*verdict.before, *verdict.after):
        against = [evidence for evidence in one.evidence if evidence.holds is False]
        assert one.finding or against or not one.evidence, f"{one.rule.title}: why it does not hold is told"
    assert any(found.kind in rule.kinds for rule in RULES)
    assert [one for one in found.evidence if one.holds is not False], "what it stands on is told"
    for word in situation.words:
        assert word in found.sentence
    for word in situation.never:
        assert word not in found.sentence
    # A run that has ended is judged alike.
    assert limit_of_run(replace(window, state=RunState.STOPPED)).limit == found.limit


USED_UP = ("CPU", "blocked", "admission", "semaphore", "pool")


@each(
    "situation",
    [one for one in SITUATIONS if one.limit in USED_UP and one.answers and one.swarm is not None],
)
def test_a_run_that_has_made_all_its_requests_is_judged_by_what_it_counted(situation: Situation) -> None:
    window = replace(situation.window(), state=RunState.STOPPED)
    for name, one in window.roles.items():
        idle = replace(one.limiter, in_flight=0, waiting=0), replace(one.pool, in_flight=0, waiting=0)
        window = changed(window, name, in_flight=0, limiter=idle[0], pool=idle[1])
    assert limit_of_run(window).limit == situation.limit


def test_a_run_that_is_over_tells_how_many_queued_on_average() -> None:
    full = Situation(
        "full", "CPU", answers=1_000, service_s=0.05, processes={"main": Busy(0.98)}, in_flight=3
    )
    found = limit_of_run(replace(full.window(), state=RunState.STOPPED))
    assert "the latency is 50 requests queueing for the loop" in found.sentence
