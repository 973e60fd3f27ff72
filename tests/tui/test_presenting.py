from __future__ import annotations

import asyncio

from sockscope.faces.tui.app import SockscopeApp
from sockscope.faces.tui.look import Look
from sockscope.faces.tui.room import HANDED_OVER
from sockscope.faces.tui.screens.lesson_pane import LEAST_ROWS, LessonPane
from sockscope.faces.tui.session import Session
from sockscope.lab.lessons.lesson import Lesson
from sockscope.lab.lessons.showing import Showing
from sockscope.lab.lessons.telling import Phase, Telling
from tests.tui.driving import PATIENCE_S, POLL_S, FakeDriver, dashboard
from tests.tui.test_lessons import in_its_run, lesson, sees
from tests.waiting import until

__all__ = ["lesson"]
ROOM = (100, 30)


def shown(driver: FakeDriver, showing: Showing) -> Telling:
    """Begin to show lessons to a room, in a run that has begun for the first step."""
    telling = showing.telling()
    telling.begin()
    driver.app.dashboard.show_to_room(True)
    driver.app.begin_lesson(telling)
    return telling


async def test_a_room_sees_keys_votes_and_the_result_against_them(lesson: Lesson) -> None:
    telling, source = in_its_run(lesson)
    telling.votes["first"] = (3, 12)
    async with dashboard(source=source, size=ROOM) as driver:
        await driver.press("P")
        await driver.sees("M Swarm map", "2 Throughput", "3 Latency", "L lessons", "D light/dark")
        driver.app.begin_lesson(telling)
        await sees(driver, Phase.SEEN)
        await driver.sees("that  ✓", "████ 3", "12 of 15 in the room were right.", "✓ elapsed", "So it is.")
        await driver.press("right_square_bracket", "right_square_bracket")
        await driver.sees("   ]     more clients × 2")
        await driver.press("pagedown")
        await driver.sees("Four permits.", "   pgdn     go on")
        await driver.press("P")
        await driver.until(lambda: "D light/dark" not in driver.screen)
        assert telling.showing is None


async def test_the_list_leads_to_a_room_which_does_not_see_what_is_typed() -> None:
    async with dashboard(size=(80, 24)) as driver:
        await driver.press("L")
        await driver.sees("P present to a room")
        await driver.press("P")
        await driver.sees("Enter see it", "D light/dark")
        await driver.press("v")
        await driver.type("3")
        await driver.sees("   v     votes")
        await driver.press("enter", "escape", "D")
        await driver.sees("   D     light/dark")
        assert not driver.app.current_theme.dark


async def test_what_is_about_to_begin_is_seen_before_it_has(lesson: Lesson) -> None:
    telling, source = in_its_run(lesson)
    app = SockscopeApp(Session(source, {}, tick_s=None), look=Look(for_room=True), telling=telling)
    begin, seen = source.start, list[str]()

    async def begin_when_seen() -> None:
        async with asyncio.timeout(PATIENCE_S):
            while "it begins …" not in "".join(seen[-1:]):
                await asyncio.sleep(POLL_S)
                seen.append("\n".join(strip.text for strip in app.dashboard._compositor.render_strips()))
        await begin()

    source.start = begin_when_seen  # type: ignore[method-assign]
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        driver = FakeDriver(app, pilot, source, [])
        await until(lambda: "it begins …" in "".join(seen[-1:]), what="it is about to begin")
        assert "◌ STARTING  TCP · protocol · uvloop" in seen[-1]
        await sees(driver, Phase.SEEN)
        assert "◉ RUNNING" in driver.header
        # What a lesson does not need is for the map and the graphs.
        assert app.dashboard.query_one("#lesson").outer_size.height == LEAST_ROWS
        await source.stop(0.0)


async def test_it_goes_on_by_itself_when_there_was_time_to_read(lesson: Lesson) -> None:
    now_s = 0.0
    async with dashboard(source=in_its_run(lesson)[1], size=ROOM) as driver:
        for clock in (driver.app.dashboard.query_one(LessonPane), driver.app.dashboard.room_bar):
            clock._clock = lambda: now_s
        telling = shown(driver, Showing((lesson,), planned_s=90))
        await sees(driver, Phase.SEEN)
        await driver.press("A")
        await driver.sees("goes on in  4 s ████████████████████", "0:00 of 1:30")
        now_s = 2.0
        await driver.sees("goes on in  2 s ██████████··········", "0:02 of 1:30")
        now_s = 4.0
        await driver.sees("Four permits.", "goes on in  4 s")
        now_s = 60.0
        await driver.until(lambda: telling.outcome is not None and telling.index == 1)
        await driver.sees("✗ elapsed", "not shown: Enter goes on all the same")


async def test_a_demo_hands_over_at_any_key(lesson: Lesson) -> None:
    async with dashboard(source=in_its_run(lesson)[1], size=ROOM) as driver:
        shown(driver, Showing((lesson, lesson), auto=True, hands_over=True))
        await driver.sees("any key takes over", "lesson 1 of 2")
        clients = driver.source.tuning.clients
        await driver.press("right_square_bracket")
        await driver.sees(HANDED_OVER.partition(":")[0])
        assert driver.app.telling is None
        assert not driver.app.dashboard.is_for_room
        assert driver.source.tuning.clients == clients
