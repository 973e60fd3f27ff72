"""Bytes from the terminal that are not UTF-8: a pasted binary, another encoding, an old mouse report."""

from __future__ import annotations

import codecs
from functools import partial

from textual.drivers import linux_driver


def forgive_wrong_bytes() -> None:
    """Read such bytes as question marks.

    Textual 8.2 decodes the terminal strictly: one wrong byte ends the thread that reads keys, and with it
    every way to quit.
    """

    def forgiving(encoding: str) -> partial[codecs.IncrementalDecoder]:
        return partial(codecs.getincrementaldecoder(encoding), "replace")

    vars(linux_driver)["getincrementaldecoder"] = forgiving
