"""The terminal: what Textual's driver must do otherwise, and how it is put back in any case."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import errno
import mmap
import os
import re
import select
import signal
import stat
import termios
from types import TracebackType
from typing import Any, Self

from textual import events
from textual.app import ScreenStackError
from textual.driver import Driver
from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Size
from textual.message import Message

from sockscope.engine.stops import leave_stops_to_main
from sockscope.faces.ending import Ending
from sockscope.faces.printing import descriptors
from sockscope.faces.tui.writer import ABANDON, ScreenWriter, opened
from sockscope.faces.watchdog import CTRL_C

MOST_KEYS = 200
"""Keys and movements of the mouse that may wait to be handled; what comes meanwhile is dropped."""
MOST_COLUMNS, MOST_LINES = 1_000, 400
"""The largest window that is drawn on: whatever claims more (a variable, bytes that look like a report of the
terminal) would keep the loop for minutes."""
_SET_MODES = (1000, 1003, 1015, 1006, 1016, 1004, 2004, 2026, 2048)
_PASTE_BEGINS, _PASTE_ENDS = "\x1b[200~", "\x1b[201~"
_REPLY = re.compile(r"\x1b[]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)")
"""A string of control functions (ECMA-48), such as the answer of a terminal to another program's question."""
_TO_THE_SHELL = ("\x1b[?1049l", "\x1b[?25h")
"""What leaves the screen and shows the cursor. The last picture stays where another app follows at once."""
_RESET = b"".join(b"\x1b[?%dl" % mode for mode in _SET_MODES) + b"\x1b[?7h\x1b[<u\x1b[?1049l\x1b[?25h"


def adapt_textual() -> None:
    """Replace two parts of Textual's driver that it makes by name: what decodes keys, and what writes."""
    vars(linux_driver)["getincrementaldecoder"] = lambda encoding: KeyDecoder
    vars(linux_driver)["WriterThread"] = ScreenWriter


class KeyDecoder(codecs.getincrementaldecoder("utf-8")):  # type: ignore[misc]
    """Decodes what a terminal sends.

    Bytes that are not UTF-8 (a pasted binary, an old mouse report) are question marks: Textual 8.2 decodes
    strictly, and one wrong byte ends the thread that reads keys, and with it every way to quit. What a
    terminal answers to somebody else is no keys: Textual would type what is in it. Nothing at
    all is what a terminal sends that is gone; Textual would read it for ever. It raises OSError. Ctrl+C that
    comes alone was typed: it ends a paste whose end never came, which would swallow all keys.
    """

    def __init__(self) -> None:
        super().__init__("replace")
        self._pasted = ""

    def decode(self, data: bytes, final: bool = False) -> str:
        """Return the characters that are whole."""
        if not data and not final:
            raise OSError(errno.EIO, "the terminal is gone")
        text = _REPLY.sub("", str(super().decode(data, final)))
        if self._pasted and text and not CTRL_C.sub("", text):
            text = _PASTE_ENDS + text
        _, begins, rest = (self._pasted + text).rpartition(_PASTE_BEGINS)
        # Of a paste that goes on its end may come in two pieces.
        self._pasted = begins + rest[-len(_PASTE_ENDS) :] if begins and _PASTE_ENDS not in rest else ""
        return text


class SavedTerminal:
    """The terminal as it was, to be put back when the driver cannot do it any more.

    ``is_taken`` is set by the driver from before its first byte until after its last; forked ones see it.
    """

    def __init__(self) -> None:
        self._taken = mmap.mmap(-1, 1)
        self.keys = os.dup(0)
        self.keeps_picture = False
        # A descriptor of its own, as the user's own code may close the standard ones.
        self._descriptor, self._is_own = opened(2)
        self._attributes: list[Any] | None = None
        with contextlib.suppress(termios.error):
            self._attributes = termios.tcgetattr(self._descriptor)

    @property
    def is_taken(self) -> bool:
        """Whether the screen is on it."""
        return bool(self._taken[0])

    @is_taken.setter
    def is_taken(self, taken: bool) -> None:
        self._taken[0] = taken

    def restore(self) -> None:
        """Put it back, without waiting for it: what has not left for the screen is dropped."""
        if not self.is_taken or self._attributes is None:
            return
        with contextlib.suppress(termios.error):
            termios.tcflush(self._descriptor, termios.TCOFLUSH)
            termios.tcsetattr(self._descriptor, termios.TCSANOW, self._attributes)
        with contextlib.suppress(OSError):
            poll = select.poll()
            poll.register(self._descriptor, select.POLLOUT)
            # Only what was opened for this is sure not to block.
            if self._is_own or poll.poll(0):
                os.write(self._descriptor, ABANDON + _RESET)


class TerminalEnding(Ending):
    """Ends a command that draws on a terminal, which is put back in any case."""

    requests = (*Ending.requests, signal.SIGQUIT)
    puts_back = True

    def __init__(self, runs_own_code: bool = False) -> None:
        super().__init__(runs_own_code)
        self.saved = SavedTerminal()
        self.at_worst(self.saved.restore)

    def __enter__(self) -> Self:
        super().__enter__()
        if self._runs_own_code:
            # What the user's own code and its processes read must not be the keys, Ctrl+C among them.
            with open(os.devnull, "rb") as null:
                os.dup2(null.fileno(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.dup2(self.saved.keys, 0)
        if self.saved.keeps_picture:  # of an app that was to be followed by another one
            self.saved.restore()
            self.saved.is_taken = False
        super().__exit__(kind, error, trace)

    @property
    def has_terminal(self) -> bool:
        """Whether the screen is on it."""
        return self.saved.is_taken


def terminal_driver(driver: type[Driver], ending: TerminalEnding) -> type[Driver]:
    """Return ``driver`` as the dashboard needs it, if it is that of a terminal.

    Ctrl+C and a terminal that is closed are told to ``ending`` by the thread that reads, past the loop.
    Whether its window is in front changes nothing: Textual would style all the screen anew.
    Keys that the loop does not keep up with are dropped. Stopping and continuing are left to the app.
    """
    if not issubclass(driver, LinuxDriver):
        return driver
    saved = ending.saved

    class TerminalDriver(driver):  # type: ignore[misc, valid-type]
        _posted = 0
        _handed_over = 0
        _stays = False

        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            self.fileno = saved.keys
            self._size = self._get_terminal_size()

        @property
        def is_on(self) -> bool:
            """Whether it has the terminal."""
            return saved.is_taken

        @property
        def writer(self) -> ScreenWriter | None:
            """What writes to the terminal, while it has it."""
            return vars(self).get("_writer_thread")

        def start_application_mode(self) -> None:
            saved.is_taken, saved.keeps_picture = True, False
            self._key_thread = None
            super().start_application_mode()
            saved.is_taken = self._key_thread is not None  # else the terminal is another's at the moment

        def stop_application_mode(self) -> None:
            if self.writer is not None:
                self.writer.abandon()
            self.write("\x1b[?1016l")  # the pixels of the mouse, which Textual leaves on
            self._stays = getattr(self._app, "is_followed", False)
            super().stop_application_mode()

        def close(self) -> None:
            super().close()
            self._writer_thread = None
            saved.is_taken = saved.keeps_picture = self._stays

        def write(self, data: str) -> None:
            if self.writer is not None and not (self._stays and data in _TO_THE_SHELL):
                super().write(data)

        def run_input_thread(self) -> None:
            leave_stops_to_main()
            is_there = True
            while is_there and not self.exit_event.is_set():
                # What Textual can make no sense of (a mouse in a window without pixels) is dropped.
                with contextlib.suppress(Exception):
                    is_there = self._read_keys()

        def _read_keys(self) -> bool:
            """Read until the driver stops; return whether the terminal is still there."""
            try:
                super().run_input_thread()
            except OSError:
                # A terminal that does not control this process goes without a signal.
                ending.notice(signal.SIGHUP)
                return False
            return True

        def process_message(self, message: Message) -> None:
            if isinstance(message, events.Key) and message.key == "ctrl+c":
                ending.notice(signal.SIGINT)
            elif isinstance(message, events.Key) and message.key == "ctrl+z":
                self._sigtstp_application()  # whatever lies over the dashboard
            elif isinstance(message, events.Resize):
                size = bounded(message.size)
                super().process_message(events.Resize(size, size, pixel_size=message.pixel_size))
            elif not isinstance(message, events.AppFocus | events.AppBlur):
                super().process_message(message)

        def _get_terminal_size(self) -> tuple[int, int]:
            """Return what the variables say, or else the terminal; not more than there is."""
            claimed = Size(*super()._get_terminal_size())
            with contextlib.suppress(OSError):
                there = os.get_terminal_size(self.fileno)
                claimed = Size(*(min(one, other or one) for one, other in zip(claimed, there, strict=True)))
            return bounded(claimed)

        def send_message(self, message: Message) -> None:
            if isinstance(message, events.InputEvent) and self._backlog >= MOST_KEYS:
                return
            self._posted += 1
            sending = asyncio.run_coroutine_threadsafe(self._app._post_message(message), self._loop)
            sending.add_done_callback(self._hand_over)

        def _hand_over(self, _: object) -> None:
            self._handed_over += 1

        @property
        def _backlog(self) -> int:
            at_focused = 0
            # The thread that reads keys may be here before the first screen is, and after the last one.
            with contextlib.suppress(ScreenStackError):
                focused = self._app.focused
                at_focused = focused.message_queue_size if focused is not None else 0
            at_app: int = self._app.message_queue_size
            return self._posted - self._handed_over + at_app + at_focused

        def _sigtstp_application(self, *_: object) -> None:
            self._loop.call_soon_threadsafe(self._app.action_suspend_process)

        def _sigcont_application(self, *_: object) -> None:
            ending.continued()
            self._loop.call_soon_threadsafe(self._app.continued)

    return TerminalDriver


def bounded(size: Size) -> Size:
    """Return a size that can be drawn on in time."""
    return Size(min(size.width, MOST_COLUMNS), min(size.height, MOST_LINES))


def is_gone(descriptor: int) -> bool:
    """Tell whether the terminal has been closed."""
    try:
        termios.tcgetattr(descriptor)
    except termios.error:
        return True
    return False


def is_in_foreground(descriptor: int) -> bool:
    """Tell whether the shell has left the terminal to this process; true where no shell controls jobs."""
    with contextlib.suppress(OSError):
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    return True


def let_go_of_the_terminal(keys: int) -> None:
    """Put the null device in the terminal's place, so that what is still said on leaving does not fail."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2, keys, *descriptors()):
        if stat.S_ISCHR(os.fstat(descriptor).st_mode):
            os.dup2(null, descriptor)
    os.close(null)
