"""The way to the terminal: a thread that writes, and a loop that never waits for it."""

from __future__ import annotations

import contextlib
import os
import select
import termios
import threading
from collections.abc import Callable
from time import monotonic
from typing import IO

from sockscope.engine.stops import leave_stops_to_main

MOST_WAITING_BYTES = 1 << 20
"""What is written beyond this while the terminal does not read is dropped."""
LAST_S = 0.3
"""How long the terminal may take to read what is written on leaving."""
PIECE_BYTES = 4_096
"""What is handed to the kernel at once."""
ABANDON = b"\x18\x1b\\"
"""Ends an escape sequence that was cut off: CAN, and ST for the strings that CAN does not end (ECMA-48)."""


class ScreenWriter(threading.Thread):
    """Writes to a terminal in the background, in place of Textual's own thread.

    Textual's queues 30 pieces and then blocks its caller, the loop. This one takes whatever comes; whoever
    draws asks :attr:`is_busy` first, and begins no picture before the last one has left.
    """

    def __init__(self, file: IO[str]) -> None:
        super().__init__(daemon=True, name="textual-output")
        self._fd, self._is_own = opened(file.fileno())
        self._changed = threading.Condition(threading.RLock())
        self._waiting = bytearray()
        self._is_writing = False
        self._abandoned = False
        self._is_over = False
        self._on_left: Callable[[], object] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether something has not left yet."""
        return bool(self._waiting) or self._is_writing

    def once_left(self, call: Callable[[], object]) -> None:
        """Call ``call`` in this thread, once, when everything has left."""
        with self._changed:
            self._on_left = call
            self._changed.notify_all()

    def write(self, text: str) -> None:
        """Take text to be written; never waits."""
        data = text.encode(errors="replace")
        with self._changed:
            if len(self._waiting) + len(data) <= MOST_WAITING_BYTES:
                self._waiting += data
                self._changed.notify_all()

    def flush(self) -> None:
        """Do nothing: everything is written as soon as it can be."""

    def abandon(self) -> None:
        """Drop what has not left, in the kernel's buffer too; the terminal is ready for something else."""
        with self._changed:
            if self.is_busy:
                with contextlib.suppress(termios.error):
                    termios.tcflush(self._fd, termios.TCOFLUSH)
                self._waiting[:] = ABANDON
                self._abandoned = self._is_writing

    def run(self) -> None:
        """Write what is taken until :meth:`stop`."""
        leave_stops_to_main()
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        while self._has_piece():
            # Looks again from time to time, as what waits may have been abandoned.
            if poll.poll(100):
                self._write_piece()

    def _has_piece(self) -> bool:
        """Wait until there is something to write; False when no more will come."""
        with self._changed:
            while not self._waiting and not self._is_over:
                call, self._on_left = self._on_left, None
                if call is not None:
                    call()
                self._changed.wait()
            return bool(self._waiting)

    def _write_piece(self) -> None:
        with self._changed:
            piece = bytes(self._waiting[:PIECE_BYTES])
            del self._waiting[:PIECE_BYTES]
            self._is_writing = True
        try:
            written = os.write(self._fd, piece)
        except BlockingIOError:
            written = 0
        except OSError:
            written = len(piece)  # the terminal is gone
        with self._changed:
            if not self._abandoned:
                self._waiting[:0] = piece[written:]
            self._is_writing = self._abandoned = False
            self._changed.notify_all()

    def stop(self) -> None:
        """Stop the thread when everything is written, or the terminal does not take it."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
            deadline = monotonic() + LAST_S
            while self.is_busy and (left_s := deadline - monotonic()) > 0:
                self._changed.wait(left_s)
            self._waiting.clear()
        self.join()
        if self._is_own:
            os.close(self._fd)


def opened(descriptor: int) -> tuple[int, bool]:
    """Return a descriptor of the same terminal that does not block, and whether it has just been opened.

    It is opened anew, since not to block belongs to what is shared with the shell. Where that cannot be
    (no such device in a container), it is the same descriptor, which is written to when it can take a piece.
    """
    with contextlib.suppress(OSError):
        return os.open(os.ttyname(descriptor), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK), True
    return descriptor, False
