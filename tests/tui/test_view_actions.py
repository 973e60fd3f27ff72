"""What keys do to the view: freeze, scrub, zoom, maximise, filter, follow, sort."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from textual.widgets import Input

from sockscope.core.run.snapshot import Cursors, ProcessUse
from sockscope.faces.tui.panels.connections import ConnectionsPanel
from sockscope.faces.tui.panels.exchanges import ExchangesPanel
from sockscope.faces.tui.panels.graphs import ThroughputPanel
from sockscope.faces.tui.panels.latency import LatencyPanel
from sockscope.faces.tui.panels.listing import ListingPanel
from sockscope.faces.tui.panels.log import LINES, LogPanel
from sockscope.faces.tui.panels.panel import Panel
from sockscope.faces.tui.screens.dashboard import DashboardScreen
from sockscope.faces.tui.session import DEFAULT_WINDOW_S, WINDOWS_S
from sockscope.faces.tui.widgets.graph import Graph
from sockscope.faces.tui.widgets.heatmap import HeatMap
from tests.tui.driving import FakeDriver, dashboard, small

PANELS = {
    "1": "knobs", "2": "throughput", "3": "latency", "4": "cpu",
    "5": "concurrency", "6": "connections", "7": "log", "8": "exchanges",
}  # fmt: skip
LISTINGS: dict[str, type[ListingPanel]] = {"6": ConnectionsPanel, "7": LogPanel, "8": ExchangesPanel}


def rows(panel: ListingPanel) -> list[tuple[str, ...]]:
    return [row.cells for row in panel.shown_rows]


async def at_panel(driver: FakeDriver, digit: str) -> Panel:
    await driver.press(digit)
    panel = driver.app.dashboard.query_one(f"#{PANELS[digit]}", Panel)
    await driver.until(lambda: driver.app.dashboard.focused_panel() is panel)
    return panel


async def listing_at(driver: FakeDriver, digit: str) -> ListingPanel:
    await at_panel(driver, digit)
    panel = driver.panel(LISTINGS[digit])
    await driver.until(lambda: panel.shown_rows)
    return panel


async def test_every_panel_can_be_gone_to_and_have_the_whole_screen() -> None:
    async with dashboard(size=(60, 16)) as driver:
        body = driver.app.dashboard.query_one("#body")
        for digit in PANELS:
            panel = await at_panel(driver, digit)
            before = panel.size
            await driver.press("backslash")
            await driver.until(lambda panel=panel: panel.region == body.region)  # type: ignore[misc]
            assert sum(p.size.height > 0 for p in driver.app.dashboard.query(Panel)) == 1
            await driver.press("backslash")
            await driver.until(lambda panel=panel, before=before: panel.size == before)  # type: ignore[misc]
        await driver.press("6", "backslash", "3")
        latency = driver.panel(LatencyPanel)
        await driver.until(lambda: latency.region == body.region, "the whole screen goes to the one called")


async def test_latency_turns_over_zoom_goes_in_out_and_back_and_while_frozen_arrows_go_through_time() -> None:
    async with dashboard() as driver:
        await driver.press("3")
        panel = driver.panel(LatencyPanel)
        await driver.until(lambda: panel.has_focus_within)
        for shown in ("response time", "service time", ""):
            await driver.press("d")
            heat = panel.query_one(HeatMap)
            await driver.until(lambda shown=shown: shown in str(panel.border_title))  # type: ignore[misc]
            assert heat.display is bool(shown)
            assert panel.has_focus_within
        await driver.until(lambda: "whole run" in str(panel.border_subtitle))
        graph = driver.panel(ThroughputPanel).query(Graph).first()
        await driver.press("equals_sign")
        await driver.until(lambda: driver.session.window_s == 10.0 and "-10s" in driver.part("throughput"))
        await driver.press(*["plus"] * 5)
        assert driver.session.window_s == WINDOWS_S[0]
        await driver.press(*["minus"] * 9)
        assert driver.session.window_s == WINDOWS_S[-1]
        await driver.until(lambda: graph.window == WINDOWS_S[-1])
        await driver.press("0")
        assert driver.session.window_s == DEFAULT_WINDOW_S
        await driver.until(lambda: "-30s" in driver.part("throughput"))
        await driver.ticks(8)
        await at_panel(driver, "2")
        await driver.press("left")
        await driver.hears("space freezes the view")
        await driver.press("space", "left", "left", "left")
        await driver.until(lambda: driver.session.cursor_s is not None)
        graphs = list(driver.app.dashboard.query(Graph))
        cursor, now = driver.session.cursor_s, driver.session.shown
        assert cursor is not None
        assert now is not None
        assert cursor < now.now_s
        await driver.until(lambda: {graph.cursor for graph in graphs if graph.size.height} == {cursor})
        await driver.until(lambda: f"{cursor - now.now_s:.1f} s" in driver.header)
        await driver.press("right")
        assert driver.session.cursor_s is not None
        assert driver.session.cursor_s > cursor
        await driver.press(*["right"] * 4)
        assert driver.session.cursor_s == now.now_s
        await driver.press("space")
        await driver.until(lambda: all(graph.cursor is None for graph in graphs))


async def test_the_list_of_exchanges_has_what_was_asked_before_it_was_looked_at_and_frozen_no_gap() -> None:
    """The traffic has stopped: nothing new will come."""
    async with dashboard() as driver:
        # The traffic has stopped: nothing new will come.
        await driver.until(lambda: driver.swarm.captures_recorded > 20)
        await driver.press("p")
        await driver.until(lambda: not driver.swarm.in_flight)
        recorded = driver.swarm.captures_recorded
        await driver.ticks(3)  # pictures in which nobody looks at exchanges
        panel = await listing_at(driver, "8")
        await driver.until(lambda: [row.key for row in panel.shown_rows] == list(range(recorded)))
        await driver.press("p", "6")
        driver.source.advance(requests=2_000)
        await driver.press("space")
        panel = await listing_at(driver, "8")
        numbers: list[int] = []

        def has_no_gap() -> bool:
            numbers[:] = [row.key for row in panel.shown_rows if isinstance(row.key, int)]
            return bool(numbers) and numbers == list(range(numbers[0], numbers[0] + 1_000))

        await driver.until(has_no_gap, what=f"1,000 exchanges in {numbers}")


async def test_escape_takes_a_step_back_tabs_can_be_clicked_and_enter_tells_what_a_closed_loop_omits() -> (
    None
):
    async with dashboard(size=(80, 24)) as driver:
        assert "sndbuf" not in driver.screen
        await driver.press("comma")
        await driver.sees("sndbuf", "rcvbuf", "transport", "no delay")
        await driver.press("comma")
        await driver.until(lambda: "sndbuf" not in driver.screen)
        await driver.press("comma", "enter", "9")
        await driver.sees("9█")
        await driver.press("escape")
        await driver.until(lambda: "9█" not in driver.screen and "sndbuf" in driver.screen)
        await driver.press("escape")
        await driver.until(lambda: "sndbuf" not in driver.screen)
        panel = await listing_at(driver, "6")
        await driver.press("backslash", "enter")
        await driver.sees("still open")
        await driver.press("escape")
        await driver.until(lambda: "still open" not in driver.screen and not driver.part("throughput"))
        await driver.press("escape")
        await driver.until(lambda: driver.part("throughput"))
        await driver.press("enter")
        await driver.sees("kernel rtt", "still open", "x closes it")
        await driver.press("escape")
        await driver.until(lambda: driver.part("throughput") and panel.table.has_focus)
        shown = "connections"
        for name, digit in (("log", "7"), ("exchanges", "8"), ("connections", "6")):
            await driver.ticks(2)  # the border has the other tabs shorter where there is more to say
            border = driver.part(shown).splitlines()[0]
            await driver.pilot.click(f"#{shown}", offset=(border.index(f"│ {digit}") + 2, 0))
            await driver.until(lambda name=name: driver.app.dashboard.focused_panel().id == name)  # type: ignore[misc]
            shown = name
        await driver.press("question_mark")
        await driver.sees("The run")
        await driver.press("end")
        await driver.sees("closed loop")
        await driver.press("escape")
        await driver.press("3")
        await driver.until(lambda: driver.panel(LatencyPanel).has_focus_within)
        await driver.press("enter")
        await driver.sees("The loop is closed", "open loop, estimated", "response p99.9", "75 % of this rate")
        rates = [rate for rate in driver.session.trace.series["requests_per_s"].values if rate > 0]
        await driver.press("o")
        await driver.until(lambda: driver.source.tuning.rate, "an open loop")
        assert min(rates) * 0.75 <= driver.source.tuning.rate <= max(rates) * 0.75 + 1
        await driver.press("o")
        await driver.sees("The loop is open", "back to the closed loop")
        await driver.press("o")
        await driver.tunes(rate=0)


async def test_connections_are_filtered_by_the_engine_sorted_by_every_column_and_there_while_frozen() -> None:
    async with dashboard(small(clients=12)) as driver:
        panel = await listing_at(driver, "6")
        await driver.until(lambda: len(panel.shown_rows) == 12)
        wanted = rows(panel)[7][1]
        await driver.press("slash")
        await driver.type(wanted.rpartition(":")[2])
        await driver.until(lambda: [cells[1] for cells in rows(panel)] == [wanted])
        await driver.press("enter")
        await driver.until(lambda: panel.table.has_focus)
        assert panel.filter_text
        assert "“" in str(panel.border_title)
        await driver.press("slash", "escape")
        await driver.until(lambda: len(panel.shown_rows) == 12 and panel.table.has_focus)
        assert not panel.query_one(Input).display
        await driver.press("slash")
        await driver.type("s12")
        await driver.until(lambda: [cells[0] for cells in rows(panel)] == ["s12"])
        await driver.type(" nothing has this")
        await driver.until(lambda: not panel.shown_rows)
        await driver.until(lambda: "connections appear here" not in driver.part("connections"))
        await driver.press("escape")
        await driver.until(lambda: len(panel.shown_rows) == 12)
        panel = await listing_at(driver, "6")

        def column(index: int) -> list[Any]:
            return [cells[index] for cells in rows(panel)]

        seen = [panel.table.sort_key]
        await driver.press("s")
        await driver.until(lambda: panel.table.sort_key == "requests" and "requests ▼" in driver.screen)
        figures = [int(text.replace(",", "")) for text in column(4)]
        await driver.until(
            lambda: (figures := [int(t.replace(",", "")) for t in column(4)]) == sorted(figures, reverse=True)
        )
        assert figures
        for _ in range(8):
            seen.append(panel.table.sort_key)
            await driver.press("s")
        assert len(set(seen)) == 9
        await driver.until(lambda: panel.table.sort_key == "conn_id" and column(0)[0] == "s1")
        x = driver.lines[panel.table.region.y].index("id ▲") - panel.table.region.x
        await driver.pilot.click(panel.table, offset=(x, 0))
        await driver.until(lambda: column(0)[0] == "s12")
        await driver.press("f")
        await driver.hears("connections are sorted (s)")
        assert not panel.table.follow
        for _ in range(2):
            await driver.press("space")
            await driver.until(lambda: "FROZEN" in driver.header)
            connections = await listing_at(driver, "6")
            assert len(connections.shown_rows) == 12
            held = rows(connections)
            assert await listing_at(driver, "8")
            assert await listing_at(driver, "7")
            await listing_at(driver, "6")
            await driver.press("slash")
            await driver.until(lambda: isinstance(driver.app.focused, Input))
            await driver.type("127")
            await driver.until(lambda: rows(connections) == held)
            await driver.type("no")
            await driver.until(lambda: not rows(connections))
            await driver.press("escape")
            await driver.until(lambda: rows(connections) == held)
            await driver.press("space")
            await driver.until(lambda: "FROZEN" not in driver.header)


async def test_log_and_exchanges_are_filtered_and_following_stops_by_scrolling_up_and_is_resumed() -> None:
    async with dashboard() as driver:
        await driver.press("m")
        panel = await listing_at(driver, "7")
        await driver.press("slash")
        await driver.type("qtp mark")
        assert panel.query_one(Input).value == "qtp mark"
        assert driver.source.tuning.transport == "tcp"
        await driver.press(*["home"], *["delete"] * 4)
        await driver.until(lambda: [cells[4] for cells in rows(panel)] == ["mark 1"])
        await driver.press("escape")
        await driver.until(lambda: len(rows(panel)) > 2)
        exchanges = await listing_at(driver, "8")
        await driver.press("slash")
        await driver.type("c3")
        await driver.until(
            lambda: exchanges.shown_rows and {cells[1] for cells in rows(exchanges)} == {"c3"},
            "only exchanges of c3",
        )
        await driver.press("enter", "enter")
        await driver.sees("request, as written", "answered")
        assert not exchanges.table.follow
        await driver.press("escape")
        await driver.until(lambda: "as written" not in driver.screen)
        await driver.press("slash", "escape", "f")
        panel = await listing_at(driver, "8")
        await driver.until(lambda: len(panel.shown_rows) > 2)
        assert panel.table.follow
        await driver.press("up", "up")
        await driver.until(lambda: not panel.table.follow)
        held = panel.table.cursor_key
        await driver.press("m", "m")
        await driver.ticks(4)
        assert panel.table.cursor_key == held
        await driver.press("f")
        await driver.until(lambda: panel.table.follow and panel.table.cursor_key == panel.shown_rows[-1].key)
        await driver.press("f")
        await driver.until(lambda: not panel.table.follow)
        await driver.press("end")
        await driver.until(lambda: panel.table.follow)
        await driver.press("6")
        await driver.until(lambda: not panel.is_on_screen)
        await driver.app.dashboard.wait_for_refresh()
        driver.source.advance(20)
        newest = driver.source.snapshot(Cursors(most_exchanges=1_000)).main.exchanges[-1].record_id
        await driver.press("8")  # no picture is taken but by what is done on the screen
        await driver.until(lambda: panel.shown_rows[-1].key == newest)


async def test_in_a_wide_terminal_the_bytes_of_an_exchange_take_the_place_of_the_log() -> None:
    async with dashboard(size=(200, 60)) as driver:
        log, exchanges = driver.panel(LogPanel), await listing_at(driver, "8")
        await driver.press("up", "enter")
        await driver.until(lambda: not log.is_on_screen)
        await driver.until(lambda: "as the server read it" in driver.part("exchanges"))
        assert "7 Log" in driver.part("exchanges").splitlines()[0]
        await driver.press("7")
        await driver.until(lambda: log.has_focus_within)
        assert "as the server read it" not in driver.part("exchanges")
        await listing_at(driver, "8")
        await driver.press("enter")
        await driver.until(lambda: not log.is_on_screen)
        await driver.press("escape")
        await driver.until(lambda: log.is_on_screen)
        assert exchanges.has_focus_within


async def test_w_shows_the_other_side_tab_goes_round_and_help_covers_the_screen_and_goes() -> None:
    async with dashboard() as driver:
        panel = await listing_at(driver, "6")
        await driver.until(lambda: "server's side" in driver.part("connections"))
        await driver.press("w")
        await driver.until(lambda: "clients' side" in driver.part("connections"))
        await driver.until(lambda: rows(panel)[:1] and rows(panel)[0][0] == "c1")
        await driver.press("w")
        await driver.until(lambda: rows(panel)[:1] and rows(panel)[0][0] == "s1")
        await driver.press("down", "enter")
        await driver.sees("server s2   open", "still open", "kernel rtt", "x closes it")
        await driver.press("down")
        await driver.sees("server s3 ")
        await driver.press("x")
        await driver.sees("server s3   closed", "ended      closed")
        assert panel.table.cursor_key == 3
        await driver.press("escape")
        await driver.until(lambda: "server s3" not in driver.screen)
        assert panel.table.has_focus
        seen = set()
        for _ in range(12):
            seen.add(driver.app.dashboard.focused_panel().id)
            await driver.press("tab")
        assert seen >= {"knobs", "throughput", "latency", "cpu", "concurrency", "connections"}
        await driver.press("shift+tab")
        for away in ("escape", "q", "question_mark", "f1"):
            await driver.press("f1")
            await driver.sees("Esc closes", "Switch to the other transport, live")
            await driver.press(away)
            await driver.until(lambda: "Esc closes" not in driver.screen)
        await driver.ticks()
        assert not driver.has_left


async def test_a_frozen_view_has_nothing_that_came_later_and_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refreshed_before(screen: DashboardScreen, call: Callable[..., object], *args: object) -> bool:
        call(*args)
        return True

    async with dashboard() as driver:
        await driver.press("1", "space", "space")
        assert driver.knobs.has_focus
        await driver.press("space", "7", "space")
        await driver.until(lambda: driver.panel(LogPanel).has_focus_within)
        await driver.press("space")
        await driver.ticks(1)
        await driver.press("right_curly_bracket")
        await driver.tunes(permits=5)
        await driver.ticks(1)
        await driver.press("backslash", "backslash")
        await driver.sees("Turn a knob, and its effect")
        await driver.press("space")
        await driver.until(lambda: "permits 2 → 5" in driver.part("changes"))
        panel = await listing_at(driver, "7")
        await driver.press("space", "m", "m")
        await driver.ticks(3)
        assert not any("mark" in cells[4] for cells in rows(panel))
        await driver.press("space")
        await driver.until(lambda: [c[4] for c in rows(panel) if "mark" in c[4]] == ["mark 1", "mark 2"])
        # The refresh may come before the layout that it was to follow.
        await driver.press("space")
        monkeypatch.setattr(DashboardScreen, "call_after_refresh", refreshed_before)
        for digit in LISTINGS:
            await listing_at(driver, digit)


async def test_a_line_of_the_log_is_told_whole_and_what_is_folded_into_it_is_found() -> None:
    async with dashboard(small(clients=40), size=(80, 24)) as driver:
        long = "the module is not there: " + "no such thing " * 12
        driver.source.mark(long)
        panel = await listing_at(driver, "7")
        await driver.until(lambda: any(long in cells[4] for cells in rows(panel)))
        await driver.press("slash")
        await driver.type("s17")
        await driver.until(lambda: [(cells[2], cells[4]) for cells in rows(panel)] == [("s17", "opened")])
        await driver.press("ctrl+u")
        await driver.type("40 opened")
        await driver.until(lambda: len(rows(panel)) == 2)
        await driver.press("enter", "end", "enter")
        await driver.sees("s1      127.0.0.1:", "s2      127.0.0.1:")
        await driver.press("y")
        assert sum(" s17 " in line for line in driver.app.clipboard.splitlines()) == 1
        await driver.press("escape", "slash", "escape", "end", "enter")
        await driver.until(lambda: long.strip() in panel.clipboard_text())
        assert " ".join(driver.part("log").replace("│", " ").split()).count("no such thing") >= 12


async def test_bytes_that_come_late_take_back_no_key_and_why_there_are_none_is_told() -> None:
    async with dashboard() as driver:
        panel = await listing_at(driver, "8")
        driver.source.may_capture.clear()
        await driver.press("up", "enter", "escape")
        driver.source.may_capture.set()
        await driver.ticks(2)
        assert not panel.has_detail
        assert "as the server read it" not in driver.screen
        await driver.press("enter")
        await driver.sees("as the server read it")
        driver.source.may_capture.clear()
        await driver.press("up")
        shown = panel.table.cursor_key
        # The bytes come first, the key behind them, and the screen is laid out only then.
        driver.source.may_capture.set()
        asyncio.get_running_loop().call_soon(panel.table.action_cursor_up)
        await driver.ticks(2)
        assert isinstance(shown, int)
        assert panel.table.cursor_key == shown - 1
        driver.source.has_captures = False
        await driver.press("up")
        await driver.sees("This exchange has been overwritten")
        resources = driver.snapshot().resources
        driver.source.processes = tuple(
            ProcessUse(name, number, (), resources, "uvloop", {}, state)
            for number, (name, state) in enumerate((("main", "running"), ("clients", "was killed (SIGKILL)")))
        )
        await driver.ticks()
        await driver.press("up")
        await driver.sees("a process that does not", "answer: clients, was killed (SIGKILL).")
        assert "overwritten" not in driver.screen
        assert "nothing selected" not in driver.screen


async def test_what_went_wrong_stays_in_the_detail_until_its_row_is_gone_and_is_a_line_each_of_the_log() -> (
    None
):
    async with dashboard(small(clients=3)) as driver:
        for number in range(8):
            driver.source.go_wrong("server", 2, f"answer {number} not sent")
        driver.source.go_wrong("swarm", 2, "at the other end")
        await driver.ticks(3)
        panel = await listing_at(driver, "6")
        await driver.press("down", "enter")
        await driver.sees("server s2 ", "answer 7 not sent", "answer 6 not sent")
        await driver.ticks(3)
        assert "answer 7 not sent" in driver.part("connections")
        await driver.press("y")
        assert "answer 3 not sent" in driver.app.clipboard
        assert "answer 2 not sent" not in driver.app.clipboard
        assert "at the other end" not in driver.screen
        driver.app.copy_to_clipboard("")
        driver.source.evicted = {1, 2, 3}
        await driver.until(lambda: "server s2 " not in driver.screen, "no detail")
        assert not panel.has_detail
        await driver.press("y")
        assert "s2" not in driver.app.clipboard
        driver.source.evicted = {2}
        await driver.sees("server s1 ")
        await driver.until(lambda: panel.has_detail)
        panel = await listing_at(driver, "7")
        for number in range(8_000):
            driver.source.go_wrong("server", 1, f"number {number}")
        await driver.until(lambda: rows(panel)[-1][4] == "number 7999")
        assert sum(cells[4].startswith("number ") for cells in rows(panel)) == 8_000


async def test_the_log_tells_of_every_connection_that_opened_before_it_was_in_front() -> None:
    async with dashboard(small(clients=3_000)) as driver:
        await driver.press("right_curly_bracket")
        await driver.tunes(permits=5)
        panel = await listing_at(driver, "7")
        await driver.until(lambda: any("permits 2 → 5" in cells[4] for cells in rows(panel)))
        assert [cells[4] for cells in rows(panel) if cells[1] == "open"] == ["3,000 opened"] * 2


async def test_each_turn_leaves_its_traces_however_many_connections_come_and_go() -> None:
    async with dashboard() as driver:
        log, session = await listing_at(driver, "7"), driver.session
        await driver.press("question_mark")  # covers the dashboard
        for clients in (3_000, 5, 3_000, 5):
            session.tuner.set({"clients": clients})
            await driver.tunes(clients=clients)
            session.tick()
            session.tick_in_turns()
        await driver.press("escape")
        turns = ["clients 5 → 3,000", "clients 3,000 → 5"] * 2
        await driver.until(lambda: [row[4] for row in rows(log) if row[1] == "tuning"] == turns)
        assert [event.text for event in session.trace.markers] == turns
        assert [change.text for change in session.trace.changes] == turns
        assert sum(row[1] == "open" for row in rows(log)) <= LINES
