"""Regular expressions over bytes, as people write them, found in a bounded time in whatever a server sends.

Python's :mod:`re` tries one way of matching after another, of which a pattern such as ``(a+)+$`` has 2^n in n
bytes. It searches what is short enough for the number of ways that the pattern has; what is longer is left to
an :class:`Automaton`, which follows all ways at once.
"""

from __future__ import annotations

import re
from functools import lru_cache

from sockscope.core.wire.automaton import Automaton, UnsuitedError, ways

MAX_PATTERN = 1 << 10
"""Longest regular expression, in characters."""
SEARCHED_BYTES = 64 << 10
"""How much is searched of what is longer: the first 64 KiB."""
MOST_TRIED = 1 << 22
"""Ways that :mod:`re` may try in one search: some ten milliseconds of them."""


_UNSUITED = re.compile(r"\(\?(?:<?[=!]|>|P=|\()|\\[1-9]|(?<=[*+?}])\+")
"""What an automaton cannot follow, as it is written."""


class Pattern:
    """A regular expression. ``octets`` is how it is written."""

    def __init__(self, octets: bytes, flags: re.RegexFlag = re.NOFLAG) -> None:
        """Raises re.error, or :class:`UnsuitedError` where a search might take minutes."""
        compiled = re.compile(octets, flags)
        self.octets = octets
        self._search = compiled.search
        self._short = ways(compiled).most_bytes(MOST_TRIED)
        self._automaton = Automaton(compiled) if self._short < SEARCHED_BYTES else None

    def is_in(self, data: bytes) -> bool:
        """Tell whether it is found in the first :data:`SEARCHED_BYTES` of ``data``."""
        if len(data) > SEARCHED_BYTES:
            data = data[:SEARCHED_BYTES]
        if self._automaton is None or len(data) <= self._short:
            return self._search(data) is not None
        return self._automaton.is_in(data)


@lru_cache(maxsize=32)
def parse_pattern(text: str) -> Pattern:
    """Return the regular expression that ``text`` stands for, with or without slashes around it.

    It is one of Python's :mod:`re` over bytes; ``/.../i`` pays no heed to case. Raises ValueError with the
    reason and the place.
    """
    written, flags = text, re.NOFLAG
    if found := re.fullmatch(r"/(.*)/(i?)", text, re.DOTALL):
        written, flags = found[1], re.IGNORECASE if found[2] else flags
    elif flagged := re.fullmatch(r"/.*/([gimsuxy]{1,2})", text, re.DOTALL):
        raise ValueError(f"has the flags {flagged[1]!r}; only i is known, others are written as (?s) or (?m)")
    if not written:
        raise ValueError("is an empty pattern, which is found everywhere")
    if len(written) > MAX_PATTERN:
        raise ValueError(f"is longer than {MAX_PATTERN:,} characters")
    try:
        return Pattern(written.encode(), flags)
    except UnsuitedError as error:
        at = _UNSUITED.search(text)
        where = f" at character {at.start() + 1}" if at else ""
        raise ValueError(f"could take minutes to search for: {error}{where}") from None
    except UnicodeEncodeError:
        raise ValueError("is not UTF-8; write such bytes as \\xNN") from None
    except (re.error, OverflowError, RecursionError) as error:
        place = getattr(error, "pos", None)
        where = "" if place is None else f" at character {place + 1 + (written != text)}"
        raise ValueError(f"is no regular expression: {getattr(error, 'msg', error)}{where}") from None
