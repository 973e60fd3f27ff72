"""A dashboard around one's own server, and around one that runs elsewhere."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import Input

from sockscope.core.config.experiment import Experiment
from sockscope.faces.tui.panels.exchanges import ExchangesPanel
from sockscope.faces.tui.screens.conversation import ConversationScreen
from sockscope.faces.tui.widgets.hexview import HexView
from tests.engine.peers import Scripted, tcp_peer
from tests.tui.driving import dashboard, live_dashboard, small

OWN = "tests.engine.own_servers"
TUNING = replace(small().tuning, service_time_s=0.0, think_time_s=0.01)
"""Clients that leave the loop to the dashboard."""


def pong(connection: Scripted, data: bytes) -> None:
    connection.transport.write(b"+PONG\r\n" * data.count(b"\r\n"))


async def test_ones_own_handler_is_named_and_keeps_its_knobs_to_itself() -> None:
    async with live_dashboard(Experiment(TUNING, handler=f"{OWN}:echo"), size=(160, 48)) as driver:
        await driver.sees(f"TCP · 127.0.0.1:{driver.port} · {OWN}:echo")
        await driver.go_to_knob("service_time")
        await driver.press("right")
        await driver.until(lambda: f"{OWN}:echo serves, not a model" in driver.refusal, "the refusal")
        assert driver.source.tuning.service_time_s == 0
        await driver.press("t")
        await driver.refuses("cannot be combined with --handler, which serves TCP")
        assert driver.source.tuning.transport == "tcp"
        await driver.go_to_knob("clients")
        await driver.press("right")
        await driver.tunes(clients=10)
        await driver.pilot.resize_terminal(80, 24)
        await driver.until(lambda: re.search(r"service ◂ +n/a▸", driver.screen) is not None, "n/a")


async def test_what_a_handler_raises_stands_in_the_log_and_the_run_goes_on() -> None:
    own = Experiment(TUNING, handler=f"{OWN}:raise_on_third")
    async with live_dashboard(own, size=(160, 48)) as driver:
        await driver.press("7")
        await driver.sees("raised, ValueError at tests/engine/own_ser")
        assert any("third \\x1b[2J is\\nenough" in event.text for event in driver.events())
        before = driver.swarm.totals.responses
        await driver.until(lambda: driver.swarm.totals.responses > before + 5, "more answers")
        assert driver.source.error == ""


async def test_a_key_takes_up_an_edit_while_the_run_goes_on_and_n_serves_with_it_in_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "edited_on_the_way.py"
    file.write_text("from tests.engine.own_servers import echo as handle\n")
    async with live_dashboard(
        Experiment(TUNING, handler="edited_on_the_way:handle"), size=(120, 40)
    ) as driver:
        await driver.sees("l load edit")
        await driver.press("l")
        await driver.hears("no file of edited_on_the_way:handle was edited")
        file.write_text("async def handle(reader, writer) oops\n")
        await driver.press("l")
        await driver.until(lambda: driver.errors, "why it was not taken up")
        assert driver.errors[0].startswith(
            "the server goes on as it was: handler = 'edited_on_the_way:handle'"
        )
        file.write_text("# anew\nfrom tests.engine.own_servers import echo as handle\n")
        await driver.press("l")
        await driver.sees("edited edited_on_the")
        assert driver.source.generation == 1
        before = driver.swarm.totals.responses
        await driver.until(lambda: driver.swarm.totals.responses > before and not driver.swarm.rolling)
        assert driver.swarm.totals.failed == 0
        await driver.press("7")
        await driver.sees("edited edited_on_the_way.py +1 −0")
        file.write_text("async def handle(reader, writer) oops\n")
        await driver.press("N")
        await driver.until(lambda: len(driver.errors) == 2, "why there is no new run")
        assert "no new run" in driver.errors[-1]
        assert "SyntaxError at edited_on_the_way.py:1" in driver.errors[-1]
        before = driver.swarm.totals.responses
        await driver.until(lambda: driver.swarm.totals.responses > before, "the run goes on")
        file.write_text("async def handle(reader, writer):\n    raise LookupError('anew')\n")
        await driver.press("N")
        await driver.until(lambda: driver.has_left)
        again, notice = driver.app.restart, driver.app.notice
    assert notice == "edited_on_the_way:handle was edited: the new run serves with it as it is now"
    assert again is not None
    async with live_dashboard(again) as driver:
        await driver.until(
            lambda: any("LookupError at edited_on_the_way.py:2" in event.text for event in driver.events()),
            "what the new code raises",
        )
    sys.modules.pop("edited_on_the_way")


async def test_a_target_is_called_so_and_its_side_is_elsewhere() -> None:
    async with tcp_peer(pong) as port:
        aimed = Experiment(
            TUNING,
            role="swarm",
            target=f"127.0.0.1:{port}",
            request="PING\\r\\n",
            until="\\r\\n",
            pid=os.getpid(),
        )
        async with live_dashboard(aimed, size=(160, 48)) as driver:
            await driver.sees(f"TCP · 127.0.0.1:{port} · target · ", "request   ◂", "6 B")
            assert "no framing" not in driver.header
            await driver.until(lambda: "target " in driver.part("cpu"), "the target's CPU")
            await driver.press("6")
            await driver.sees("clients' side  5 open")
            await driver.press("w")
            await driver.sees("server's side  elsewhere", "the server's side is elsewhere: w shows the other")
            await driver.press("w")
            await driver.sees("clients' side  5 open")
            await driver.go_to_knob("service_time")
            await driver.press("right")
            await driver.until(lambda: "the server is elsewhere" in driver.refusal, "the refusal")
            for key, value, why in (
                ("size", "9", "is set by the request, which is 6 B"),
                ("framing", "", "tells how answers end, and so does --until"),
            ):
                await driver.go_to_knob(key)
                await driver.press("enter")
                if value:
                    await driver.type(value)
                    await driver.press("enter")
                await driver.until(lambda why=why: why in driver.refusal, why)  # type: ignore[misc]
            await driver.press("v")
            await driver.refuses("is not an address of the family ipv6")
            assert driver.source.tuning == aimed.settled().tuning


NONE = replace(small().tuning, framing="none")


COUNTED_AS = (
    (Experiment(NONE), "the server takes each read for one request"),
    (Experiment(NONE, role="swarm", target="127.0.0.1:7007"), ""),
    (Experiment(NONE, role="swarm", target="127.0.0.1:7007", expect_bytes=4, request="PING"), ""),
    (
        Experiment(NONE, role="swarm", target="127.0.0.1:7007", request="PING"),
        "one read counts as one answer, wrong when reads merge or split",
    ),
)


async def test_without_framing_the_header_says_what_a_read_counts_as() -> None:
    async with dashboard(small(), size=(200, 60)) as driver:
        for experiment, warning in COUNTED_AS:
            driver.source.experiment = experiment.settled()
            driver.source.tuning = driver.source.experiment.tuning
            await driver.ticks()
            await driver.sees("limit  ")
            said = driver.header.partition("! no framing: ")[2].partition("\n")[0].strip()
            assert said == warning


async def test_a_rejected_answer_and_a_prologue_are_shown_as_what_they_are() -> None:
    mail = Experiment(
        replace(TUNING, clients=1, think_time_s=1.0, accept="/^2.*HELP/"), handler=f"{OWN}:mail",
        request="NOOP\\r\\n",
        greeting="ready\\r\\n", preamble="EHLO\\r\\n", until_line="/^250 /",
    )  # fmt: skip
    async with live_dashboard(mail, size=(160, 48)) as driver:
        await driver.until(lambda: driver.swarm.totals.answers_rejected)
        await driver.press("8")
        await driver.sees("rejected  NOOP")
        await driver.press("home")
        await driver.sees("0 B → 21 B", "greeting", "preamble")
        await driver.sees(" rejected", "answers: the server answers, but 100 % of its answers are rejected")
        await driver.press("enter")
        await driver.sees("before the first request, in no figure", "answer, as read")
        assert "as written" not in driver.part("exchanges")
        await driver.press("down")
        await driver.sees("preamble, as written")
        await driver.press("down")
        await driver.sees("in one read; rejected: --accept does not take 250 ok")
        await driver.press("escape", "7")
        await driver.sees("--accept does not take 250 ok")


async def test_answers_that_are_not_the_request_are_shown_and_what_is_accepted_changes_meanwhile() -> None:
    tuning = replace(TUNING, clients=2, think_time_s=0.01)
    own = Experiment(tuning, handler=f"{OWN}:pong", request="PING\\r\\n", until="\\r\\n")
    async with live_dashboard(own) as driver:
        await driver.press("8")
        await driver.sees("6 B → 7 B")
        await driver.press("up", "enter")
        await driver.sees("request, as written", "answer, as read", "TCP until \\r\\n")
        view = driver.panel(ExchangesPanel).query_one(HexView)
        assert [pane.data for pane in view.panes] == [b"PING\r\n", b"+PONG\r\n"]
        assert not view.different
        assert "DIFFERENT" not in driver.screen
        await driver.until(lambda: driver.swarm.totals.responses > 5)
        await driver.press("c")
        await driver.sees("Server and conversation")
        screen = driver.app.screen
        assert isinstance(screen, ConversationScreen)
        while screen.chosen.key != "reject":
            screen.action_choose(1)
        screen.query_one(Input).value = "/^.PONG/"
        await driver.sees("/^.PONG/")
        await driver.press("enter")
        await driver.tunes(reject="/^.PONG/")
        await driver.until(lambda: driver.swarm.totals.answers_rejected > 5, "rejected answers")
        before = driver.swarm.totals
        await driver.until(lambda: driver.swarm.totals.answers_rejected > before.answers_rejected + 5)
        assert driver.swarm.totals.responses == before.responses
        assert driver.swarm.totals.connections_opened == 2
        await driver.sees("RUNNING", "reject  → /^.PONG/")
        await driver.press("u")
        await driver.until(lambda: driver.swarm.totals.responses > before.responses + 5, "answers again")
        assert not driver.has_left
