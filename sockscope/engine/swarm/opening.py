"""How the clients of a target find out whether it speaks unasked, before they all ask.

Where an answer is not the request again, nothing tells a greeting from it, nor the second of two answers from
that to the next request. So the first clients listen before they ask. Then one of them asks, and its answer
counts when nothing has followed for as long again; the others listen meanwhile. What any of them hears nobody
has asked for, and the next ones listen for longer than it took to come.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sockscope.engine.swarm.client import Client

LISTEN_S = 0.05
"""How long is listened at least, before the first request and after its answer."""
MOST_S = 0.5
"""How long the others wait for the client that asks first, at most."""


class Opening:
    """The beginning of the talk with a server, until it is known to speak only when it is asked.

    ``listens``: clients listen on a new connection before they ask, ``listen_s`` long. ``first`` is the
    client that asks while the others listen.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, listens: bool) -> None:
        self.listens = listens
        self.listen_s = LISTEN_S
        self.first: Client | None = None
        self._loop = loop
        self._spoken = False
        self._others: list[Client] = []
        self._most: asyncio.TimerHandle | None = None
        # When the first request went out, but for as long as was listened behind its answer.
        self._began_s = 0.0
        self._asked, self._over = asyncio.Event(), asyncio.Event()

    async def over(self) -> float:
        """Return when it is known whether all may ask, or nobody connects: when the time of the run began."""
        try:
            async with asyncio.timeout(2 * LISTEN_S):
                await self._asked.wait()
        except TimeoutError:
            return perf_counter()
        await self._over.wait()
        return self._began_s

    def heard_nothing(self, client: Client) -> None:
        """A client has listened in vain: let it ask, or go on listening while another one asks first."""
        if self.listens and self.first is not None:
            self._others.append(client)
            return
        if self.listens:
            # What was heard before says nothing of the answer to this one.
            self.first, self._spoken = client, False
            if not self._asked.is_set():
                self._asked.set()
                self._began_s = perf_counter()
                self._most = self._loop.call_later(MOST_S, self._waited_enough)
        client.begin()

    def answered(self, seconds: float) -> None:
        """The first request was answered, and took so long: listen to what follows."""
        first = self.first

        def nothing_followed() -> None:
            if first is None or first is not self.first or first.link.hear():
                return
            for other in list(self._others):
                other.hears_nothing()
            if self._spoken:
                first.link.disbelieve()
            else:
                self._end()

        self._loop.call_later(max(LISTEN_S, 2 * seconds), nothing_followed)

    def heard(self, after_s: float) -> None:
        """Something came unasked, so long after the connection was made."""
        self._spoken = self.listens = True
        self.listen_s = max(self.listen_s, 2 * after_s)

    def gone(self) -> None:
        """The connection of the client that asked first has ended."""
        if not self._spoken:
            self._end()
            return
        self.first = None
        self._over.set()
        self._wake_others()

    def _waited_enough(self) -> None:
        self._over.set()
        if not self._spoken:
            self._end()

    def _end(self) -> None:
        """Let all clients ask."""
        first, self.first = self.first, None
        self.listens = self._spoken = False
        if first is not None:
            self._began_s += first.link.believe()
        self._over.set()
        self._wake_others()

    def _wake_others(self) -> None:
        others, self._others = self._others, []
        for other in others:
            other.listened()
