"""Sequence numbers in UDP requests: how loss, duplicates and reordering are counted, not guessed.

A request's first eight bytes are its number, big-endian, starting at 1 for each client socket.
"""

from __future__ import annotations

SEQUENCE_BYTES = 8
WINDOW = 1_024
"""How many missing numbers a receiver remembers, the newest ones."""
LARGEST_JUMP = 1 << 20
"""A number this far ahead is no sequence number: the peer does not count its datagrams."""


def number_of(datagram: bytes) -> int:
    """Return the sequence number that a datagram carries, or 0 when it is too short for one."""
    return int.from_bytes(datagram[:SEQUENCE_BYTES], "big") if len(datagram) >= SEQUENCE_BYTES else 0


class SequenceTracker:
    """Counts what one receiver saw of a numbered stream of datagrams.

    ``highest``: the highest number seen (0 = none). ``missing``: numbers up to the highest that have not
    arrived so far. ``duplicated``: datagrams whose number had arrived before. ``reordered``: datagrams that
    arrived after one with a higher number. A peer that does not number its datagrams is noticed by a number
    that jumps more than 2**20 ahead; ``numbered`` then turns False, and nothing is missing, duplicated or
    reordered any more. ``after`` is the last number of a stream that is taken up again.
    """

    __slots__ = ("_missing", "duplicated", "highest", "missing", "numbered", "reordered")

    def __init__(self, after: int = 0) -> None:
        self.highest = after
        self.missing = 0
        self.duplicated = 0
        self.reordered = 0
        self.numbered = True
        self._missing: dict[int, None] = {}

    @property
    def unique(self) -> int:
        """How many distinct numbers arrived."""
        return self.highest - self.missing

    def arrived(self, number: int) -> bool:
        """Count the arrival of ``number``; return False when it is a duplicate.

        For the number that follows the highest this only moves ``highest`` on, which a caller in a hurry
        may do by itself.
        """
        ahead = number - self.highest
        if ahead == 1:
            self.highest = number
            return True
        if not self.numbered or number < 1 or ahead > LARGEST_JUMP:
            self.numbered = False
            self.highest = self.missing = self.duplicated = self.reordered = 0
            self._missing.clear()
            return True
        if ahead > 0:
            for skipped in range(max(self.highest + 1, number - WINDOW), number):
                self._missing[skipped] = None
            while len(self._missing) > WINDOW:
                del self._missing[next(iter(self._missing))]
            self.missing += ahead - 1
            self.highest = number
            return True
        if number in self._missing:
            del self._missing[number]
            self.missing -= 1
            self.reordered += 1
            return True
        self.duplicated += 1
        return False
