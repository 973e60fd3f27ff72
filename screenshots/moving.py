"""Makes the moving picture of the README from a real run: ``python screenshots/moving.py``.

It is an SVG in which pictures of the dashboard, taken while keys are pressed, follow each other.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from sockscope.core.config.experiment import Experiment
from sockscope.engine.engine import Engine
from sockscope.engine.loops import loop_factory
from sockscope.faces.tui.app import SockscopeApp
from sockscope.faces.tui.session import Session
from sockscope.store.history import History

FILE = Path(__file__).with_name("moving.svg")
SIZE = (80, 24)
FRAME_S = 1.0
FRAMES = 16
FIRST_S = 5.0
"""How long the run lasts before the first picture, so that the graphs are not empty."""
KEYS = {3: "}", 8: "t", 13: "t"}
"""Which key is pressed before which picture."""


async def _frames(history: Path) -> list[str]:
    engine = Engine(Experiment())
    app = SockscopeApp(Session(engine), History(history))
    found = []
    async with app.run_test(size=SIZE) as pilot:
        await asyncio.sleep(FIRST_S)
        for number in range(FRAMES):
            if number in KEYS:
                await pilot.press(KEYS[number])
            await asyncio.sleep(FRAME_S)
            found.append(app.picture())
        await engine.stop()
    return found


def _moving(frames: list[str]) -> str:
    """Return one SVG that shows each frame for its time, and begins again.

    Where nothing is animated the first one shows: that the others are hidden is an attribute of theirs.
    """
    box = re.search(r'viewBox="([^"]*)"', frames[0])
    assert box is not None
    length_s, share = FRAME_S * len(frames), 100 / len(frames)
    style = (
        f".frame {{ animation: turn {length_s:g}s infinite steps(1, end) }} "
        f"@keyframes turn {{ 0% {{ visibility: visible }} {share:.4f}% {{ visibility: hidden }} }}"
    )
    shown = [
        f'<g class="frame" visibility="{"hidden" if number else "visible"}" '
        f'style="animation-delay: {number * FRAME_S:g}s">{_bare(frame, number)}</g>'
        for number, frame in enumerate(frames)
    ]
    head = f'<svg viewBox="{box[1]}" xmlns="http://www.w3.org/2000/svg"><style>{style}</style>'
    return "\n".join([head, *shown, "</svg>\n"])


def _bare(frame: str, number: int) -> str:
    """Return a frame that looks the same and is smaller: no fonts from elsewhere, short names."""
    for superfluous in (
        r"@font-face \{.*?\}",
        r'<clipPath id="[^"]*-line-[0-9]+">.*?</clipPath>',
        r' clip-path="url\([^)]*-line-[0-9]+\)"',
        r' shape-rendering="crispEdges"',
    ):
        frame = re.sub(superfluous, "", frame, flags=re.DOTALL)
    return re.sub(r"\s*\n\s*", "\n", re.sub(r"terminal-[0-9]+", f"f{number}", frame))


def main() -> None:
    """Run the dashboard and write the picture."""
    with TemporaryDirectory() as folder, asyncio.Runner(loop_factory=loop_factory("uvloop")) as runner:
        frames = runner.run(_frames(Path(folder) / "history.db"))
    FILE.write_text(_moving(frames), encoding="utf-8")


if __name__ == "__main__":
    main()
