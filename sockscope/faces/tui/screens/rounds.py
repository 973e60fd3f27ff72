"""What the screens of a race and of a sweep share: one runs apart from the dashboard's run, and is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from typing import ClassVar

from textual.content import Content
from textual.reactive import reactive
from textual.screen import Screen
from textual.widgets import Static

from sockscope.core.results.standing import Standing
from sockscope.errors import SockscopeError
from sockscope.faces.columns import bar
from sockscope.faces.rounds import RoundsFace, RoundsForm, progress_words
from sockscope.faces.tui.offer import Clipping
from sockscope.faces.tui.paced import PacedApp
from sockscope.faces.tui.widgets.plain import plain
from sockscope.store.history import History

_FILES = {"json": RoundsForm.JSON, "csv": RoundsForm.CSV, "md": RoundsForm.MARKDOWN}
"""What is written, by the ending of the file's name."""
PROGRESS_CELLS = 24
"""Cells of the bar of progress."""
LOW = 36
"""Below this height what is to be chosen has little room once there is a table."""


class RoundsScreen(Screen[None]):
    """Runs one race or sweep at a time, as its face tells it; the dashboard's own run rests meanwhile.

    ``kind`` begins the names of its parts: ``#race-progress``, ``#race-text``.
    """

    kind: ClassVar[str]

    standing: reactive[Standing | None] = reactive(None, init=False, repaint=False)

    def __init__(
        self,
        environment: Mapping[str, object],
        history: History | None,
        rest: Callable[[bool], None],
    ) -> None:
        super().__init__()
        self.environment = environment
        self.face: RoundsFace | None = None
        self._history = history
        self._rest = rest
        self._rounds_task: asyncio.Task[None] | None = None
        self._kept = ""

    def on_resize(self) -> None:
        """Give a low terminal's room to the table once there is one."""
        self.set_class(self.size.height < LOW, "-low")

    @property
    def goes_on(self) -> bool:
        """Whether one is going on."""
        return self._rounds_task is not None

    def start(self, make: Callable[[], RoundsFace]) -> None:
        """Run what ``make`` returns, unless one is going on."""
        if self.goes_on:
            self._say(f"a {self.kind} is running; s stops it")
            return
        self._kept = ""
        assert isinstance(self.app, PacedApp)
        self._rounds_task = self.app.begin(self._run(make))

    async def _run(self, make: Callable[[], RoundsFace]) -> None:
        began_at = datetime.now(UTC)
        self._rest(True)
        try:
            face = make()
            async with aclosing(face.rounds.run()) as standings:
                async for standing in standings:
                    self.face, self.standing = face, standing
            await self._keep(face, began_at)
        except SockscopeError as error:
            self._say(f"the {self.kind} cannot be run")
            self._part("text").update(Content.styled(plain(str(error)), "$text-warning"))
        finally:
            self._rounds_task = None
            self._rest(False)

    async def _keep(self, face: RoundsFace, began_at: datetime) -> None:
        """Put the result into the history; one that cannot be kept is as good as any other."""
        standing, history = self.standing, self._history
        if standing is None:
            return
        if not standing.slices_done:
            self._kept = "nothing was measured"
            self.draw_progress(standing)
            return
        if history is None:
            return
        try:
            number = await asyncio.to_thread(
                history.add,
                face.report(standing),
                title=face.title,
                began_at=began_at,
                cut_short=standing.cut_short,
            )
            self._kept = f"kept as {self.kind} {number}"
        except SockscopeError as error:
            self._kept = f"not kept: {error}"
        self.draw_progress(standing)

    def action_finish(self) -> None:
        """End it now; what was measured stays."""
        if self.goes_on and self.face is not None:
            self.face.rounds.finish()

    async def action_leave(self) -> None:
        """Give it up, if one is going on, and go back."""
        await self._give_up()
        self.dismiss()

    async def on_unmount(self) -> None:
        """Leave nothing behind when the program ends."""
        await self._give_up()

    async def _give_up(self) -> None:
        task = self._rounds_task
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    # What can be kept.

    def clipping(self) -> Clipping:
        """Return the table and what one needs to know to read it."""
        return Clipping(self._written(RoundsForm.TEXT) if self.standing else "", f"the {self.kind}")

    def files(self) -> dict[str, str]:
        """Return it as JSON, as CSV and as a page in Markdown."""
        return {ending: self._written(form) for ending, form in _FILES.items()} if self.standing else {}

    def _written(self, form: RoundsForm) -> str:
        assert self.standing is not None
        assert self.face is not None
        return self.face.written(form, self.standing)

    # Drawing.

    def _part(self, name: str) -> Static:
        return self.query_one(f"#{self.kind}-{name}", Static)

    def _say(self, text: str) -> None:
        self._part("progress").update(Content.styled(plain(text), "$text-warning"))

    def draw_progress(self, standing: Standing) -> None:
        """Draw how far it is, or how it ended."""
        share = standing.slices_done / max(1, standing.slices)
        done = bar(share, 1.0, PROGRESS_CELLS) if share else ""
        content = Content.styled(f"{done:░<{PROGRESS_CELLS}}", "$text-accent")
        ended = "stopped" if standing.cut_short else "finished"
        told = f"{ended}  {self._kept}" if standing.finished else progress_words(standing)
        self._part("progress").update(content + Content(plain(f"  {told}")))
