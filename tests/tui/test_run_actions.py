"""What keys do to the run."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from typing import Any

import pytest

from sockscope.core.events import CloseReason, EventKind
from sockscope.core.run.snapshot import RunState
from sockscope.faces.tui.actions import ACTIONS
from sockscope.faces.tui.app import SockscopeApp
from sockscope.faces.tui.panels.connections import ConnectionsPanel
from sockscope.faces.tui.widgets.graph import Graph
from tests.tui.driving import Driver, dashboard, small


def _row_of(driver: Driver, name: str) -> str:
    """Return the line of the connections table that begins with a name."""
    rows = (row.strip("│ ") for row in driver.part("connections").splitlines())
    return next((row for row in rows if row.startswith(f"{name} ")), "")


LEAVES = {"quit", "interrupt", "new_run", "suspend"}


async def udp_answer(port: int, datagram: bytes) -> bytes:
    """Ask the server itself, as any client could."""
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect(("127.0.0.1", port))
        loop.add_reader(client, arrived.set)
        try:
            client.send(datagram)
            await asyncio.wait_for(arrived.wait(), 10)
            return client.recv(65_536)
        finally:
            loop.remove_reader(client)


async def test_every_key_does_no_harm() -> None:
    async with dashboard() as driver:
        for action in ACTIONS:
            if action.id not in LEAVES and action.id != "export":
                for key in action.keys.split(","):
                    await driver.press(key)
                    if action.id in ("help", "palette", "filter"):
                        await driver.press("escape")
        await driver.until(lambda: driver.app._applier is None or driver.app._applier.done())
        await driver.ticks()
        assert driver.app.is_running
        assert driver.app.engine.state is not RunState.FAILED
        assert not any(notice.severity == "error" for notice in driver.app._notifications)


async def test_t_serves_udp_and_goes_back() -> None:
    async with dashboard() as driver:
        await driver.press("t")
        await driver.tunes(transport="udp")
        await driver.sees("UDP · 127.0.0.1:", "datagram", "0 lost")
        assert await udp_answer(driver.port, b"12345678 are you there?") == b"12345678 are you there?"
        before = driver.swarm.totals.datagrams_received
        await driver.until(lambda: driver.swarm.totals.datagrams_received > before)
        await driver.press("t")
        await driver.tunes(transport="tcp")
        await driver.sees("TCP · 127.0.0.1:", "protocol")
        reader, writer = await asyncio.open_connection("127.0.0.1", driver.port)
        writer.write(b"\x00\x00\x00\x02hi")
        assert await asyncio.wait_for(reader.readexactly(6), 10) == b"\x00\x00\x00\x02hi"
        writer.close()
        await writer.wait_closed()
        await driver.until(lambda: "transport tcp → udp" in driver.part("changes"))


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
async def test_v_goes_over_to_ipv6_and_back() -> None:
    async with dashboard() as driver:
        await driver.press("v")
        await driver.tunes(family="ipv6")
        await driver.sees("TCP · [::1]:")
        before = driver.swarm.totals.responses
        await driver.until(lambda: driver.swarm.totals.responses > before)
        await driver.press("v")
        await driver.tunes(family="ipv4")
        await driver.sees("TCP · 127.0.0.1:")


async def test_brackets_step_clients_and_braces_permits() -> None:
    async with dashboard() as driver:
        await driver.press("right_square_bracket", "right_square_bracket")
        await driver.tunes(clients=20)
        await driver.until(lambda: driver.swarm.clients == 20)
        await driver.press("left_square_bracket", "left_square_bracket", "left_square_bracket")
        await driver.tunes(clients=2)
        await driver.press("right_curly_bracket")
        await driver.tunes(permits=5)
        assert driver.swarm.limiter.permits == 5
        await driver.press(*["left_curly_bracket"] * 3)
        await driver.tunes(permits=0)
        await driver.until(lambda: "off" in driver.part("knobs"))
        await driver.press("left_curly_bracket", *["left_square_bracket"] * 9)
        await driver.tunes(permits=0, clients=1)


async def test_undo_and_redo_walk_through_the_changes() -> None:
    async with dashboard() as driver:
        await driver.press("u", "U")
        await driver.hears("nothing to undo", "nothing to redo")
        await driver.press("right_curly_bracket", "right_square_bracket", "t")
        await driver.tunes(permits=5, clients=10, transport="udp")
        await driver.press("u")
        await driver.tunes(permits=5, clients=10, transport="tcp")
        await driver.press("u", "u")
        await driver.tunes(permits=2, clients=5)
        await driver.press("U", "U")
        await driver.tunes(permits=5, clients=10, transport="tcp")
        await driver.press("right_curly_bracket", "U")
        await driver.tunes(permits=10, clients=10, transport="tcp")


async def test_pause_and_freeze_are_told_apart() -> None:
    async with dashboard() as driver:
        await driver.press("space")
        await driver.until(lambda: "FROZEN" in driver.header)
        assert "RUNNING" in driver.header
        assert driver.app.engine.state is RunState.RUNNING
        before = driver.swarm.totals.responses
        await driver.until(lambda: driver.swarm.totals.responses > before, "traffic goes on")
        shown = driver.header
        await driver.ticks(3)
        assert driver.header == shown
        await driver.press("p")
        await driver.until(lambda: "FROZEN" in driver.header and "PAUSED" in driver.header)
        await driver.press("p")
        await driver.until(lambda: "FROZEN" in driver.header and "RUNNING" in driver.header)
        await driver.press("space")
        await driver.until(lambda: "FROZEN" not in driver.header)
        await driver.press("p")
        await driver.until(lambda: "PAUSED" in driver.header)
        assert "FROZEN" not in driver.header
        assert "the traffic is paused; p lets it go on" in driver.header
        await driver.until(lambda: driver.swarm.in_flight == 0)
        before = driver.swarm.totals.requests
        await driver.ticks(3)
        assert driver.swarm.totals.requests == before
        assert driver.swarm.connections_open == 5
        await driver.press("p")
        await driver.until(lambda: "RUNNING" in driver.header and driver.swarm.totals.requests > before)


async def test_reset_begins_anew() -> None:
    async with dashboard() as driver:
        await driver.press("m")
        await driver.until(lambda: driver.app.trace.markers)
        opened = driver.snapshot().main.totals.connections_opened
        assert opened >= 5
        await driver.press("R")
        await driver.until(lambda: driver.snapshot().main.totals.connections_opened < opened)
        assert not driver.app.trace.markers
        assert driver.swarm.connections_open == 5
        await driver.hears("figures begin anew")
        assert any(event.text == "figures cleared" for event in driver.events())


async def test_a_marker_stands_on_every_graph_and_in_the_log() -> None:
    async with dashboard() as driver:
        await driver.press("m", "m", "7")
        await driver.until(lambda: len(driver.app.trace.markers) == 2)
        await driver.until(lambda: "mark 2" in driver.part("log"))
        graphs = list(driver.app.dashboard.query(Graph))
        assert len(graphs) >= 6
        await driver.until(
            lambda: all([m.label for m in graph._markers] == ["mark 1", "mark 2"] for graph in graphs)
        )
        assert all("mark 2" in driver.part(name) for name in ("throughput", "latency", "cpu", "concurrency"))


async def test_a_change_is_marked_and_told_in_figures() -> None:
    async with dashboard() as driver:
        await driver.ticks(5)
        await driver.press("right_curly_bracket")
        await driver.until(lambda: "permits 2 → 5" in driver.part("changes"))
        await driver.until(lambda: "permits 2→5" in driver.part("throughput"))
        await driver.until(lambda: "…" not in driver.part("changes"), "the figures afterwards")
        change = driver.app.trace.changes[-1]
        assert change.before is not None
        assert change.after is not None


async def test_x_closes_the_connection_under_the_cursor() -> None:
    async with dashboard() as driver:
        await driver.press("6")
        await driver.until(lambda: driver.panel(ConnectionsPanel).table.cursor_key is not None)
        closed = driver.panel(ConnectionsPanel).table.cursor_key
        await driver.press("x")
        await driver.until(
            lambda: any(
                event.kind is EventKind.CLOSE
                and event.conn_id == closed
                and event.role == "server"
                and event.reason is CloseReason.CLOSED
                for event in driver.events()
            )
        )
        await driver.until(lambda: _row_of(driver, f"s{closed}").endswith("closed"), "the table shows it")
        await driver.until(lambda: driver.swarm.connections_open == 5, "the client comes back")
        assert driver.panel(ConnectionsPanel).table.cursor_row > 0, "it moved below the open ones"
        await driver.press("x")
        await driver.hears(f"connection {closed} is closed already")
        ended = [event for event in driver.events() if event.reason is CloseReason.CLOSED]
        assert {event.conn_id for event in ended if event.role == "server"} == {closed}


async def test_the_story_of_a_connection_follows_the_cursor_and_so_does_x() -> None:
    async with dashboard() as driver:
        panel = driver.panel(ConnectionsPanel)
        await driver.press("6")
        await driver.until(lambda: len(panel.shown_rows) == 5)
        await driver.press("enter")
        first = panel.table.cursor_key
        await driver.sees(f"server s{first} ", "x closes it")
        await driver.press("down")
        second = panel.table.cursor_key
        assert second != first
        await driver.sees(f"server s{second} ")
        await driver.press("x")
        await driver.sees(f"server s{second}   closed", "ended      closed")
        assert panel.table.cursor_key == second


async def test_n_starts_a_new_run_with_the_loop_that_was_chosen() -> None:
    async with dashboard() as driver:
        await driver.press("right_curly_bracket")
        await driver.tunes(permits=5)
        await driver.go_to_knob("loop")
        await driver.press("right")
        await driver.until(lambda: "asyncio needs a new run" in driver.refusal)
        assert driver.app.engine.experiment.loop == "uvloop"
        await driver.press("N")
        await driver.until(lambda: driver.app._exit)
        again = driver.app.restart
        assert again is not None
        assert again.loop == "asyncio"
        assert again.tuning == replace(small().tuning, permits=5)
        assert driver.app.engine.state is RunState.STOPPED


async def test_q_leaves_with_a_summary_to_show() -> None:
    async with dashboard() as driver:
        await driver.press("q")
        await driver.until(lambda: driver.app._exit)
        assert driver.app.return_value == 0
        assert driver.app.return_code == 0
        assert driver.app.engine.state is RunState.STOPPED
        assert driver.app.last_snapshot is not None
        assert driver.app.last_snapshot.main.totals.responses > 0


async def test_the_second_ctrl_c_leaves_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sockscope.faces.tui.app.GRACE_S", 4.0)
    async with dashboard(small(service_time_s=30.0, request_timeout_s=60.0)) as driver:
        await driver.press("ctrl+c")
        assert not driver.app._exit, "what is in flight may finish"
        await driver.press("ctrl+c")
        await driver.until(lambda: driver.app._exit)
        assert driver.app.return_value == 130
        leaving = driver.app._leaving
        assert leaving is not None
        await asyncio.wait([leaving], timeout=20)
        assert driver.app.return_value == 130, "whoever was still leaving does not change that"


@pytest.mark.parametrize("over", [(), ("question_mark",), ("ctrl+p",), ("slash",), ("1", "enter", "5")])
async def test_ctrl_c_leaves_from_everywhere(over: tuple[str, ...]) -> None:
    async with dashboard() as driver:
        await driver.press(*over)
        await driver.press("ctrl+c")
        await driver.until(lambda: driver.app._exit)
        assert driver.app.return_value == 0


@pytest.mark.parametrize("end", [{"duration_s": 1.0}, {"requests": 50}])
async def test_a_bounded_run_ends_by_itself(end: dict[str, Any]) -> None:
    async with dashboard(replace(small(), **end)) as driver:
        await driver.until(lambda: driver.app._exit)
        assert driver.app.return_value == 0
        last = driver.app.last_snapshot
        assert last is not None
        assert last.main.totals.requests >= end.get("requests", 1)


async def test_a_failed_run_stays_to_be_looked_at_and_says_why() -> None:
    async with dashboard() as driver:
        driver.app.engine.fail(RuntimeError("[red]out of luck[/]"))
        await driver.sees("✗ FAILED", "failed  internal error: RuntimeError('[red]out of luck[/]')")
        await driver.until(lambda: driver.swarm.connections_open == 0)
        await driver.press("t", "p", "R", "m", "space", "space", "x", "slash", "escape", "question_mark")
        await driver.press("escape", "q")
        await driver.until(lambda: driver.app._exit)
        assert driver.app.return_value == 1


async def test_the_app_runs_headless_without_a_pilot(monkeypatch: pytest.MonkeyPatch) -> None:
    # What the app would take out of the collector's sight would stay for ever.
    monkeypatch.setattr("sockscope.faces.tui.app.calm_collector", lambda: None)
    app = SockscopeApp(small())
    running = asyncio.create_task(app.run_async(headless=True, size=(80, 24)))
    async with asyncio.timeout(20):
        while app._ticks < 3:
            await asyncio.sleep(0.02)
        app.leave()
        assert await running == 0
    assert app.last_snapshot is not None
    assert app.last_snapshot.main.totals.responses > 0
