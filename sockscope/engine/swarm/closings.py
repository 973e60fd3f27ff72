"""When the server closes connections: whether it does so after the same number of answers each time."""

from __future__ import annotations

CERTAIN = 3
"""Connections in a row that have ended after the same number of answers, which is no chance then.

One client must have had two of them: many that end at once may be one event, such as the server's end.
"""


class Closings:
    """Connections that one server has ended although it had answered on them."""

    def __init__(self) -> None:
        self._answers = self._times = 0
        self._clients: set[int] = set()
        self._again = False

    def add(self, client: int, answers: int) -> str:
        """Take one more, of the client with this number; return what that shows of the server, with the cure,
        or nothing."""
        if answers != self._answers:
            self._answers, self._times, self._again = answers, 0, False
            self._clients.clear()
        self._times += 1
        self._again = self._again or client in self._clients
        self._clients.add(client)
        if self._times < CERTAIN or not self._again:
            return ""
        if answers == 1:
            return (
                "the server closes each connection after one answer: make lifetime that (--lifetime request)"
            )
        return (
            f"the server closes each connection after {answers:,} answers: "
            f"make lifetime as many (--lifetime {answers})"
        )
