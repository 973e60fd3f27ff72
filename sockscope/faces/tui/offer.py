"""What a screen offers to those who want to keep it: text for the clipboard, and files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol, runtime_checkable

CLIPBOARD_BYTES = 48 * 1024
"""The most that is copied: it goes to terminals as base64, and some drop sequences beyond 75,000 bytes."""


class Clipping(NamedTuple):
    """Text for the clipboard, and what it is in words (``log``)."""

    text: str
    what: str

    def bounded(self) -> tuple[str, str]:
        """Return as many whole lines as the clipboard takes, and a sentence that tells what was copied."""
        lines = self.text.splitlines()
        kept, size = 0, 0
        for line in lines:
            size += len(line.encode()) + 1
            if size > CLIPBOARD_BYTES:
                break
            kept += 1
        if kept < len(lines):
            return "\n".join(
                lines[:kept]
            ), f"copied the first {kept:,} of {len(lines):,} lines of {self.what}"
        return self.text, f"copied {kept:,} line{'' if kept == 1 else 's'} of {self.what}"


@runtime_checkable
class Offering(Protocol):
    """A screen of which something can be kept."""

    def clipping(self) -> Clipping:
        """Return what is to be copied; an empty text when there is nothing."""

    def files(self) -> Mapping[str, str]:
        """Return what is to be written, by the ending of the file's name; a picture is added to it."""
