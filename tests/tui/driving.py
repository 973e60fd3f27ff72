"""A dashboard with a real engine behind it, driven with keys and read as text."""

from __future__ import annotations

import asyncio
import builtins
import gc
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Literal, TypeVar
from unittest.mock import patch

from textual.pilot import Pilot

from sockscope.core.config.experiment import Experiment, Tuning
from sockscope.core.events import Event
from sockscope.core.run.snapshot import Cursors, RoleSnapshot, RunState, Snapshot
from sockscope.faces.tui.app import SockscopeApp
from sockscope.faces.tui.panels.knobs import KNOBS, KnobList
from sockscope.faces.tui.panels.panel import Panel
from sockscope.store.history import History

P = TypeVar("P", bound=Panel)
Severity = Literal["information", "warning", "error"]
LARGE = (120, 40)
PATIENCE_S = 20.0
POLL_S = 0.02
"""Reading the screen costs milliseconds, which the dashboard needs itself."""


def small(**tuned: Any) -> Experiment:
    """Return an experiment that leaves the machine to others."""
    # A loaded machine may hold the loop up for more than the default second, which is no fault of a server.
    quick: dict[str, Any] = {
        "clients": 5, "permits": 2, "service_time_s": 0.005, "request_timeout_s": 30.0,
    }  # fmt: skip
    return Experiment(tuning=replace(Tuning(), **(quick | tuned)))


class Driver:
    """The app, its pilot, and shorthands for what tests look at."""

    def __init__(self, app: SockscopeApp, pilot: Pilot[int]) -> None:
        self.app = app
        self.pilot = pilot
        self.told: list[str] = []
        """Every notice so far; on the screen they come and go."""
        self._say = app.say
        app.say = self._hear  # type: ignore[method-assign]

    def _hear(self, text: str, severity: Severity = "information") -> None:
        self.told.append(text)
        self._say(text, severity)

    async def hears(self, *texts: str) -> None:
        """Wait until these notices were given."""
        await self.until(
            lambda: all(any(text in told for told in self.told) for text in texts), f"{texts} in {self.told}"
        )

    async def press(self, *keys: str) -> None:
        """Press keys, one after another."""
        await self.pilot.press(*keys)

    async def type(self, text: str) -> None:
        """Press the keys of a text."""
        await self.pilot.press(*(_KEYS.get(char, char) for char in text))

    async def until(self, predicate: Callable[[], object], what: str = "") -> None:
        """Wait until something holds; say what the screen shows when it never does."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not predicate():
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise AssertionError(f"waited {PATIENCE_S} s in vain: {what}\n{self.screen}") from None

    async def sees(self, *texts: str) -> None:
        """Wait until all these texts stand on the screen."""
        await self.until(lambda: all(text in self.screen for text in texts), f"on the screen: {texts}")

    async def tunes(self, **wanted: Any) -> None:
        """Wait until the engine runs with these values."""
        await self.until(
            lambda: all(getattr(self.app.engine.tuning, name) == value for name, value in wanted.items()),
            f"the engine's tuning: {wanted}",
        )

    async def ticks(self, count: int = 2) -> None:
        """Wait until so many more pictures of the run were taken."""
        before = self.app._ticks
        await self.until(lambda: self.app._ticks >= before + count, "ticks")
        await self.pilot.pause()

    @property
    def lines(self) -> list[str]:
        """The screen as text, without what lies below a sheet over it."""
        strips = self.app.screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip) for strip in strips]

    @property
    def screen(self) -> str:
        """The screen as one text."""
        return "\n".join(self.lines)

    def part(self, panel_id: str) -> str:
        """The text of a panel's region on the screen, borders included."""
        region = self.app.dashboard.query_one(f"#{panel_id}").region
        rows = self.lines[region.y : region.bottom]
        return "\n".join(row[region.x : region.right] for row in rows)

    @property
    def header(self) -> str:
        """The rows of the header."""
        return self.part("header")

    @property
    def knobs(self) -> KnobList:
        """The list of knobs."""
        return self.app.dashboard.query_one(KnobList)

    @property
    def refusal(self) -> str:
        """Why a value was not taken, as it stands below the knobs."""
        text = " ".join(line.strip("│ ") for line in self.part("knobs").splitlines())
        return " ".join(text.partition("✗ ")[2].partition("╰")[0].split())

    async def go_to_knob(self, key: str) -> None:
        """Choose a knob with the arrow keys."""
        await self.press("1")
        await self.until(lambda: self.knobs.has_focus)
        for _ in KNOBS:
            if self.knobs._keys[self.knobs._cursor] == key:
                return
            await self.press("down")
        raise AssertionError(f"there is no knob {key}")

    def panel(self, kind: builtins.type[P]) -> P:
        """The panel of a kind."""
        return self.app.dashboard.query_one(kind)

    def snapshot(self) -> Snapshot:
        """A snapshot with the whole log."""
        return self.app.engine.snapshot(Cursors(most_events=100_000, most_exchanges=0))

    def events(self) -> tuple[Event, ...]:
        """The whole log."""
        return self.snapshot().events

    @property
    def swarm(self) -> RoleSnapshot:
        """The clients as they are now."""
        swarm = self.snapshot().swarm
        assert swarm is not None
        return swarm

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        server = self.snapshot().server
        assert server is not None
        return int(server.address.rpartition(":")[2])


_KEYS = {
    " ": "space", ".": "full_stop", ",": "comma", "-": "minus", "/": "slash", ":": "colon",
    "[": "left_square_bracket", "]": "right_square_bracket", "µ": "micro_sign",
}  # fmt: skip


@asynccontextmanager
async def stranger(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to the dashboard's server as anybody could."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def open_descriptors() -> dict[str, str]:
    """What is open, by number."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found[number] = os.readlink(f"/proc/self/fd/{number}")
    return found


@asynccontextmanager
async def dashboard(
    experiment: Experiment | None = None,
    size: tuple[int, int] = LARGE,
    history: History | None = None,
) -> AsyncIterator[Driver]:
    """Run a dashboard until the block ends; nothing of it may be left then."""
    descriptors = open_descriptors()
    outer = asyncio.all_tasks()
    app = SockscopeApp(experiment or small(), history=history)
    # What the app would take out of the collector's sight would stay for ever.
    with patch("sockscope.faces.tui.app.calm_collector"):
        async with app.run_test(size=size, notifications=True) as pilot:
            driver = Driver(app, pilot)
            try:
                await driver.until(lambda: app._ticks > 2 or app._exit, "the first pictures")
                await pilot.pause()
                yield driver
            finally:
                await app.engine.stop(0.0)
    for _ in range(10):
        await asyncio.sleep(0)
    assert app.engine.state in (RunState.STOPPED, RunState.FAILED, RunState.IDLE)
    assert asyncio.all_tasks() <= outer
    gc.collect()
    left = {number: what for number, what in open_descriptors().items() if number not in descriptors}
    assert set(left.values()) <= {"/dev/null"}, left  # which libuv keeps for itself
