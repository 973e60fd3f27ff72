"""Makes the pictures of this folder from real runs: ``python screenshots/make.py [NAME ...]``.

Each picture is a dashboard with a real engine behind it, driven with the keys that a person would press.
They are what the key ``e`` writes; PNG too where ``rsvg-convert`` (librsvg2-bin) and the font Fira Code are
installed.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from textual.pilot import Pilot

from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.engine.engine import Engine
from sockscope.engine.loops import loop_factory
from sockscope.faces.tui.app import SockscopeApp
from sockscope.faces.tui.session import Session
from sockscope.lab.lessons.shelf import lesson_called
from sockscope.lab.lessons.showing import Showing
from sockscope.lab.lessons.telling import Phase, Telling
from sockscope.store.history import History

HERE = Path(__file__).parent
Act = Callable[[Pilot[int]], Awaitable[None]]


@dataclass(frozen=True)
class Picture:
    """One picture: its name, the size of the terminal, what runs, and what is done before it is taken.

    ``before`` may fill the history, a file that is not there yet.
    """

    name: str
    size: tuple[int, int]
    act: Act
    experiment: Experiment = field(default_factory=Experiment)
    before: Callable[[Path], None] | None = None


async def _tcp(pilot: Pilot[int]) -> None:
    await asyncio.sleep(8)
    await pilot.press("{")
    await asyncio.sleep(7)
    await pilot.press("}", "}")
    await asyncio.sleep(8)


async def _udp(pilot: Pilot[int]) -> None:
    await asyncio.sleep(7)
    await pilot.press("t")
    await asyncio.sleep(7)
    await pilot.press("}", "7")
    await asyncio.sleep(6)


async def _inspector(pilot: Pilot[int]) -> None:
    await asyncio.sleep(4)
    await pilot.press("8", "space", "backslash")
    await pilot.pause()
    await pilot.press("up", "up", "up", "enter")
    await asyncio.sleep(1)


async def _narrow(pilot: Pilot[int]) -> None:
    await asyncio.sleep(8)
    await pilot.press("}")
    await asyncio.sleep(7)


async def _wide(pilot: Pilot[int]) -> None:
    await asyncio.sleep(6)
    await pilot.press("}", "8")
    await asyncio.sleep(6)
    await pilot.press("space", "up", "up", "enter")
    await asyncio.sleep(1)


async def _help(pilot: Pilot[int]) -> None:
    await asyncio.sleep(2)
    await pilot.press("question_mark")
    await asyncio.sleep(1)


async def _race(pilot: Pilot[int]) -> None:
    await asyncio.sleep(1)
    await pilot.press("r")
    await pilot.pause()
    await pilot.press("enter")
    await _until(pilot, lambda screen: screen.standing is not None and screen.standing.finished, seconds=180)


async def _history(pilot: Pilot[int]) -> None:
    await asyncio.sleep(1)
    await pilot.press("h")
    await asyncio.sleep(1)
    await pilot.press("a", "down")
    await asyncio.sleep(1)


async def _stall(pilot: Pilot[int]) -> None:
    await asyncio.sleep(10)
    await pilot.press("k")
    await asyncio.sleep(9)


async def _evidence(pilot: Pilot[int]) -> None:
    await asyncio.sleep(6)
    await pilot.press("i")
    await asyncio.sleep(1)


async def _lens(pilot: Pilot[int]) -> None:
    await asyncio.sleep(8)
    await pilot.press("9")
    await asyncio.sleep(6)


async def _sweep(pilot: Pilot[int]) -> None:
    await asyncio.sleep(1)
    await pilot.press("W")
    await pilot.pause()
    await pilot.press("enter")
    await _until(pilot, lambda screen: screen.standing is not None and screen.standing.finished, seconds=180)


async def _lesson(pilot: Pilot[int]) -> None:
    await _tell(pilot, Telling(lesson_called("blocking")))


async def _present(pilot: Pilot[int]) -> None:
    telling = Showing((lesson_called("blocking"),)).telling()
    telling.votes["twenty"] = (9, 4, 6)
    _app_of(pilot).dashboard.show_to_room(True)
    await _tell(pilot, telling)


async def _cluster(pilot: Pilot[int]) -> None:
    """Lose a worker whose clients the others take over."""
    engine = _app_of(pilot).session.source
    await _until(pilot, lambda _: len(engine.snapshot().processes) == 4, seconds=60)
    await asyncio.sleep(12)
    lost = next(use.pid for use in engine.snapshot().processes if use.name == "clients 2")
    worker = psutil.Process(lost).parent()
    assert worker is not None
    worker.kill()
    await asyncio.sleep(14)
    await pilot.press("7")
    await asyncio.sleep(1)


def _app_of(pilot: Pilot[int]) -> SockscopeApp:
    assert isinstance(pilot.app, SockscopeApp)
    return pilot.app


async def _tell(pilot: Pilot[int], telling: Telling) -> None:
    """Go through both steps of a lesson whose run has begun, for as long as the graphs need to be filled."""
    telling.begin()
    _app_of(pilot).begin_lesson(telling)
    await _until(pilot, lambda _: telling.phase is Phase.SEEN, seconds=30)
    await asyncio.sleep(8)
    await pilot.press("enter", "2", "enter")
    await _until(pilot, lambda _: telling.phase is Phase.SEEN, seconds=30)
    await asyncio.sleep(8)
    await pilot.press("right_square_bracket")
    await asyncio.sleep(1)


async def _until(pilot: Pilot[int], holds: Callable[[Any], bool], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not holds(pilot.app.screen):
            await asyncio.sleep(0.2)
    await pilot.pause()


def _keep_two_runs(history: Path) -> None:
    """Make the history of the picture: the same load under 20 and under 50 permits, ten seconds each."""
    for permits in ("20", "50"):
        command = [sys.executable, "-m", "sockscope", "run", "--permits", permits, "-d", "10", "-q"]
        subprocess.run(
            [*command, "--history", str(history)], check=True, cwd=HERE.parent, stdout=subprocess.DEVNULL
        )


def _first_run(lesson: str) -> Experiment:
    """Return the experiment of a lesson's first step."""
    told = lesson_called(lesson)
    return told.experiment_of(told.steps[0])


# Few are under way when the server stalls, so that few have a long service time.
_STALLED = Tuning(rate=500, clients=3, permits=0, service_time_s=0, request_timeout_s=5.0, place="apart")
PICTURES = (
    Picture("tcp", (120, 40), _tcp),
    Picture("udp", (120, 40), _udp),
    Picture("inspector", (120, 40), _inspector, Experiment(tuning=Tuning(clients=20, permits=10))),
    Picture("narrow", (80, 24), _narrow),
    Picture("wide", (200, 60), _wide),
    Picture("help", (120, 40), _help),
    Picture("race", (120, 40), _race),
    Picture("stall", (120, 40), _stall, Experiment(tuning=_STALLED)),
    Picture("evidence", (120, 40), _evidence),
    Picture("lens", (120, 40), _lens, Experiment(tuning=Tuning(clients=20, lens=True, work="block"))),
    Picture("sweep", (120, 40), _sweep),
    Picture("lesson", (120, 40), _lesson, _first_run("blocking")),
    Picture("present", (100, 30), _present, _first_run("blocking")),
    Picture(
        "cluster", (160, 45), _cluster, Experiment(Tuning(place="cluster", clients=60), cluster="local:3")
    ),
    Picture("history", (120, 40), _history, before=_keep_two_runs),
)


async def _take(picture: Picture, history: Path) -> str:
    if picture.before is not None:
        picture.before(history)
    engine = Engine(picture.experiment)
    app = SockscopeApp(Session(engine), History(history))
    async with app.run_test(size=picture.size) as pilot:
        await picture.act(pilot)
        await pilot.pause()
        svg = app.picture()
        await engine.stop()
    return svg


def _write(name: str, svg: str, folder: Path) -> None:
    (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
    converter = shutil.which("rsvg-convert")
    if converter is None:
        print("rsvg-convert is not here: no PNG")
        return
    subprocess.run(
        [converter, "--output", str(folder / f"{name}.png")],
        input=svg.encode(),
        check=True,
    )


def main() -> None:
    """Make the pictures that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--folder", type=Path, default=HERE)
    options = parser.parse_args()
    for picture in PICTURES:
        if not options.names or picture.name in options.names:
            with (
                TemporaryDirectory() as folder,
                asyncio.Runner(loop_factory=loop_factory("uvloop")) as runner,
            ):
                # The name of the file is in the picture.
                svg = runner.run(_take(picture, Path(folder) / "history.db")).replace(folder, "~")
            _write(picture.name, svg, options.folder)
            print(picture.name)


if __name__ == "__main__":
    main()
