"""The modes of the terminal (termios(3)) that a command runs in, put back where own code has changed them."""

from __future__ import annotations

import contextlib
import os
import termios
from typing import Any


class SavedModes:
    """The modes as they were. A debugger or a prompt for a password sets others, which outlive it."""

    def __init__(self) -> None:
        self._descriptor = next((os.dup(number) for number in (2, 0, 1) if os.isatty(number)), -1)
        self._process = os.getpid()
        self._attributes = self._now()

    @property
    def reads_keys(self) -> bool:
        """Whether Ctrl+C is a key like any other, no signal."""
        now = self._now()
        return now is not None and not now[3] & termios.ISIG

    def restore(self) -> None:
        """Put them back, unless the terminal is another's at the moment."""
        if self._attributes not in (None, self._now()) and self._is_in_foreground:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._descriptor, termios.TCSANOW, self._attributes)

    def _now(self) -> list[Any] | None:
        with contextlib.suppress(termios.error):
            return termios.tcgetattr(self._descriptor) if self._descriptor >= 0 else None
        return None

    @property
    def _is_in_foreground(self) -> bool:
        # proc_pid_stat(5): the process's group, and that of the foreground; tcgetpgrp tells no other process.
        with contextlib.suppress(OSError), open(f"/proc/{self._process}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
            return fields[2] == fields[5]
        return False
