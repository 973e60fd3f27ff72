"""What belongs to the whole process while the user's own code runs in it, signals above all.

A handler of Python runs in the main thread, in the middle of anything. What it raises there would end
whatever is under way, so it is raised only where the user's own code is; elsewhere the loop hears of it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from sockscope.engine.own_errors import is_ours, is_users
from sockscope.engine.process_tree import adopt_orphans


@contextmanager
def lent_process(kept: Iterable[int], wakeup_taken: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Let the user's own code set handlers of signals but for those of ``kept``, which it cannot take.

    ``wakeup_taken`` is called when the descriptor of :func:`signal.set_wakeup_fd` has been set. The limit of
    recursion does not go down: it is that of every function here. Processes that it begins and lets go of
    become children of this one, so that they can be ended with it.
    """
    own, set_handler, set_wakeup_fd = frozenset(map(int, kept)), signal.signal, signal.set_wakeup_fd
    system, set_limit = os.system, sys.setrecursionlimit

    def set_spared(number: int, handler: Any) -> object:
        if int(number) in own:
            return signal.getsignal(number)
        plain = not callable(handler) or isinstance(handler, signal.Handlers | SparedHandler)
        return set_handler(number, handler if plain else SparedHandler(handler))

    def set_and_tell(descriptor: int, **more: bool) -> int:
        before = set_wakeup_fd(descriptor, **more)
        wakeup_taken()
        return before

    vars(signal).update(signal=set_spared, set_wakeup_fd=set_and_tell)
    vars(os).update(system=_system)
    vars(sys).update(setrecursionlimit=lambda limit: set_limit(max(limit, sys.getrecursionlimit())))
    adopt_orphans(True)
    try:
        yield
    finally:
        adopt_orphans(False)
        vars(signal).update(signal=set_handler, set_wakeup_fd=set_wakeup_fd)
        vars(os).update(system=system)
        vars(sys).update(setrecursionlimit=set_limit)


def _system(command: str | bytes) -> int:
    """Do as os.system does, but for having SIGINT ignored meanwhile (system(3))."""
    code = subprocess.call(command, shell=True)
    return code << 8 if code >= 0 else -code


class SparedHandler:
    """A handler of a signal whose exceptions end nothing of ours."""

    def __init__(self, handler: Callable[[int, FrameType | None], object]) -> None:
        self._handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Call it; raises what it raises where it has interrupted the user's own code."""
        try:
            self._handler(number, frame)
        except BaseException as error:  # the user's code
            if _is_in_own_code(frame):
                raise
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                return  # the run is over
            context = {"message": "exception in a signal handler", "exception": error}
            loop.call_soon_threadsafe(loop.call_exception_handler, context)


def _is_in_own_code(frame: FrameType | None) -> bool:
    """Tell whether the innermost frame that is ours or the user's is the user's."""
    files = (at.f_code.co_filename for at, _ in traceback.walk_stack(frame)) if frame is not None else ()
    return next((is_users(file) for file in files if is_users(file) or is_ours(file)), False)
