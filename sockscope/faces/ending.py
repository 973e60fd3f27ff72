"""How a command is ended by signals, by Ctrl+C and by a closed window, whatever its loop does.

A loop that is held up (by blocking work, by a handler that never awaits) calls no signal handler of asyncio.
What asks a command to end is therefore noticed outside the loop, twice over: by Python's own handlers, which
the main thread also runs between the steps of some calls that keep the interpreter's lock, and by a thread
that is woken by the kernel's side of them (:func:`signal.set_wakeup_fd`), which acts where the main thread
is inside a call that does not return. Where neither can act, in a call that keeps the interpreter's lock, a
second process does (:mod:`sockscope.faces.watchdog`), if the user's own code may make such calls.
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
from typing import Any, NoReturn, Self

from sockscope.engine.process_tree import end_descendants
from sockscope.engine.stops import STOPS
from sockscope.errors import EXIT_INTERRUPTED
from sockscope.faces.watchdog import (
    HEARD_S,
    EndingState,
    Watchdog,
    blocked,
    kept_signals,
    place,
    say_if_heard,
)

AGAIN_S = 0.8
"""How long a command may take to leave after a second Ctrl+C."""
HELD_UP_S = 0.5
"""A loop that has not heard the first Ctrl+C for this long when the second one comes is not waited for."""
ENDING_S = 10.0
"""How long the end may take that SIGTERM or SIGHUP has asked for, once the loop has heard it."""


class Ending:
    """Ends a command, from within its loop if it can and from outside if it must.

    As a context manager, entered in the main thread, it owns SIGINT, SIGTERM, SIGHUP (unless that one is
    ignored: nohup), and SIGCONT. The first request is passed to whoever :meth:`listens <listening>`, or kept
    until somebody does.
    The process is ended from outside of the loop, children included, when it still lives a moment after a
    second Ctrl+C (with 130), or when the loop has not heard a SIGTERM or SIGHUP in time (with 1).
    Left without an error it leaves the signals ignored: the exit code is decided, the process about to end.
    With ``runs_own_code`` it has a watchdog, and the signals cannot be taken from it.
    """

    requests: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    """What asks for the end; SIGQUIT may be one of them, and counts as a second Ctrl+C."""

    def __init__(self, runs_own_code: bool = False) -> None:
        self._asked_times = itertools.count()
        self._unheard: list[int] = []
        self._unheard_since = math.inf
        self._heard: set[int] = set()
        self._state = EndingState.shared()
        self._runs_own_code = runs_own_code
        self._watchdog: Watchdog | None = None
        self._keeping = contextlib.ExitStack()
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

    def __enter__(self) -> Self:
        self._wakened, self._waker = os.pipe()
        os.set_blocking(self._wakened, False)
        os.set_blocking(self._waker, False)
        if self._runs_own_code:
            ends = self._wakened, self._waker
            self._watchdog = Watchdog(self._state, ends, lambda: self.has_terminal, self._at_worst)
        for number in self.requests:
            before = signal.getsignal(number)
            if number != signal.SIGHUP or before is not signal.SIG_IGN:
                self._before[number] = before
                signal.signal(number, self._on_signal)
        before = signal.signal(signal.SIGCONT, STOPS.continued)
        self._keeping.callback(signal.signal, signal.SIGCONT, before)
        if self._runs_own_code:
            self._keeping.enter_context(kept_signals(self._before))
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._keeping.close()
        if self._watchdog is not None:
            self._watchdog.stop()
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_IGN if error is None else before)
        signal.set_wakeup_fd(-1)
        self._is_over = True
        os.write(self._waker, b"\0")
        self._thread.join()
        os.close(self._waker)
        os.close(self._wakened)

    @property
    def has_terminal(self) -> bool:
        """Whether the command reads keys, Ctrl+C among them, from the terminal."""
        return False

    def at_worst(self, call: Callable[[], object]) -> None:
        """Call ``call``, in any thread, before the process is ended from outside of its loop.

        It must not wait for the loop, nor for a terminal. The watchdog calls what it knew on entering.
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
        self._state.is_asked = True
        is_first = next(self._asked_times) == 0
        again = number == signal.SIGQUIT or (number == signal.SIGINT and not is_first)
        now = monotonic()
        if again:
            if self._is_held_up:
                self._end_from_outside(EXIT_INTERRUPTED)
            self._state.code = EXIT_INTERRUPTED
        self._unheard.append(-number if again else number)
        self._unheard_since = min(self._unheard_since, now)
        self._state.due_s = min(
            self._state.due_s, now + (AGAIN_S if again else HEARD_S.get(number, math.inf))
        )
        os.write(self._waker, b"\0")  # the thread looks at the new time
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._hear)

    def _hear(self) -> None:
        """Pass on, on the loop, what has been noticed."""
        while self._unheard and self._asked is not None:
            number = self._unheard.pop(0)
            if number > 0 and number in HEARD_S and self._state.code != EXIT_INTERRUPTED:
                self._state.due_s = monotonic() + ENDING_S
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
        with self._watchdog.fails_here() if self._watchdog is not None else contextlib.nullcontext():
            while not self._is_over:
                left_s = self._state.due_s - monotonic()
                if left_s <= 0:
                    self._end_from_outside(self._state.code)
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
            say_if_heard(blocked(self._where()))
        self._state.is_over = True
        end_descendants()
        os._exit(code)

    def _where(self) -> str:
        """Return in words in which call the main thread is: the innermost of the user's own, or of any."""
        frame = sys._current_frames().get(self._main or 0)
        frames = [at for at, _ in traceback.walk_stack(frame)] if frame is not None else []
        named = [at for at in frames if at.f_code.co_filename != __file__]
        return place((at.f_code.co_filename, at.f_lineno, at.f_code.co_name) for at in named)
