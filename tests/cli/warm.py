"""The command in a fork of an interpreter that has imported it already.

A fork is a process of its own in all that a test can see: streams, environment, folder, signals, exit code.
What it lacks is the start of Python and the imports, which cost more than the rest of a short run.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

_REPOSITORY = Path(__file__).parents[2]
_PRELOADED = ("sockscope.cli.app", "sockscope.cli.doctor", "sockscope.faces.headless", "sockscope.faces.race")
_LONGEST_REQUEST = 1 << 17


class WarmInterpreter:
    """Runs one command after the other, each in a fork; started with the first one."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def run(
        self, argv: Sequence[str], env: Mapping[str, str], cwd: Path | None, limit_s: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, with nothing to read, and return what it wrote, as ``subprocess.run``."""
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        nothing = os.open(os.devnull, os.O_RDONLY)
        with ThreadPoolExecutor(2) as pool:
            written = [pool.submit(_all_of, descriptor) for descriptor in (out, err)]
            try:
                code = self._exit_code(argv, env, cwd, (nothing, out_end, err_end), limit_s)
            finally:
                for descriptor in (nothing, out_end, err_end):
                    os.close(descriptor)
            return subprocess.CompletedProcess(list(argv), code, *(text.result() for text in written))

    def _exit_code(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: Path | None,
        streams: Sequence[int],
        limit_s: float,
    ) -> int:
        if self._socket is None:
            self._start()
        assert self._socket is not None
        self._socket.settimeout(limit_s)
        asked = json.dumps([list(argv), dict(env), str(cwd or Path.cwd())])
        socket.send_fds(self._socket, [asked.encode()], list(streams))
        try:
            return int(self._socket.recv(64))
        except TimeoutError:
            self.close()
            raise subprocess.TimeoutExpired(list(argv), limit_s) from None

    def _start(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                cwd=_REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()], process_group=0,
            )  # fmt: skip

    def close(self) -> None:
        """End it, and a command that hangs with it."""
        if self._process is not None and self._socket is not None:
            self._socket.close()
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = self._socket = None


def _all_of(descriptor: int) -> str:
    with os.fdopen(descriptor) as stream:
        return stream.read()


def _fork_for_each(asked: socket.socket) -> list[str]:
    """Fork for each command that is asked for; return its words, in the fork."""
    while True:
        data, descriptors, _, _ = socket.recv_fds(asked, _LONGEST_REQUEST, 3)
        if not data:
            os._exit(0)
        if child := os.fork():
            for descriptor in descriptors:
                os.close(descriptor)
            _, status = os.waitpid(child, 0)
            asked.send(b"%d" % os.waitstatus_to_exitcode(status))
            continue
        asked.close()
        for standard, descriptor in enumerate(descriptors):
            os.dup2(descriptor, standard)
            os.close(descriptor)
        words, env, cwd = json.loads(data)
        os.environ.clear()
        os.environ.update(env)
        os.chdir(cwd)
        return list(words)


def _main() -> None:
    for name in _PRELOADED:
        import_module(name)
    gc.freeze()  # what every fork shares
    from sockscope.__main__ import main

    sys.argv = _fork_for_each(socket.socket(fileno=int(sys.argv[1])))
    sys.path[0] = os.path.dirname(sys.argv[0])
    main()


if __name__ == "__main__":
    _main()
