"""How a command is ended by signals, by Ctrl+C and by a closed window, whatever its loop does.

A loop that is held up (by blocking work, by a handler that never awaits) calls no signal handler of asyncio.
What asks a command to end is therefore noticed outside the loop, twice over: by Python's own handlers, which
the main thread also runs between the steps of some calls that keep the interpreter's lock, and by a thread
that is woken by the kernel's side of them (:func:`signal.set_wakeup_fd`), which acts where the main thread
is inside a call that does not return.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType, TracebackType
from typing import Any, NoReturn

import psutil

from sockscope.core.wire.octets import printable
from sockscope.errors import EXIT_FAILED, EXIT_INTERRUPTED

AGAIN_S = 0.8
"""How long a command may take to leave after a second Ctrl+C."""
HEARD_S: dict[int, float] = {signal.SIGHUP: 0.8, signal.SIGTERM: 3.0}
"""How long the loop may take to hear what asks for the end and cannot be typed a second time."""
HELD_UP_S = 0.5
"""A loop that has not heard the first Ctrl+C for this long when the second one comes is not waited for."""
ENDING_S = 10.0
"""How long the end may take that SIGTERM or SIGHUP has asked for, once the loop has heard it."""
_NOT_OWN = (os.path.dirname(os.__file__), sys.prefix, os.path.dirname(os.path.dirname(__file__)), "<")
"""How the names of files begin that are not the user's."""


class Ending:
    """Ends a command, from within its loop if it can and from outside if it must.

    As a context manager, entered in the main thread, it owns SIGINT, SIGTERM and SIGHUP (unless that one is
    ignored: nohup). The first is passed to whoever :meth:`listens <listening>`, or kept until somebody does.
    The process is ended from outside of the loop, children included, when it still lives a moment after a
    second Ctrl+C (with 130), or when the loop has not heard a SIGTERM or SIGHUP in time (with 1).
    Left without an error it leaves the signals ignored: the exit code is decided, the process about to end.
    """

    def __init__(self) -> None:
        self._requests = itertools.count()
        self._unheard: list[int] = []
        self._unheard_since = math.inf
        self._heard: set[int] = set()
        self._due = math.inf
        self._code = EXIT_FAILED
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked: Callable[[int, bool], object] | None = None
        self._at_worst: list[Callable[[], object]] = []
        self._before: dict[int, Any] = {}
        self._main = threading.main_thread().ident
        self._wakened = self._waker = -1
        self._is_over = False
        self._outside = threading.RLock()
        self._is_ending_outside = False
        self._thread = threading.Thread(target=self._watch, daemon=True, name="ending")

    def __enter__(self) -> Ending:
        self._wakened, self._waker = os.pipe()
        os.set_blocking(self._wakened, False)
        os.set_blocking(self._waker, False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            before = signal.getsignal(number)
            if number != signal.SIGHUP or before is not signal.SIG_IGN:
                self._before[number] = before
                signal.signal(number, self._on_signal)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_IGN if error is None else before)
        signal.set_wakeup_fd(-1)
        self._is_over = True
        os.write(self._waker, b"\0")
        self._thread.join()
        os.close(self._waker)
        os.close(self._wakened)

    def at_worst(self, call: Callable[[], object]) -> None:
        """Call ``call``, in any thread, before the process is ended from outside of its loop.

        It must not wait for the loop, nor for a terminal.
        """
        self._at_worst.append(call)

    @contextmanager
    def listening(self, asked: Callable[[int, bool], object]) -> Iterator[None]:
        """Call ``asked(signal number, again)`` on the running loop when the command is asked to end.

        ``again`` is true for a Ctrl+C after any other request: the command should leave at once.
        """
        self.listen(asked)
        try:
            yield
        finally:
            self._loop = self._asked = None

    def listen(self, asked: Callable[[int, bool], object]) -> None:
        """Do the same for as long as the loop runs, or until somebody else listens."""
        self._asked, self._loop = asked, asyncio.get_running_loop()
        # uvloop takes the wake-up for itself when it begins to run.
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        self._hear()

    def notice(self, number: int) -> None:
        """Take note, in any thread, that ``number`` asks for the end: a signal, or what stands for it."""
        if number != signal.SIGINT and number in self._heard:
            return
        self._heard.add(number)
        again = next(self._requests) > 0 and number == signal.SIGINT
        now = monotonic()
        if again:
            if self._is_held_up:
                self._end_from_outside(EXIT_INTERRUPTED)
            self._code = EXIT_INTERRUPTED
        self._unheard.append(-number if again else number)
        self._unheard_since = min(self._unheard_since, now)
        self._due = min(self._due, now + (AGAIN_S if again else HEARD_S.get(number, math.inf)))
        os.write(self._waker, b"\0")  # the thread looks at the new time
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._hear)

    def _hear(self) -> None:
        """Pass on, on the loop, what has been noticed."""
        while self._unheard and self._asked is not None:
            number = self._unheard.pop(0)
            if number > 0 and number in HEARD_S and self._code != EXIT_INTERRUPTED:
                self._due = monotonic() + ENDING_S
            self._asked(abs(number), number < 0)
        if not self._unheard:
            self._unheard_since = math.inf

    @property
    def is_asked(self) -> bool:
        """Whether anything has asked for the end."""
        return bool(self._heard)

    @property
    def _is_held_up(self) -> bool:
        """Whether the loop has not heard what it was asked some time ago."""
        return monotonic() - self._unheard_since > HELD_UP_S

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False) != self._waker:
            os.write(self._waker, bytes([number]))  # the loop had the wake-up, and with it this signal
        if number == signal.SIGINT and self._is_held_up:
            # Not left to the thread: a call that keeps the interpreter's lock lets no thread come after this.
            self._end_from_outside(EXIT_INTERRUPTED)
        self._look()

    def _look(self) -> None:
        """Take note of the signals that have come; each is read by one thread."""
        with contextlib.suppress(BlockingIOError):
            for number in os.read(self._wakened, 64):
                if number in self._before:
                    self.notice(number)

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(self._wakened, select.POLLIN)
        while not self._is_over:
            left_s = self._due - monotonic()
            if left_s <= 0:
                self._end_from_outside(self._code)
            poll.poll(None if left_s == math.inf else left_s * 1000 + 1)
            self._look()

    def _end_from_outside(self, code: int) -> None:
        """End the process and its children, unless this thread is about to: a signal may come meanwhile."""
        with self._outside:
            if not self._is_ending_outside:
                self._is_ending_outside = True
                self._end_now(code)

    def _end_now(self, code: int) -> NoReturn:
        """End them; whatever is in the way of saying so is passed over."""
        with contextlib.suppress(Exception):
            for call in self._at_worst:
                call()
        if self._unheard and self._asked is not None:
            _say_if_heard(f"the event loop is blocked{self._where()}; quit without figures")
        with contextlib.suppress(psutil.Error, OSError):
            for child in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    child.kill()
        os._exit(code)

    def _where(self) -> str:
        """Return in words in which call the main thread is: the innermost of the user's own, or of any."""
        frame = sys._current_frames().get(self._main or 0)
        frames = [at for at, _ in traceback.walk_stack(frame)] if frame is not None else []
        named = [at for at in frames if at.f_code.co_filename != __file__]
        own = [at for at in named if not at.f_code.co_filename.startswith(_NOT_OWN)]
        for at in (own or named)[:1]:
            return f" in {at.f_code.co_name} ({os.path.basename(at.f_code.co_filename)}:{at.f_lineno})"
        return ""


def _say_if_heard(sentence: str) -> None:
    """Tell a sentence on stderr if that can take it at once."""
    with contextlib.suppress(OSError):
        poll = select.poll()
        poll.register(2, select.POLLOUT)
        if poll.poll(0):
            os.write(2, f"sockscope: {printable(sentence)}\n".encode(errors="replace"))
