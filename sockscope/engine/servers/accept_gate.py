"""When a server stops accepting because no descriptors are left, and when it goes on.

Peers decide how many connections there are, so they can use up what the rest of the process needs: a look at
its own memory, a file to write, a child process. They get all descriptors but a few. Whoever connects
meanwhile waits in the kernel's backlog; who is connected is served.
"""

from __future__ import annotations

import errno

from sockscope.core.events import CloseReason
from sockscope.engine.limits import descriptor_limit, open_descriptors
from sockscope.engine.os_errors import describe
from sockscope.engine.recorder import Recorder
from sockscope.engine.threads import ThreadRecorder

ACCEPT_PAUSE_S = 0.1
"""How often a server that has stopped looks whether there is room again: the listener stays readable, and
would keep its loop busy."""
SPARE_DESCRIPTORS = 16
"""Descriptors that peers do not get; of a low limit an eighth."""
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""The process or the system has nothing left to make a connection of."""


def spare_descriptors() -> range:
    """Return the numbers of those descriptors that peers do not get."""
    most = descriptor_limit()
    return range(most - min(SPARE_DESCRIPTORS, most // 8), most)


class AcceptGate:
    """Whether an endpoint accepts. Its episodes are counted and logged once each, however long they last."""

    def __init__(self, recorder: Recorder | ThreadRecorder) -> None:
        self._recorder = recorder
        spared = spare_descriptors()
        self._most, self._spare = spared.stop, len(spared)
        self.why_not = ""
        """Why nobody is accepted at the moment, in words; empty while somebody may be."""

    def accepted(self, descriptor: int) -> bool:
        """Note that a connection got this descriptor; return whether the next one may be accepted."""
        # The kernel gives the lowest number that is free.
        if descriptor < self._most - self._spare:
            self.open()
            return True
        self._stop(f"{descriptor + 1:,} of {self._most:,} descriptors of this process are in use")
        return False

    def failed(self, error: OSError) -> bool:
        """Take an error of accept; return whether the next connection may be accepted at once."""
        if error.errno in EXHAUSTED:
            self._stop(describe(error).lower())
            return False
        # ECONNABORTED and the like concern one peer.
        self._recorder.on_error(f"cannot accept: {describe(error)}", reason=CloseReason.OS_ERROR)
        return True

    def has_room(self) -> bool:
        """Return whether so many descriptors are free again that it is worth another try."""
        used = open_descriptors()
        return used is None or used <= self._most - 2 * self._spare

    def open(self) -> None:
        """Everybody who wanted a connection has got it, or there is room for more."""
        if self.why_not:
            self.why_not = ""
            self._recorder.accepts_again()

    def _stop(self, why: str) -> None:
        if not self.why_not:
            self.why_not = why
            self._recorder.stops_accepting(why)
