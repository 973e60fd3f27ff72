"""What the pacers of both loops share: the place of a connection, its wear, and the time it asks nothing."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sockscope.engine.swarm.client import Client, SwarmContext
    from sockscope.engine.swarm.pacing.pacer import Pacer


class Paced:
    """A connection that a pacer looks after."""

    __slots__ = ("_client", "_swarm", "_waited_for_place", "has_place", "idle_since_s")

    def __init__(self, client: Client, swarm: SwarmContext) -> None:
        self._client = client
        self._swarm = swarm
        # Whether the connection is known to be served.
        self.has_place = False
        # Whether what was waited for before the next request was a place and nothing after it.
        self._waited_for_place = False
        # Since when the connection asks nothing; 0: it asks, or is not there.
        self.idle_since_s = 0.0

    @property
    def wanted_since_s(self) -> float:
        """Since when its client waits to ask, on the swarm's clock; 0: it does not, or none waits with it."""
        return 0.0

    def take_over(self, former: Pacer) -> None:
        """Look after the connection from now on, as ``former`` has left it, which holds nothing any more."""
        self.has_place = former.has_place
        self.idle_since_s = former.idle_since_s

    def go_in(self) -> None:
        """The server may have a place for the connection."""
        self._waited_for_place = True
        self._client.proceed()

    def idle(self, now_s: float = 0.0) -> None:
        """The connection asks nothing for now; ``now_s`` is the moment, where it is known."""
        if not self.idle_since_s:
            self.idle_since_s = now_s = now_s or perf_counter()
            self._swarm.idle.begin(now_s)

    def _enters(self) -> bool:
        """Return whether the server has a place for a new connection; if not, :meth:`go_in` follows."""
        return self._swarm.places.enter(self._client)

    def _is_served(self) -> None:
        """There was an answer on the connection, which was not known to be served."""
        record = self._client.link.record
        if record is not None and record.frames_in:
            self.has_place = True
            self._swarm.places.serve(self._client)

    def _leave_place(self) -> None:
        self.has_place = self._waited_for_place = False
        self._swarm.places.leave(self._client)

    def _is_worn(self) -> bool:
        """Whether the connection has carried as many requests as it is to carry."""
        record, lifetime = self._client.link.record, self._swarm.tuning.lifetime
        return bool(lifetime) and record is not None and record.frames_out >= lifetime

    def _busy(self, now_s: float) -> None:
        """It asks, or is not there any more."""
        if self.idle_since_s:
            self._swarm.idle.end(self.idle_since_s, now_s)
            self.idle_since_s = 0.0

    def _came_in(self) -> None:
        """The connection is about to ask, and has waited for a place."""
        self._waited_for_place = False
        self._swarm.places.waited += 1

    def _renew(self) -> None:
        """Make the next request anew, as the tuning has changed."""
        self._client.link.renew(self._swarm.request_bytes_for(self._client))
