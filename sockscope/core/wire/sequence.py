"""Sequence numbers in UDP requests: how loss, duplicates and reordering are counted, not guessed.

A request's first eight bytes are its number, big-endian, starting at 1 for each client socket.
"""

from __future__ import annotations

SEQUENCE_BYTES = 8
WINDOW = 1_024
"""How far from the last number one is believed, and how many missing numbers a receiver remembers."""

_NEW, _OLD, _LOST = range(3)


def number_of(datagram: bytes) -> int:
    """Return the sequence number that a datagram carries, or 0 when it is too short for one."""
    return int.from_bytes(datagram[:SEQUENCE_BYTES], "big") if len(datagram) >= SEQUENCE_BYTES else 0


class SequenceTracker:
    """Counts what one receiver saw of a numbered stream of datagrams.

    ``highest``: the number seen last of those that are believed (0 = none). ``lost``: numbers that were
    missing for two calls of :meth:`settle`, or are forgotten; it never goes back. ``duplicated``: datagrams
    whose number had arrived before. ``reordered``: datagrams that arrived after one with a higher number.
    ``jumps``: datagrams whose number is further than :data:`WINDOW` from the one before. Anybody can send
    those; the stream goes on from there, and nothing in between is called lost. ``after`` is the last number
    of a stream that is taken up again.
    """

    __slots__ = (
        "_jumped_to",
        "_missing",
        "_undecided",
        "duplicated",
        "highest",
        "jumps",
        "lost",
        "reordered",
    )

    def __init__(self, after: int = 0) -> None:
        self.highest = after
        self.lost = 0
        self.duplicated = 0
        self.reordered = 0
        self.jumps = 0
        # Where the last jump went, which counts for nothing until the next number follows.
        self._jumped_to = -1
        self._missing: dict[int, int] = {}
        self._undecided = 0

    @property
    def missing(self) -> int:
        """How many numbers have not arrived and are not called lost yet."""
        return self._undecided

    def awaits(self, number: int) -> bool:
        """Whether ``number`` is one of those that have not arrived."""
        return number in self._missing

    def arrived(self, number: int) -> bool:
        """Count the arrival of ``number`` (0 = none); return False when it is a duplicate.

        For the number that follows the highest this only moves ``highest`` on, which a caller in a hurry
        may do by itself.
        """
        ahead = number - self.highest
        if ahead == 1:
            self.highest = number
        elif number < 1:
            pass
        elif not -WINDOW < ahead <= WINDOW or self.highest == self._jumped_to:
            self._jump(number)
        elif ahead > 0:
            for skipped in range(self.highest + 1, number):
                self._missing[skipped] = _NEW
            self._undecided += ahead - 1
            while len(self._missing) > WINDOW:
                self._lose(next(iter(self._missing)))
            self.highest = number
        elif number in self._missing:
            self._undecided -= self._missing.pop(number) != _LOST
            self.reordered += 1
        else:
            self.duplicated += 1
            return False
        return True

    def _jump(self, number: int) -> None:
        # The first number of all is one that a peer has counted up to elsewhere.
        self.jumps += self.highest > 0
        self.give_up()
        self.highest = self._jumped_to = number

    def _lose(self, number: int) -> None:
        if self._missing.pop(number) != _LOST:
            self._undecided -= 1
            self.lost += 1

    def settle(self) -> None:
        """Call lost what was missing at the call before already; to be called every now and then."""
        if not self._undecided:
            return
        for number, age in self._missing.items():
            if age == _OLD:
                self._undecided -= 1
                self.lost += 1
            self._missing[number] = min(age + 1, _LOST)

    def give_up(self) -> None:
        """Call everything lost that is missing: no more is expected of it."""
        self.lost += self._undecided
        self._undecided = 0
        self._missing.clear()
