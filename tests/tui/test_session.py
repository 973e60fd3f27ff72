"""The session by itself: a fake run below it, a screen that only listens above it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.run.snapshot import ConnectionQuery, Cursors, RunState
from sockscope.errors import ConfigError, ListenError, StateError
from sockscope.faces.tui.pace import MOST_LINES_PER_TICK
from sockscope.faces.tui.screen_state import ScreenState
from sockscope.faces.tui.session import DEFAULT_WINDOW_S, EVENTS_KEPT, FIRST_TICKS, WINDOWS_S, Session
from sockscope.faces.tui.viewer import Severity
from tests.tui.driving import small
from tests.tui.fake_source import CLIENT_PORT, FakeSource
from tests.waiting import until


class Listener:
    """A viewer that keeps what it is told."""

    def __init__(self) -> None:
        self.is_covered = False
        self.is_behind = False
        self.is_overlaid = False
        self.states: list[ScreenState] = []
        self.requests: list[ScreenState] = []
        self.refusals: list[ConfigError] = []
        self.told: list[tuple[str, Severity]] = []
        self.calls: list[Callable[[], None]] = []
        self.interests: list[tuple[bool, bool]] = []

    def interest(self, cursors: Cursors, *, still: bool, hidden: bool) -> Cursors:
        self.interests.append((still, hidden))
        return replace(cursors, connections=ConnectionQuery(text=str(CLIENT_PORT + 2)), most_exchanges=7)

    def present(self, state: ScreenState) -> None:
        self.states.append(state)

    def present_request(self, state: ScreenState) -> None:
        self.requests.append(state)

    def refuse(self, error: ConfigError) -> None:
        self.refusals.append(error)

    def say(self, text: str, severity: Severity = "information") -> None:
        self.told.append((text, severity))

    def call_after(self, delay_s: float, call: Callable[[], None]) -> None:
        self.calls.append(call)

    @property
    def shown(self) -> ScreenState:
        return self.states[-1]


class InterruptedSource(FakeSource):
    """A run that applies a tuning for ever, and takes some turns of the loop to leave off."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(experiment)
        self.calls: list[str] = []

    async def apply(self, tuning: Tuning) -> None:
        self.calls.append("apply")
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            self.calls.append("apply cancelled")

    async def conclude(self) -> None:
        self.calls.append("conclude")


async def started(experiment: Experiment | None = None) -> tuple[Session, FakeSource, Listener]:
    source, listener = FakeSource(experiment or small()), Listener()
    session = Session(source)
    await session.start(listener)
    return session, source, listener


def ticks(session: Session, listener: Listener, count: int) -> int:
    """Let so many ticks pass; return how many pictures they took."""
    before = session.ticks
    for _ in range(count):
        session.tick_in_turns()
        while listener.calls:
            listener.calls.pop()()
    return session.ticks - before


async def test_every_second_picture_has_the_rows_that_the_screen_is_interested_in() -> None:
    session, source, listener = await started()
    for _ in range(FIRST_TICKS):
        session.tick()
    assert all(state.tables for state in listener.states)
    source.advance()
    session.tick()  # the first one without
    listener.states.clear()
    listener.interests.clear()
    for _ in range(4):
        source.advance()
        session.tick()
    assert [state.tables for state in listener.states] == [True, False, True, False]
    rows = [state.snapshot.server for state in listener.states]
    assert [len(role.connections) for role in rows if role] == [1, 0, 1, 0]
    assert [len(state.snapshot.main.exchanges) for state in listener.states] == [7, 0, 7, 0]
    assert listener.interests == [(False, False)] * 2
    source.pause()
    session.tick()
    assert listener.interests[-1] == (True, False), "who pauses scrolls back"


async def test_a_picture_in_steps_loses_nothing_and_is_not_shown_after_the_end() -> None:
    session, source, listener = await started()
    source.advance()
    session.tick_in_turns()
    assert not listener.states
    listener.calls.pop()()
    assert not listener.states
    listener.calls.pop()()
    assert len(listener.states) == 1

    session.mark()
    session.tick_in_turns()
    session.tick()  # before the other one was absorbed
    for call in listener.calls:
        call()
    assert len(listener.states) == 2
    assert [event.text for event in listener.shown.snapshot.events if "mark" in event.text] == ["mark 1"]

    listener.calls.clear()
    source.advance()
    session.tick_in_turns()
    await session.finish()
    intervals = session.intervals.reports()
    for call in listener.calls:
        call()
    assert session.intervals.reports() == intervals
    assert len(listener.states) == 2


async def test_while_paused_few_pictures_are_taken_and_the_first_after_it_at_once() -> None:
    session, _, listener = await started()
    session.toggle_pause()
    assert ticks(session, listener, 10) == 2
    session.toggle_pause()
    assert listener.states[-1].snapshot.state is RunState.RUNNING
    assert ticks(session, listener, 1) == 1


async def test_a_frozen_or_covered_view_takes_few_pictures_unless_the_log_runs_fast() -> None:
    session, _, listener = await started()
    session.tick()
    assert ticks(session, listener, 10) == 10
    session.freeze(True)
    shown, asked = len(listener.states), len(listener.interests)
    assert ticks(session, listener, 10) == 2
    taken = 0
    for _ in range(10):
        for _ in range(MOST_LINES_PER_TICK + 1):
            session.mark()
        taken += ticks(session, listener, 1)
    assert taken > 5, "the log of the run is bounded"
    assert (len(listener.states), len(listener.interests)) == (shown, asked)
    session.freeze(False)
    listener.is_covered = True
    assert ticks(session, listener, 10) == 2


async def test_while_nothing_happens_few_pictures_are_shown() -> None:
    session, source, listener = await started()
    session.toggle_pause()
    ticks(session, listener, 10)
    source.time_s += 10.0
    shown = len(listener.states)
    assert ticks(session, listener, 50) == 10
    assert len(listener.states) == shown + 1
    session.mark()
    ticks(session, listener, 10)
    assert len(listener.states) == shown + 3


async def test_lines_of_the_log_that_were_missed_stay_counted() -> None:
    session, source, listener = await started(small(clients=6_000))
    for _ in range(3):
        source.advance()
        session.tick()
    first = listener.states[0].snapshot
    assert first.events_missed == 2 * 6_000 - EVENTS_KEPT
    assert listener.shown.snapshot.events_missed == first.events_missed


async def test_behind_the_palette_few_pictures_are_shown_and_all_are_taken() -> None:
    session, _, listener = await started()
    listener.is_overlaid = True
    shown = len(listener.states)
    assert ticks(session, listener, 10) == 10
    assert len(listener.states) == shown + 2
    assert listener.shown.at_once, "in one turn: each makes a whole picture"
    listener.is_overlaid = False
    ticks(session, listener, 1)
    assert len(listener.states) == shown + 3


async def test_before_a_stop_the_traffic_rests_and_nothing_is_measured() -> None:
    session, source, _ = await started()
    await session.halt()
    assert (source.state, source.rests) == (RunState.PAUSED, [True])
    session.go_on()
    assert (source.state, source.rests) == (RunState.RUNNING, [True, False])
    session.toggle_pause()
    await session.halt()
    session.go_on()
    assert source.state is RunState.PAUSED, "as it was before"


async def test_pictures_that_the_terminal_does_not_take_are_dropped_and_told() -> None:
    session, _, listener = await started()
    session.tick()
    assert (listener.states[-1].dropped, listener.states[-1].finding.limit == "screen") == (0, False)
    listener.is_behind = True
    session.mark()
    for _ in range(30):
        session.tick()
    assert len(listener.states) == 1
    listener.is_behind = False
    session.tick()
    shown = listener.states[-1]
    assert shown.dropped == 30
    assert (shown.finding.limit, shown.finding.sentence.split(";")[0]) == (
        "screen",
        "the terminal was too slow for 24 of the last 25 redraws",
    )
    assert "mark 1" in [event.text for event in shown.snapshot.events], "what happened meanwhile is not lost"


async def test_each_event_is_shown_once_also_after_a_time_in_which_nothing_was_drawn() -> None:
    session, source, listener = await started()
    session.tick()
    session.mark()
    session.freeze(True)
    session.mark()
    session.tick()
    listener.is_covered = True
    session.freeze(False)
    session.mark()
    session.tick()
    listener.is_covered = False
    count = len(listener.states)
    session.tick()
    session.tick()
    assert len(listener.states) == count + 2
    texts = [event.text for state in listener.states for event in state.snapshot.events if not state.at_once]
    assert [text for text in texts if "mark" in text] == ["mark 1", "mark 2", "mark 3"]
    assert source.holds == [True, False]


async def test_a_frozen_view_has_hidden_rows_too_and_shows_one_moment() -> None:
    session, source, listener = await started()
    session.tick()
    source.advance(8)
    session.tick()
    session.freeze(True)
    assert listener.interests[-1] == (True, True)
    frozen = listener.shown
    assert frozen.frozen
    assert frozen.tables
    source.advance()
    session.tick()
    assert listener.shown is frozen
    session.toggle_pause()
    assert listener.shown.snapshot.state is RunState.PAUSED
    assert listener.shown.now_s == frozen.now_s
    session.hold(False)
    assert source.holds[-1] is True, "as long as it is frozen"
    session.freeze(False)
    session.hold(False)
    assert source.holds[-2:] == [False, False]
    session.hold(True)
    session.freeze(True)
    session.freeze(False)
    assert source.holds[-1] is True, "as long as the reader asks for it"


async def test_time_is_gone_through_only_while_frozen_and_within_the_window() -> None:
    session, source, listener = await started()
    session.scrub(-1)  # there is no picture yet
    session.tick()
    session.look_at(source.time_s - 1)
    session.scrub(-1)
    assert [state.cursor_s for state in listener.states] == [None]
    assert len(listener.told) == 2
    session.freeze(True)
    session.scrub(-1)
    assert listener.shown.cursor_s == pytest.approx(source.time_s - 0.2)
    session.look_at(source.time_s - 1_000)
    assert session.cursor_s == source.time_s - DEFAULT_WINDOW_S
    session.zoom(-1)
    assert session.cursor_s == source.time_s - session.window_s, "what is looked at is in sight"
    session.look_at(source.time_s + 1)
    assert session.cursor_s == source.time_s
    session.freeze(False)
    assert listener.shown.cursor_s is None


async def test_zoom_ends_at_both_ends() -> None:
    session, _, listener = await started()
    session.tick()
    for _ in WINDOWS_S:
        session.zoom(1)
    assert listener.shown.window_s == WINDOWS_S[-1]
    for _ in WINDOWS_S:
        session.zoom(-1)
    assert listener.shown.window_s == WINDOWS_S[0]
    session.reset_zoom()
    assert session.window_s == DEFAULT_WINDOW_S


async def test_a_requested_tuning_is_on_the_screen_before_it_is_in_force() -> None:
    session, source, listener = await started()
    session.tick()
    session.tuner.step("permits", 1)
    assert source.tuning.permits == 2
    assert listener.requests[-1].requested.permits == 5
    while session.tuner.is_applying:
        await asyncio.sleep(0)
    assert source.tuning.permits == 5
    assert listener.calls == [session.tick], "its effect is shown soon"


async def test_what_depends_on_the_requested_tuning_follows_it() -> None:
    session, _, listener = await started()
    session.tick()
    assert "protocol" in listener.shown.servers
    assert "framing" not in listener.shown.idle
    session.tuner.toggle_transport()
    assert "datagram" in listener.requests[-1].servers
    assert "framing" in listener.requests[-1].idle


async def test_models_that_the_platform_of_the_run_lacks_are_not_offered() -> None:
    session, source, listener = await started()
    session.tick()
    assert "epoll" in listener.shown.servers
    source.lacking = frozenset({"epoll"})
    session.tick()
    assert "epoll" not in listener.shown.servers
    session.tuner.step("permits", 1)
    assert "epoll" not in listener.requests[-1].servers


async def test_a_change_that_is_being_applied_has_ended_when_the_last_figures_are_taken() -> None:
    source = InterruptedSource(small())
    session = Session(source)
    await session.start(Listener())
    session.tuner.step("permits", 1)
    await until(lambda: bool(source.calls), what="the change is being applied")
    await session.finish()
    assert source.calls == ["apply", "apply cancelled", "conclude"]
    session.tuner.step("permits", 1)
    assert not session.tuner.is_applying


async def test_a_run_rests_during_a_race_unless_it_was_paused() -> None:
    session, source, _ = await started()
    states: list[RunState] = []
    session.rest(True)
    states.append(source.state)
    session.rest(False)
    states.append(source.state)
    source.pause()
    session.rest(True)
    session.rest(False)
    states.append(source.state)
    assert states == [RunState.PAUSED, RunState.RUNNING, RunState.PAUSED]


async def test_a_run_rests_until_both_a_race_and_a_stop_are_over() -> None:
    session, source, _ = await started()
    states: list[RunState] = []
    session.rest(True)
    await session.halt()
    session.go_on()
    states.append(source.state)
    await session.halt()
    session.rest(False)
    states.append(source.state)
    session.go_on()
    states.append(source.state)
    assert states == [RunState.PAUSED, RunState.PAUSED, RunState.RUNNING]


async def test_clearing_forgets_the_past() -> None:
    session, source, listener = await started()
    for _ in range(3):
        source.advance()
        session.tick()
    session.mark()
    session.tick()
    assert session.trace.markers
    session.clear()
    assert not session.trace.markers
    assert listener.told == [("figures reset", "information")]


async def test_a_marker_that_was_not_set_is_not_counted() -> None:
    session, source, _ = await started()
    source.is_live = False
    with pytest.raises(StateError):
        session.mark()
    source.is_live = True
    session.mark()
    assert source.snapshot(Cursors()).events[-1].text == "mark 1"


async def test_closing_a_connection_tells_what_went_wrong() -> None:
    session, source, listener = await started()
    await session.close_connection("server", 1)
    await session.close_connection("server", 1)
    source.is_live = False
    await session.close_connection("server", 2)
    assert listener.told == [
        ("connection 1 is already closed", "information"),
        ("cannot close a connection while the run is replayed", "error"),
    ]


async def test_the_end_of_a_run_is_told_from_leaving_it() -> None:
    session, source, listener = await started()
    source.run_out()
    assert await session.wait()
    assert session.ran_out
    source.advance(8)
    await session.finish()
    assert session.last_snapshot is not None
    assert session.last_snapshot.state is RunState.STOPPED
    assert len(session.intervals.reports()) == 1
    count = len(listener.states)
    session.tick()
    assert len(listener.states) == count, "nothing is drawn any more"

    left, source, _ = await started()
    await left.finish()
    assert await left.wait()
    assert not left.ran_out


async def test_a_failed_run_is_stopped_and_stays() -> None:
    session, source, _ = await started()
    source.fail("out of luck")
    assert not await session.wait()
    assert not session.ran_out
    assert source.state is RunState.FAILED
    await session.finish()
    assert session.last_snapshot is not None
    assert session.last_snapshot.error == "out of luck"


async def test_a_run_that_never_started_leaves_no_figures() -> None:
    error = ListenError("127.0.0.1:1", OSError(), "it is taken")
    session = Session(FakeSource(small(), start_error=error))
    with pytest.raises(ListenError):
        await session.start(Listener())
    await session.finish()
    assert session.last_snapshot is None
