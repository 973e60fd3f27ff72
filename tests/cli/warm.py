"""The command as a fork of an interpreter that has imported it already.

A fork is a process of its own in all that a test can see: streams, environment, folder, signals, exit code.
What it lacks is the start of Python and the imports, which cost more than the rest of a short run, and so
do its children, where an argument says that it has some; they are forks of one more child of it, which waits.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from runpy import run_module
from typing import Any

from sockscope.__main__ import main
from tests.forks import Forks, fork_for_each, forks_of_this, import_all
from tests.warm_children import WarmChildren, become, start_warm

_PRELOADED = ("sockscope.engine", "sockscope.faces")
_WITH_CHILDREN = {
    "--place", "--server-processes", "--swarm-processes", "race", "sweep", "find",
    "benchmarks.race_guide", "benchmarks.placement", "saturated_apart",
}  # fmt: skip
_RUN = f"""
from {__name__} import wait_to_be_forked
from tests.forks import leave
run = wait_to_be_forked()
try:
    run()
except SystemExit as leaving:
    leave(leaving.code)
    raise
leave(0)
"""
"""No frame of a file of tests is below the command: it would be taken for one of the user's own code."""
COMMAND = str(Path(sys.executable).with_name("sockscope"))
_REPOSITORY = Path(__file__).parents[2]
_BEYOND = 100
"""Above every descriptor that a program may be given by its number."""
_COMMANDS = ("sockscope.cli.app", "sockscope.cli.doctor")


class WarmInterpreter:
    """What commands are forks of; started with the first one."""

    def __init__(self) -> None:
        self._forks: Forks | None = None

    def start(self) -> Forks:
        """Start it, or return what it is."""
        if self._forks is None:
            self._forks = Forks("-c", _RUN)
        return self._forks

    def fork(self, asked: bytes, streams: Sequence[int]) -> int:
        """Return the number of a fork with these three streams."""
        return self.start().fork(asked, streams)

    def close(self) -> None:
        """End it; commands go on."""
        if self._forks is not None:
            self._forks.close()
        self._forks = None


class WarmCommand(subprocess.Popen[str]):
    """A command as ``subprocess`` starts it, in a session of its own, but for how it becomes a process.

    A terminal for its input becomes that of the session. Signals in ``ignored`` are so from its start.
    """

    def __init__(
        self, interpreter: WarmInterpreter, argv: Sequence[str], ignored: Collection[int] = (), **given: Any
    ) -> None:
        self._interpreter = interpreter
        self._ignored = list(map(int, ignored))
        super().__init__(argv, **given)

    def _execute_child(self, args: Sequence[str], *given: Any) -> None:
        """Do what ``subprocess`` does with a fork and exec (the same in Python 3.11 to 3.14)."""
        _, _, _, passed, cwd, env = given[:6]
        streams = given[9:15]
        ends = (streams[0], streams[3], streams[5])
        standard = [own if end == -1 else end for own, end in enumerate(ends)]
        place = str(cwd or Path.cwd())
        asked = json.dumps([list(args), dict(env or os.environ), place, self._ignored, list(passed)])
        try:
            self.pid = self._interpreter.fork(asked.encode(), [*standard, *passed])
            self._child_created = True
        finally:
            self._close_pipe_fds(*streams)  # type: ignore[attr-defined]


@contextmanager
def programs_started_warm(interpreter: WarmInterpreter, *before: str) -> Iterator[None]:
    """Let ``python -m module`` and the command be forks for a while, wherever ``subprocess`` starts them.

    What stands in front of them is left out, when it is Python with the words ``before``. Modules of another
    folder, which is the first of ``PYTHONPATH``, are started as they are.
    """
    cold = subprocess.Popen

    class Program(WarmCommand):
        def __init__(self, argv: Any, *more: Any, **given: Any) -> None:
            super().__init__(interpreter, argv, (), *more, **given)

        def _execute_child(self, args: Any, *given: Any) -> None:
            words = list(args)
            if words[: len(before) + 1] == [sys.executable, *before]:
                words = words[len(before) + 1 :]
            is_here = (given[5] or {}).get("PYTHONPATH", "") in ("", str(_REPOSITORY))
            is_ours = words[:1] == [COMMAND] or (words[:2] == [sys.executable, "-m"] and is_here)
            is_ours = is_ours and given[1] is None  # what it would call in a fork of its own
            start = super()._execute_child if is_ours else partial(cold._execute_child, self)  # type: ignore[attr-defined]
            start(words if is_ours else args, *given)

    subprocess.Popen = Program  # type: ignore[assignment,misc]
    try:
        yield
    finally:
        subprocess.Popen = cold  # type: ignore[misc]


# In the interpreter that waits.


def _become(data: bytes, given: Sequence[int]) -> list[str]:
    words, env, cwd, ignored, passed = json.loads(data)
    beyond = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, _BEYOND) for descriptor in given]
    for descriptor in given:
        os.close(descriptor)
    for number, descriptor in zip((0, 1, 2, *passed), beyond, strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if os.isatty(0):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=os.isatty(stream.fileno()))  # type: ignore[union-attr]
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    return list(words)


def wait_to_be_forked() -> Callable[[], object]:
    """Import what commands run; return in each fork, which has become what was asked for, what it runs."""
    for name in _COMMANDS:
        import_module(name)
    for package in _PRELOADED:
        import_all(package)
    gc.freeze()  # what every fork shares
    words = _become(*fork_for_each(socket.socket(fileno=int(sys.argv[1]))))
    is_module = words[1:2] == ["-m"]
    sys.argv = words[2:] if is_module else words
    sys.path[0] = os.getcwd() if is_module else os.path.dirname(words[0])
    if _WITH_CHILDREN.intersection(sys.argv):
        forks, child = forks_of_this()
        if child is not None:
            data, given = child
            return _running(become(data, *given))
        start_warm(WarmChildren(forks))
    return _running(sys.argv[0]) if is_module else main


def _running(module: str) -> Callable[[], object]:
    return partial(run_module, module, run_name="__main__", alter_sys=True)
