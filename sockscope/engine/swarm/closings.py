"""When the server closes connections: after how many answers, and whether that is its habit."""

from __future__ import annotations

import math

from sockscope.core.units import counted, format_duration

CERTAIN = 3
"""Connections in a row that have ended after the same number of answers, which is no chance then.

One client must have had two of them: many that end at once may be one event, such as the server's end.
"""
OFTEN = 5
"""Connections of one client that have ended after whatever numbers of answers, which is no event then."""
SILENT_S = 0.05
"""A server that closes after so many answers does so at once; after this time it has waited for a request."""


class Closings:
    """Connections that one server has ended although it had answered on them."""

    def __init__(self) -> None:
        self._answers = self._times = 0
        self._clients: set[int] = set()
        self._again = self._often = False
        self._by_client: dict[int, int] = {}
        self._fewest = self._most = 0
        self._silent: dict[int, int] = {}
        self._shortest_s = math.inf

    def add(self, client: int, answers: int, silent_s: float = 0.0) -> str:
        """Take one more, of the client with this number, which had asked nothing for ``silent_s``; return
        what that shows of the server, with the cure, or nothing."""
        if silent_s >= SILENT_S:
            return self._add_silent(client, silent_s)
        if answers != self._answers:
            self._answers, self._times, self._again = answers, 0, False
            self._clients.clear()
        self._times += 1
        self._again = self._again or client in self._clients
        self._clients.add(client)
        self._by_client[client] = self._by_client.get(client, 0) + 1
        self._often = self._often or self._by_client[client] >= OFTEN
        self._fewest = min(self._fewest or answers, answers)
        self._most = max(self._most, answers)
        if self._times >= CERTAIN and self._again:
            ended = "one answer" if answers == 1 else counted(answers, "answer")
            return f"the server closes each connection after {ended}; {_cure(answers)}"
        if self._often:
            ended = f"{self._fewest:,} to {counted(self._most, 'answer')}"
            return f"the server closes connections after {ended}; {_cure(self._fewest)}"
        return ""

    def _add_silent(self, client: int, silent_s: float) -> str:
        self._silent[client] = self._silent.get(client, 0) + 1
        self._shortest_s = min(self._shortest_s, silent_s)
        if sum(self._silent.values()) < CERTAIN or self._silent[client] < 2:
            return ""
        silence = format_duration(self._shortest_s)
        return (
            f"the server closes connections that ask nothing for {silence}; less --think-time keeps them open"
        )


def _cure(answers: int) -> str:
    lifetime = "request" if answers == 1 else answers
    return f"with --lifetime {lifetime} the clients close first"
