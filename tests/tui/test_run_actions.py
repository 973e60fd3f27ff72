"""What keys do to the run."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import replace

import pytest

from sockscope.core.events import CloseReason, EventKind
from sockscope.core.results.run_result import report
from sockscope.core.run.snapshot import RunState
from sockscope.engine.engine import Engine
from sockscope.faces.summary import report_text
from sockscope.faces.tui.actions import ACTIONS
from sockscope.faces.tui.app import SockscopeApp
from sockscope.faces.tui.panels.connections import ConnectionsPanel
from sockscope.faces.tui.widgets.graph import Graph
from tests.tui.driving import Driver, dashboard, live_dashboard, small
from tests.tui.fake_source import FakeSource


def _row_of(driver: Driver[Engine], name: str) -> str:
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
        await driver.until(lambda: not driver.session.tuner.is_applying)
        await driver.ticks()
        assert driver.lines
        assert driver.app.is_running
        assert driver.source.state is not RunState.FAILED
        assert driver.errors == []


async def test_t_serves_udp_and_goes_back_and_v_goes_over_to_ipv6_to_unix_sockets_and_back() -> None:
    async with live_dashboard() as driver:
        await driver.press("t")
        await driver.tunes(transport="udp")
        await driver.sees("UDP · 127.0.0.1:", "datagram", "0 lost", "to server ", "to clients ")
        assert await udp_answer(driver.port, b"12345678 are you there?") == b"12345678 are you there?"
        before = driver.swarm.totals.datagrams_received
        await driver.until(lambda: driver.swarm.totals.datagrams_received > before)
        await driver.press("t")
        await driver.tunes(transport="tcp")
        await driver.sees("TCP · 127.0.0.1:", "protocol")
        reader, writer = await asyncio.open_connection("127.0.0.1", driver.port)
        writer.write(b"\x00\x00\x00\x02hi")
        assert await asyncio.wait_for(reader.readexactly(6), 60) == b"\x00\x00\x00\x02hi"
        writer.close()
        await writer.wait_closed()
        await driver.until(lambda: "transport udp → tcp" in driver.part("changes"))
        if not socket.has_ipv6:
            return
        await driver.press("v")
        await driver.tunes(family="ipv6")
        await driver.sees("TCP · [::1]:")
        before = driver.swarm.totals.responses
        await driver.until(lambda: driver.swarm.totals.responses > before)
        await driver.press("v")
        await driver.sees("Unix stream · unix:@")
        await driver.press("v")
        await driver.tunes(family="ipv4")
        await driver.sees("TCP · 127.0.0.1:")


async def test_undo_and_redo_walk_through_the_changes_and_brackets_step_clients_and_permits() -> None:
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
        await driver.press("right_square_bracket", "right_square_bracket")
        await driver.tunes(clients=50)
        await driver.press(*["left_square_bracket"] * 4)
        await driver.tunes(clients=2)
        await driver.press("right_curly_bracket")
        await driver.tunes(permits=20)
        await driver.press(*["left_curly_bracket"] * 5)
        await driver.tunes(permits=0)
        await driver.until(lambda: "off" in driver.part("knobs"))
        await driver.press("left_curly_bracket", *["left_square_bracket"] * 4)
        await driver.tunes(permits=0, clients=1)


async def test_pause_and_freeze_are_told_apart_and_reset_begins_anew() -> None:
    async with dashboard() as driver:
        await driver.press("space")
        await driver.until(lambda: "FROZEN" in driver.header)
        assert "RUNNING" in driver.header
        assert driver.source.state is RunState.RUNNING
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
        assert "the traffic is paused; p resumes it" in driver.header
        await driver.press("p")
        await driver.until(lambda: "RUNNING" in driver.header)
        assert driver.source.holds == [True, False], "what is frozen can be asked for"
        await driver.press("m")
        await driver.until(lambda: driver.session.trace.markers)
        opened = driver.snapshot().main.totals.connections_opened
        assert opened >= 5
        await driver.press("R")
        await driver.until(lambda: driver.snapshot().main.totals.connections_opened < opened)
        assert not driver.session.trace.markers
        assert driver.swarm.connections_open == 5
        await driver.hears("figures reset")
        assert any(event.text == "figures cleared" for event in driver.events())


async def test_a_real_run_is_steered_by_keys_and_left_with_a_summary_to_show() -> None:
    async with live_dashboard() as driver:
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
        await driver.until(
            lambda: driver.panel(ConnectionsPanel).table.move_to(closed), "its row, below the open ones"
        )
        assert driver.panel(ConnectionsPanel).table.cursor_row > 0
        await driver.press("x")
        await driver.hears(f"connection {closed} is already closed")
        ended = [event for event in driver.events() if event.reason is CloseReason.CLOSED]
        assert {event.conn_id for event in ended if event.role == "server"} == {closed}
        await driver.press("right_curly_bracket", "right_square_bracket")
        await driver.tunes(permits=5, clients=10)
        assert driver.swarm.limiter.permits == 5
        await driver.until(lambda: driver.swarm.connections_open == 10)
        await driver.press("p")
        await driver.sees("PAUSED", "the traffic is paused; p resumes it")
        await driver.until(lambda: driver.swarm.in_flight == 0)
        before = driver.swarm.totals.requests
        await driver.ticks(3)
        assert driver.swarm.totals.requests == before
        assert driver.swarm.connections_open == 10
        await driver.press("p")
        await driver.until(lambda: "RUNNING" in driver.header and driver.swarm.totals.requests > before)
        await driver.press("q")
        await driver.until(lambda: driver.has_left)
        assert driver.app.return_value == 0
        assert driver.app.return_code == 0
        assert driver.source.state is RunState.STOPPED
        assert driver.session.last_snapshot is not None
        assert driver.session.last_snapshot.main.totals.responses > 0
        assert "changed       permits 2 → 5 at " in report_text(report(driver.session.last_snapshot, {}))


async def test_a_marker_stands_on_every_graph_and_in_the_log() -> None:
    async with dashboard() as driver:
        await driver.press("m")
        await driver.ticks(25)
        await driver.press("k", "7")
        await driver.until(lambda: len(driver.session.trace.markers) == 2)
        await driver.until(lambda: "server stalled for" in driver.part("log"))
        await driver.hears("the server stands still for 1.00 s")
        graphs = list(driver.app.dashboard.query(Graph))
        assert len(graphs) >= 6
        await driver.until(
            lambda: all(
                [m.label for m in graph.markers] == ["mark 1", "server stalled for 1.00 s"]
                for graph in graphs
            )
        )
        shown = [driver.part(name) for name in ("throughput", "latency", "cpu", "concurrency")]
        assert all("server st" in text for text in shown)


async def test_a_change_is_told_in_figures_and_n_starts_a_new_run_with_it_and_the_loop_that_was_chosen() -> (
    None
):
    async with dashboard() as driver:
        await driver.ticks(5)
        await driver.press("right_curly_bracket")
        await driver.until(lambda: "permits 2 → 5" in driver.part("changes"))
        await driver.until(lambda: "permits 2→5" in driver.part("throughput"))
        await driver.until(lambda: "…" not in driver.part("changes"), "the figures afterwards")
        change = driver.session.trace.changes[-1]
        assert change.before is not None
        assert change.after is not None
        await driver.go_to_knob("loop")
        await driver.press("right")
        await driver.until(lambda: "asyncio needs a new run" in driver.refusal)
        assert driver.source.experiment.loop == "uvloop"
        await driver.press("N")
        await driver.until(lambda: driver.has_left)
        again = driver.app.restart
        assert again is not None
        assert again.loop == "asyncio"
        assert again.tuning == replace(small().tuning, permits=5)
        assert driver.source.state is RunState.STOPPED


ASK: dict[str, Callable[[SockscopeApp], None]] = {
    "a signal": lambda app: app.asked_to_end(False),
    "q": lambda app: app.leave(),
}


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
async def test_who_is_asked_to_quit_begins_no_other_run(ask: Callable[[SockscopeApp], None]) -> None:
    async with dashboard() as driver:
        driver.source.may_stop.clear()
        await driver.press("N")
        await driver.until(lambda: driver.session.is_over)
        assert driver.app.restart is not None
        await driver.sees("◌ STARTING  TCP · protocol · uvloop")
        ask(driver.app)
        driver.source.may_stop.set()
        await driver.until(lambda: driver.has_left)
        assert driver.app.restart is None


async def test_ctrl_c_leaves_while_a_value_is_typed_and_the_second_at_once() -> None:
    async with dashboard() as driver:
        driver.source.may_stop.clear()
        await driver.press("1", "enter", "5")
        assert driver.knobs.is_typing
        await driver.press("ctrl+c")
        await driver.until(lambda: driver.session.is_over)
        assert not driver.has_left, "what is in flight may finish"
        await driver.press("ctrl+c")
        await driver.until(lambda: driver.has_left)
        assert driver.app.return_value == 130
        driver.source.may_stop.set()
        await driver.until(lambda: driver.session.last_snapshot is not None)
        assert driver.app.return_value == 130, "whoever was still leaving does not change that"


async def test_ctrl_c_leaves_from_the_palette() -> None:
    async with dashboard() as driver:
        await driver.press("ctrl+p")
        assert driver.app.dashboard.is_overlaid
        await driver.press("ctrl+c")
        await driver.until(lambda: driver.has_left)
        assert driver.app.return_value == 0


async def test_a_run_that_is_over_ends_the_dashboard() -> None:
    async with dashboard() as driver:
        driver.source.run_out()
        await driver.until(lambda: driver.has_left)
        assert driver.app.return_value == 0
        assert driver.session.ran_out
        assert driver.session.last_snapshot is not None


async def test_a_failed_run_stays_to_be_looked_at_and_says_why() -> None:
    async with live_dashboard() as driver:
        driver.source.fail(RuntimeError("[red]out of luck[/]"))
        await driver.sees("✗ FAILED", "failed  internal error: RuntimeError('[red]out of luck[/]')")
        await driver.until(lambda: driver.swarm.connections_open == 0)
        await driver.press("t", "p", "R", "m", "space", "space", "x", "slash", "escape", "question_mark")
        await driver.press("escape", "q")
        await driver.until(lambda: driver.has_left)
        assert driver.app.return_value == 1


async def test_what_a_run_that_is_over_cannot_do_is_told() -> None:
    """A replayed run, say: it can be looked at, and not tuned."""
    async with dashboard(source=FakeSource(small(), is_live=False)) as driver:
        await driver.press("right_curly_bracket", "m", "R", "k")
        await driver.until(lambda: len(driver.errors) == 4, "four refusals")
        assert driver.session.tuner.requested == small().tuning
        await driver.press("6", "x")
        await driver.until(lambda: len(driver.errors) == 5, "and one more")
        await driver.press("p", "space")
        await driver.until(lambda: "PAUSED" in driver.header and "FROZEN" in driver.header)
