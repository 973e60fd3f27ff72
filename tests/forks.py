"""Forks of an interpreter that has imported already what they run, as children of the process that asks.

Who asks sends one message with descriptors over a socket and is told the number of the new process; a fork
returns from :func:`fork_for_each` with the message and the descriptors.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import pkgutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

from sockscope.engine.process_tree import adopt_orphans

_REPOSITORY = Path(__file__).parents[1]
_LONGEST_REQUEST = 1 << 17
_MOST_DESCRIPTORS = 4
_GET_CHILD_SUBREAPER = 37
WAITING = "waits for forks"
"""The name (comm) of a fork that waits itself to be forked."""


class ForksOfFork:
    """What a fork asks that :func:`forks_of_this` has forked of it."""

    def __init__(self, asking: socket.socket) -> None:
        self._socket = asking

    def fork(self, asked: bytes, descriptors: Sequence[int]) -> int:
        """Return the number of a fork, which is a child of this process, with these descriptors."""
        with _adopting():
            socket.send_fds(self._socket, [asked], list(descriptors))
            return int(self._socket.recv(64))

    def close(self) -> None:
        """End what waits; its forks go on."""
        self._socket.close()


class Forks(ForksOfFork):
    """The interpreter that waits, and is forked for each request; ``run`` tells Python what it runs."""

    def __init__(self, *run: str) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        super().__init__(ours)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, *run, str(theirs.fileno())],
                cwd=_REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()], start_new_session=True,
            )  # fmt: skip

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


def import_all(package: str) -> None:
    """Import a package with its modules, except those that need what is not installed."""
    for found in pkgutil.walk_packages(import_module(package).__path__, f"{package}."):
        with suppress(ModuleNotFoundError):
            import_module(found.name)


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


def forks_of_this() -> tuple[ForksOfFork, None] | tuple[None, tuple[bytes, list[int]]]:
    """Return what this process, as it is now, is forked by; in a fork, the request with its descriptors."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork():
        theirs.close()
        return ForksOfFork(ours), None
    ours.close()
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)
    os.close(nothing)
    name = Path("/proc/self/comm").read_bytes()
    Path("/proc/self/comm").write_bytes(WAITING.encode())
    asked = fork_for_each(theirs)
    Path("/proc/self/comm").write_bytes(name)
    return None, asked


def leave(code: object) -> None:
    """End a fork as Python ends, but for taking the interpreter to pieces: that costs more than most runs.

    Returns where Python would say something at its end; it shall.
    """
    if not isinstance(code, int | None):
        return
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        return
    os._exit((code or 0) & 0xFF)
