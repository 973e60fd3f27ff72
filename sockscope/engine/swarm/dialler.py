"""Who connects, when, and from where: the queue of clients without a connection."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter

from sockscope.core.connection import Address, format_address
from sockscope.core.events import CloseReason
from sockscope.engine.os_errors import close_reason, describe
from sockscope.engine.recorder import Recorder
from sockscope.engine.swarm.client import Client, ClientState

MOST_CONNECTING = 1_024
"""Connections that are under way at once."""
CONNECTS_PER_TURN = 32
"""Connections that are begun in one turn of the loop, which spends about 0.07 ms on each end: enough to ramp
9,000 clients in two seconds on a busy loop, few enough to keep its turns short."""
GIVE_UP_S = 1.0
"""How long attempts that are given up may take to end."""
LAST_SOURCE = 254
"""Last octet of the last loopback address to connect from."""


class Dialler:
    """Connects clients to ``target``, some in each turn of the loop.

    ``most_useful`` tells how many connections have a request to make.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, recorder: Recorder, most_useful: Callable[[], int | None]
    ) -> None:
        self.target: Address = ("", 0)
        self.source = ""
        """The address to connect from; empty: the kernel chooses."""
        self._loop = loop
        self._recorder = recorder
        self._most_useful = most_useful
        self._queue: deque[Client] = deque()
        # Each with the address that it connects from.
        self._connecting: dict[Client, str] = {}
        self._next_turn: asyncio.Handle | None = None
        self._held = self._closed = False

    @property
    def connecting(self) -> int:
        """Clients that wait for a connection: it is under way, or will be."""
        return len(self._queue) + len(self._connecting)

    def aim(self, target: Address) -> None:
        """Connect to this address from now on; every source address has all its ports there again."""
        if target != self.target:
            self.target, self.source = target, ""

    def add(self, client: Client) -> None:
        """Queue a client up."""
        if not self._closed:
            self._queue.append(client)
            self.go_on()

    def requeue(self, clients: Iterable[Client]) -> None:
        """Have these clients in the queue and no others."""
        self._queue = deque(clients)
        self.go_on()

    def ended(self, client: Client, error: OSError | None) -> None:
        """An attempt is over: with a connection, with an error, or (with neither) given up."""
        source = self._connecting.pop(client, self.source)
        self.go_on()
        if error is not None:
            self._failed(client, error, source)
        elif client.record is None and client.retiring:
            client.stop(CloseReason.RETIRED)

    def stop(self) -> None:
        """Begin nothing more."""
        self._closed = True
        self._queue.clear()

    async def close(self) -> None:
        """Give up what is under way, too."""
        self.stop()
        for client in list(self._connecting):
            client.retiring = True
            client.link.give_up_connecting()
        deadline_s = perf_counter() + GIVE_UP_S
        while self._connecting and perf_counter() < deadline_s:
            await asyncio.sleep(0.001)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Begin nothing until the block ends: meanwhile clients do not yet agree on target and transport."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            self.go_on()

    def go_on(self) -> None:
        """Begin connections in the next turns of the loop, as many as are of use by then."""
        if self._next_turn is None and self._queue and not self._closed:
            self._next_turn = self._loop.call_soon(self._connect_some)

    def _connect_some(self) -> None:
        self._next_turn = None
        left = CONNECTS_PER_TURN
        while self._queue and left and self._has_room:
            client = self._queue.popleft()
            if client.state is not ClientState.IDLE:
                continue
            left -= 1
            if client.retiring:
                # Since it was queued.
                client.stop(CloseReason.RETIRED)
                continue
            self._connecting[client] = self.source
            try:
                client.connect(self.target)
            except Exception as error:  # noqa: BLE001  # a fault of ours: the run fails, and can still end
                del self._connecting[client]
                context = {"message": "a client failed to connect", "exception": error}
                self._loop.call_exception_handler(context)
        if self._has_room:
            self.go_on()

    @property
    def _has_room(self) -> bool:
        """Whether one more connection may be begun."""
        useful = self._most_useful()
        most = MOST_CONNECTING if useful is None else min(MOST_CONNECTING, useful)
        return len(self._connecting) < most and not (self._closed or self._held)

    def _failed(self, client: Client, error: OSError, source: str) -> None:
        recorder = self._recorder
        reason = close_reason(error)
        if error.errno == errno.EADDRNOTAVAIL and (source != self.source or self._another_source()):
            client.come_back()
            return
        if reason is CloseReason.REFUSED:
            recorder.refused += 1
        elif reason is CloseReason.TIMEOUT:
            recorder.connect_timeouts += 1
        else:
            recorder.connect_failures += 1
        text = "no connection in time" if reason is CloseReason.TIMEOUT else describe(error)
        recorder.on_error(text, address=format_address(self.target), reason=reason)
        client.lost(reason, text)

    def _another_source(self) -> bool:
        """Go over to the next loopback source address when this one's ephemeral ports are used up."""
        if not self.target[0].startswith("127."):
            return False
        last = int(self.source.rpartition(".")[2]) if self.source else 1
        if last >= LAST_SOURCE:
            return False
        self.source = f"127.0.0.{last + 1}"
        return True
