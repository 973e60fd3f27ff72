"""Forks of an interpreter that has imported already what they run, as children of the process that asks.

Who asks sends one message with descriptors over a socket and is told the number of the new process; a fork
returns from :func:`fork_for_each` with the message and the descriptors.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sockscope.engine.process_tree import adopt_orphans

_REPOSITORY = Path(__file__).parents[1]
_LONGEST_REQUEST = 1 << 17
_MOST_DESCRIPTORS = 3
_GET_CHILD_SUBREAPER = 37


class Forks:
    """The interpreter that waits, and is forked for each request; ``run`` tells Python what it runs."""

    def __init__(self, *run: str) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, *run, str(theirs.fileno())],
                cwd=_REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()], start_new_session=True,
            )  # fmt: skip

    def fork(self, asked: bytes, descriptors: Sequence[int]) -> int:
        """Return the number of a fork, which is a child of this process, with these descriptors."""
        with _adopting():
            socket.send_fds(self._socket, [asked], list(descriptors))
            return int(self._socket.recv(64))

    def close(self) -> None:
        """End the interpreter; its forks go on."""
        self._socket.close()
        self._process.wait()


@contextmanager
def _adopting() -> Iterator[None]:
    """Be the parent of what is forked and let go of meanwhile (prctl(2), PR_SET_CHILD_SUBREAPER)."""
    before = ctypes.c_int()
    ctypes.CDLL(None).prctl(_GET_CHILD_SUBREAPER, ctypes.byref(before))
    adopt_orphans(True)
    try:
        yield
    finally:
        adopt_orphans(bool(before.value))


def fork_for_each(asked: socket.socket) -> tuple[bytes, list[int]]:
    """Fork for each request; return it with its descriptors, in the fork, which has its own session."""
    while True:
        data, given, _, _ = socket.recv_fds(asked, _LONGEST_REQUEST, _MOST_DESCRIPTORS)
        if not data:
            os._exit(0)
        told, tell = os.pipe()
        if between := os.fork():
            for descriptor in (*given, tell):
                os.close(descriptor)
            pid = os.read(told, 64)
            os.close(told)
            os.waitpid(between, 0)  # from now on who asks is the parent
            asked.send(pid)
            continue
        between = os.getpid()
        if child := os.fork():
            os.write(tell, b"%d" % child)
            os._exit(0)
        while os.getppid() == between:
            time.sleep(0.0005)
        os.close(told)
        os.close(tell)
        asked.close()
        os.setsid()
        return data, given
