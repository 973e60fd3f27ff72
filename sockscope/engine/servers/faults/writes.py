"""A server that writes without waiting for a slow reader: what is not read fills its memory, to a bound."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from weakref import WeakKeyDictionary

MOST_BYTES = 256 << 20
"""What the write buffers of all connections may hold together, about."""
MOST_BYTES_OF_ONE = 16 << 20
"""What that of one connection may hold."""
LEAST_BYTES_OF_ONE = 64 << 10
"""What it may hold in any case: the high-water mark of asyncio."""
LOOK_S = 0.1
"""How often the bound is set for connections that have come meanwhile."""


_Marks = tuple[int | None, int | None]


def _marks_of(transport: asyncio.Transport) -> _Marks:
    """Return the high and the low mark; None stands for asyncio's own, where a transport does not tell."""
    try:
        low, high = transport.get_write_buffer_limits()
    except (AttributeError, NotImplementedError):
        return None, None
    return high, low


class Undrained:
    """Raises the high-water marks of write buffers: below them a server never waits for a reader.

    Above its mark a connection waits as any other does, so that memory is bounded whatever a handler does.
    """

    def __init__(self, transports: Callable[[], Iterable[asyncio.Transport]]) -> None:
        self._transports = transports
        # What their marks were before.
        self._before: WeakKeyDictionary[asyncio.Transport, _Marks] = WeakKeyDictionary()
        self._most_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def buffered_bytes(self) -> int:
        """What is in the write buffers now; 0 when this is off."""
        if self._timer is None:
            return 0
        return sum(transport.get_write_buffer_size() for transport in self._transports())

    def apply(self, on: bool) -> None:
        """Raise the marks, or put them back: a connection with more in its buffer waits from then on."""
        if on and self._timer is None:
            self._look()
        elif not on and self._timer is not None:
            self._timer.cancel()
            self._timer = None
            for transport, (high, low) in list(self._before.items()):
                if not transport.is_closing():
                    transport.set_write_buffer_limits(high, low)
            self._before.clear()
            self._most_bytes = 0

    def take(self, transport: asyncio.Transport) -> None:
        """Raise the marks of a new connection, before anything is written to it."""
        if self._timer is not None:
            self._mark(transport)

    def _mark(self, transport: asyncio.Transport) -> None:
        if transport not in self._before:
            self._before[transport] = _marks_of(transport)
        transport.set_write_buffer_limits(high=self._most_bytes)

    def _look(self) -> None:
        """Let each have its share of the whole; in powers of two, so that it seldom changes."""
        transports = [transport for transport in self._transports() if not transport.is_closing()]
        share = MOST_BYTES // max(len(transports), 1)
        most_bytes = 1 << max(min(share, MOST_BYTES_OF_ONE), LEAST_BYTES_OF_ONE).bit_length() - 1
        changed, self._most_bytes = most_bytes != self._most_bytes, most_bytes
        for transport in transports if changed else ():
            self._mark(transport)
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)
