"""The installed command on a pseudo-terminal: its screen, and what it does to the terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyte

from tests.cli.command import COMMAND, WARM, clean_environment
from tests.cli.warm import WarmCommand

PATIENCE_S = 90.0
"""Nothing here takes that long; what does, hangs."""
_LAUNCH = (
    "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execvp(sys.argv[1], sys.argv[1:])"
)
_UNKNOWN_TO_PYTE = re.compile(
    rb"\x1b\[[<>=?][0-9;]*(?:\$p|u|m|q|c)|\x1bP.*?\x1b\\|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"
)


def environment(**more: str) -> dict[str, str]:
    """The environment of a shell in a terminal window."""
    kept = clean_environment(TERM="xterm-256color", COLORTERM="truecolor", LC_ALL="C.UTF-8", **more)
    of_another = {"COLUMNS", "LINES", "NO_COLOR", "TMUX", "STY"}
    return {name: value for name, value in kept.items() if name not in of_another or name in more}


class Terminal:
    """A terminal with a program in it."""

    def __init__(
        self,
        *argv: str,
        size: tuple[int, int] = (120, 40),
        warm: bool = False,
        cwd: Path | None = None,
        ignored: Collection[int] = (),
        **env: str,
    ) -> None:
        """Start a program; a ``warm`` one is the command without a start of Python (tests.cli.warm)."""
        self._master, slave = pty.openpty()
        self.screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self.screen)
        self.written = bytearray()
        self._drawn = (-1, "")
        self._set_size(*size)
        self.attributes = termios.tcgetattr(slave)
        streams: dict[str, Any] = {"stdin": slave, "stdout": slave, "stderr": slave}
        self.child: subprocess.Popen[Any]
        if warm:
            self.child = WarmCommand(WARM, argv, ignored, cwd=cwd, env=environment(**env), **streams)
        else:
            launched = [sys.executable, "-c", _LAUNCH, *argv]
            self.child = subprocess.Popen(launched, env=environment(**env), **streams)
        self._slave = slave  # kept open, lest the terminal is gone with its program

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Whatever happened, nothing of it goes on."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.kill()
        self.child.wait(PATIENCE_S)
        self.hang_up()

    def hang_up(self) -> None:
        """Close the terminal, as a window is closed."""
        for descriptor in (self._slave, self._master):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._slave = self._master = -1

    # Keys.

    def send(self, keys: str | bytes) -> None:
        """Type."""
        data = keys.encode() if isinstance(keys, str) else keys
        while data:
            data = data[os.write(self._master, data[:512]) :]
            self._read(0.0)

    def resize(self, width: int, height: int) -> None:
        """Change the size of the window."""
        self.screen.resize(height, width)
        self._drawn = (-1, "")
        self._set_size(width, height)

    def _set_size(self, width: int, height: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    # Screen.

    def _read(self, wait_s: float) -> None:
        ready, _, _ = select.select([self._master], [], [], wait_s)
        if ready:
            try:
                data = os.read(self._master, 1 << 16)
            except OSError:
                data = b""
            self.written += data
            self._stream.feed(_UNKNOWN_TO_PYTE.sub(b"", data))

    @property
    def text(self) -> str:
        """The screen as text, put together once for all that was written until now."""
        if self._drawn[0] != len(self.written):
            self._drawn = (len(self.written), "\n".join(line.rstrip() for line in self.screen.display))
        return self._drawn[1]

    def until(self, predicate: Callable[[], object], what: str) -> None:
        """Read what the program writes until something holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not predicate():
            assert time.monotonic() < deadline, f"waited in vain for {what}:\n{self.text}"
            self._read(0.02)

    def settles(self) -> None:
        """Read until nothing more is written for a moment."""
        before = -1
        while len(self.written) > before:
            before = len(self.written)
            self._read(0.3)

    def sees(self, *texts: str) -> None:
        """Wait until all these texts stand on the screen."""
        self.until(lambda: all(text in self.text for text in texts), f"{texts}")

    def ended(self) -> int:
        """Wait for the end of the program; return its exit code."""
        self.until(lambda: self.child.poll() is not None, "the end of the program")
        for _ in range(5):
            self._read(0.02)
        return int(self.child.returncode)

    # The terminal itself.

    @property
    def left_behind(self) -> str:
        """What was written after the alternate screen had been left, but for modes that were reset."""
        text = bytes(self.written).rpartition(b"\x1b[?1049l")[2].decode(errors="replace")
        return re.sub(r"\x1b\[(\?[0-9;]+[hl]|<u)", "", text)

    def is_restored(self) -> None:
        """Check that the terminal is as it was before."""
        assert termios.tcgetattr(self._slave) == self.attributes, "line discipline: echo, signals, lines"
        modes: dict[bytes, bytes] = {}
        for match in re.finditer(rb"\x1b\[\?([0-9;]+)([hl])", self.written):
            modes.update(dict.fromkeys(match[1].split(b";"), match[2]))
        wanted = {b"25": b"h", b"7": b"h"}  # a cursor, and lines that wrap
        for mode, state in modes.items():
            assert state == wanted.get(mode, b"l"), f"mode {mode.decode()} is left {state.decode()}"
        pushed = len(re.findall(rb"\x1b\[>[0-9]+u", self.written))
        assert len(re.findall(rb"\x1b\[<u", self.written)) >= pushed, "the keyboard protocol"


@contextmanager
def sockscope(*flags: str, **given: Any) -> Iterator[Terminal]:
    """Start the dashboard on a terminal, warm, and wait for its first picture with figures."""
    with Terminal(COMMAND, *flags, warm=True, **given) as terminal:
        terminal.sees("RUNNING")
        yield terminal
