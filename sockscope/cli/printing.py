"""What is printed may come from a file or a variable."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return ``text`` without control characters, its line ends kept."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)
