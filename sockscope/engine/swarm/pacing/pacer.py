"""What every pacer offers to its client."""

from __future__ import annotations

from typing import Protocol


class Pacer(Protocol):
    """Decides when the link of one client sends its next request.

    The client tells it when the link is ready and when everything that was sent is answered. A pacer grants
    ``Link.steady`` while nothing stands between an answer and the next request: the link then sends it from
    the very callback that has read the answer, without asking anybody.
    """

    idle_since_s: float
    """When the client began to ask nothing, on its connection; 0 while it asks."""

    has_place: bool
    """Whether the connection is known to be served."""

    @property
    def wanted_since_s(self) -> float:
        """Since when its client waits to ask, on the swarm's clock; 0: it does not, or none waits with it."""
        ...

    def ready(self) -> None:
        """The link is connected and idle: send now, or later."""
        ...

    def wants(self) -> None:
        """The client would ask now if it had a connection, which it is about to get."""
        ...

    def idle(self, now_s: float = 0.0) -> None:
        """The connection asks nothing for now; ``now_s`` is the moment, where it is known."""
        ...

    def answered(self) -> None:
        """All requests of the link are answered or given up; the link is still connected."""
        ...

    def answered_some(self) -> None:
        """A request of the link is answered or given up, and others are still under way."""
        ...

    def go_in(self) -> None:
        """The server may have a place for the connection that waited for one."""
        ...

    def retune(self) -> bool:
        """Look at the tuning anew. Return whether the link is idle, so that it can be closed at once."""
        ...

    def resume(self) -> None:
        """The traffic is no longer paused, or there is a budget of requests again."""
        ...

    def take_over(self, former: Pacer) -> None:
        """Pace the client from now on, whose connection is as ``former`` has left it."""
        ...

    def step_back(self) -> None:
        """Another pacer takes over, and nothing is under way: leave every queue, and give back what is held,
        but for the place at the server."""
        ...

    def withdraw(self) -> None:
        """The link is being closed, or is closed: leave every queue, and give back what is held.

        A permit is held as long as a request is under way; the client calls this again when it is settled.
        """
        ...
