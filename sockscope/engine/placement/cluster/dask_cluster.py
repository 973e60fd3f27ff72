"""The cluster whose workers a run uses: reached for as long as the run, or held for it on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from distributed import Client, Security

from sockscope.core.config.cluster import INSECURE, is_encrypted, is_here, local_workers
from sockscope.core.config.experiment import Experiment
from sockscope.engine.host_limits import HostLimits, host_limits
from sockscope.engine.placement.cluster.actor import Begun, ChildActor
from sockscope.engine.placement.cluster.asking import asking, shown
from sockscope.engine.placement.cluster.greeting import check_greeting
from sockscope.engine.placement.cluster.joining import LOCAL
from sockscope.engine.placement.cluster.quiet import quiet_dask
from sockscope.engine.placement.hosts.child_process import ChildProcess
from sockscope.engine.placement.hosts.host import START_S
from sockscope.engine.tls.contexts import check_cluster_files
from sockscope.errors import EngineError

LOCAL_START_S = 60.0
"""How long such a cluster may take to come up: each of its workers is an interpreter of its own."""
REACH_S = 10.0
"""How long it may take to reach the scheduler of a cluster that is there."""
JOIN_EVERY_S = 2.0
"""How often the scheduler is asked whether workers have come."""
LEAVE_S = 2.0
"""How long taking leave of the scheduler may take."""


class _Holding(asyncio.Protocol):
    """Our end of the socket to the process that holds a local cluster: it says one line, and is let go of."""

    def __init__(self) -> None:
        self.transport: asyncio.BaseTransport | None = None
        self.line: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._heard += data
        if b"\n" in self._heard and not self.line.done():
            self.line.set_result(self._heard.decode("ascii", "replace").strip())


class DaskCluster:
    """One cluster: its workers, and the actors that are placed on them.

    The experiment names it by the address of a scheduler (``tcp://127.0.0.1:8786``), or by ``local:N`` for
    one of N workers that is held here until :meth:`leave`.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.workers: tuple[str, ...] = ()
        """Addresses of those that are used: of the start in their order, then of others as they came."""
        self.limits: dict[str, HostLimits] = {}
        """What the machine of each of them allows."""
        self.on_join: set[Callable[[str], None]] = set()
        """Who is to hear the address of each worker that comes from now on."""
        self.on_loss: set[Callable[[str], None]] = set()
        """Who is to hear the address of each worker that is lost from now on."""
        self.on_trouble: set[Callable[[str], None]] = set()
        """Who is to hear what goes wrong with the cluster itself."""
        self.is_here = True
        """Whether all of them are on this machine."""
        self._experiment = experiment
        self._address = experiment.cluster
        self._process: ChildProcess | None = None
        self._holding: _Holding | None = None
        self._client: Any = None
        # All that ever came: one that was lost is not used again.
        self._seen: set[str] = set()
        self._watching: asyncio.Task[None] | None = None

    @property
    def path(self) -> tuple[str, ...]:
        """Where children on the workers are to find modules: on this machine, where we do."""
        return tuple(sys.path) if self.is_here else ()

    async def join(self) -> None:
        """Reach it, and bring it up before if it is of this machine; raises EngineError or ConfigError."""
        try:
            wanted = local_workers(self._address)
            scheduler = await self._bring_up(wanted) if wanted else self._address
            await self._reach(scheduler, wanted or 1)
        except BaseException:
            await self.leave()
            raise

    async def _bring_up(self, workers: int) -> str:
        told = self._holding = _Holding()

        def ended(how: str) -> None:
            if not told.line.done():
                told.line.set_exception(EngineError(f"the process of the cluster {how}"))

        self._process = ChildProcess(self._address, "default", ended, module=LOCAL)
        await self._process.start(told)
        try:
            async with asyncio.timeout(LOCAL_START_S):
                return await told.line
        except TimeoutError:
            raise EngineError(f"{workers} workers have not come up within {LOCAL_START_S:g} s") from None
        except EngineError as error:
            line = self._process.last_line
            raise EngineError(f"{error}: {line}" if line else str(error)) from None

    async def _reach(self, scheduler: str, workers: int) -> None:
        quiet_dask()
        _keep_off_the_terminal()
        security = _security(self._experiment)
        context = security.get_connection_args("client")["ssl_context"] if security is not None else None
        await check_greeting(scheduler, context, REACH_S)
        try:
            async with asyncio.timeout(REACH_S):
                self._client = Client(
                    scheduler, asynchronous=True, direct_to_workers=True, set_as_default=False,
                    timeout=REACH_S, security=security,
                )  # fmt: skip
                await self._client
        except (OSError, TimeoutError):
            raise EngineError(f"no scheduler of dask answers at {scheduler}") from None
        except Exception as error:  # noqa: BLE001  # what dask makes of whatever is said there
            why = f"what listens at {scheduler} is no scheduler of dask, or one of another version"
            raise EngineError(f"{why}: {shown(error)}") from None
        try:
            await self._client.wait_for_workers(workers, timeout=REACH_S)
        except (OSError, TimeoutError):
            raise EngineError(f"the cluster at {scheduler} has no worker") from None
        await self._use(self._client.scheduler_info(n_workers=-1)["workers"])
        self._watching = asyncio.create_task(self._watch(self._client.scheduler))

    async def _watch(self, scheduler: Any) -> None:
        """Tell of workers that come, and lose those that the scheduler has given up."""
        trouble = ""
        while True:
            await asyncio.sleep(JOIN_EVERY_S)
            before = self.workers
            try:
                async with asyncio.timeout(REACH_S):
                    told = await scheduler.identity(n_workers=-1)
                named = list(told["workers"])
            except Exception as error:  # noqa: BLE001  # whatever dask raises: it may answer the next time
                if not trouble:
                    trouble = f"the scheduler of the cluster does not answer: {error or type(error).__name__}"
                    self._tell(self.on_trouble, trouble)
                continue
            trouble = ""
            for worker in before:
                # One that is slow, or stopped, is still named: its connection is there.
                if worker not in named:
                    self.lose(worker)
            come = [worker for worker in named if worker not in self._seen]
            self._seen.update(come)
            for worker in come:
                self._tell(self.on_join, worker)

    def _tell(self, whom: Iterable[Callable[[str], None]], text: str) -> None:
        """Call them from the loop, which tells of what goes wrong in them."""
        loop = asyncio.get_running_loop()
        for hear in whom:
            loop.call_soon(hear, text)

    async def admit(self, worker: str) -> None:
        """Use a worker that has come, as the last one; raises EngineError where that is not to be."""
        if worker in self.workers:
            return
        await self._use([worker])

    async def _use(self, workers: Iterable[str]) -> None:
        for worker in workers:
            if not (is_here(worker) or is_encrypted(worker) or self._experiment.allow_insecure_cluster):
                raise EngineError(f"the worker {worker} is another machine: {INSECURE}")
        await asyncio.gather(*map(self._read_limits, workers))
        self._seen.update(workers)
        self.workers += tuple([worker for worker in workers if worker not in self.workers])
        self.is_here = all(map(is_here, self.workers))

    async def _read_limits(self, worker: str) -> None:
        """Learn what the machine of a worker allows; raises EngineError where it does not say so in time."""
        with asking(f"the worker {worker}"):
            try:
                async with asyncio.timeout(REACH_S):
                    limits = (await self._client.run(host_limits, workers=[worker]))[worker]
            except TimeoutError:
                raise EngineError(f"the worker {worker} has not answered for {REACH_S:g} s") from None
            if not isinstance(limits, HostLimits):
                raise TypeError(type(limits).__name__)
        self.limits[worker] = limits

    async def begin(self, worker: str, name: str, allocator: str) -> tuple[Any, Begun]:
        """Start a child on a worker; return its actor and what was begun. Raises EngineError."""
        if worker not in self.workers:
            raise EngineError(f"the worker {worker} is lost")
        with self._client.as_current():
            placed = self._client.submit(
                ChildActor, actor=True, workers=[worker], allow_other_workers=False, pure=False
            )
        beginning = asyncio.create_task(self._begin(placed, name, allocator))
        lost = asyncio.Event()

        def hear(which: str) -> None:
            if which == worker:
                lost.set()

        self.on_loss.add(hear)
        losing = asyncio.create_task(lost.wait())
        with asking(f"the worker {worker}"):
            try:
                await asyncio.wait([beginning, losing], timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
                if beginning.done() and not beginning.cancelled():  # as dask does when its scheduler is gone
                    return beginning.result()
                if worker not in self.workers or beginning.cancelled():
                    raise EngineError(f"the worker {worker} is lost")
                raise EngineError(f"the worker {worker} has not begun within {START_S:g} s")
            except BaseException:
                await self._take_back(placed, beginning)
                raise
            finally:
                self.on_loss.discard(hear)
                losing.cancel()

    async def _begin(self, placed: Any, name: str, allocator: str) -> tuple[Any, Begun]:
        with self._client.as_current():
            actor = await placed
            return actor, await actor.begin(name, allocator)

    async def _take_back(self, placed: Any, beginning: asyncio.Task[tuple[Any, Begun]]) -> None:
        """Let no child begin, or go on, that nobody will ask for anything."""
        beginning.cancel()
        if placed.status == "finished":
            with contextlib.suppress(EngineError), asking("its worker"):
                async with asyncio.timeout(LEAVE_S):
                    await (await placed).kill()
        placed.release()

    def lose(self, worker: str) -> None:
        """Do without a worker that does not answer any more."""
        if worker in self.workers:
            self.workers = tuple(other for other in self.workers if other != worker)
            self._tell(self.on_loss, worker)

    async def leave(self) -> None:
        """Let go of it; one of this machine ends."""
        try:
            if self._watching is not None:
                self._watching.cancel()
                await asyncio.wait([self._watching], timeout=LEAVE_S)
            if self._client is not None:
                client, self._client = self._client, None
                with contextlib.suppress(OSError, RuntimeError, TimeoutError):  # it is gone
                    async with asyncio.timeout(LEAVE_S):
                        await client.close(timeout=LEAVE_S / 2)
                client.status = "closed"  # or it begins to close once more when it is collected
        finally:
            await self._end_process()

    async def _end_process(self) -> None:
        """Let the process that holds a cluster of this machine end, with its workers."""
        if self._process is not None:
            process, self._process = self._process, None
            if self._holding is not None and self._holding.transport is not None:
                self._holding.transport.close()
            try:
                await process.wait(LEAVE_S)
            finally:
                process.kill()
                await process.wait()


def _keep_off_the_terminal() -> None:
    """Let no logger of dask or tornado write there, nor a warning: events and errors tell what goes wrong."""
    warnings.filterwarnings("ignore", module=r"distributed\b")
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("distributed", "tornado"):  # which dask has write to standard error
            logging.getLogger(name).handlers = [logging.NullHandler()]
            logging.getLogger(name).propagate = False


def _security(experiment: Experiment) -> Any:
    """Return how the cluster is talked to: over TLS where its address says so; raises ConfigError."""
    if not is_encrypted(experiment.cluster):
        return None
    check_cluster_files(experiment)  # dask would ask the terminal for the password of a key
    return Security(
        tls_ca_file=experiment.cluster_ca,
        tls_client_cert=experiment.cluster_cert,
        tls_client_key=experiment.cluster_key or experiment.cluster_cert,
        require_encryption=True,
    )
