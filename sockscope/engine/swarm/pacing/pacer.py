"""What every pacer offers to its client."""

from __future__ import annotations

from typing import Protocol


class Pacer(Protocol):
    """Decides when the link of one client sends its next request.

    The client tells it when the link is ready and when everything that was sent is answered. A pacer grants
    ``Link.steady`` while nothing stands between an answer and the next request: the link then sends it from
    the very callback that has read the answer, without asking anybody.
    """

    def ready(self) -> None:
        """The link is connected and idle: send now, or later."""
        ...

    def answered(self) -> None:
        """All requests of the link are answered or given up; the link is still connected."""
        ...

    def retune(self) -> bool:
        """Look at the tuning anew. Return whether the link is idle, so that it can be closed at once."""
        ...

    def resume(self) -> None:
        """The traffic is no longer paused, or there is a budget of requests again."""
        ...

    def withdraw(self) -> None:
        """The link is being closed, or is closed: leave every queue, and give back what is held.

        A permit is held as long as a request is under way; the client calls this again when it is settled.
        """
        ...
