"""Which event loop runs, and how a process is made ready to measure."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import selectors
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Executor
from typing import Any, Protocol, TypeVar, TypeVarTuple

from sockscope.engine.limits import check_room_for_loop
from sockscope.engine.own_errors import is_users
from sockscope.errors import ConfigError

LEFT_S = 0.5
"""How long what is left on a loop may take to be cancelled when the loop is closed."""

_NO_TLS: Mapping[str, Any] = {}

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Spare = Callable[[BaseException | None], bool]


class Watch(Protocol):
    """Hears what comes to be on one of our loops; it must not raise."""

    def on_task(self, task: asyncio.Task[Any]) -> None:
        """A task was made, by whoever has called the task factory that calls this."""

    def on_exception(self, context: dict[str, Any]) -> None:
        """The loop has heard of an exception that nobody waits for."""

    def on_offload(self, call: Callable[..., Any]) -> Any:
        """A call goes to the default executor: return what is to be called in its place."""

    def on_offloaded(self, call: Any, future: asyncio.Future[Any] | None) -> None:
        """That was handed over, and ``future`` will have its result; None: it was not taken."""

    def on_connecting(self, makes: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        """A call makes a transport and a protocol: return what is to be awaited in its place."""


class _Hearing:
    """Who hears what comes to be on a loop, and what makes the tasks of the user's own coroutines.

    One object for all of it: from the 31st attribute on CPython 3.11 keeps those of a loop in a dictionary,
    for good, and each turn of asyncio's loop is a fifth dearer. asyncio itself has 25.
    """

    __slots__ = ("factory", "tasks", "watch")

    def __init__(self) -> None:
        self.watch: Watch | None = None
        self.tasks = False
        self.factory: Any = None


class _Spared:
    """What our loops have in common: the user's own code cannot end them, nor take the signals from them.

    ``spare`` is asked when something would end the loop before what it is run for is done: SystemExit or
    KeyboardInterrupt, which asyncio lets out of callbacks and tasks, or (None) a call of ``stop``. When it
    returns True the loop goes on. ``report`` hears of exceptions that nobody waits for before the loop's
    exception handler, which may be the user's. ``claim`` is called whenever the loop has taken the signals
    for itself: first thing when it runs, and when handlers of signals come and go.
    """

    spare: Spare | None = None
    report: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None = None
    claim: Callable[[], object] | None = None
    _purpose: asyncio.Future[Any] | None = None

    def __init__(self, *args: Any) -> None:
        self._hearing = _Hearing()
        super().__init__(*args)

    def run_until_complete(self, future: Any) -> Any:
        """Run until ``future`` is done, and return its result."""
        complete = super().run_until_complete  # type: ignore[misc]
        if self.is_running():  # type: ignore[attr-defined]
            return complete(future)  # which refuses it
        self._claim_first()
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
                self._claim_first()

    def _claim_first(self) -> None:
        if self.claim is not None:
            self.call_soon(self.claim)  # type: ignore[attr-defined]

    def add_signal_handler(self, sig: int, callback: Callable[[*Ts], object], *args: *Ts) -> None:
        """Call ``callback(*args)`` on the loop when signal ``sig`` comes."""
        super().add_signal_handler(sig, callback, *args)  # type: ignore[misc]
        if self.claim is not None:
            self.claim()

    def remove_signal_handler(self, sig: int) -> bool:
        """Undo that; return whether there was one."""
        removed: bool = super().remove_signal_handler(sig)  # type: ignore[misc]
        if self.claim is not None:
            self.claim()
        return removed

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tell of an exception that nobody waits for."""
        if self._hearing.watch is not None:
            self._hearing.watch.on_exception(context)
        if self.report is not None:
            self.report(self, context)  # type: ignore[arg-type]
        else:
            super().call_exception_handler(context)  # type: ignore[misc]

    async def start_tls(self, transport: Any, *args: Any, **more: Any) -> Any:
        """Put TLS on a transport; one that is lent to the user's own code knows which."""
        by = getattr(transport, "start_tls_by", None)
        start_tls = super().start_tls  # type: ignore[misc]
        return await (start_tls(transport, *args, **more) if by is None else by(start_tls, *args, **more))

    async def sendfile(self, transport: Any, *args: Any, **more: Any) -> int:
        """Send a file through a transport; one that is lent to the user's own code knows which."""
        by = getattr(transport, "sendfile_by", None)
        sendfile = super().sendfile  # type: ignore[misc]
        try:
            sent: int = await (
                sendfile(transport, *args, **more) if by is None else by(sendfile, *args, **more)
            )
        except NotImplementedError as error:
            raise NotImplementedError("uvloop has no sendfile; --loop asyncio has") from error
        return sent

    def set_task_factory(self, factory: Any) -> None:
        """Let ``factory`` make the tasks of the user's own coroutines; the others are plain ones.

        So are all where it is the eager one. Textual asks for that; uvloop hands a task factory keywords that
        the eager one of Python 3.13.0 to 3.13.2 does not take, and the order in which tasks start would
        differ between versions of Python.
        """
        eager = getattr(asyncio, "eager_task_factory", None)
        self._hearing.factory = None if factory is eager else factory
        self._set_factory()

    def get_task_factory(self) -> Any:
        """Return the one that was set, unless it is the eager one."""
        return self._hearing.factory

    def watch_with(self, watch: Watch | None) -> None:
        """Let ``watch`` hear what comes to be on this loop, from now on; None: nobody."""
        self._hearing.watch = watch
        self.hear_tasks(watch is not None)

    def hear_tasks(self, hears: bool) -> None:
        """Let the watch hear of each task that is made, or not: it costs some microseconds each."""
        self._hearing.tasks = hears
        self._set_factory()

    def _set_factory(self) -> None:
        hearing = self._hearing
        factory, watch = hearing.factory, hearing.watch if hearing.tasks else None

        def made(loop: asyncio.AbstractEventLoop, coroutine: Any, **more: Any) -> Any:
            code = getattr(coroutine, "cr_code", None)
            if factory is not None and code is not None and is_users(code.co_filename):
                task = factory(loop, coroutine, **more)
            else:
                task = asyncio.Task(coroutine, loop=loop, **more)
            if watch is not None and isinstance(task, asyncio.Task):
                watch.on_task(task)
            return task

        plain = factory is None and watch is None
        super().set_task_factory(None if plain else made)  # type: ignore[misc]

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Call ``func`` in a thread of an executor, by default the loop's own; return a future."""
        run, watch = super().run_in_executor, self._hearing.watch  # type: ignore[misc]
        future: asyncio.Future[T] | None = None
        if executor is not None or watch is None:
            future = run(executor, func, *args)
            return future
        call = watch.on_offload(func)
        try:
            future = run(None, call, *args)
            return future
        finally:
            watch.on_offloaded(call, future)

    def create_connection(self, *args: Any, **more: Any) -> Any:
        """Connect over TCP, or take a socket that is connected; await the transport and the protocol."""
        return self._heard(super().create_connection(*args, **more))  # type: ignore[misc]

    def create_unix_connection(self, *args: Any, **more: Any) -> Any:
        """Connect over a Unix socket; await the transport and the protocol."""
        return self._heard(super().create_unix_connection(*args, **more))  # type: ignore[misc]

    def create_datagram_endpoint(self, *args: Any, **more: Any) -> Any:
        """Open a datagram socket; await the transport and the protocol."""
        return self._heard(super().create_datagram_endpoint(*args, **more))  # type: ignore[misc]

    def _heard(self, makes: Any) -> Any:
        watch = self._hearing.watch
        return makes if watch is None else watch.on_connecting(makes)

    def stop(self) -> None:
        """Stop when what is under way in this turn is done."""
        if self._purpose is None or self._purpose.done() or self.spare is None or not self.spare(None):
            super().stop()  # type: ignore[misc]


class SelectorLoop(_Spared, asyncio.SelectorEventLoop):
    """asyncio's own loop."""

    def __init__(self) -> None:
        super().__init__(selectors.DefaultSelector())

    @property
    def selector(self) -> selectors.BaseSelector:
        """What it waits in."""
        selector: selectors.BaseSelector = self._selector  # type: ignore[attr-defined]
        return selector


if sys.platform != "win32":
    import uvloop

    class UvLoop(_Spared, uvloop.Loop):  # type: ignore[misc]  # its stubs disagree with asyncio's
        """uvloop's loop."""


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes the loop called ``uvloop`` or ``asyncio``; raise ConfigError if it is not here."""
    if name == "asyncio":
        return SelectorLoop
    if sys.platform == "win32":
        raise ConfigError.of("loop", name, "uvloop does not exist for Windows; use asyncio")
    return UvLoop


def run_on(name: str, main: Coroutine[Any, Any, T], claim: Callable[[], object] | None = None) -> T:
    """Run ``main`` on a new loop called ``name`` and return what it returns; raises what it raises.

    ``claim`` is called, in this thread, each time that the loop has taken the signals for itself.
    Unlike :class:`asyncio.Runner` it waits for what the user's own code has left behind only for a moment: a
    task that swallows its cancellation, or a thread, would hold up the end for ever.
    """
    try:
        check_room_for_loop()
        loop: Any = loop_factory(name)()
    except BaseException:
        main.close()
        raise
    loop.claim = claim
    asyncio.set_event_loop(loop)
    try:
        result: T = loop.run_until_complete(main)
        return result
    finally:
        loop.report = lambda *_: None
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


async def attach(
    sock: socket.socket,
    protocol: asyncio.BaseProtocol,
    *,
    accepted: bool = False,
    tls: Mapping[str, Any] = _NO_TLS,
) -> None:
    """Let ``protocol`` talk over a connected socket; the loop closes it from now on.

    ``tls`` are the loop's arguments for TLS: then it talks when the handshake is over. Raises OSError.
    """
    loop = asyncio.get_running_loop()
    with handed_over(sock):
        if accepted and (tls or sock.family != socket.AF_UNIX):
            await loop.connect_accepted_socket(lambda: protocol, sock, **tls)
        elif sock.family == socket.AF_UNIX:
            await loop.create_unix_connection(lambda: protocol, sock=sock, **tls)
        else:
            await loop.create_connection(lambda: protocol, sock=sock, **tls)


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
