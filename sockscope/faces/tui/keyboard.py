"""What comes from the terminal: bytes that are not UTF-8, and keys that a busy loop should hear of soon."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from functools import partial

from textual import events
from textual.driver import Driver
from textual.drivers import linux_driver
from textual.message import Message


def forgive_wrong_bytes() -> None:
    """Read bytes that are not UTF-8 (a pasted binary, an old mouse report) as question marks.

    Textual 8.2 decodes the terminal strictly: one wrong byte ends the thread that reads keys, and with it
    every way to quit.
    """

    def forgiving(encoding: str) -> partial[codecs.IncrementalDecoder]:
        return partial(codecs.getincrementaldecoder(encoding), "replace")

    vars(linux_driver)["getincrementaldecoder"] = forgiving


def attentive(driver: type[Driver], attend: Callable[[], None]) -> type[Driver]:
    """Return ``driver`` with ``attend`` called on the loop as soon as a key, click or paste has been read.

    A key passes about six turns of the loop before it is painted, and under saturating clients each of them
    is long.
    """

    class AttentiveDriver(driver):  # type: ignore[misc, valid-type]
        def send_message(self, message: Message) -> None:
            if isinstance(message, events.Key | events.MouseDown | events.MouseUp | events.Paste):
                self._loop.call_soon_threadsafe(attend)
            super().send_message(message)

    return AttentiveDriver
