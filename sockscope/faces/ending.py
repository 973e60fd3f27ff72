"""How a command is ended by signals, by Ctrl+C and by a closed window, whatever its loop does.

A loop that is held up (by blocking work, by a handler that never awaits) calls no signal handler of asyncio.
What asks a command to end is therefore noticed outside the loop, twice over: by Python's own handlers, which
the main thread also runs between the steps of some calls that keep the interpreter's lock, and by a thread
that is woken by the kernel's side of them (:func:`signal.set_wakeup_fd`), which acts where the main thread
is inside a call that does not return. Where neither can act, in a call that keeps the interpreter's lock or
after a signal that ends the process at once, a second process does (:mod:`sockscope.faces.watchdog`), if the
user's own code may make such calls or there is a terminal to put back.
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
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from time import monotonic, perf_counter
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self, TypeVar

from sockscope.engine.loops import run_on
from sockscope.engine.own_errors import is_own, told
from sockscope.engine.own_process import lent_process
from sockscope.engine.own_revisions import remove_all
from sockscope.engine.process_tree import end_descendants
from sockscope.engine.stops import STOPS, leave_stops_to_main
from sockscope.engine.unix_sockets import remove_socket_files
from sockscope.errors import EXIT_FAILED, EXIT_INTERRUPTED, EngineError, SockscopeError
from sockscope.faces.modes import SavedModes
from sockscope.faces.watchdog import (
    HEARD_S,
    MOVED_S,
    EndingState,
    Watchdog,
    blocked,
    place,
    say_if_heard,
)

AGAIN_S = 0.75
"""How long a command may take to leave after a second Ctrl+C."""
HELD_UP_S = 0.5
"""A loop that has not heard the first Ctrl+C for this long when the second one comes is not waited for."""
BOUND_S = 0.25
"""How often the loop moves the bound of its run."""
CONTINUED_S = 2.0
"""How long the loop may take to move it after a stop."""
ENDING_S = 10.0
"""How long the end may take that SIGTERM or SIGHUP has asked for, once the loop has heard it."""

T = TypeVar("T")

# Own code meets others under these names: see :mod:`sockscope.engine.own_process`.
_set_handler, _set_wakeup_fd = signal.signal, signal.set_wakeup_fd


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

    puts_back = False
    """Whether something is to be put back however the process ends, so that there is always a watchdog."""

    requests: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    """What asks for the end; SIGQUIT may be one of them, and counts as a second Ctrl+C."""

    def __init__(self, runs_own_code: bool = False) -> None:
        self._asked_times = itertools.count()
        self._unheard: list[int] = []
        self._unheard_since = self._overdue_since = math.inf
        self._may_block_s = MOVED_S
        self._heard: set[int] = set()
        self._state = EndingState.shared()
        self._runs_own_code = runs_own_code
        self._watchdog: Watchdog | None = None
        self._keeping = contextlib.ExitStack()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked: Callable[[int, bool], object] | None = None
        self._modes = SavedModes() if runs_own_code else None
        self._at_worst: list[Callable[[], object]] = [self._modes.restore] if self._modes is not None else []
        self._at_worst.append(remove_socket_files)
        self._before: dict[int, Any] = {}
        self._main = threading.main_thread().ident
        self._wakened = self._waker = -1
        self._loops_waker: tuple[int, os.stat_result] | None = None
        self._is_over = False
        self._outside = threading.RLock()
        self._is_ending_outside = False
        self._thread = threading.Thread(target=self._watch, daemon=True, name="ending")

    def __enter__(self) -> Self:
        self._wakened, self._waker = os.pipe()
        os.set_blocking(self._wakened, False)
        os.set_blocking(self._waker, False)
        if self._runs_own_code or self.puts_back:
            ends = self._wakened, self._waker
            # Where no more processes may be begun it goes without.
            with contextlib.suppress(OSError):
                self._watchdog = Watchdog(self._state, ends, lambda: self.has_terminal, self._at_worst)
        for number in self.requests:
            before = signal.getsignal(number)
            if number != signal.SIGHUP or before is not signal.SIG_IGN:
                self._before[number] = before
        self.claim()
        before = signal.signal(signal.SIGCONT, self.continued)
        self._keeping.callback(signal.signal, signal.SIGCONT, before)
        if self._modes is not None:
            self._keeping.callback(self._modes.restore)
            self._keeping.enter_context(lent_process(self._before, self.claim))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._keeping.close()
        if self._watchdog is not None:
            self._watchdog.stop()
        if self.is_asked:  # what is left at once may be left behind by a child
            end_descendants()
            remove_all()
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_IGN if error is None else before)
        signal.set_wakeup_fd(-1)
        self._is_over = True
        os.write(self._waker, b"\0")
        self._thread.join()
        os.close(self._waker)
        os.close(self._wakened)

    def claim(self) -> None:
        """Take the signals back, in the main thread, from a loop or from own code that has taken them."""
        for number in self._before:
            if signal.getsignal(number) != self._on_signal:
                _set_handler(number, self._on_signal)
        taken = _set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        if taken not in (-1, self._waker):
            self._loops_waker = taken, os.fstat(taken)

    @property
    def has_terminal(self) -> bool:
        """Whether the command reads keys, Ctrl+C among them, from the terminal."""
        return self._modes is not None and self._modes.reads_keys

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
        self._hear()

    def run(self, loop_name: str, main: Coroutine[Any, Any, T]) -> T:
        """Do as :func:`sockscope.engine.loops.run_on`, on a loop that leaves the signals to this object.

        Raises EngineError for what the user's own code raises where nothing less than the run can take it.
        """
        try:
            return run_on(loop_name, main, self.claim)
        except Exception as error:
            if isinstance(error, SockscopeError) or not is_own(error):
                raise
            raise EngineError(f"own code has ended the run: {told(error)}") from None
        finally:
            self._state.bound_s = math.inf

    def bound(self, latest_end_s: Callable[[], float]) -> None:
        """End the process from outside when the loop is held up beyond a moment (``time.perf_counter``).

        The loop that runs asks for it again and again, until it is closed.
        """
        # After Ctrl+C it may take its time: a second one is there to be pressed.
        left_s = latest_end_s() - perf_counter() if self._may_block_s == MOVED_S else 0.0
        bound_s = monotonic() + max(self._may_block_s, left_s)
        is_earlier, self._state.bound_s = bound_s < self._state.bound_s, bound_s
        if is_earlier:
            os.write(self._waker, b"\0")
        asyncio.get_running_loop().call_later(BOUND_S, self.bound, latest_end_s)

    def continued(self, *_: object) -> None:
        """Take note that the process goes on after a stop; for a handler of signals."""
        STOPS.continued()
        self._state.bound_s = max(self._state.bound_s, monotonic() + CONTINUED_S)

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
                self._may_block_s = HEARD_S[number]
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
        if _set_wakeup_fd(self._waker, warn_on_full_buffer=False) != self._waker:
            os.write(self._waker, bytes([number]))  # somebody had the wake-up, and with it this signal
        if number == signal.SIGINT and self._is_held_up:
            # Not left to the thread: a call that keeps the interpreter's lock lets no thread come after this.
            self._end_from_outside(EXIT_INTERRUPTED)
        self._look()

    def _look(self) -> None:
        """Take note of the signals that have come, and pass the others on; each is read by one thread."""
        with contextlib.suppress(BlockingIOError):
            for number in os.read(self._wakened, 64):
                if number in self._before:
                    self.notice(number)
                elif number:
                    self._pass_on(number)

    def _pass_on(self, number: int) -> None:
        """Let the loop know of a signal, where it had the wake-up before and that is still the same file."""
        if self._loops_waker is None:
            return
        descriptor, file = self._loops_waker
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), file):
                os.write(descriptor, bytes([number]))

    def _watch(self) -> None:
        leave_stops_to_main()
        poll = select.poll()
        poll.register(self._wakened, select.POLLIN)
        with self._watchdog.fails_here() if self._watchdog is not None else contextlib.nullcontext():
            while not self._is_over:
                left_s = self._left_s()
                if left_s <= 0:
                    self._end_from_outside(self._state.code)
                poll.poll(None if left_s == math.inf else left_s * 1000 + 1)
                self._look()

    def _left_s(self) -> float:
        """Return how long it is until the process is to be ended from outside."""
        now = monotonic()
        bound_s: float = self._state.bound_s
        if now < bound_s:
            self._overdue_since = math.inf
        else:
            self._overdue_since = min(self._overdue_since, now)
            bound_s = self._overdue_since + MOVED_S
        return float(min(self._state.due_s, bound_s)) - now

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
        is_unheard = bool(self._unheard) and self._asked is not None
        where = self._where(users_only=not is_unheard and self.is_asked)
        if where or is_unheard:
            say_if_heard(blocked(where, is_given_up=not self.is_asked))
        elif code == EXIT_FAILED:
            say_if_heard("quitting without figures")
        self._state.is_over = True
        end_descendants()
        remove_all()
        os._exit(code)

    def _where(self, users_only: bool) -> str:
        """Return in words in which call the main thread is: the innermost of the user's own, or of any."""
        frame = sys._current_frames().get(self._main or 0)
        frames = [at for at, _ in traceback.walk_stack(frame)] if frame is not None else []
        named = [at for at in frames if at.f_code.co_filename != __file__]
        return place(((at.f_code.co_filename, at.f_lineno, at.f_code.co_name) for at in named), users_only)
