"""The user's own code as a server: read, made ready, and opened as what it is."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any, cast

from sockscope.core.config.experiment import Experiment
from sockscope.core.connection import ConnectionRecord
from sockscope.core.events import CloseReason
from sockscope.engine.own_code import imported_anew, load
from sockscope.engine.own_errors import RaisedTable, is_interrupt, told
from sockscope.engine.own_forms import Form, OwnCode, a, code_of
from sockscope.engine.own_life import Lifespan
from sockscope.engine.recorder import Recorder
from sockscope.engine.role import Assignment
from sockscope.engine.servers.asyncio.own import OwnConnection, OwnEndpoint
from sockscope.engine.servers.asyncio.own_apps import Application, application_of, begun
from sockscope.engine.servers.asyncio.own_datagram import OwnDatagramEndpoint
from sockscope.engine.servers.asyncio.recording_transport import RecordingTransport
from sockscope.engine.servers.endpoint import Endpoint, ServerContext
from sockscope.engine.servers.threads.own import OwnThreadsEndpoint
from sockscope.errors import ConfigError

OWN_ENDPOINTS = (OwnEndpoint, OwnThreadsEndpoint, OwnDatagramEndpoint)


class Reading:
    """The user's own code as it was read at one time; raises ConfigError when it will not do."""

    def __init__(self, experiment: Experiment, report: Callable[[BaseException | str], object]) -> None:
        self._key, self._reference = experiment.own_key, experiment.own_server
        self._experiment = experiment
        self._report = report
        self._life = Lifespan(experiment, report)
        self._code = OwnCode(Form.PROMISED, lambda: None)
        self.application: Application | None = None

    @property
    def form(self) -> Form:
        """As what it serves."""
        return self._code.form

    async def begin(self) -> None:
        """Do what comes before, and get ready to serve; raises ConfigError when it will not."""
        await self._life.begin()
        self._code = self._life.context.run(load, self._experiment)
        if self.form is Form.PROMISED:
            self._code = await self._promised()
        self.application = application_of(self._code, self._key, self._reference, self._report)
        if self.application is not None:
            self._code = OwnCode(self.form, await self.application.begin())

    async def _promised(self) -> OwnCode:
        """Return what the coroutine makes."""
        made = await begun(self._code.call(), self._key, self._reference)
        try:
            return code_of(self._key, made, {})
        except ValueError as error:
            said = str(error).removesuffix(f", but {a(made)}")
            raise ConfigError.of(self._key, self._reference, f"makes {a(made)}, which {said}") from None

    async def end(self) -> None:
        """Its connections are closed, and it serves no more."""
        if self.application is not None:
            await self.application.end()
        await self._life.end()

    def open(self, server: OwnServer, context: ServerContext, assignment: Assignment) -> Endpoint:
        """Make an endpoint, whose connections see the context variables that the startup has set."""
        tuning = assignment.tuning
        if not self._code.serves(tuning.transport):
            other = "UDP (--udp)" if tuning.transport == "tcp" else "TCP"
            why = f"cannot be combined with --{self._key}, which serves {other}"
            raise ConfigError.of("transport", tuning.transport, why)
        make = OwnThreadsEndpoint if self.form is Form.THREAD else OwnEndpoint
        made: Callable[..., Endpoint] = OwnDatagramEndpoint if tuning.transport == "udp" else make
        return self._life.context.run(made, server, context, assignment)

    def datagram_protocol(self) -> asyncio.DatagramProtocol:
        """Make the protocol of a UDP socket; raises ConfigError when that cannot be made."""
        try:
            made = self._code.call()
        except BaseException as error:
            if is_interrupt(error):
                raise
            why = f"raised {told(error, self._reference)} when it was made"
            raise ConfigError.of(self._key, self._reference, why) from None
        if not isinstance(made, asyncio.DatagramProtocol):
            raise ConfigError.of(self._key, self._reference, f"makes {a(made)}, which is no DatagramProtocol")
        return made

    def serve_in_thread(self, sock: socket.socket, peer_name: object, server: object) -> None:
        """Let it have a connection in the thread that calls, until it returns."""
        call, takes = self._code.call, self._code.takes
        call(*(sock, peer_name, server)[:takes])

    def serve(self, connection: OwnConnection, transport: RecordingTransport) -> None:
        """Let it have a connection."""
        if self.form in (Form.COROUTINE, Form.CALLBACK):
            self._begin_handler(connection, transport)
            return
        made = self._code.call()
        if not isinstance(made, asyncio.Protocol | asyncio.BufferedProtocol):
            raise TypeError(f"{self._reference} made {a(made)}, which is no protocol of a connection")
        connection.use(made)
        made.connection_made(transport)

    def _begin_handler(self, connection: OwnConnection, transport: RecordingTransport) -> None:
        """Do what asyncio.start_server does for a connection."""

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            handler = self._code.call(reader, writer)
            if inspect.isawaitable(handler):
                connection.endpoint.serve(connection, _coroutine(handler), writer)

        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, connected, loop=loop)
        connection.use(protocol)
        protocol.connection_made(transport)


class OwnServer:
    """The user's code, loaded; raises ConfigError when it will not do.

    ``name`` is what it is called by, ``last_trouble`` what it raised last, and ``raised`` how often
    it raised what, and where. Each time that it is read anew it has another number.
    """

    def __init__(self, experiment: Experiment, number: int = 0) -> None:
        self.name = experiment.own_server
        self.last_trouble = ""
        self.raised = RaisedTable()
        self.report: Callable[[BaseException | str], object] = lambda what: None
        """Takes what goes wrong where nobody waits for it."""
        self._experiment = experiment
        self._readings = {number: Reading(experiment, self._report)}
        self._number = number

    @property
    def form(self) -> Form:
        """As what it serves."""
        return self.code.form

    @property
    def code(self) -> Reading:
        """What serves who connects from now on."""
        return self._readings[self._number]

    async def begin(self) -> None:
        """Get ready to serve; raises ConfigError when it will not."""
        await self.code.begin()

    async def reload(self, number: int) -> str:
        """Read the code anew, to be used as ``number``; return what was edited, or nothing if nothing was.

        Raises ConfigError when it will not do; what served goes on.
        """
        with imported_anew(self._experiment) as edited:
            if edited:
                reading = Reading(self._experiment, self._report)
                try:
                    await reading.begin()
                except BaseException:
                    await reading.end()
                    raise
                self._readings[number] = reading
        return edited

    def _report(self, what: BaseException | str) -> None:
        self.report(what)

    def use(self, number: int) -> None:
        """Let the code of this number serve who connects from now on."""
        if number in self._readings:
            self._number = number

    async def end_former(self, used: Collection[Reading]) -> None:
        """End the code that served before, but for what is still ``used``."""
        for number, reading in list(self._readings.items()):
            if number < self._number and reading not in used:
                del self._readings[number]
                await reading.end()

    async def end(self) -> None:
        """End all of it."""
        for reading in self._readings.values():
            await reading.end()

    def count_raised(
        self, recorder: Recorder, record: ConnectionRecord | None, error: BaseException, text: str
    ) -> None:
        """Count and log what was raised on a connection, ``text`` being how it is told."""
        self.raised.add(error, self.name)
        recorder.errors += 1
        recorder.on_error(text, record, reason=CloseReason.RAISED)
        self.last_trouble = text

    def open(self, context: ServerContext, assignment: Assignment) -> Endpoint:
        """Bind and serve; raises ListenError."""
        return self.code.open(self, context, assignment)


def _coroutine(handler: Awaitable[object]) -> Coroutine[Any, Any, object]:
    """Return what can be run as a task and broken off: a plain function may return any awaitable."""
    return cast(Coroutine[Any, Any, object], handler) if inspect.iscoroutine(handler) else _awaiting(handler)


async def _awaiting(awaited: Awaitable[object]) -> object:
    return await awaited
