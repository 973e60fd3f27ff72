"""A second process that ends a command whose interpreter cannot do so, and puts its terminal back.

Some calls of compiled code keep the interpreter's lock for as long as they last (``sum(range(10**12))``), so
that no thread and no signal handler of Python runs, and others end the process without a word (``os._exit``,
a crash). Where the user's own code runs in this process, another one therefore looks after it. It is forked
before there are threads, and asks nothing of the first: signals that nobody takes notice of stay in the pipe
that the kernel's side of Python writes them to, and keys in the terminal.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import fcntl
import math
import mmap
import os
import re
import select
import signal
import struct
import sys
import termios
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from time import monotonic, sleep
from typing import NoReturn

import psutil

from sockscope.core.wire.octets import printable
from sockscope.engine.process_tree import end_descendants
from sockscope.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK

HEARD_S: dict[int, float] = {signal.SIGHUP: 0.8, signal.SIGTERM: 3.0}
"""How long the loop may take to hear what asks for the end and cannot be typed a second time."""
LOOK_S = 0.05
"""How often it is looked whether signals and keys are read."""
UNREAD_S = 0.3
"""What is unread for so long is read by nobody: the interpreter is held up."""
LATE_S = 0.2
"""How much later than the command's own threads it acts on what they should have done."""
CTRL_C = re.compile(r"\x03|\x1b\[99;5(?:[:;][0-9:;]*)?u")
"""How terminals send Ctrl+C: in the classical way, and in the keyboard protocol of kitty."""
_FRAME = re.compile(r'File "(.*)", line (\d+) in (.*)')
"""How faulthandler tells a frame."""
_NOT_OWN = (os.path.dirname(os.__file__), sys.prefix, os.path.dirname(os.path.dirname(__file__)), "<")
"""How the names of files begin that are not the user's."""


class EndingState(ctypes.Structure):
    """What a command and its watchdog share: when it is to be ended from outside, with which code."""

    _fields_ = (
        ("due_s", ctypes.c_double),
        ("code", ctypes.c_int),
        ("thread", ctypes.c_int),
        ("failing_thread", ctypes.c_int),
        ("is_asked", ctypes.c_bool),
        ("is_over", ctypes.c_bool),
    )

    @classmethod
    def shared(cls) -> EndingState:
        """Return one in memory that forked processes share; nothing has asked for the end."""
        state = cls.from_buffer(mmap.mmap(-1, ctypes.sizeof(cls)))
        state.due_s, state.code = math.inf, EXIT_FAILED
        return state


class Watchdog:
    """The second process.

    ``has_terminal`` tells whether keys go to this command, and ``at_worst`` puts back what it has changed;
    both are called there. ``signals`` are the ends of the pipe of signals, which do not block.
    """

    def __init__(
        self,
        state: EndingState,
        signals: tuple[int, int],
        has_terminal: Callable[[], bool],
        at_worst: Iterable[Callable[[], object]],
    ) -> None:
        self._state = state
        self._signals, self._waker = signals
        self._has_terminal = has_terminal
        self._at_worst = tuple(at_worst)
        self._watched = os.getpid()
        self._exit_signal, self._tell_signal = signal.SIGRTMAX - 5, signal.SIGRTMAX - 6
        self._keys = -1
        self._told, self._teller = os.pipe()
        faulthandler.register(self._tell_signal, self._teller, all_threads=False)
        self._key = _exit_on(self._exit_signal)
        _keep_for_exit(self._key, EXIT_INTERRUPTED)
        state.thread = state.failing_thread = threading.get_native_id()
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            self._pid = (
                os.fork()
            )  # which warns where there are threads: what runs there needs nothing of them
        if not self._pid:
            self._run()

    @contextlib.contextmanager
    def fails_here(self) -> Iterator[None]:
        """Let this thread be the one that ends the process with :data:`EXIT_FAILED`; the main one has 130."""
        _keep_for_exit(self._key, EXIT_FAILED)
        self._state.failing_thread = threading.get_native_id()
        try:
            yield
        finally:  # a thread that ends as threads do ends nothing else
            _keep_for_exit(self._key, EXIT_OK)

    def stop(self) -> None:
        """End it; from here on nothing is looked after."""
        self._state.is_over = True
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        faulthandler.unregister(self._tell_signal)
        os.close(self._told)
        os.close(self._teller)

    # All that follows runs in the second process.

    def _run(self) -> NoReturn:
        try:
            self._part()
            self._watch()
        finally:
            os._exit(0)

    def _part(self) -> None:
        """Hear no signals that are meant for the other process."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        with contextlib.suppress(OSError):
            self._keys = os.open(os.ttyname(0), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        os.setsid()

    def _watch(self) -> None:
        unread_since = math.inf
        while self._is_there:
            sleep(LOOK_S)
            now = monotonic()
            if not self._unread or self._is_stopped:
                unread_since = math.inf
                continue
            if now > self._state.due_s + LATE_S:
                self._end(self._state.code)
            unread_since = min(unread_since, now)
            if now > unread_since + UNREAD_S:
                self._take(now - unread_since)
        if not self._state.is_over:
            self._put_back("ended from within, or by a signal, without figures")

    @property
    def _is_there(self) -> bool:
        return os.getppid() == self._watched

    @property
    def _is_stopped(self) -> bool:
        with contextlib.suppress(psutil.Error):
            return psutil.Process(self._watched).status() == psutil.STATUS_STOPPED
        return False

    @property
    def _unread(self) -> bool:
        """Whether signals or keys wait to be read, or the command should have ended by now."""
        waits = [self._signals, self._keys] if self._keys >= 0 and self._has_terminal() else [self._signals]
        return any(map(_has_bytes, waits)) or monotonic() > self._state.due_s

    def _take(self, unread_s: float) -> None:
        """Judge what nobody reads; it is put back, for the interpreter may come to read it all the same."""
        numbers = _read(self._signals)
        if self._has_terminal():
            numbers += bytes([signal.SIGINT]) * len(CTRL_C.findall(_read(self._keys).decode("latin-1")))
        with contextlib.suppress(BlockingIOError):
            os.write(self._waker, numbers)
        interrupts = numbers.count(signal.SIGINT)
        if signal.SIGQUIT in numbers or (interrupts and interrupts + self._state.is_asked > 1):
            self._end(EXIT_INTERRUPTED)
        if any(unread_s > HEARD_S.get(number, math.inf) for number in numbers):
            self._end(EXIT_FAILED)

    def _end(self, code: int) -> NoReturn:
        where = self._where()
        self._put_back(blocked(where))
        end_descendants(self._watched, but=(os.getpid(),))
        thread = self._state.thread if code == EXIT_INTERRUPTED else self._state.failing_thread
        ctypes.CDLL(None).tgkill(self._watched, thread, self._exit_signal)
        until = monotonic() + LATE_S
        while self._is_there and monotonic() < until:
            sleep(0.01)
        if self._is_there:
            os.kill(self._watched, signal.SIGKILL)
        os._exit(0)

    def _put_back(self, sentence: str) -> None:
        with contextlib.suppress(Exception):
            for call in self._at_worst:
                call()
        say_if_heard(sentence)

    def _where(self) -> str:
        """Ask the other process in which call it is; it tells without its interpreter."""
        os.kill(self._watched, self._tell_signal)
        poll = select.poll()
        poll.register(self._told, select.POLLIN)
        text = ""
        while poll.poll(100):
            text += os.read(self._told, 65_536).decode(errors="replace")
        return place((file, int(line), function) for file, line, function in _FRAME.findall(text))


def _exit_on(number: int) -> ctypes.c_uint:
    """Let this process end when signal ``number`` comes to one of its threads, without its interpreter.

    The signal makes that thread exit, and the destructor of what it keeps under the key that is returned is
    ``_exit`` (pthread_key_create(3)).
    """
    libc = ctypes.CDLL(None)
    key = ctypes.c_uint()
    libc.pthread_key_create(ctypes.byref(key), libc._exit)
    libc.signal(number, libc.pthread_exit)
    return key


def _keep_for_exit(key: ctypes.c_uint, code: int) -> None:
    """Let this thread end the process with ``code`` when it exits; with 0 it does not."""
    ctypes.CDLL(None).pthread_setspecific(key, ctypes.c_void_p(code))


def _has_bytes(descriptor: int) -> bool:
    with contextlib.suppress(OSError):
        return bool(struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))[0])
    return False


def _read(descriptor: int) -> bytes:
    with contextlib.suppress(OSError):
        return os.read(descriptor, 4_096)
    return b""


def place(frames: Iterable[tuple[str, int, str]]) -> str:
    """Return in words the innermost of ``frames`` (file, line, function) that is the user's, or of any."""
    found = list(frames)
    own = [frame for frame in found if not frame[0].startswith(_NOT_OWN)]
    for file, line, function in (own or found)[:1]:
        return f" in {function} ({os.path.basename(file)}:{line})"
    return ""


def blocked(where: str) -> str:
    """Return what is said of a loop that is held up in a call."""
    return f"the event loop is blocked{where}; quit without figures"


def say_if_heard(sentence: str) -> None:
    """Tell a sentence on stderr if that can take it at once."""
    with contextlib.suppress(OSError):
        poll = select.poll()
        poll.register(2, select.POLLOUT)
        if poll.poll(0):
            os.write(2, f"sockscope: {printable(sentence)}\n".encode(errors="replace"))


@contextlib.contextmanager
def kept_signals(numbers: Iterable[int]) -> Iterator[None]:
    """Keep the handlers of these signals: what the user's own code sets for them is passed over."""
    kept, set_handler = frozenset(map(int, numbers)), signal.signal

    def passed_over(number: int, handler: object) -> object:
        if int(number) in kept:
            return signal.getsignal(number)
        return set_handler(number, handler)  # type: ignore[arg-type]

    vars(signal)["signal"] = passed_over
    try:
        yield
    finally:
        vars(signal)["signal"] = set_handler
