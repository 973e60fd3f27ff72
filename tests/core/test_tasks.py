"""What is told of the tasks of a loop."""

from __future__ import annotations

from sockscope.core.run.tasks import GROWTH_LOOKS, Cancelled, CancelOutcome, growing
from tests.each import each

STEADY = [100, 103, 99, 101, 98, 104]


def looks(*counts: int, seconds: float = 10.0) -> list[tuple[float, dict[str, int]]]:
    return [
        (at * seconds / (len(counts) - 1), {"handle mine.py:20": count}) for at, count in enumerate(counts)
    ]


def test_tasks_that_become_more_and_more_are_told_with_their_rate() -> None:
    counts = range(40, 40 + 12 * GROWTH_LOOKS, 12)
    (growth,) = growing(looks(*counts, seconds=20.0))
    assert growth.sentence == "tasks alive grow by 12 per second: handle mine.py:20 (280 now)"


@each(
    "counts",
    [
        (STEADY * 4)[:GROWTH_LOOKS],
        [20] * 10 + [200] * 11,
        range(40, 40 + GROWTH_LOOKS // 3),
        range(400, 400 - GROWTH_LOOKS, -1),
        range(0, 1_000, 200),
        [],
    ],
)
def test_tasks_that_come_and_go_or_came_at_once_do_not_grow(counts: list[int]) -> None:
    assert growing(looks(*counts)) == ()


def test_growth_is_not_told_before_it_has_lasted() -> None:
    assert growing(looks(*range(0, 210, 10), seconds=4.9)) == ()
    assert growing(looks(*range(0, 210, 10), seconds=5.1))


TELL_WHERE = {
    CancelOutcome.RAISED, CancelOutcome.CLEANING_UP, CancelOutcome.SWALLOWED, CancelOutcome.PENDING,
}  # fmt: skip


@each("outcome", CancelOutcome)
def test_every_outcome_of_a_cancellation_has_a_sentence(outcome: CancelOutcome) -> None:
    sentence = Cancelled(outcome, "Task-7 (handle mine.py:20)", 0.0123, "mine.py:31 sleep").sentence
    assert sentence.startswith("Task-7 (handle mine.py:20) ")
    assert ("mine.py:31" in sentence) == (outcome in TELL_WHERE)
