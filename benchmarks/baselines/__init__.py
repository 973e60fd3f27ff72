"""What SockScope is measured against: the same echo, bare, with nothing that observes it.

`native` runs a pure C program, `bare` runs the smallest Python protocols on the loop of the caller. Each
counts the round trips of a closed loop: N clients, each sends its next message when the last was answered.
"""

from __future__ import annotations


class BaselineError(RuntimeError):
    """A baseline run whose figure would mean nothing: it lost a peer or a datagram, or ended in no time."""
