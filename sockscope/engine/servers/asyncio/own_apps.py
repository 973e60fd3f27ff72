"""Web applications of the user's own, served through the protocol of the server that they are written for.

An ASGI application gets the protocol of uvicorn, and an application of aiohttp that of aiohttp: what these do
about HTTP is theirs, and what they do about sockets, signals and processes is not asked of them. What an
application raises they answer with a status and write into a log; from there the loop hears of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any, Protocol, TypeVar

from sockscope.core.wire.octets import printable
from sockscope.engine.own_errors import is_interrupt, told
from sockscope.engine.own_forms import NEEDS_UVICORN, Form, OwnCode
from sockscope.engine.own_life import SHUTDOWN_S, STARTUP_S
from sockscope.errors import ConfigError

T = TypeVar("T")

_DEAF = logging.NullHandler()
TICK_S = 1.0
"""How often uvicorn's header ``date`` is brought up to date, as it does by itself."""
Report = Callable[[BaseException | str], object]
"""Takes what goes wrong at the end, where nobody waits for it."""


class Application(Protocol):
    """What serves HTTP for the user's code."""

    async def begin(self) -> Callable[[], object]:
        """Start it up, and return what makes a protocol for each connection.

        Raises ConfigError with the reason when it does not start.
        """
        ...

    def hang_up(self, protocol: Any) -> None:
        """Let a connection end when the answer that is under way is sent, or at once."""
        ...

    async def end(self) -> None:
        """Shut it down; its connections are closed."""
        ...


def application_of(code: OwnCode, key: str, reference: str, report: Report) -> Application | None:
    """Return what serves the user's code; None where that is no application.

    ``key`` and ``reference`` are what the user has called it by.
    """
    life = _Life(key, reference, report)
    if code.form is Form.AIOHTTP:
        return AiohttpApplication(code.call, life)
    return AsgiApplication(code.call, life) if code.form is Form.ASGI else None


async def begun(beginning: Awaitable[T], key: str, reference: str) -> T:
    """Return what the user's code gives when it has begun; raise ConfigError when it does not in time."""
    try:
        async with asyncio.timeout(STARTUP_S) as limit:
            return await beginning
    except BaseException as error:
        if is_interrupt(error) or isinstance(error, asyncio.CancelledError):
            raise
        late = f"did not start up within {STARTUP_S:g} s"
        why = late if limit.expired() else f"did not start up: {told(error)}"
        raise ConfigError.of(key, reference, why) from None


class _Life:
    """How an application begins and ends, each within its time."""

    def __init__(self, key: str, reference: str, report: Report) -> None:
        self._key, self._reference = key, reference
        self._report = report

    async def begin(self, beginning: Awaitable[object]) -> None:
        """Let it begin; raises ConfigError when it does not."""
        await begun(beginning, self._key, self._reference)

    def refused(self, why: str) -> ConfigError:
        """Return the error of an application that will not do."""
        return ConfigError.of(self._key, self._reference, why)

    async def end(self, ending: Awaitable[object]) -> None:
        """Let it end; what goes wrong is reported."""
        try:
            async with asyncio.timeout(SHUTDOWN_S) as limit:
                await ending
        except BaseException as error:
            if is_interrupt(error) or isinstance(error, asyncio.CancelledError):
                raise
            late = f"{self._reference} does not shut down within {SHUTDOWN_S:g} s"
            self._report(late if limit.expired() else error)


class AsgiApplication:
    """An ASGI application under uvicorn's protocol, its lifespan included."""

    def __init__(self, app: Any, life: _Life) -> None:
        self._app = app
        self._life = life
        self._server: Any = None
        self._lifespan: asyncio.Task[Any] | None = None
        self._log = _Overheard()
        self._ticker: asyncio.TimerHandle | None = None

    async def begin(self) -> Callable[[], object]:
        """Start it up as uvicorn does."""
        try:
            uvicorn = import_module("uvicorn")
        except ImportError:
            raise self._life.refused(NEEDS_UVICORN) from None
        config = uvicorn.Config(self._app, log_config=None, access_log=False)
        config.load()
        self._log.listen(logging.getLogger("uvicorn.error"))
        self._server = server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        try:
            await self._life.begin(self._startup(server.lifespan))
            if server.lifespan.should_exit:
                raise self._life.refused(f"did not start up: {self._log.first or 'it did not say why'}")
        except BaseException:
            self._log.stop()
            if self._lifespan is not None:
                self._lifespan.cancel()
            raise
        loop = asyncio.get_running_loop()
        await server.on_tick(0)
        self._ticker = loop.call_later(TICK_S, self._tick, loop)
        self._log.pass_on_to(loop)
        return lambda: config.http_protocol_class(
            config=config, server_state=server.server_state, app_state=server.lifespan.state, _loop=loop
        )

    async def _startup(self, lifespan: Any) -> None:
        """Start the lifespan up, in a task of its own that uvicorn makes and forgets."""
        main: Any = getattr(lifespan, "main", None)  # uvicorn has a lifespan without one, too

        async def lived() -> None:
            self._lifespan = asyncio.current_task()
            await main()

        if main is not None:
            lifespan.main = lived
        await lifespan.startup()

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._ticking = loop.create_task(self._server.on_tick(0))
        self._ticker = loop.call_later(TICK_S, self._tick, loop)

    def hang_up(self, protocol: Any) -> None:
        """Do what uvicorn does with each of its connections when it shuts down."""
        protocol.shutdown()

    async def end(self) -> None:
        """Tell it that its lifespan is over."""
        if self._ticker is None:
            return
        self._ticker.cancel()
        await self._life.end(self._server.lifespan.shutdown())
        if self._lifespan is not None:
            self._lifespan.cancel()
        self._log.stop()


class AiohttpApplication:
    """An application of aiohttp, or a server that own code has made of one, under aiohttp's protocol."""

    def __init__(self, app: Any, life: _Life) -> None:
        self._app = app
        self._life = life
        self._runner: Any = None
        self._log = _Overheard()

    async def begin(self) -> Callable[[], object]:
        """Start it up as aiohttp's runner does."""
        web = import_module("aiohttp.web")
        server = self._app
        if isinstance(server, web.Application):
            self._runner = web.AppRunner(
                server, handle_signals=False, access_log=None, shutdown_timeout=SHUTDOWN_S
            )
            await self._life.begin(self._runner.setup())
            server = self._runner.server
        self._log.listen(logging.getLogger("aiohttp.server"))
        self._log.pass_on_to(asyncio.get_running_loop())
        factory: Callable[[], object] = server
        return factory

    def hang_up(self, protocol: Any) -> None:
        """Let it close when it is idle."""
        protocol.close()

    async def end(self) -> None:
        """Clean it up."""
        self._log.stop()
        if self._runner is not None:
            await self._life.end(self._runner.cleanup())


class _Overheard(logging.Handler):
    """Hears the errors that a web server writes into its log, and lets the loop know of them.

    The log is one for the whole process: of several that hear it the first one lets the loop know.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.first = ""
        self._logger: logging.Logger | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def listen(self, logger: logging.Logger) -> None:
        """Hear what is written from now on."""
        self._logger = logger
        logger.addHandler(self)

    def pass_on_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let ``loop`` know of what is heard from now on."""
        self._loop = loop

    def stop(self) -> None:
        """Hear nothing more; what is written after the end, by what is broken off then, nobody hears."""
        if self._logger is not None:
            self._logger.removeHandler(self)
            # Without any handler logging writes to stderr.
            self._logger.addHandler(_DEAF)

    @property
    def _is_first(self) -> bool:
        heard_by = self._logger.handlers if self._logger is not None else ()
        return next((other for other in heard_by if isinstance(other, _Overheard)), self) is self

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record; warnings are of what a peer has sent."""
        if record.levelno < logging.ERROR:
            return
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and type(error).__module__.startswith("aiohttp.http"):
            return  # no HTTP: the peer's fault
        # Of a traceback the last line is what was raised.
        text = printable(record.getMessage().strip().rpartition("\n")[2])
        self.first = self.first or (told(error) if error is not None else text)
        if self._loop is not None and self._is_first:
            exception = error if error is not None else RuntimeError(text)
            self._loop.call_exception_handler({"message": text, "exception": exception})
