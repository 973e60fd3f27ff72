"""What panels say in the room that they have."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from rich.cells import cell_len
from textual.widget import Widget

from sockscope.core.events import EventKind
from sockscope.core.run.client_states import ClientStates, Doing, Reception
from sockscope.core.run.findings import Finding, Kind
from sockscope.faces.characters import to_ascii
from sockscope.faces.tui.panels.connections import ConnectionsPanel
from sockscope.faces.tui.panels.graph_panel import markers_of
from sockscope.faces.tui.panels.header import HeaderPanel
from sockscope.faces.tui.panels.panel import Panel
from sockscope.faces.tui.panels.swarm_map import LOOKS, short_legend
from sockscope.faces.tui.widgets.graph import Graph
from tests.tui.driving import dashboard, small
from tests.tui.still import Still, running
from tests.tui.widgets.screen import picture
from tests.waiting import until

CLAUSES = (
    "90 % of the requests time out after 1.00 s",
    "receive buffers were full: the kernel dropped 12,345 datagrams of all that came",
    "raise --rcvbuf, or put fewer requests in flight by lowering the number of permits",
)


async def test_the_limit_is_a_whole_sentence_at_any_width() -> None:
    state = running().shown()
    app = Still(replace(state, finding=Finding(Kind.TIMEOUTS, "; ".join(CLAUSES))))
    async with app.run_test(size=(80, 24)) as pilot:
        header = app.screen.query_one("#header", Widget)
        for size, clauses in (((80, 24), 2), ((80, 19), 1), ((120, 40), 3), ((200, 60), 3), ((60, 24), 1)):
            await pilot.resize_terminal(*size)
            sentence = f"limit timeouts: {'; '.join(CLAUSES[:clauses])}"
            await until(partial(_says, header, sentence), what=sentence)


def _says(widget: Widget, sentence: str) -> bool:
    return " ".join(" ".join(picture(widget)).split()).endswith(sentence)


async def test_turns_of_a_knob_that_come_close_together_have_one_label() -> None:
    script = running()
    for text, permits in (("permits 100 → 200", 200), ("permits 200 → 500", 500)):
        script.tune(text, permits=permits)
        script.go_on(4, 3_300, 6.0)
    script.tune("clients 100 → 200", clients=200)
    script.go_on(4, 3_300, 6.0)
    app = Still(script.shown())
    async with app.run_test(size=(120, 40)):
        graph = app.screen.query_one("#throughput", Panel).query(Graph).first()
        await until(lambda: graph.markers, what="the graph to be drawn")
        assert [marker.label for marker in graph.markers if marker.label] == [
            "permits 50→100",
            "permits 100→500",
            "clients 100→200",
        ]
        assert len(graph.markers) == 4


async def test_a_header_without_room_leaves_parts_out_and_cuts_none() -> None:
    state = replace(running().shown(), dropped=1_234)
    stalled = replace(state, figures=replace(state.figures, stall_s=0.0845))
    app = Still(stalled)
    async with app.run_test(size=(120, 40)) as pilot:
        header = app.screen.query_one(HeaderPanel)
        for columns in range(125, 109, -5):
            await pilot.resize_terminal(columns, 40)
            await until(lambda: cell_len(_row(header)) == columns - 2)
            assert "…" not in _row(header)
            assert _row(header).endswith("skipped")
        await pilot.resize_terminal(70, 24)
        await until(lambda: _row(header, 1).endswith("0 failed"), what="no room for the redraws")


async def test_the_header_tells_what_tls_agreed_on_as_far_as_there_is_room() -> None:
    state = running().shown()
    swarm = replace(state.snapshot.main, tls="TLSv1.3 TLS_AES_256_GCM_SHA384 h2")
    tuning = replace(state.snapshot.tuning, tls=True)
    snapshot = replace(state.snapshot, tuning=tuning, roles={**state.snapshot.roles, "swarm": swarm})
    app = Still(replace(state, snapshot=snapshot))
    async with app.run_test(size=(200, 60)) as pilot:
        header = app.screen.query_one(HeaderPanel)
        await pilot.pause()
        await until(lambda: "TLSv1.3 · " in header.render().plain)
        assert " · TLS_AES_256_GCM_SHA384 h2 " in _row(header)
        await pilot.resize_terminal(80, 24)
        await until(lambda: "SHA384" not in _row(header))
        assert "TLSv1.3 · " in _row(header)


async def test_the_header_tells_what_a_relay_adds_while_there_is_one() -> None:
    state = running().shown()
    figures = replace(state.figures, relay_delay_s=42e-6)
    relayed = replace(state.snapshot, tuning=replace(state.snapshot.tuning, fault="delay=1ms"))
    app = Still(replace(state, figures=figures))
    async with app.run_test(size=(160, 40)):
        header = app.screen.query_one(HeaderPanel)
        await until(lambda: "failed" in header.render().plain)
        assert "relay adds" not in _row(header)
        header.state = replace(state, snapshot=relayed, figures=figures)
        await until(lambda: "relay adds 42" in _row(header))


def _row(header: HeaderPanel, number: int = 0) -> str:
    return header.render().plain.splitlines()[number]


async def test_holds_close_together_are_one_marker_and_keys_of_listings_bring_one_to_the_front_first() -> (
    None
):
    async with dashboard() as driver:
        for length in ("12 ms", "30 ms", "15 ms"):
            driver.source.mark(f"held up {length}: time.sleep at mine.py:12 (main)")
        await driver.ticks()
        driver.source.mark("a change")
        await driver.ticks()
        state = driver.app.dashboard.state
        assert state is not None
        assert [marker.label for marker in markers_of(state, 0.0)] == ["held up 3×", "a change"]
        await driver.press("M", "x")
        assert driver.panel(ConnectionsPanel).is_on_screen
        assert not [event for event in driver.events() if event.kind is EventKind.CLOSE]
        await driver.press("M", "s")
        await driver.until(lambda: driver.panel(ConnectionsPanel).is_on_screen)


async def test_the_map_has_a_cell_for_each_client_and_counts_that_add_up() -> None:
    async with dashboard(small(clients=20, permits=4), size=(100, 30), face="swarm") as driver:
        await driver.sees("M Swarm map", "6 Connections", "waiting, permit")
        shown = " ".join(driver.part("swarm").split())
        assert all(text in shown for text in ("▲▲ in flight 4", "○○ waiting, permit 16", "clients 20"))
        await driver.press("M", "right", "right")
        await driver.sees("client 2: in flight")
        await driver.press("p")
        await driver.until(lambda: "idle 20" in " ".join(driver.part("swarm").split()))


def test_every_state_has_a_character_of_its_own_in_ascii_too() -> None:
    assert set(LOOKS) == set(Doing)
    glyphs = [look.glyph for look in LOOKS.values()]
    assert len(set(glyphs)) == len(set(map(to_ascii, glyphs))) == len(Doing)


def test_a_narrow_legend_has_all_that_there_is_and_keeps_its_height() -> None:
    states = ClientStates(range(100), bytes([Doing.WAITING] * 60 + [Doing.SERVED] * 40), is_whole=True)
    whole = short_legend(states, Reception(0, 100, 40), 44).plain.splitlines()
    assert whole == ["○ waiting, permit 60  █ being served 40", "", "server backlog 0  accepted 100"]
    told = short_legend(replace(states, is_whole=False), Reception(None, 100, 40), 24).plain.splitlines()
    assert told[:2] == ["○ waiting, permit 60", "█ being served 40"]
    assert told[2:] == ["server accepted 100", "in service 40", "in flight may be served"]
