"""What a picture of the swarm map costs: 100 to 9,000 clients in states drawn at random, at 200x60.

``python -m benchmarks.cell_map`` tells the least of 20 pictures, in ms of CPU: making its lines, and making
escape sequences of them, where every line has changed; together at most 4. States drawn at random are the
worst there is: neighbours that do the same are one piece.
"""

from __future__ import annotations

import asyncio
import random
from time import thread_time

from textual.app import App, ComposeResult

from benchmarks.interleave import environment_line
from sockscope.faces.tui.widgets.cell_map import CellMap

GLYPHS = "╱▒○▲█·✗↻▁‹"
SIZE = 200, 60
PICTURES = 20


class MapApp(App[None]):
    """A map that fills the screen."""

    CSS = " ".join(f".cell-map--kind-{kind} {{ color: rgb({20 * kind},100,90); }}" for kind in range(10))

    def compose(self) -> ComposeResult:
        """The map."""
        yield CellMap(GLYPHS)


async def costs_ms(clients: int) -> tuple[float, float]:
    """Return what making the lines of a picture takes, and what making escape sequences of them does."""
    draw = random.Random(1)
    app = MapApp()
    made_ms: list[float] = []
    written_ms: list[float] = []
    async with app.run_test(size=SIZE):
        cells = app.query_one(CellMap)
        for _ in range(PICTURES):
            kinds = bytes(draw.choices(range(len(GLYPHS)), k=clients))
            began_s = thread_time()
            cells.show(kinds)
            lines = cells.render_lines(cells.size.region)
            made_s = thread_time()
            for line in lines:
                line.render(app.console)
            made_ms.append(1e3 * (made_s - began_s))
            written_ms.append(1e3 * (thread_time() - made_s))
    return min(made_ms), min(written_ms)


def main() -> None:
    """Print a line for each number of clients."""
    print(environment_line())
    for clients in (100, 1_000, 9_000):
        made_ms, written_ms = asyncio.run(costs_ms(clients))
        print(f"{clients:6,} clients: lines {made_ms:.2f} ms, escape sequences {written_ms:.2f} ms")


if __name__ == "__main__":
    main()
