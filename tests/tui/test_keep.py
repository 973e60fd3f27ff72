"""Copying and exporting what is shown."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sockscope.faces.tui.offer import CLIPBOARD_BYTES, Clipping
from sockscope.faces.tui.panels.connections import ConnectionsPanel
from sockscope.faces.tui.panels.exchanges import ExchangesPanel
from sockscope.faces.tui.panels.log import LogPanel
from sockscope.faces.tui.picture import CELL_WIDTH
from sockscope.faces.tui.widgets.hexview import HexView, dump
from tests.tui.driving import dashboard


def names_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def files_in(folder: Path) -> dict[str, Path]:
    return {path.suffix: path for path in names_in(folder)}


async def test_e_writes_three_files_of_the_moment_that_is_seen_overwrites_none_and_says_when_it_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with dashboard() as driver:
        await driver.ticks(4)
        await driver.press("e")
        await driver.hears("wrote sockscope-")
        files = files_in(tmp_path)
        assert files.keys() == {".json", ".csv", ".svg"}
        assert len({path.stem for path in files.values()}) == 1
        figures = json.loads(files[".json"].read_text())
        assert figures["totals"]["responses"] > 0
        assert figures["experiment"]["clients"] == 5
        with files[".csv"].open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) >= 3
        times = [float(row["time_s"]) for row in rows]
        assert times == sorted(times)
        assert any(float(row["requests_per_s"] or 0) > 0 for row in rows)
        ElementTree.parse(files[".svg"])
        assert "RUNNING" in files[".svg"].read_text()
        await driver.press("e", "e")
        await driver.until(lambda: len(driver.told) == 3)
        assert len(names_in(tmp_path)) == 9
        for path in names_in(tmp_path):
            path.unlink()
        await driver.press("space")
        answered = driver.swarm.totals.responses
        await driver.ticks(4)
        assert driver.swarm.totals.responses > answered
        await driver.press("e")
        files = files_in(tmp_path)
        figures = json.loads(files[".json"].read_text())
        assert figures["totals"]["responses"] == answered
        with files[".csv"].open(newline="") as file:
            last = list(csv.DictReader(file))[-1]
        assert float(last["time_s"]) == pytest.approx(figures["elapsed_s"], abs=1e-3)
        assert "FROZEN" in files[".svg"].read_text()
        folder = tmp_path / "gone"
        folder.mkdir()
        monkeypatch.chdir(folder)
        folder.rmdir()
        await driver.press("e")
        await driver.hears("cannot write")
        assert "None" not in driver.errors[-1]
        assert driver.app.is_running


def drawn(svg: str, size: tuple[int, int]) -> list[str]:
    """Return the lines of a picture, as seen by a viewer that knows neither blanks nor lengths."""
    lines = [[" "] * size[0] for _ in range(size[1])]
    for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        line = re.search(r"line-(\d+)", text.get("clip-path", ""))
        if line and text.text and int(line[1]) < size[1]:
            assert text.text.strip("\xa0 ") == text.text
            assert text.text.isascii() or len(text.text) == 1
            place = round(float(text.get("x", "")) / CELL_WIDTH)
            lines[int(line[1])][place : place + len(text.text)] = text.text
    return ["".join(line).rstrip() for line in lines]


async def test_a_picture_has_every_character_and_colour_and_does_not_wait_for_the_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with dashboard() as driver:
        monkeypatch.setattr(driver.app, "may_draw", lambda: False)
        await driver.press("p")
        for theme in ("sockscope-dark", "sockscope-light"):
            driver.app.theme = theme
            await driver.ticks(2)
            picture = driver.app.picture()
            assert drawn(picture, (120, 40)) == [line.rstrip() for line in driver.lines]
            frame = re.search(r'<rect fill="(#\w+)" stroke', picture)
            assert frame
            assert frame[1].upper() == driver.app.theme_variables["background"].upper()


async def test_y_copies_what_the_panel_in_focus_offers() -> None:
    async with dashboard() as driver:
        await driver.press("y")
        assert "permits: 2" in driver.app.clipboard.splitlines()
        for digit, head in (
            ("2", "time_s\treq/s\tbytes/s"),
            ("3", "time_s\tservice p50\tservice p99\tresponse p50\tresponse p99\tmax"),
            ("5", "time_s\tin flight\twaiting\tclients"),
        ):
            await driver.press(digit)
            await driver.until(lambda: driver.app.focused)
            await driver.ticks(2)
            await driver.press("y")
            first, *rest = driver.app.clipboard.splitlines()
            assert first == head
            assert rest
            assert all(len(line.split("\t")) == len(head.split("\t")) for line in rest)
        await driver.press("6")
        panel = driver.panel(ConnectionsPanel)
        await driver.until(lambda: panel.shown_rows and panel.table.has_focus)
        await driver.press("down", "y")
        assert driver.app.clipboard.startswith("s2\t127.0.0.1:")
        await driver.press("7")
        log = driver.panel(LogPanel)
        await driver.until(lambda: log.shown_rows and log.table.has_focus)
        await driver.press("y")
        assert "\n" not in driver.app.clipboard
        assert any("copied 1 line of log" in told for told in driver.told)
        await driver.press("8")
        exchanges = driver.panel(ExchangesPanel)
        await driver.until(lambda: exchanges.shown_rows and exchanges.table.has_focus)
        await driver.press("y")
        assert "\tok\t" in driver.app.clipboard
        await driver.press("up", "enter")
        await driver.sees("as the server read it")
        await driver.press("y")
        shown = driver.app.dashboard.query_one(HexView).panes
        assert driver.app.clipboard.endswith("\n\n".join(map(dump, shown)))
        assert f"0000  {shown[0].data[:8].hex(' ')}  " in driver.app.clipboard
        await driver.hears("lines of the exchange: request, as written", "; as the server read it")
        # Where there is room, the times are told with what they mean; so they are in what is copied then.
        await driver.press("backslash")
        await driver.sees("answer equal to the request, in one read")
        await driver.press("y")
        assert "answer equal to the request" in driver.app.clipboard


def test_what_is_copied_is_bounded_and_told() -> None:
    line = "é" * 99
    text, told = Clipping("\n".join([line] * 1_000), "the log").bounded()
    count = CLIPBOARD_BYTES // 199
    assert text.splitlines() == [line] * count
    assert told == f"copied the first {count:,} of 1,000 lines of the log"
    assert Clipping("a\n", "figures").bounded() == ("a\n", "copied 1 line of figures")
