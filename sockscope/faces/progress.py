"""What a command without a screen tells while it runs, and how it is ended from the terminal."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from sockscope.faces.ending import Ending
from sockscope.faces.printing import say
from sockscope.faces.summary import WIDTH


class Progress:
    """One line on a terminal that is written over; nothing when ``stream`` is none or is to be quiet."""

    def __init__(self, stream: TextIO | None, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._stream = stream if stream is not None and stream.isatty() and not quiet else None
        self._shown = 0

    def tell(self, line: str) -> None:
        """Show a line in place of the last one, as much of it as the terminal is wide."""
        if self._stream is None:
            return
        line = line[: self._columns() - 1]
        self._write(f"\r{line:<{min(self._shown, self._columns() - 1)}}")
        self._shown = len(line)

    def note(self, sentence: str) -> None:
        """Say a sentence where the line is not shown, unless it is to be quiet."""
        if self._stream is None and not self._quiet:
            say(sentence)

    def clear(self) -> None:
        """Take the line away."""
        if self._stream is not None and self._shown:
            self._write("\r" + " " * min(self._shown, self._columns() - 1) + "\r")
            self._shown = 0

    def _columns(self) -> int:
        assert self._stream is not None
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns
        except (OSError, ValueError):
            columns = 0
        # A terminal that does not tell its size says 0.
        return max(2, columns or WIDTH)

    def _write(self, text: str) -> None:
        assert self._stream is not None
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            # The terminal is gone; the run goes on.
            self._stream = None


@contextmanager
def ended_by_signals(
    ending: Ending, end: Callable[[], object], progress: Progress, doing: str
) -> Iterator[None]:
    """Call ``end`` on the first Ctrl+C (and say what is being done: ``doing``), SIGTERM or SIGHUP.

    The second Ctrl+C cancels the task that entered the block.
    """
    whole = asyncio.current_task()
    assert whole is not None

    def asked(number: int, again: bool) -> None:
        if again:
            whole.cancel()
            return
        if number == signal.SIGINT:
            progress.clear()
            say(f"{doing}; press Ctrl+C again to quit at once")
        end()

    with ending.listening(asked):
        yield
