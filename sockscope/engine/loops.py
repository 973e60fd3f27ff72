"""Which event loop runs, and how a process is made ready to measure."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from sockscope.engine.limits import check_room_for_loop
from sockscope.errors import ConfigError

LEFT_S = 0.5
"""How long what is left on a loop may take to be cancelled when the loop is closed."""

T = TypeVar("T")

Spare = Callable[[BaseException | None], bool]


class _Spared:
    """What our loops have in common: the user's own code cannot end them.

    ``spare`` is asked when something would end the loop before what it is run for is done: SystemExit or
    KeyboardInterrupt, which asyncio lets out of callbacks and tasks, or (None) a call of ``stop``. When it
    returns True the loop goes on.
    """

    spare: Spare | None = None
    _purpose: asyncio.Future[Any] | None = None

    def run_until_complete(self, future: Any) -> Any:
        """Run until ``future`` is done, and return its result."""
        complete = super().run_until_complete  # type: ignore[misc]
        if self.is_running():  # type: ignore[attr-defined]
            return complete(future)  # which refuses it
        before, self._purpose = self._purpose, asyncio.ensure_future(future, loop=self)  # type: ignore[call-overload]
        try:
            return self._complete(complete, self._purpose)
        finally:
            self._purpose = before

    def _complete(self, complete: Callable[[Any], Any], future: asyncio.Future[Any]) -> Any:
        while True:
            try:
                return complete(future)
            except BaseException as error:
                if future.done() and not future.cancelled():
                    future.exception()  # asked for, so that nobody complains that it never was
                lets_out = isinstance(error, SystemExit | KeyboardInterrupt) and not future.done()
                if not lets_out or self.spare is None or not self.spare(error):
                    raise

    def stop(self) -> None:
        """Stop when what is under way in this turn is done."""
        if self._purpose is None or self._purpose.done() or self.spare is None or not self.spare(None):
            super().stop()  # type: ignore[misc]


class SelectorLoop(_Spared, asyncio.SelectorEventLoop):
    """asyncio's own loop."""


if sys.platform != "win32":
    import uvloop

    class UvLoop(_Spared, uvloop.Loop):  # type: ignore[misc]  # its stubs disagree with asyncio's
        """uvloop's loop without eager tasks.

        Textual asks for ``asyncio.eager_task_factory``; uvloop hands a task factory keywords that the eager
        one of Python 3.13.0 to 3.13.2 does not take, and the order in which tasks start would differ
        between versions of Python.
        """

        def set_task_factory(self, factory: Any) -> None:
            """Set the task factory, unless it is the eager one."""
            if factory is not getattr(asyncio, "eager_task_factory", None):
                super().set_task_factory(factory)


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes the loop called ``uvloop`` or ``asyncio``; raise ConfigError if it is not here."""
    if name == "asyncio":
        return SelectorLoop
    if sys.platform == "win32":
        raise ConfigError.of("loop", name, "uvloop does not exist for Windows; use asyncio")
    return UvLoop


def run_on(name: str, main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` on a new loop called ``name`` and return what it returns; raises what it raises.

    Unlike :class:`asyncio.Runner` it waits for what the user's own code has left behind only for a moment: a
    task that swallows its cancellation, or a thread, would hold up the end for ever.
    """
    try:
        check_room_for_loop()
        loop = loop_factory(name)()
    except BaseException:
        main.close()
        raise
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        loop.set_exception_handler(lambda *_: None)
        for task in asyncio.all_tasks(loop):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):  # the user's own code may cancel whatever runs
            loop.run_until_complete(_last_turns(loop))
        asyncio.set_event_loop(None)
        loop.close()


async def _last_turns(loop: asyncio.AbstractEventLoop) -> None:
    left = asyncio.all_tasks(loop) - {asyncio.current_task(loop)}
    if left:
        _, left = await asyncio.wait(left, timeout=LEFT_S)
    await asyncio.wait({loop.create_task(loop.shutdown_asyncgens())}, timeout=LEFT_S)
    for task in left:
        with contextlib.suppress(BaseException):  # the user's own code raises what it likes
            break_off(task.get_coro())


def break_off(coroutine: Any) -> None:
    """Close a coroutine, on a running loop; raises what it raises, such as RuntimeError when it goes on.

    That one is never freed: Python closes what it frees, and where no loop runs a coroutine that swallows
    GeneratorExit and all else would go round for ever, since its every ``await`` raises at once.
    """
    try:
        coroutine.close()
    except BaseException:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(coroutine))
        raise


def loop_name(loop: asyncio.AbstractEventLoop) -> str:
    """Return ``uvloop`` or ``asyncio``."""
    return (
        "uvloop"
        if type(loop).__module__.startswith("uvloop") or "UvLoop" in type(loop).__name__
        else "asyncio"
    )


async def attach(sock: socket.socket, protocol: asyncio.BaseProtocol, *, accepted: bool = False) -> None:
    """Let ``protocol`` talk over a connected socket; the loop closes it from now on."""
    loop = asyncio.get_running_loop()
    with handed_over(sock):
        if sock.family == socket.AF_UNIX:
            await loop.create_unix_connection(lambda: protocol, sock=sock)
        elif accepted:
            await loop.connect_accepted_socket(lambda: protocol, sock)
        else:
            await loop.create_connection(lambda: protocol, sock=sock)


@contextlib.contextmanager
def handed_over(sock: socket.socket) -> Iterator[None]:
    """Give a connected socket to the running loop, which closes it from then on.

    uvloop closes the descriptor by itself, but tells the socket object so only when the connection outlives
    its set-up. A socket object that does not know would later close a descriptor that is somebody else's.
    """
    try:
        yield
    finally:
        if loop_name(asyncio.get_running_loop()) == "uvloop":
            sock.detach()


def seconds_left(timer: asyncio.Handle, loop: asyncio.AbstractEventLoop) -> float:
    """Return the seconds until a timer of ``loop`` is due.

    uvloop makes a plain handle, which has no time, of a timer that is due within half a millisecond.
    """
    when: Callable[[], float] | None = getattr(timer, "when", None)
    return max(0.0, when() - loop.time()) if when is not None else 0.0


def calm_allocator() -> None:
    """Lift glibc's dynamic mmap and trim thresholds to 16 and 32 MiB by freeing one large block.

    asyncio's own loop allocates 256 KiB for every read. Below the thresholds glibc takes that from its
    heap; above them each read is an mmap and a munmap, and the same server is three times slower,
    depending on what the process freed before (mallopt(3), M_MMAP_THRESHOLD).
    """
    block = bytes(16 << 20)
    del block


def calm_collector() -> None:
    """Let the garbage collector pass over what was made so far, which lives as long as the process.

    Walking it again would stop the loop for tens of milliseconds each time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 100)
