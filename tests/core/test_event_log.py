from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.events import Event, EventKind, EventLog

BATCHES = st.lists(st.tuples(st.integers(0, 3), st.lists(st.booleans(), max_size=7)), max_size=8)
"""How many were lost before each batch, and which of its events are of the run."""


@given(st.integers(1, 10), BATCHES, st.integers(0, 60), st.none() | st.integers(0, 12))
def test_connections_take_the_place_of_no_event_of_the_run(
    capacity: int, batches: list[tuple[int, list[bool]]], cursor: int, most: int | None
) -> None:
    log, story = EventLog(capacity), list[Event]()
    for lost, batch in batches:
        start = log.count + lost
        news = [
            Event(float(number), EventKind.TUNING, "run")
            if of_run
            else Event(float(number), EventKind.OPEN, "server")
            for number, of_run in enumerate(batch, start)
        ]
        story += news
        log.extend(news, lost)
        assert log.count == start + len(batch)
    limit = capacity if most is None else min(most, capacity)
    of_run = [event for event in story if event.is_of_run][-capacity:]
    others = [event for event in story if not event.is_of_run]
    kept = of_run + others[len(others) - min(limit, len(others)) :]
    wanted = sorted((e for e in kept if e.time_s >= cursor), key=lambda event: event.time_s)

    page = log.since(cursor, most)
    assert page.items == wanted
    assert page.missed == max(0, log.count - cursor) - len(wanted)
    assert page.cursor == log.count
