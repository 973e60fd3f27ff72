"""A dashboard driven with keys and read as text: of a fake run, or of a real engine."""

from __future__ import annotations

import asyncio
import builtins
import gc
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from typing import Any, Generic, TypeVar
from unittest.mock import patch

from textual.pilot import Pilot
from textual.strip import Strip

from sockscope.cli.aim import anew
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.events import Event
from sockscope.core.run.snapshot import Cursors, RoleSnapshot, RunState, Snapshot
from sockscope.core.run.source import RunSource
from sockscope.engine.engine import Engine
from sockscope.faces.tui.app import SockscopeApp
from sockscope.faces.tui.look import Look
from sockscope.faces.tui.panels import panel as panel_module
from sockscope.faces.tui.panels.knob_layout import KNOBS
from sockscope.faces.tui.panels.knob_list import KnobList
from sockscope.faces.tui.panels.panel import Panel
from sockscope.faces.tui.screens.dashboard import DashboardScreen
from sockscope.faces.tui.session import Session
from sockscope.faces.tui.viewer import Severity
from sockscope.store.history import History
from tests.tui.fake_source import FakeSource

S = TypeVar("S", bound=RunSource)
P = TypeVar("P", bound=Panel)
LARGE = (120, 40)
PATIENCE_S = 60.0
POLL_S = 0.05
"""Reading the screen costs milliseconds, which a real run needs itself."""
MOST_STEPS = 25
"""After so many steps of a fake run nothing more will happen."""


def small(**tuned: Any) -> Experiment:
    """Return an experiment that leaves the machine to others."""
    # A loaded machine may hold the loop up for more than the default second, which is no fault of a server.
    quick: dict[str, Any] = {
        "clients": 5, "permits": 2, "service_time_s": 0.005, "request_timeout_s": 30.0,
    }  # fmt: skip
    return Experiment(tuning=replace(Tuning(), **(quick | tuned)))


class Driver(Generic[S]):
    """The app, its pilot, and shorthands for what tests look at."""

    def __init__(
        self, app: SockscopeApp, pilot: Pilot[int], source: S, told: Sequence[tuple[str, Severity]]
    ) -> None:
        self.app = app
        self.pilot = pilot
        self.session = app.session
        self.source = source
        self._told = told

    @property
    def told(self) -> list[str]:
        """Every notice so far; on the screen they come and go."""
        return [text for text, _ in self._told]

    @property
    def errors(self) -> list[str]:
        """Every notice that told of an error."""
        return [text for text, severity in self._told if severity == "error"]

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

    async def refuses(self, text: str) -> None:
        """Wait until this was said, below the knobs or in a notice."""
        await self.until(
            lambda: text in self.refusal or any(text in told for told in self.told), f"refusal: {text}"
        )

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

        def stand_there() -> bool:
            screen = self.screen
            return all(text in screen for text in texts)

        await self.until(stand_there, f"on the screen: {texts}")

    async def tunes(self, **requested: Any) -> None:
        """Wait until the run has these values."""
        await self.until(
            lambda: all(getattr(self.source.tuning, name) == value for name, value in requested.items()),
            f"the tuning: {requested}",
        )

    async def ticks(self, count: int = 2) -> None:
        """Wait until so many more pictures of the run were taken."""
        before = self.session.ticks
        await self.until(lambda: self.session.ticks >= before + count, "ticks")
        await self.pilot.pause()

    @property
    def has_left(self) -> bool:
        """Whether the app was told to exit."""
        return self.app.return_code is not None

    @property
    def strips(self) -> list[Strip]:
        """The screen, without what lies below a sheet over it; Textual has no public way to read it."""
        return self.app.screen._compositor.render_strips()

    @property
    def lines(self) -> list[str]:
        """The screen as text."""
        return ["".join(segment.text for segment in strip) for strip in self.strips]

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
        """Choose a knob by what the arrow keys do, the last step with such a key."""
        await self.press("1")
        await self.until(lambda: self.knobs.has_focus)
        for _ in KNOBS:
            if self.knobs.chosen == key:
                self.knobs.action_move(-1)
                await self.press("down")
                assert self.knobs.chosen == key
                return
            self.knobs.action_move(1)
        raise AssertionError(f"there is no knob {key}")

    def panel(self, kind: builtins.type[P]) -> P:
        """The panel of a kind."""
        return self.app.dashboard.panel(kind)

    def snapshot(self) -> Snapshot:
        """A snapshot with the whole log."""
        return self.source.snapshot(Cursors(most_events=100_000, most_exchanges=0))

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


class FakeDriver(Driver[FakeSource]):
    """A driver whose waiting takes no time: the time of the fake run passes instead."""

    async def press(self, *keys: str) -> None:
        """Press keys, and let what they did be drawn."""
        await super().press(*keys)
        await self.pilot.pause()

    async def until(self, predicate: Callable[[], object], what: str = "") -> None:
        """Take pictures until something holds; then wait for what is not of the run: a file, a race."""
        if predicate():
            return
        await self.pilot.pause()
        for _ in range(MOST_STEPS):
            if predicate():
                return
            await self.step()
        await super().until(predicate, f"{MOST_STEPS} pictures and {what}")

    async def ticks(self, count: int = 2) -> None:
        """Take so many pictures of the run, a step apart."""
        for _ in range(count):
            await self.step()

    async def step(self) -> None:
        """Let a quarter of a second pass, take a picture and let it be drawn."""
        self.source.advance()
        self.session.tick()
        await self.pilot.pause()


_KEYS = {
    " ": "space", ".": "full_stop", ",": "comma", "-": "minus", "/": "slash", ":": "colon",
    "[": "left_square_bracket", "]": "right_square_bracket", "µ": "micro_sign",
}  # fmt: skip


@asynccontextmanager
async def dashboard(
    experiment: Experiment | None = None,
    size: tuple[int, int] = LARGE,
    history: History | None = None,
    source: FakeSource | None = None,
    look: Look = Look(),  # noqa: B008
    face: str = "connections",
) -> AsyncIterator[FakeDriver]:
    """Run a dashboard of a fake run until the block ends; pictures are taken when the test waits.

    Most tests look at the rows of connections: ``face`` is in front of the others. Nobody sees what is
    drawn but the test: as for a terminal that takes nothing, it is drawn when the test reads the screen.
    """
    source = source or FakeSource(experiment or small())
    app = SockscopeApp(Session(source, {}, tick_s=None), history, anew, look=look)
    app.dashboard.bring_to_front(face)
    unseen = patch.object(app, "may_draw", lambda: False)
    with patch.object(panel_module, "TURN_S", 0.0), unseen, _hearing() as told:
        async with app.run_test(size=size, notifications=True) as pilot:
            driver = FakeDriver(app, pilot, source, told)
            try:
                if source.start_error is None:
                    await driver.ticks(2)
                yield driver
            finally:
                await source.stop(0.0)


@asynccontextmanager
async def live_dashboard(
    experiment: Experiment | None = None,
    size: tuple[int, int] = LARGE,
    history: History | None = None,
) -> AsyncIterator[Driver[Engine]]:
    """Run a dashboard of a real engine until the block ends; nothing of it may be left then."""
    descriptors = open_descriptors()
    outer = asyncio.all_tasks()
    engine = Engine(experiment or small())
    app = SockscopeApp(Session(engine), history, anew)
    app.dashboard.bring_to_front("connections")
    with patch.object(app, "may_draw", lambda: False), _hearing() as told:
        async with app.run_test(size=size, notifications=True) as pilot:
            driver = Driver(app, pilot, engine, told)
            try:
                await driver.until(lambda: driver.session.ticks > 2 or driver.has_left, "the first pictures")
                await pilot.pause()
                yield driver
            finally:
                await engine.stop(0.0)
    for _ in range(10):
        await asyncio.sleep(0)
    assert engine.state in (RunState.STOPPED, RunState.FAILED, RunState.IDLE)
    assert asyncio.all_tasks() <= outer
    gc.collect()
    left = {number: what for number, what in open_descriptors().items() if number not in descriptors}
    assert set(left.values()) <= {"/dev/null"}, left  # which libuv keeps for itself


@contextmanager
def _hearing() -> Iterator[list[tuple[str, Severity]]]:
    """Collect the notices."""
    told: list[tuple[str, Severity]] = []
    say = DashboardScreen.say

    def hear(screen: DashboardScreen, text: str, severity: Severity = "information") -> None:
        told.append((text, severity))
        say(screen, text, severity)

    with patch.object(DashboardScreen, "say", hear):
        yield told


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
