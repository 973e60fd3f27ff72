"""What the app does with its run: begins it, stops with it, and leaves it for another or for the shell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from sockscope.core.config.experiment import Experiment
from sockscope.core.run.snapshot import RunState
from sockscope.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, SockscopeError
from sockscope.faces.tui.paced import PacedApp
from sockscope.faces.tui.screens.dashboard import DashboardScreen
from sockscope.faces.tui.session import Session
from sockscope.faces.tui.terminal import TerminalEnding


class RunApp(PacedApp[int]):
    """The part of the app that lives as long as the run of its ``session``.

    ``dashboard`` is the main screen, whatever lies over it. When the run is left ``restart`` is what begins
    next, with ``notice``; ``start_error`` is why it could not begin.
    """

    def __init__(
        self, session: Session, on_started: Callable[[], None], ending: TerminalEnding | None, *more: Any
    ) -> None:
        super().__init__(ending, *more)
        self.session = session
        self.dashboard = DashboardScreen(session)
        self.restart: Experiment | None = None
        self.notice = ""
        self.start_error: SockscopeError | None = None
        self._on_started = on_started
        self._starting: asyncio.Future[None] | None = None
        self._leaving: asyncio.Task[None] | None = None

    def on_shown(self) -> None:
        """Add to the dashboard, which is there now, what is to be seen while the run begins."""

    @property
    def is_followed(self) -> bool:
        """Whether another app takes the terminal over: the last picture stays on it until then."""
        return self.restart is not None

    async def on_mount(self) -> None:
        """Show what is about to begin, and begin it."""
        await self.push_screen(self.dashboard)
        self._starting = asyncio.ensure_future(self.session.start(self.dashboard))
        self.listen()
        self.on_shown()
        # Keys wait for this call, and pictures do not: Textual draws none before the app is mounted.
        self.call_later(self._begin_run, self._starting)

    async def _begin_run(self, starting: asyncio.Future[None]) -> None:
        """Wait until the run has begun, and show it from then on."""
        await asyncio.wait({starting})
        if starting.cancelled():
            self.exit(EXIT_INTERRUPTED)
            return
        if isinstance(error := starting.exception(), SockscopeError):
            self.start_error = error
            self.exit(error.exit_code)
            return
        starting.result()
        if self.session.tick_s is not None:
            self.set_interval(self.session.tick_s, self.session.tick_in_turns)
        self.run_worker(self._leave_at_the_end())
        self.call_after_refresh(self._on_started)

    async def _leave_at_the_end(self) -> None:
        if await self.session.wait() and self._leaving is None:
            self.leave()

    def leave(self, restart: Experiment | None = None, notice: str = "") -> None:
        """Stop the run and leave; ``restart`` begins then, with ``notice``, unless one quits meanwhile."""
        if self._leaving is None:
            self.restart, self.notice = restart, notice
            if restart is not None:
                self.dashboard.announce(restart)
            self._leaving = self.begin(self._leave())
        elif restart is None:
            self.restart = None

    async def _leave(self) -> None:
        await self.session.finish()
        if self.return_code is None:  # a second Ctrl+C has said already with which code
            self.exit(EXIT_FAILED if self.session.source.state is RunState.FAILED else EXIT_OK)

    def interrupt(self, again: bool = True) -> None:
        """Leave; when asked ``again`` while that goes on, at once. What has not begun yet never does."""
        if self._starting is not None and self._starting.cancel():
            return
        if again and self._leaving is not None:
            self.exit(EXIT_INTERRUPTED)
        self.leave()

    asked_to_end = interrupt

    async def before_stop(self) -> None:
        """Let the traffic rest: what is in flight would be a timeout afterwards."""
        await self.session.halt()

    def after_stop(self) -> None:
        """Let the traffic go on."""
        self.session.go_on()
