"""The thread of a client that blocks: it does what it is ordered to, one order after the other."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sockscope.engine.swarm.client import Client, SwarmContext

Order = Callable[[], object]


class ClientThread:
    """A thread that begins with the first connection of its client and ends with the client."""

    __slots__ = ("_begun", "_client", "_orders", "_swarm", "lock")

    def __init__(self, swarm: SwarmContext, client: Client) -> None:
        self._swarm = swarm
        self._client = client
        self._begun = False
        self._orders: SimpleQueue[Order | None] = SimpleQueue()
        self.lock = threading.RLock()
        """Around what thread and loop both touch while the thread is at work."""

    def begin(self) -> None:
        """Start the thread, unless it runs; raises OSError where the system gives no more threads."""
        if self._begun:
            return
        try:
            self._swarm.thread_group.start(f"client {self._client.number}", self._work)
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, "no more threads") from error
        self._begun = True

    def order(self, order: Order) -> None:
        """Have this called when what was ordered before is done."""
        self._orders.put(order)

    def end(self) -> None:
        """Let the thread end when what was ordered is done."""
        if self._begun:
            self._orders.put(None)

    def tell(self, call: Callable[..., None], *args: object) -> None:
        """Have the loop call this; for the thread."""
        self._swarm.loop.call_soon_threadsafe(call, *args)

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            order()
