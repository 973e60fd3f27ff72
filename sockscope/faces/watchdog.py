"""A second process that ends a command whose interpreter cannot do so, and puts its terminal back.

Some calls of compiled code keep the interpreter's lock for as long as they last (``sum(range(10**12))``), so
that no thread and no signal handler of Python runs, and others end the process without a word (``os._exit``,
a crash), as most signals do, and SIGKILL in any case. Where the user's own code runs in this process, or a
terminal is drawn on, another one therefore looks after it. It is forked before there are threads, and asks
nothing of the first: signals that nobody takes notice of stay in the pipe that the kernel's side of Python
writes them to, and keys in the terminal; an end closes a pipe that only the first holds open.
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
from sockscope.errors import EXIT_FAILED, EXIT_INTERRUPTED
from sockscope.faces.printing import descriptors

HEARD_S: dict[int, float] = {signal.SIGHUP: 0.7, signal.SIGTERM: 3.0}
"""How long the loop may take to hear what asks for the end and cannot be typed a second time."""
MOVED_S = 0.5
"""How long the loop may take to move the bound of its run when that has passed: it may have been stopped."""
LOOK_S = 0.05
"""How often it is looked whether signals and keys are read."""
UNREAD_S = 0.3
"""What is unread for so long is read by nobody: the interpreter is held up."""
PARTING_S = 0.002
"""How long a process whose descriptors are closed is given to be gone; its own code may have closed them."""
LATE_S = 0.1
"""How much later than the command's own threads it acts on what they should have done."""
EXIT_S = 0.2
"""How long the command may take to end once it is made to; then it is killed."""
CTRL_C = re.compile(r"\x03|\x1b\[99;5(?:[:;][0-9:;]*)?u")
"""How terminals send Ctrl+C: in the classical way, and in the keyboard protocol of kitty."""
_FRAME = re.compile(r'File "(.*)", line (\d+) in (.*)')
"""How faulthandler tells a frame."""
_NOT_OWN = (os.path.dirname(os.__file__), sys.prefix, os.path.dirname(os.path.dirname(__file__)), "<")
"""How the names of files begin that are not the user's."""


class EndingState(ctypes.Structure):
    """What a command and its watchdog share: when it is to be ended from outside, with which code.

    ``due_s`` is set once somebody has asked for the end. Until ``bound_s`` the run should have ended by
    itself; a loop that goes on moves it.
    """

    _fields_ = (
        ("due_s", ctypes.c_double),
        ("bound_s", ctypes.c_double),
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
        state.due_s, state.bound_s, state.code = math.inf, math.inf, EXIT_FAILED
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
        self._ended, self._alive = os.pipe()
        faulthandler.register(self._tell_signal, self._teller, all_threads=False)
        self._key = exit_on(self._exit_signal)
        keep_for_exit(self._key, EXIT_INTERRUPTED)
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
        keep_for_exit(self._key, EXIT_FAILED)
        self._state.failing_thread = threading.get_native_id()
        try:
            yield
        finally:  # a thread that ends as threads do ends nothing else
            keep_for_exit(self._key, None)

    def stop(self) -> None:
        """End it; from here on nothing is looked after."""
        self._state.is_over = True
        keep_for_exit(self._key, None)
        # The kernel takes it away by itself where SIGCHLD is ignored, as a process may inherit.
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        faulthandler.unregister(self._tell_signal)
        for descriptor in (self._told, self._teller, self._ended, self._alive):
            os.close(descriptor)

    # All that follows runs in the second process.

    def _run(self) -> NoReturn:
        try:
            self._part()
            self._watch()
        finally:
            os._exit(0)

    def _part(self) -> None:
        """Hear no signals that are meant for the other process, nor for all that have its name."""
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        os.close(self._alive)
        with contextlib.suppress(OSError):
            self._keys = os.open(os.ttyname(0), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        os.setsid()

    def _watch(self) -> None:
        unread_since = math.inf
        poll = select.poll()
        poll.register(self._ended, select.POLLIN)
        while self._is_there:
            if poll.poll(LOOK_S * 1000):
                sleep(PARTING_S)
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
        return any(map(_has_bytes, waits)) or monotonic() > min(self._state.due_s, self._state.bound_s)

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
        if monotonic() > self._state.bound_s and unread_s > MOVED_S + LATE_S:
            self._end(EXIT_FAILED)

    def _end(self, code: int) -> NoReturn:
        where = self._where()
        self._put_back(blocked(where, is_given_up=not self._state.is_asked and not _has_bytes(self._signals)))
        end_descendants(self._watched, but=(os.getpid(),))
        thread = self._state.thread if code == EXIT_INTERRUPTED else self._state.failing_thread
        ctypes.CDLL(None).tgkill(self._watched, thread, self._exit_signal)
        until = monotonic() + EXIT_S
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


def exit_on(*numbers: int) -> ctypes.c_uint:
    """Let this process end when one of these signals comes to one of its threads, without its interpreter.

    The signal makes that thread exit, and the destructor of what it keeps under the key that is returned is
    ``_exit`` (pthread_key_create(3)).
    """
    libc = ctypes.CDLL(None)
    key = ctypes.c_uint()
    libc.pthread_key_create(ctypes.byref(key), libc._exit)
    for number in numbers:
        libc.signal(number, libc.pthread_exit)
    return key


def keep_for_exit(key: ctypes.c_uint, code: int | None) -> None:
    """Let this thread end the process with ``code`` when it exits, or (None) end like any other thread."""
    # A destructor is called for what is not 0, and of what _exit is given the lowest eight bits count.
    kept = 0 if code is None else code | 0x100
    ctypes.CDLL(None).pthread_setspecific(key, ctypes.c_void_p(kept))


def _has_bytes(descriptor: int) -> bool:
    with contextlib.suppress(OSError):
        return bool(struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))[0])
    return False


def _read(descriptor: int) -> bytes:
    with contextlib.suppress(OSError):
        return os.read(descriptor, 4_096)
    return b""


def place(frames: Iterable[tuple[str, int, str]], users_only: bool = False) -> str:
    """Return in words the innermost of ``frames`` (file, line, function) that is the user's, or of any."""
    found = list(frames)
    own = [frame for frame in found if not frame[0].startswith(_NOT_OWN)]
    for file, line, function in (own or found * (not users_only))[:1]:
        return f" in {function} ({os.path.basename(file)}:{line})"
    return ""


def blocked(where: str, is_given_up: bool = False) -> str:
    """Return what is said of a loop that is held up in a call, and so beyond the bound of the run."""
    head = "given up (--give-up): " if is_given_up else ""
    return f"{head}the event loop is blocked{where}; quitting without figures"


def say_if_heard(sentence: str) -> None:
    """Tell a sentence on stderr if that can take it at once."""
    descriptor, *_ = (*descriptors(), 2)
    with contextlib.suppress(OSError):
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        if poll.poll(0):
            os.write(descriptor, f"sockscope: {printable(sentence)}\n".encode(errors="replace"))
