"""A dashboard that shows one hand-made moment: no engine, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sockscope.core.censoring import Ages
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.connection import ConnectionState, ConnectionView, TcpInfo
from sockscope.core.events import CloseReason, Event, EventKind
from sockscope.core.histogram import Histogram
from sockscope.core.roles import SERVER, SWARM
from sockscope.core.run.adding import total
from sockscope.core.run.client_states import ClientSample, Doing
from sockscope.core.run.figures import figures
from sockscope.core.run.findings import limit_of
from sockscope.core.run.snapshot import (
    LOST,
    Exchange,
    KernelUdp,
    LimiterStatistics,
    PartUse,
    ProcessUse,
    Resources,
    RoleSnapshot,
    RunState,
    Snapshot,
    Totals,
)
from sockscope.core.run.trace import Trace
from sockscope.faces.tui.look import Look, LookApp
from sockscope.faces.tui.panels.panel import Panel
from sockscope.faces.tui.screen_state import ScreenState
from sockscope.faces.tui.screens.dashboard import DashboardScreen
from sockscope.faces.tui.session import Session
from tests.tui.fake_source import FakeSource

START_S = 1_000.0
STEP_S = 0.25
CLIENTS = 100
ADDRESS = "127.0.0.1:40213"


class Still(LookApp[None]):
    """The dashboard's screen, with a state that is handed over by hand."""

    TITLE = "SockScope"

    def __init__(
        self, state: ScreenState | None, face: str = "connections", maximised: type[Panel] | None = None
    ) -> None:
        super().__init__(Look())
        self.still = state
        self.face = face
        self.maximised = maximised

    async def on_mount(self) -> None:
        """Put the screen up and hand it the state."""
        screen = DashboardScreen(Session(FakeSource(Experiment())))
        screen.bring_to_front(self.face)
        await self.push_screen(screen)
        if self.maximised is not None:
            screen.maximise_panel(screen.panel(self.maximised))
        self.call_after_refresh(setattr, screen, "state", self.still)


class Script:
    """A run that never happened: snapshots every quarter of a second, summed up as they go."""

    def __init__(self, tuning: Tuning) -> None:
        self.tuning = tuning
        self.time_s = START_S
        self.totals = Totals(connections_opened=CLIENTS)
        self.service = Histogram()
        self.response = Histogram()
        self.lag = Histogram()
        self.cpu_s = 0.4
        self.wait_s = 0.0
        self.generation = 0
        self.doing: Sequence[Doing] = [Doing.IN_FLIGHT] * CLIENTS
        self.events: list[Event] = [
            Event(START_S, EventKind.RUN, "run", text=f"started: {tuning.transport.upper()} {ADDRESS}"),
            *(
                Event(START_S + n / 10_000, EventKind.OPEN, "server", n, f"127.0.0.1:{51_000 + n}")
                for n in range(1, 31)
            ),
        ]
        self.trace = Trace()
        self.sent = 0
        self.lost = 0

    def tune(self, text: str, **changes: Any) -> None:
        """Turn a knob."""
        self.tuning = replace(self.tuning, **changes)
        self.generation += 1
        self.events.append(
            Event(self.time_s + 0.01, EventKind.TUNING, "run", text=text, generation=self.generation)
        )

    def go_on(self, steps: int, requests: int, median_ms: float, cpu: float = 0.3, lost: int = 0) -> None:
        """Let so many steps pass, each with so many requests."""
        for step in range(steps):
            self.time_s += STEP_S
            spread = [median_ms * (1 + ((n * 7919 + step * 104_729) % 97) / 97) for n in range(200)]
            self.service.add_all(ms / 1_000 for ms in spread)
            self.response.add_all(ms / 1_000 + 0.004 for ms in spread)
            self.lag.add_all((0.001, 0.002, 0.004))
            self.cpu_s += cpu * STEP_S
            self.wait_s += 0.004 * requests
            self.lost += lost
            more = Totals(
                requests=requests + lost,
                requests_due=requests + lost,
                responses=requests,
                timeouts=lost,
                bytes_in=68 * requests,
                response_bytes=68 * requests,
                bytes_out=68 * requests,
                reads=requests,
                writes=requests,
                datagrams_sent=requests + lost if self.tuning.transport == "udp" else 0,
                datagrams_received=requests if self.tuning.transport == "udp" else 0,
                datagrams_lost=lost,
            )
            self.totals = total([self.totals, more])
            self.last = self.snapshot()
            self.trace.absorb(self.last)
            self.sent = len(self.events)

    def snapshot(self, state: RunState = RunState.RUNNING, error: str = "") -> Snapshot:
        """Return the run as it is now."""
        waiting = max(0, CLIENTS - self.tuning.permits) if self.tuning.permits else 0
        limiter = LimiterStatistics(
            permits=self.tuning.permits,
            in_flight=CLIENTS - waiting,
            waiting=waiting,
            acquired=self.totals.requests,
            waited=self.totals.requests,
            wait_s=self.wait_s,
        )
        common: dict[str, Any] = {
            "transport": self.tuning.transport,
            "address": ADDRESS,
            "totals": self.totals,
            "connections_open": CLIENTS,
        }
        connections = tuple(self._connection(n) for n in range(1, 61))
        server = RoleSnapshot(role="server", connections=connections, connections_matching=60, **common)
        swarm = RoleSnapshot(
            role="swarm",
            clients=CLIENTS,
            client_samples=(ClientSample(self.time_s, range(1, CLIENTS + 1), bytes(self.doing)),),
            in_flight=CLIENTS - waiting,
            limiter=limiter,
            service_time=self.service.copy(),
            response_time=self.response.copy(),
            exchanges=tuple(self._exchange(n) for n in range(40)),
            exchanges_cursor=40,
            captures_recorded=40,
            **common,
        )
        return Snapshot(
            time_s=self.time_s,
            started_s=START_S,
            measured_since_s=START_S,
            state=state,
            experiment=Experiment(tuning=self.tuning),
            tuning=self.tuning,
            generation=self.generation,
            loop_name="uvloop",
            roles={SERVER: server, SWARM: swarm},
            resources=Resources(
                cpu_s=self.cpu_s,
                rss_bytes=64_000_000,
                descriptors=220,
                descriptor_limit=1_024,
                voluntary_switches=7,
                involuntary_switches=3,
                loop_lag=self.lag.copy(),
                kernel_udp=KernelUdp(10, 10, 0, 0),
                time_s=self.time_s,
                since_s=START_S,
            ),
            events=tuple(self.events[self.sent :]),
            events_cursor=len(self.events),
            error=error,
        )

    def _connection(self, number: int) -> ConnectionView:
        closed = number % 9 == 0
        return ConnectionView(
            role="server",
            conn_id=number,
            local_address=ADDRESS,
            remote_address=f"127.0.0.1:{51_000 + number}",
            state=ConnectionState.CLOSED if closed else ConnectionState.OPEN,
            age_s=self.time_s - START_S,
            requests=self.totals.responses // CLIENTS + number,
            responses=self.totals.responses // CLIENTS + number,
            bytes_in=self.totals.bytes_in // CLIENTS,
            bytes_out=self.totals.bytes_out // CLIENTS,
            reads=9,
            writes=9,
            close_reason=CloseReason.RESET if closed else None,
            tcp=None if closed else TcpInfo(rtt_s=41e-6),
        )

    def _exchange(self, number: int) -> Exchange:
        lost = number % 13 == 12
        return Exchange(
            record_id=number,
            time_s=START_S + number / 1_000,
            conn_id=number % 7 + 1,
            request_bytes=68,
            response_bytes=0 if lost else 68,
            service_time_s=None if lost else 0.005 + number / 10_000,
            outcome="timeout" if lost else "ok",
            head=b"\x00\x00\x00@client [b]\x1b[1m",
        )

    def shown(self, state: RunState = RunState.RUNNING, error: str = "", **rest: Any) -> ScreenState:
        """Return the picture of this moment, with the whole log."""
        self.sent = 0
        snapshot = self.snapshot(state, error)
        headline = self.trace.headline or snapshot
        shown = figures(headline)
        return ScreenState(
            snapshot=snapshot,
            trace=self.trace,
            figures=shown,
            finding=limit_of(replace(headline, state=state)),
            headline=headline,
            requested=self.tuning,
            now_s=self.time_s,
            window_s=30.0,
            at_once=True,
            **rest,
        )


def running() -> Script:
    """Return a TCP run with one change in it."""
    script = Script(Tuning())
    script.go_on(40, 1_900, 5.0)
    script.tune("permits 50 → 100", permits=100)
    script.go_on(40, 3_300, 6.0, cpu=0.45)
    return script


def of_every_kind() -> ScreenState:
    """Return a run whose clients do everything that clients can do."""
    script = running()
    often = {Doing.IN_BACKLOG: 24, Doing.WAITING: 20, Doing.SERVED: 12, Doing.THINKING: 10}
    script.doing = [doing for doing in Doing for _ in range(often.get(doing, 6))][:CLIENTS]
    script.doing += [Doing.IN_FLIGHT] * (CLIENTS - len(script.doing))
    return script.shown()


def on_workers() -> ScreenState:
    """Return a run on a cluster: a worker of another machine has its own clock, and one is lost."""
    script = Script(Tuning(place="cluster"))
    script.go_on(80, 1_900, 5.0)
    state = script.shown()
    used = replace(state.snapshot.resources, since_s=START_S, machine_busy_s=34.0, machine_cores=4)
    main = state.snapshot.main
    part = PartUse(main.totals.responses // 2, main.service_time, Ages(), Histogram())

    def process(name: str, role: str = SWARM, **rest: Any) -> ProcessUse:
        return ProcessUse(name, 4_711, (role,), used, "uvloop", {}, generation=1, **rest)

    processes = (
        replace(process("main"), roles=()),
        process("server", SERVER),
        process("clients at 10.0.0.2", part=part, clock_error_s=0.0004, cores_of="10.0.0.2"),
        process("clients 2 at 10.0.0.3", state=LOST, alive=False),
    )
    experiment = replace(state.snapshot.experiment, cluster="tls://10.0.0.1:8786")
    return replace(
        state,
        snapshot=replace(state.snapshot, processes=processes, experiment=experiment),
        headline=replace(state.headline, processes=processes),
    )


def losing() -> Script:
    """Return a UDP run that loses datagrams."""
    script = Script(Tuning(transport="udp"))
    script.go_on(30, 2_500, 5.0)
    script.go_on(20, 1_200, 9.0, cpu=0.8, lost=40)
    return script
