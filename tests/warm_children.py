"""Children of the engine as forks of an interpreter that has imported already what they run.

Such a child is what the engine would have started: a child of this process in a session of its own, with the
streams, the environment, the folder and the one descriptor that it was given. What it lacks is the start of
Python and the imports, which cost ten times what most tests do with a child. Modules whose tests say
``usefixtures("warm_children")`` get them; in the others, children are started as users start them.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import runpy
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from sockscope.engine.placement.hosts.child_process import WORKER
from tests.forks import Forks, ForksOfFork, fork_for_each, import_all, leave

_PYTHON = sys.executable


def children() -> list[psutil.Process]:
    """Return the children of this process that run, with theirs; the interpreter that waits is none."""
    every = psutil.Process().children(recursive=True)
    running = [child for child in every if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in running if not _waits(child) or child.pid in _STARTED]


def _waits(child: psutil.Process) -> bool:
    """Tell whether this is an interpreter that waits to be forked, or a fork of one."""
    words = child.cmdline()
    return __name__ in words or any("wait_to_be_forked" in word for word in words)


_STARTED: set[int] = set()
"""Children that were started warm, by number."""


class WarmProcess:
    """What the engine uses of a process of asyncio, for a child that the loop has not started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    async def wait(self) -> int:
        """Wait for its end and return its exit code, negative for a signal."""
        if self._code is None:
            loop, ended = asyncio.get_running_loop(), asyncio.Event()
            descriptor = os.pidfd_open(self.pid)
            loop.add_reader(descriptor, ended.set)
            try:
                await ended.wait()
            finally:
                loop.remove_reader(descriptor)
                os.close(descriptor)
            _, status = os.waitpid(self.pid, 0)  # noqa: ASYNC222  # it has ended
            self._code = os.waitstatus_to_exitcode(status)
            _STARTED.discard(self.pid)
        return self._code


class WarmChildren:
    """What waits, and is forked for each child; an interpreter of its own unless ``forks`` are given."""

    def __init__(self, forks: ForksOfFork | None = None) -> None:
        self._forks = forks or Forks("-m", __name__)

    def close(self) -> None:
        """End it."""
        self._forks.close()

    def start(
        self, argv: Sequence[str], stdin: int, stderr: int, channel: int, env: Mapping[str, str]
    ) -> WarmProcess:
        """Start the child that these arguments are of."""
        module = argv[argv.index("-m") + 1]
        asked = json.dumps([module, argv[-1], dict(env), str(Path.cwd())])
        pid = self._forks.fork(asked.encode(), [stdin, stderr, channel])
        _STARTED.add(pid)
        return WarmProcess(pid)


def start_warm(warm: WarmChildren) -> None:
    """Let the engine's children be forks of ``warm``, but for those with an allocator of their own."""
    cold = asyncio.create_subprocess_exec

    async def start(*argv: Any, **given: Any) -> Any:
        env = given.get("env") or {}
        channel = given.get("pass_fds", ())
        of_the_engine = argv[0] == _PYTHON and argv[-4:-3] == ("-m",) and len(channel) == 1
        if not of_the_engine or env.keys() - os.environ.keys():
            return await cold(*argv, **given)
        return warm.start(argv, given["stdin"], given["stderr"], channel[0], env)

    asyncio.create_subprocess_exec = start


@contextmanager
def started_warm(warm: WarmChildren) -> Iterator[None]:
    """Do so for a while."""
    cold = asyncio.create_subprocess_exec
    start_warm(warm)
    try:
        yield
    finally:
        asyncio.create_subprocess_exec = cold


# In the interpreter that waits.


def become(data: bytes, stdin: int, stderr: int, channel: int) -> str:
    """Be the child that was asked for, but for running its module, which is returned."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.modules.pop(WORKER, None)  # it is run as what a program begins with
    module, name, env, cwd = json.loads(data)
    os.dup2(stdin, 0)
    os.dup2(stderr, 2)
    os.close(stdin)
    os.close(stderr)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    Path("/proc/self/comm").write_text(name)
    sys.argv = [module, str(channel), name]
    return str(module)


def _main() -> None:
    import_all("sockscope.engine")
    gc.freeze()  # what every fork shares
    data, given = fork_for_each(socket.socket(fileno=int(sys.argv[1])))
    module = become(data, *given)
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as leaving:
        leave(leaving.code)
        raise
    leave(0)


if __name__ == "__main__":
    _main()
