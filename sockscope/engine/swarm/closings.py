"""When the server closes connections: whether it does so after the same number of answers each time."""

from __future__ import annotations

CERTAIN = 3
"""Connections in a row that have ended after the same number of answers, which is no chance then."""


class Closings:
    """Connections that the server has ended although it had answered on them."""

    def __init__(self) -> None:
        self._answers = self._times = 0

    def add(self, answers: int) -> str:
        """Take one more; return what that shows of the server, with the cure, or nothing."""
        if answers != self._answers:
            self._answers, self._times = answers, 0
        self._times += 1
        if self._times < CERTAIN:
            return ""
        if answers == 1:
            return (
                "the server closes each connection after one answer: make lifetime that (--lifetime request)"
            )
        return (
            f"the server closes each connection after {answers:,} answers: "
            f"make lifetime as many (--lifetime {answers})"
        )
