"""A child process of the engine: starting it, its standard error, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

import sockscope
from sockscope.engine.loops import attach
from sockscope.engine.placement.hosts.carrier import REPORTS_S
from sockscope.engine.process_tree import end_descendants
from sockscope.engine.sampler import reading
from sockscope.errors import EngineError

WORKER = "sockscope.engine.placement.worker"
"""The module that a child runs."""
STDERR_BYTES = 4_096
"""What is kept of the last that a child wrote to its standard error."""
TUNED = {
    "MALLOC_MMAP_THRESHOLD_": str(16 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(32 << 20),
    "MALLOC_TOP_PAD_": str(1 << 20),
}
"""What ``allocator = tuned`` sets (mallopt(3)): reads of 256 KiB stay on the heap, and the heap stays."""
_STATED = (*TUNED, "MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "PYTHONMALLOC")


def environment_of(allocator: str) -> dict[str, str]:
    """Return the environment of a child with this allocator setting."""
    return dict(os.environ) | (TUNED if allocator == "tuned" else {})


def stated_environment(allocator: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what decides how a process allocates memory: our choice, and the variables that are set."""
    return {"allocator": allocator, **{name: environ[name] for name in _STATED if name in environ}}


class ChildProcess:
    """One process that runs :data:`WORKER`, or another ``module``, in a session of its own.

    Its standard input is a pipe that nobody writes to: it ends when this process ends, however that
    happens, and the child with it. ``on_exit`` is called once, when the process has ended, with what became
    of it; whether an answer is expected is of no use here.
    """

    worker, worker_cpu_s = "", 0.0
    clock_offset_s = clock_error_s = 0.0  # the monotonic clock is one for all processes of a machine
    reports_s = REPORTS_S

    def __init__(
        self,
        name: str,
        allocator: str,
        on_exit: Callable[[str], None],
        expects: Callable[[], bool] | None = None,
        module: str = "",
    ) -> None:
        self.name = name
        self.pid = 0
        self.alive = False
        self.path = tuple(sys.path)
        self._module = module or WORKER
        self._environment = environment_of(allocator)
        self.environment = stated_environment(allocator, self._environment)
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._liveness_fd = -1
        self._stderr_fd = -1
        self._stderr = b""

    async def start(self, channel: asyncio.Protocol) -> None:
        """Start the process, with ``channel`` at our end of a socket pair; it is not waited for here.

        Raises EngineError when it cannot be started.
        """
        try:
            ours = await self._spawn()
        except BaseException as error:
            self._close()
            if isinstance(error, OSError):
                raise EngineError(f"cannot start a child process: {error.strerror}") from error
            raise
        self.alive = True
        os.set_blocking(self._stderr_fd, False)
        self._loop.add_reader(self._stderr_fd, self._read_stderr)
        self._watcher = self._loop.create_task(self._watch())
        ours.setblocking(False)
        await attach(ours, channel)

    async def _spawn(self) -> socket.socket:
        """Start the process and return our end of the pair; raises OSError."""
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as unless_started:
            ours, given = socket.socketpair()
            unless_started.callback(ours.close)
            theirs.callback(given.close)
            stdin, self._liveness_fd = os.pipe()
            theirs.callback(os.close, stdin)
            self._stderr_fd, stderr = os.pipe()
            theirs.callback(os.close, stderr)
            self._process = await asyncio.create_subprocess_exec(
                *_command(self._module, given.fileno(), self.name),
                stdin=stdin,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=(given.fileno(),),
                env=self._environment,
                start_new_session=True,
            )
            self.pid = self._process.pid
            unless_started.pop_all()
            return ours

    async def wait(self, within_s: float | None = None) -> None:
        """Return when the process has ended, after ``within_s`` at the latest."""
        if self._watcher is not None:
            await asyncio.wait([self._watcher], timeout=within_s)

    def kill(self) -> None:
        """End the process at once."""
        if self.alive:
            # Not by way of the Process object: it looks whether the process has ended, and its code would
            # be lost to whoever waits for it.
            end_descendants(self.pid)
            self._kill_group()

    def _kill_group(self) -> None:
        """Kill the process and those that the user's own code has begun in it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    async def _watch(self) -> None:
        assert self._process is not None
        try:
            code = await self._process.wait()
        except asyncio.CancelledError:  # the loop is closed next, which would kill the process alone
            self.kill()
            await self._process.wait()
            raise
        self._kill_group()
        self._read_stderr()
        self.alive = False
        self._close()
        self._on_exit(how_it_ended(code))

    def _close(self) -> None:
        if self._stderr_fd >= 0:
            self._loop.remove_reader(self._stderr_fd)
            os.close(self._stderr_fd)
        if self._liveness_fd >= 0:
            os.close(self._liveness_fd)
        self._stderr_fd = self._liveness_fd = -1

    def _read_stderr(self) -> None:
        if self._stderr_fd < 0:
            return
        try:
            while part := os.read(self._stderr_fd, 65_536):
                self._stderr = (self._stderr + part)[-STDERR_BYTES:]
        except BlockingIOError:
            return
        self._loop.remove_reader(self._stderr_fd)

    @property
    def stopped(self) -> bool:
        """Whether a signal has stopped it (SIGSTOP), and not only its loop is held up."""
        return self.alive and reading(lambda: psutil.Process(self.pid).status()) == psutil.STATUS_STOPPED

    @property
    def last_line(self) -> str:
        """The last line that it wrote to its standard error, at most 200 characters of it."""
        return self._stderr.decode("utf-8", "replace").strip().rpartition("\n")[2][:200]


def how_it_ended(code: int) -> str:
    """Return an exit code in words."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was killed ({signal.Signals(-code).name})"
    except ValueError:
        return f"was killed (signal {-code})"


def _command(module: str, descriptor: int, name: str) -> list[str]:
    # Found without the current directory in the path, where any file could hide a module of the library;
    # unless it is from there that this package itself was imported.
    root = Path(sockscope.__file__).parents[1]
    safe = [] if root == Path.cwd() else ["-P"]
    return [sys.executable, *safe, "-m", module, str(descriptor), name]
