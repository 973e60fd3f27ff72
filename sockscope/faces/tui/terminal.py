"""The terminal: wrong bytes, and a window that is closed."""

from __future__ import annotations

import codecs
import os
import signal
import stat
from collections.abc import Callable
from functools import partial

from textual.driver import Driver
from textual.drivers import linux_driver


def forgive_wrong_bytes() -> None:
    """Read bytes that are not UTF-8 (a pasted binary, an old mouse report) as question marks.

    Textual 8.2 decodes the terminal strictly: one wrong byte ends the thread that reads keys, and with it
    every way to quit.
    """

    def forgiving(encoding: str) -> partial[codecs.IncrementalDecoder]:
        return partial(codecs.getincrementaldecoder(encoding), "replace")

    vars(linux_driver)["getincrementaldecoder"] = forgiving


def watchful(driver: type[Driver], gone: Callable[[], None]) -> type[Driver]:
    """Return ``driver`` with a call of ``gone`` added, which is made on the loop when the terminal is closed.

    Without it the process would be killed and its run lost; or, where SIGHUP is ignored (nohup), it would go
    on for ever with its loop stuck in a full queue of pictures.
    """

    class WatchfulDriver(driver):  # type: ignore[misc, valid-type]
        _is_gone = False

        def start_application_mode(self) -> None:
            super().start_application_mode()
            self._loop.add_signal_handler(signal.SIGHUP, self._hang_up)

        def write(self, data: str) -> None:
            if not self._is_gone:
                super().write(data)

        def run_input_thread(self) -> None:
            try:
                super().run_input_thread()
            except OSError:
                # A terminal that does not control this process goes without a signal.
                self._loop.call_soon_threadsafe(self._hang_up)

        def _hang_up(self) -> None:
            if not self._is_gone:
                self._is_gone = True
                _let_go_of_the_terminal()
                gone()

    return WatchfulDriver


def _let_go_of_the_terminal() -> None:
    """Put the null device in the terminal's place, so that what is still said on leaving does not fail."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        if stat.S_ISCHR(os.fstat(descriptor).st_mode):
            os.dup2(null, descriptor)
    os.close(null)
