"""Takes what the user's own code raises where nobody waits for it, so that it never ends a run.

A handler's task and a protocol's callbacks are watched by their connection. What is left is what they set
going: tasks, callbacks, timers, futures and threads. asyncio hands most of their exceptions to the loop's
exception handler; SystemExit and KeyboardInterrupt it lets out of the loop, and our loops ask (``spare``).
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from sockscope.core.events import CloseReason
from sockscope.engine.own_errors import caller, is_interrupt, is_own, told
from sockscope.engine.process_tree import Orphans
from sockscope.engine.recorder import Recorder

if TYPE_CHECKING:
    from sockscope.engine.servers.own_server import OwnServer

ORPHANS_S = 10.0
"""How often orphans that have ended are looked for."""
LoopExceptionHandler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


class OwnGuard:
    """The hooks of a loop and of the process while ``server`` serves.

    The former ones get what is not the user's.
    """

    def __init__(self, server: OwnServer, recorder: Recorder) -> None:
        self._server = server
        self._recorder = recorder
        self._loop: Any = asyncio.get_running_loop()
        self._outer: LoopExceptionHandler | None = None
        self._outer_threads = threading.excepthook
        self._outer_unraisable = sys.unraisablehook
        self._ended = False
        self._orphans = Orphans()
        self._looking: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Put the hooks in place."""
        self._server.report = self.take
        self._look_for_orphans()
        self._outer = self._loop.get_exception_handler()
        self._outer_threads, threading.excepthook = threading.excepthook, self._on_thread_exception
        self._outer_unraisable, sys.unraisablehook = sys.unraisablehook, self._on_unraisable
        if hasattr(self._loop, "spare"):
            self._loop.spare, self._loop.report = self._spare, self._on_loop_exception
        else:
            self._loop.set_exception_handler(self._on_loop_exception)

    def end(self) -> None:
        """Count nothing more, and put the hooks of the process back.

        Those of the loop stay as long as it is there: what the user's code left behind may still raise.
        """
        # Tasks and futures tell that nobody asked for their exceptions when they are collected.
        gc.collect()
        self._recorder.fold()
        self._ended = True
        if self._looking is not None:
            self._looking.cancel()
        if threading.excepthook == self._on_thread_exception:
            threading.excepthook = self._outer_threads
        if sys.unraisablehook == self._on_unraisable:
            sys.unraisablehook = self._outer_unraisable

    def _look_for_orphans(self) -> None:
        """Processes that the user's own code has begun and let go of may have ended."""
        self._orphans.look()
        self._looking = self._loop.call_later(ORPHANS_S, self._look_for_orphans)

    def take(self, what: BaseException | str) -> None:
        """Count and tell what the user's own code raised, or did, where nobody else could tell of it."""
        if isinstance(what, BaseException):
            self._take(what)
        else:
            self._tell(what)

    # The hooks.

    def _on_loop_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, BaseException) and is_own(error):
            # Of a task these two have come out of the loop already.
            if not (isinstance(error, SystemExit | KeyboardInterrupt) and "future" in context):
                self._take(error)
            self._call_users(context)
            return
        outer = self._loop.get_exception_handler() if self._ended else self._outer
        if outer in (None, self._on_loop_exception):
            loop.default_exception_handler(context)
        else:
            outer(loop, context)

    def _call_users(self, context: dict[str, Any]) -> None:
        """Call the exception handler that the user's own code has set in the place of the outer one."""
        handler = self._loop.get_exception_handler()
        if handler is None or handler in (self._outer, self._on_loop_exception):
            return
        try:
            handler(self._loop, context)
        except BaseException as error:
            if is_interrupt(error):
                raise
            self._take(error)

    # Where another guard began after this one and ends after it, these two stay for good.

    def _on_thread_exception(self, args: threading.ExceptHookArgs) -> None:
        if not self._ended and args.exc_value is not None and is_own(args.exc_value):
            self._recorder.post(partial(self._take, args.exc_value))
        else:
            self._outer_threads(args)

    def _on_unraisable(self, unraisable: sys.UnraisableHookArgs) -> None:
        if not self._ended and unraisable.exc_value is not None and is_own(unraisable.exc_value):
            # It may be raised in the middle of anything, in any thread.
            self._recorder.post(partial(self._take, unraisable.exc_value))
        else:
            self._outer_unraisable(unraisable)

    def _spare(self, error: BaseException | None) -> bool:
        """Tell whether the loop goes on although ``error`` came out of it, or (None) it was told to stop."""
        if error is None:
            place = caller() or self._server.name
            self._server.raised.add_event("loop.stop()", place, "ignored")
            self._tell(f"loop.stop() at {place} is ignored")
            return True
        if is_interrupt(error) or not is_own(error, skip=1):
            return False
        self._take(error)
        # A task keeps it all the same, for whoever waits for the task.
        self._server.raised.pass_over(error)
        return True

    def _take(self, error: BaseException) -> None:
        self._server.raised.add(error, self._server.name)
        self._tell(told(error, self._server.name))

    def _tell(self, text: str) -> None:
        if self._ended:
            return
        self._recorder.errors += 1
        self._recorder.on_error(text, reason=CloseReason.RAISED)
        self._server.last_trouble = text
