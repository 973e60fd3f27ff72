"""What becomes of a process that the user's own code forks: it is theirs until their code returns.

What it would return to is a copy of a run, with the same sockets and the same terminal, so it ends there. Nor
does it keep the handlers of signals, which would take from the run what asks for its end.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from types import FrameType

from sockscope.engine.own_errors import own_frames

_hooked: list[bool] = []
_NEVER_RETURNS = "multiprocessing.popen_fork"
"""What forks in this module ends the child by itself."""


def end_forks_that_return() -> None:
    """From now on end a child that the user's own code forks in this process when that code returns."""
    if not _hooked and hasattr(os, "register_at_fork"):
        _hooked.append(True)
        os.register_at_fork(after_in_child=_in_child)


def _in_child() -> None:
    own = own_frames(sys._getframe(1))
    if not own:
        return
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    inner = traceback.walk_stack(sys._getframe(1))
    if any(frame.f_globals.get("__name__") == _NEVER_RETURNS for frame, _ in inner):
        return

    def end(frame: FrameType, event: str, _: object) -> None:
        # A coroutine that is suspended has returned, too.
        if event == "return" and frame is own[-1]:
            os._exit(0)

    sys.setprofile(end)
