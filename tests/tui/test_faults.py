"""What goes wrong is told in words, and what strangers send is only text."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

from sockscope.core.config.experiment import Experiment
from sockscope.core.events import CloseReason
from sockscope.core.run.snapshot import RunState
from sockscope.engine.engine import Engine
from sockscope.errors import EXIT_FAILED, ConfigError, ListenError, ResourceLimitError
from sockscope.faces.tui.app import SockscopeApp
from sockscope.faces.tui.panels.exchanges import ExchangesPanel
from sockscope.faces.tui.run import run_dashboard
from sockscope.faces.tui.session import Session
from tests.tui.driving import dashboard, live_dashboard, small, stranger

HOSTILE = b"\x1b]0;owned\x07\x1b[2J\x1b[31m[bold red]markup[/] [@click=app.do('quit')]x[/]\r\n\x00\xff\x9b1m"


@contextmanager
def occupied_port() -> Iterator[int]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


async def test_a_port_in_use_ends_the_start_in_words() -> None:
    with occupied_port() as port:
        app = SockscopeApp(Session(Engine(replace(small(), port=port))))
        async with app.run_test() as pilot:
            await pilot.pause()
        assert isinstance(app.start_error, ListenError)
        assert str(port) in str(app.start_error)
        assert app.return_value == EXIT_FAILED


async def test_a_fault_while_leaving_ends_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail() -> None:
        raise RuntimeError("of the program itself")

    async def leave() -> None:
        async with dashboard() as driver:
            monkeypatch.setattr(driver.source, "conclude", fail)
            await driver.press("q")
            await driver.until(lambda: driver.has_left)

    with pytest.raises(RuntimeError, match="of the program itself"):
        await leave()


def test_a_dashboard_that_cannot_start_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    run_async = SockscopeApp.run_async

    async def headless(app: SockscopeApp) -> int | None:
        return await run_async(app, headless=True, size=(80, 24))

    monkeypatch.setattr(SockscopeApp, "run_async", headless)
    with occupied_port() as port, pytest.raises(ListenError, match=rf"127\.0\.0\.1:{port}"):
        run_dashboard(replace(small(), port=port))
    with pytest.raises(ConfigError, match="65,507"):
        run_dashboard(small(transport="udp", request_bytes=70_000))


async def test_what_the_run_refuses_is_told_the_knobs_go_back_and_notices_are_not_markup() -> None:
    async with dashboard() as driver:
        driver.source.refusals.append(
            ResourceLimitError("descriptors", 400, "this machine allows 400 open files")
        )
        driver.session.tuner.set({"clients": 1_000})
        await driver.hears("400")
        assert driver.session.tuner.requested == small().tuning
        assert driver.source.tuning == small().tuning
        await driver.press("right_square_bracket")
        await driver.tunes(clients=10)
        driver.session.say("[red]\x1b[31mred[/] [@click=app.quit]x[/]", "error")
        await driver.sees("[red]␛[31mred[/] [@click=app.quit]x[/]")
        driver.source.mark("[blink]\x1b[5mmark[/blink]")
        await driver.press("7")
        await driver.sees("[blink]␛[5mmark[/blink]")


@contextmanager
def taken_udp_port() -> Iterator[int]:
    """A UDP port outside of the ephemeral ones, which any connection of another test may hold for TCP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        for port in range(20_000 + os.getpid() % 10_000, 32_000):
            with suppress(OSError):
                taken.bind(("127.0.0.1", port))
                break
        yield taken.getsockname()[1]


async def test_a_taken_udp_port_is_refused_and_the_run_goes_on() -> None:
    with taken_udp_port() as port:
        async with live_dashboard(replace(small(), port=port)) as driver:
            await driver.press("t")
            await driver.hears(f"cannot listen on 127.0.0.1:{port}")
            assert driver.session.tuner.requested.transport == "tcp"
            before = driver.swarm.totals.responses
            await driver.until(lambda: driver.swarm.totals.responses > before)


async def test_what_a_stranger_sends_is_only_text() -> None:
    async with live_dashboard(small()) as driver, stranger(driver.port) as (reader, writer):
        body = HOSTILE.replace(b"\n", b"")
        wire = len(body).to_bytes(4, "big") + body
        writer.write(wire)
        assert await asyncio.wait_for(reader.readexactly(len(wire)), 10) == wire
        address = "{}:{}".format(*writer.get_extra_info("sockname")[:2])
        await driver.press("7", "slash")
        await driver.type(address.rpartition(":")[2])
        await driver.sees(address)
        writer.write(b"\xff\xff\xff\xff" + HOSTILE)
        writer.close()
        await driver.until(
            lambda: any(e.reason is CloseReason.GARBAGE and e.role == "server" for e in driver.events())
        )
        await driver.sees("garbage")
        await driver.ticks(3)
        assert driver.app.is_running
        assert all(line.isprintable() for line in driver.lines)
        assert "TCP" in driver.header


async def test_hostile_bytes_in_the_inspector_are_only_text() -> None:
    """The server alone, whose exchanges are a stranger's."""
    alone = Experiment(role="server", tuning=small().tuning)
    async with live_dashboard(alone) as driver, stranger(driver.port) as (reader, writer):
        wire = len(HOSTILE).to_bytes(4, "big") + HOSTILE
        for _ in range(3):
            writer.write(wire)
            await asyncio.wait_for(reader.readexactly(len(wire)), 10)
        await driver.press("8")
        panel = driver.panel(ExchangesPanel)
        await driver.until(lambda: panel.shown_rows and panel.table.has_focus)
        await driver.press("end", "enter", "backslash")
        await driver.sees("1b 5d 30 3b", "bold red")
        assert all(line.isprintable() for line in driver.lines)
        await driver.press("y")
        assert "\x1b" not in driver.app.clipboard


async def test_a_server_that_goes_away_is_told_and_clients_go_on_trying() -> None:
    """The clients alone, against a server that is not theirs."""
    async with Engine(Experiment(role="server", tuning=small().tuning)) as server:
        target = server.snapshot().main.address
        alone = Experiment(role="swarm", target=target, tuning=small(service_time_s=0.0).tuning)
        async with live_dashboard(alone) as driver:
            await driver.sees(f"TCP · {target} · target · ")
            await driver.until(lambda: driver.swarm.totals.responses > 0)
            await server.stop(0.0)
            await driver.until(lambda: "have no connection and keep trying" in driver.header)
            assert driver.source.state is RunState.RUNNING


def test_limits_are_checked_before_the_screen_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 100))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    with pytest.raises(ResourceLimitError, match="100"):
        run_dashboard(small(clients=5_000))
