"""What a command without a screen says: the door through which text reaches the terminal, and its streams.

Text may come from a peer, a file, a variable or an argument, so none of it is written raw: `tell` writes to
stdout, `say` to stderr. Text for programs (JSON, CSV) goes another way, for it must not be changed.

A command reports on its streams as follows. stdout that cannot be written (a full disk, a closed
descriptor) is one sentence and exit code 1. A reader that goes away (``| head``) has had what it wanted: the
rest goes nowhere, and the exit code stays what it is. stderr that cannot be written changes nothing.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO

from sockscope.core.wire.octets import printable
from sockscope.errors import SockscopeError
from sockscope.faces.characters import LIKENESS


def printable_lines(text: str) -> str:
    """Return ``text`` with control characters written as escapes, its line ends kept."""
    return "\n".join(printable(line, None) for line in text.split("\n"))


def tell(text: str) -> None:
    """Write text to stdout; raises SockscopeError when it cannot be written."""
    sys.stdout.write(printable_lines(text))
    sys.stdout.flush()


def say(sentence: str) -> None:
    """Write a sentence to stderr, where there is one."""
    if (stream := stderr()) is not None:
        print(f"sockscope: {printable_lines(sentence)}", file=stream, flush=True)


_taken: list[TextIO] = []


def stderr() -> TextIO | None:
    """Return this program's own stderr, whatever the user's code has made of ``sys.stderr``."""
    return _taken[0] if _taken else sys.stderr


def descriptors() -> list[int]:
    """Return what this program's own stderr and stdout write to; these are not 2 and 1."""
    return [stream.fileno() for stream in _taken]


@contextmanager
def lent_streams() -> Iterator[None]:
    """Let the user's own code print to stderr, to streams that it may close or replace."""
    if stderr() is None:
        yield
        return
    lent = outlet(Outlet(os.dup(2), "standard error", mute=True), line_buffering=True)
    try:
        with redirect_stdout(lent), redirect_stderr(lent):
            yield
    finally:
        lent.close()


class Outlet(io.FileIO):
    """A descriptor that is written to, called ``name`` in the sentence (SockscopeError) when it cannot be.

    That is raised once; afterwards, and once the reader has gone away (``gone``), what is written goes
    nowhere, so that leaving does not complain again. A ``mute`` one never raises. With ``closed_before``
    the descriptor was closed when the process began.
    """

    def __init__(
        self,
        descriptor: int,
        name: str,
        *,
        owned: bool = True,
        mute: bool = False,
        closed_before: bool = False,
    ) -> None:
        super().__init__(descriptor, "w", closefd=owned)
        self.gone = False
        self._called = name
        self._mute = mute
        self._closed_before = closed_before
        self._failed = False

    def write(self, data: Any, /) -> int:
        """Write as much as the descriptor takes, and return how much that is."""
        if self.gone or self._failed:
            return len(data)
        try:
            if self._closed_before:
                raise OSError(errno.EBADF, "it is closed")
            return self._taken(data)
        except BrokenPipeError:
            self.gone = True
        except OSError as error:
            self._failed = True
            if not self._mute:
                raise SockscopeError(f"cannot write to {self._called}: {error.strerror}") from None
        return len(data)

    def _taken(self, data: Any) -> int:
        # A terminal or pipe that somebody else made non-blocking says that it is full, not that it is broken.
        while (count := super().write(data)) is None:
            if self._mute:
                return len(data)
            select.select([], [self.fileno()], [])
        return count


def outlet(file: Outlet, *, encoding: str = "utf-8", line_buffering: bool = False) -> TextIO:
    """Return a text stream that writes to ``file``; what cannot be encoded becomes its likeness in ASCII."""
    return io.TextIOWrapper(
        io.BufferedWriter(file), encoding, errors=LIKENESS, newline="", line_buffering=line_buffering
    )


def is_gone(stream: TextIO | None) -> bool:
    """Tell whether the reader of a stream has gone away."""
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return isinstance(raw, Outlet) and raw.gone


def take_standard_streams() -> None:
    """Let stdout and stderr of this process behave as told above."""
    stdout, before = sys.stdout, sys.stderr
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass  # a closed one is given to the null device, lest a socket gets its number
    os.close(descriptor)
    sys.stdout = outlet(
        Outlet(_duplicate(1), "standard output", owned=False, closed_before=stdout is None),
        encoding=stdout.encoding if stdout is not None else "utf-8",
        line_buffering=stdout is not None and bool(stdout.line_buffering),
    )
    sys.stderr = outlet(
        Outlet(_duplicate(2), "standard error", owned=False, mute=True),
        encoding=before.encoding if before is not None else "utf-8",
        line_buffering=True,
    )
    _taken[:] = [sys.stderr, sys.stdout]


def _duplicate(descriptor: int) -> int:
    """Return another one for the same file, as the user's own code may close the standard ones."""
    try:
        return os.dup(descriptor)
    except OSError:  # at the limit of descriptors
        return descriptor
