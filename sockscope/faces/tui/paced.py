"""An app that draws no faster than its terminal reads, can be stopped and continued, and always ended."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from time import monotonic
from typing import Any, TypeVar

from textual import events
from textual.command import CommandPalette
from textual.driver import Driver
from textual.screen import Screen
from textual.widgets import Input

from sockscope.faces.tui.compositor import PacedCompositor
from sockscope.faces.tui.keys import PromptApp
from sockscope.faces.tui.palette import Palette
from sockscope.faces.tui.terminal import (
    TerminalEnding,
    is_gone,
    is_in_foreground,
    let_go_of_the_terminal,
    terminal_driver,
)
from sockscope.faces.tui.writer import ScreenWriter

CONTINUED_S = 0.1
"""How long what comes with a continuation in the background may take to be noticed before the next stop."""
NEW_SIZE_S, DRAGGED_S = 1.0, 2.0
"""Least time between two sizes that are laid out, and most while a window is dragged: each takes 70 ms."""
STILL_S = 0.3
"""A window that has kept its size for so long is not dragged any more."""
MOST_TYPED = 200
"""The most characters that an input takes."""

R = TypeVar("R")


class PacedApp(PromptApp[R]):
    """An app on a terminal that may be slow, stop reading, or be gone.

    No picture is begun before the last one has left: what has changed meanwhile is in the next one. Without
    ``ending`` nobody but the keys ends it.
    """

    def __init__(self, ending: TerminalEnding | None = None, *more: Any) -> None:
        self._ending = ending
        super().__init__(*more)  # asks for the driver
        # Each step of an animation would be a picture of its own: 24 of them for a page of the help.
        self.animation_level = "none"
        self._stopping: asyncio.Task[None] | None = None
        self._sized_s = self._resized_s = 0.0
        self._new_size: events.Resize | None = None
        self._waits_for_terminal = False

    # Ending.

    def get_driver_class(self) -> type[Driver]:
        """Return the driver of the terminal."""
        driver = super().get_driver_class()
        if self._ending is None:
            return driver
        return terminal_driver(driver, self._ending)

    def listen(self) -> None:
        """From now on leave when signals, Ctrl+C or a closed window ask for it."""
        if self._ending is not None:
            self._ending.listen(self._asked_to_end)

    def _asked_to_end(self, number: int, again: bool) -> None:
        if number == signal.SIGHUP and is_gone(self._keys):
            let_go_of_the_terminal(self._keys)
        self.asked_to_end(again)

    @property
    def _keys(self) -> int:
        """The descriptor of the terminal that keys come from."""
        return self._ending.saved.keys if self._ending is not None else 0

    @property
    def _must_end(self) -> bool:
        return self._ending is not None and self._ending.is_asked

    def asked_to_end(self, again: bool) -> None:
        """Leave; when asked ``again`` at once."""
        raise NotImplementedError

    # Tasks.

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do ``work`` in a task; what it raises ends the app as what a message handler raises does."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._look_at_end)
        return task

    def _look_at_end(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            with self._context():
                self._handle_exception(error)

    # Typing.

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Bound what can be typed: each character costs as much as what stands there already."""
        if isinstance(event.widget, Input) and event.widget.max_length is None:
            event.widget.max_length = MOST_TYPED

    # Resizing.

    async def _on_resize(self, event: events.Resize) -> None:
        """Take the window's size at once, but not every one that it has while it is dragged."""
        now_s, waits = monotonic(), self._new_size is not None
        if self._writer is None or not (waits or now_s < self._sized_s + NEW_SIZE_S):
            self._sized_s = now_s
            return  # Textual goes on with it
        event.prevent_default()
        self._new_size, self._resized_s = event, now_s
        if not waits:
            await self._take_new_size()

    async def _take_new_size(self) -> None:
        """Take the last size when its time has come."""
        settled_s = min(self._resized_s + STILL_S, self._sized_s + DRAGGED_S)
        wait_s = max(settled_s, self._sized_s + NEW_SIZE_S) - monotonic()
        if wait_s > 0:
            self.set_timer(wait_s, self._take_new_size)
            return
        last, self._new_size = self._new_size, None
        self._sized_s = monotonic()
        if last is not None:  # in a new event, as the screen handles it too
            size = events.Resize(last.size, last.virtual_size, last.container_size, last.pixel_size)
            await super()._on_resize(size)

    # Drawing.

    @property
    def _writer(self) -> ScreenWriter | None:
        return getattr(self._driver, "writer", None)

    @property
    def is_behind(self) -> bool:
        """Whether the terminal has not taken the last picture yet."""
        return self._writer is not None and self._writer.is_busy

    def may_draw(self) -> bool:
        """Tell whether a picture may be begun; if not, it is once the last one has left."""
        if not self.is_behind or self._writer is None:
            return True
        if not self._waits_for_terminal:
            self._waits_for_terminal = True
            loop = asyncio.get_running_loop()
            self._writer.once_left(lambda: loop.call_soon_threadsafe(self._draw_what_waited))
        return False

    def _draw_what_waited(self) -> None:
        self._waits_for_terminal = False
        if self._running and self.screen_stack:
            with self._context():  # it comes from a thread, which has none
                self.screen._compositor_refresh()

    def push_screen(self, screen: Any, *args: Any, **options: Any) -> Any:
        """Let the screen draw at the pace of the terminal, and show it."""
        if isinstance(screen, CommandPalette):
            screen.__class__ = Palette  # several methods of Textual's app make one
        if isinstance(screen, Screen) and not isinstance(screen._compositor, PacedCompositor):
            screen._compositor = PacedCompositor()
        return super().push_screen(screen, *args, **options)

    # Stopping, as Ctrl+Z does, and continuing.

    async def before_stop(self) -> None:
        """Bring to rest what must not be stopped in the middle."""

    def after_stop(self) -> None:
        """Let it go on."""

    def action_suspend_process(self) -> None:
        """Give the terminal back to the shell and stop."""
        if self._stopping is None and self._driver is not None and self._driver.can_suspend:
            self._stopping = self.begin(self._stop())

    async def _stop(self) -> None:
        driver = self._driver
        assert driver is not None
        await self.before_stop()
        driver.suspend_application_mode()
        while not (getattr(driver, "is_on", True) or self._must_end):
            stop_job()
            if is_in_foreground(self._keys):
                driver.resume_application_mode()
            if not getattr(driver, "is_on", True):
                await asyncio.sleep(CONTINUED_S)
        self._stopping = None
        self.after_stop()
        self.refresh(layout=True)

    def continued(self) -> None:
        """Take the terminal again after a stop that nobody announced: the shell has changed its modes."""
        if self._stopping is None and self._driver is not None and self._running:
            self._driver.suspend_application_mode()
            self._driver.resume_application_mode()
            self.refresh(layout=True)


def stop_job() -> None:
    """Stop this process and those of its group, as a terminal's Ctrl+Z does; return when continued.

    Where no shell could continue it (an orphaned group) the kernel stops nothing.
    """
    before = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    os.killpg(0, signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, before)
