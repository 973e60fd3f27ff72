"""Situations of a second of a run as data, and what its limit is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sockscope.core.config.experiment import Experiment, Tuning
from sockscope.core.histogram import Histogram
from sockscope.core.run.snapshot import (
    STOPPED,
    KernelUdp,
    LimiterStatistics,
    ProcessUse,
    Raised,
    Resources,
    Snapshot,
    SocketOption,
    Totals,
)
from tests.core.runs import histogram, of_roles, resources, role, run


@dataclass(frozen=True)
class Busy:
    """What a process does in the second, as shares of it; ``late`` is how often its loop is 50 ms late."""

    cpu: float = 0.1
    waits: float = 0.0
    late: float = 0.0
    busiest: float | None = None
    rest: Mapping[str, Any] = field(default_factory=dict)

    def resources(self, machine: float) -> Resources:
        """Return its readings; ``machine`` is how much of two cores are taken."""
        late = round(self.late * 100)
        made = resources(cpu_s=self.cpu, lag=histogram(*[0.05] * late, *[0.0005] * (100 - late)))
        return replace(
            made, core_wait_s=self.waits, busiest_s=self.busiest, machine_busy_s=2 * machine, machine_cores=2,
            kernel_udp=KernelUdp(10, 10, 0, 0), time_s=101.0, since_s=100.0,
        )  # fmt: skip


@dataclass(frozen=True)
class Situation:
    """A second of a run of 100 clients.

    ``answers`` took ``service_s`` each. ``server`` None: it runs elsewhere, or not at all.
    """

    name: str
    limit: str
    words: tuple[str, ...] = ()
    never: tuple[str, ...] = ("more clients",)
    answers: int = 1_000
    service_s: float = 0.05
    in_flight: int = 100
    tuning: Mapping[str, Any] = field(default_factory=dict)
    experiment: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    swarm: Mapping[str, Any] | None = field(default_factory=dict)
    server: Mapping[str, Any] | None = field(default_factory=dict)
    processes: Mapping[str, Busy] = field(default_factory=lambda: {"main": Busy()})
    machine: float = 0.3
    kernel_dropped: int = 0

    def window(self) -> Snapshot:
        """Return the second."""
        quick: dict[str, Any] = {"permits": 0, "service_time_s": 0.0}
        tuning = Tuning(**(quick | dict(self.tuning)))
        totals = Totals(requests=self.answers, responses=self.answers, **self.counts)
        swarm = server = None
        if self.swarm is not None:
            made: dict[str, Any] = {"clients": 100, "connections_open": 100, "in_flight": self.in_flight}
            times = histogram(*[self.service_s] * self.answers) if self.answers else Histogram()
            swarm = role("swarm", totals, service_time=times, **(made | dict(self.swarm)))
        if self.server is not None:
            there: dict[str, Any] = {"connections_open": 100}
            there |= {"totals": Totals(requests=self.answers), **self.server}
            server = role("server", there.pop("totals"), **there)
        experiment = Experiment(tuning=tuning, **self.experiment)
        seen = run(tuning=tuning, experiment=experiment, seconds=1.0, swarm=swarm, server=server)
        uses = tuple(self._uses())
        udp = KernelUdp(10, 10, self.kernel_dropped, self.kernel_dropped)
        return replace(
            seen,
            roles=of_roles(server, swarm),
            processes=uses,
            resources=replace(uses[0].resources, kernel_udp=udp),
        )

    def _uses(self) -> list[ProcessUse]:
        found = []
        for number, (name, busy) in enumerate(self.processes.items()):
            roles = tuple(role for role in ("server", "swarm") if self._hosts(name, role))
            found.append(
                ProcessUse(name, 100 + number, roles, busy.resources(self.machine), "uvloop", {}, **busy.rest)
            )
        return found

    def _hosts(self, process: str, role: str) -> bool:
        if process == "target":
            return role == "server"
        if process == "main":
            here = self.server if role == "server" else self.swarm
            return here is not None and not {"server", "clients"} & set(self.processes)
        return process == {"server": "server", "swarm": "clients"}[role]


def taken(permits: int, waiting: int, wait_s: float = 0.05) -> LimiterStatistics:
    """All permits are held, and nearly everybody had to wait for one."""
    return LimiterStatistics(permits, permits, waiting, 1_000, 990, 990 * wait_s)


APART = {"main": Busy(0.05), "server": Busy(0.5), "clients": Busy(0.5)}
ELSEWHERE: dict[str, Any] = {"server": None, "experiment": {"role": "swarm", "target": "127.0.0.1:80"}}
RAISED = (Raised("ValueError", "mine.py:3", "bad", 1_204), Raised("KeyError", "mine.py:9", "k", 0))
BLOCK = {"work": "block", "service_time_s": 0.005}

SITUATIONS = (
    # A core is used up.
    Situation(
        "one loop is full", "CPU", ("main 98 %", "queueing for the loop"), processes={"main": Busy(0.98)},
    ),
    Situation(
        "one loop waits for a core that others have", "CPU",
        ("main 48 % of one core and waits for it 46 %", "152 % of a core by other programs"),
        processes={"main": Busy(0.48, waits=0.46)}, machine=1.0,
    ),
    Situation(
        "permits are held because the loop is full", "CPU", ("main 97 %",), processes={"main": Busy(0.97)},
        tuning={"permits": 50}, swarm={"limiter": taken(50, 50)}, in_flight=50,
    ),
    Situation(
        "server and clients take turns", "CPU", ("server 82 % of one core, clients 79 %",),
        processes={"main": Busy(0.05), "server": Busy(0.82), "clients": Busy(0.79)}, machine=0.85,
    ),
    Situation(
        "server and clients wait for each other's core", "CPU", ("server 60 %", "clients 55 %"),
        processes={"main": Busy(0.05), "server": Busy(0.6, 0.36), "clients": Busy(0.55, 0.4)}, machine=1.0,
    ),
    Situation(
        "the server's process is full", "CPU", ("server 99 %", "clients 61 %"),
        processes={"main": Busy(0.05), "server": Busy(0.99), "clients": Busy(0.61)}, machine=0.85,
    ),
    Situation(
        "the clients' process is full", "CPU", ("clients 99 %",), tuning={"transport": "udp"},
        processes={"main": Busy(0.05), "server": Busy(0.5), "clients": Busy(0.99)}, machine=0.8,
    ),
    Situation(
        "computing is service, and fills the core", "CPU", ("server 99 %",), answers=200,
        tuning={"work": "cpu", "service_time_s": 0.005},
        processes={"main": Busy(0.02), "server": Busy(0.99), "clients": Busy(0.05)},
    ),
    Situation(
        "others take the machine from a process that hardly wants it", "think time", ("think 50.0 ms",),
        tuning={"think_time_s": 0.05}, service_s=0.004, in_flight=8, machine=1.0,
        processes={"main": Busy(0.08, waits=0.12)},
    ),
    Situation(
        "others take the machine from clients of a slow server", "server", ("wait 200 ms",), service_s=0.2,
        answers=500, **ELSEWHERE, machine=1.0, never=("cores are taken",),
        processes={"main": Busy(0.14, waits=0.7, late=0.3), "target": Busy(0.03)},
    ),
    Situation(
        "others take the machine from a process that wants it", "CPU",
        ("100 % of the machine's 2 cores", "main 40 %"),
        processes={"main": Busy(0.4, waits=0.4, late=0.5)}, machine=1.0,
    ),
    Situation(
        "our processes fill the machine", "CPU", ("100 % of the machine's 2 cores",), tuning={"permits": 50},
        processes={"main": Busy(0.6, 0.1), "server": Busy(0.65, 0.1), "clients": Busy(0.65, 0.1)},
        swarm={"limiter": taken(50, 50)}, in_flight=5, machine=1.0,
    ),
    Situation(
        "one loop rests while all requests are in service", "CPU", ("main 37 %", "waits for it 48 %"),
        service_s=0.02, in_flight=200, answers=9_900, tuning={"service_time_s": 0.005},
        processes={"main": Busy(0.37, waits=0.48)}, machine=0.98,
    ),
    Situation(
        "service of a loop that is nearly full", "service time", ("main 46 %", "waits for it 40 %"),
        service_s=0.0346, answers=5_000, tuning={"service_time_s": 0.02}, processes={"main": Busy(0.46, 0.4)},
    ),
    Situation(
        "the process of the screen waits for a core, and no request goes through it", "service time",
        ("more clients",), never=("main",), tuning={"service_time_s": 0.05}, service_s=0.055, machine=1.0,
        processes={"main": Busy(0.05, waits=0.92, late=0.9), "server": Busy(), "clients": Busy()},
    ),
    Situation(
        "others take the machine from processes that want little of it", "latency",
        ("for a core now and then; 100 % of", "by other programs; more clients"), never=("used up",),
        answers=4_900, service_s=0.0029, tuning={"service_time_s": 0.001}, machine=1.0,
        processes={"main": Busy(0.02), "server": Busy(0.12, 0.29), "clients": Busy(0.08, 0.21)},
    ),
    # One request at a time.
    *(
        Situation(
            f"{server} serves the requests of a connection in their order", "server",
            ("one after the other, 20.0 ms each (depth 16)", "more depth would not"),
            answers=450, service_s=0.3, in_flight=160, swarm={"clients": 10, "connections_open": 10},
            server={"connections_open": 10},
            tuning={"depth": 16, "server": server, "service_time_s": 0.02, "work": work},
        )
        for server, work in (("protocol", "wait"), ("epoll", "wait"), ("threaded", "block"))
    ),
    Situation(
        "a service that blocks a loop which others share", "blocked", ("each request has it for 2.00 ms",),
        answers=200, service_s=0.08, tuning={"work": "block", "service_time_s": 0.002},
        processes={"main": Busy(0.05, late=0.7)},
    ),
    Situation(
        "threads keep the interpreter from their loop", "blocked", ("the GIL",),
        answers=250, service_s=0.1, tuning={"server": "threaded", "work": "cpu", "service_time_s": 0.003},
        processes={"main": Busy(0.02), "server": Busy(0.6, late=0.94), "clients": Busy(0.02)},
    ),
    *(
        Situation(
            f"a {server} server sleeps in its only thread ({transport})", "blocked",
            ("holds up all the others for 5.00 ms",),
            answers=190, service_s=0.5, tuning={**BLOCK, "server": server, "transport": transport, **permits},
            swarm=waiting, in_flight=50,
        )
        for transport, server in (
            ("tcp", "protocol"), ("tcp", "streams"), ("tcp", "epoll"), ("tcp", "select"), ("udp", "datagram"),
            ("udp", "epoll"), ("udp", "blocking"),
        )
        for permits, waiting in (({}, {}), ({"permits": 50}, {"limiter": taken(50, 50)}))
    ),
    Situation(
        "a blocked loop at half time", "think time", ("think 90.0 ms",), answers=100, service_s=0.00571,
        in_flight=1, tuning={**BLOCK, "think_time_s": 0.09}, processes={"main": Busy(0.05, late=0.25)},
    ),
    Situation(
        "one client of a server that sleeps", "service time",
        ("5.00 ms of the 5.72 ms", "no more requests at a time"),
        answers=175, service_s=0.00571, in_flight=1, tuning=BLOCK,
        swarm={"clients": 1, "connections_open": 1},
    ),
    Situation(
        "a hundred threads at one UDP socket", "server", ("100 datagrams at a time",), answers=4_900,
        service_s=0.04,
        swarm={"clients": 200},
        in_flight=200, tuning={"transport": "udp", "server": "threaded", "service_time_s": 0.02},
    ),
    Situation(
        "a handler that blocks its loop", "blocked", ("loop of main is held up for 97 %", "5 % of a core"),
        experiment={"handler": "mine:handle"}, tuning={"permits": 50}, swarm={"limiter": taken(50, 50)},
        processes={"main": Busy(0.05, late=0.97)}, in_flight=50,
    ),
    Situation(
        "a handler that blocks its loop half of the time", "blocked", ("loop of server is held up for 50 %",),
        experiment={"handler": "mine:handle"},
        processes={"main": Busy(0.05), "server": Busy(0.1, late=0.5), "clients": Busy(0.1)},
    ),
    # Connections are not served.
    *(
        Situation(
            f"{server} leaves clients in its backlog", "server",
            (f"{server} serves", f"{left} of 150 wait in its backlog"),
            tuning={"server": server, **more}, swarm={"connections_open": 150, "clients": 150, **held},
            server={"connections_open": 150 - left}, counts={"timeouts": left}, processes=places,
        )
        for server, left in (("blocking", 149), ("pool", 50))
        for more, held in (({}, {}), ({"permits": 50}, {"limiter": taken(50, 99)}))
        for places in ({"main": Busy(0.98)}, APART)
    ),
    Situation(
        "a server alone with a backlog", "server", ("60 of 160 wait in its backlog",), swarm=None,
        tuning={"server": "pool"}, server={"backlog": 60}, experiment={"role": "server"},
    ),
    *(
        Situation(
            f"a server alone whose {transport} peers send rubbish", "errors",
            ("71 % of the requests fail", words), swarm=None, tuning={"transport": transport},
            server={"totals": Totals(requests=42, responses=12, errors=30)}, experiment={"role": "server"},
        )
        for transport, words in (("udp", "answers cannot be sent"), ("tcp", "no frame (--framing length)"))
    ),
    Situation(
        "a UDP server has more peers than it may remember", "connections",
        ("remembers 95 peers at most", "left 5 datagrams of others unanswered"), never=("closed",),
        tuning={"transport": "udp"}, experiment={"max_connections": 95}, counts={"timeouts": 5},
        server={"totals": Totals(requests=1_000, connections_rejected=5)},
    ),
    Situation(
        "a server elsewhere serves one at a time", "backlog", ("99 connections wait in the backlog",),
        **ELSEWHERE, swarm={"backlog": 99}, never=("more clients", "perhaps"),
    ),
    Situation(
        "a server elsewhere is too busy to accept", "backlog", ("130 % of a core, the server perhaps",),
        **ELSEWHERE, swarm={"backlog": 99}, machine=0.7,
    ),
    Situation(
        "clients of a server elsewhere that serves one at a time time out", "backlog", ("99 connections",),
        counts={"timeouts": 99, "connections_opened": 99}, **ELSEWHERE, swarm={"backlog": 99},
        processes={"main": Busy(0.4, 0.55), "target": Busy(0.4)}, machine=1.0,
    ),
    Situation(
        "many short connections keep a server elsewhere busy", "CPU", ("target 99 %",),
        counts={"connections_opened": 5_000}, **ELSEWHERE, swarm={"backlog": 60, "connections_open": 80},
        processes={"main": Busy(0.4), "target": Busy(0.99, busiest=0.99)},
    ),
    Situation(
        "no descriptors are left", "descriptors", ("ulimit",),
        server={"not_accepting": "too many open files"},
    ),
    # Requests fail.
    Situation(
        "the kernel drops datagrams", "timeouts", ("20 %", "kernel dropped 250 datagrams"),
        never=("no connection",),
        tuning={"transport": "udp"}, counts={"timeouts": 250}, kernel_dropped=250,
    ),
    Situation(
        "the kernel drops few of many datagrams, whose clients wait", "timeouts",
        ("70 % of their time", "kernel dropped 70 datagrams"),
        tuning={"transport": "udp"}, answers=50_000, service_s=0.0005, in_flight=72,
        counts={"timeouts": 70}, kernel_dropped=70, processes={"main": Busy(0.99)},
    ),
    Situation(
        "clients come back after timeouts", "timeouts", ("50 %", "after 1.00 s"), never=("no connection",),
        counts={"timeouts": 1_000}, swarm={"clients_retrying": 40, "last_trouble": "timeout"},
    ),
    Situation(
        "only timeouts", "timeouts", ("100 % of the requests", "service time alone is 2.00 s"), answers=0,
        counts={"timeouts": 600}, tuning={"service_time_s": 2.0},
    ),
    Situation(
        "timeouts of a full server", "timeouts", ("9 %", "main 98 %"), counts={"timeouts": 100},
        processes={"main": Busy(0.98)},
    ),
    Situation(
        "nobody listens", "server", ("100 of 100 clients have no connection", "connection refused"),
        answers=0,
        in_flight=0, counts={"connections_refused": 80}, **ELSEWHERE,
        swarm={"clients_retrying": 100, "last_trouble": "Connection refused", "connections_open": 0},
    ),
    Situation(
        "the server resets", "errors", ("50 % of the requests fail: connection reset",),
        counts={"errors": 1_000},
        swarm={"clients_retrying": 30, "last_trouble": "Connection reset by peer"}, never=("no connection",),
    ),
    Situation(
        "the server accepts no more connections", "connections",
        ("holds 10 connections at most", "400 more on arrival"),
        never=("no connection", "reset"), experiment={"max_connections": 10}, counts={"errors": 400},
        swarm={"clients_retrying": 90, "last_trouble": "Connection reset by peer", "connections_open": 10},
        server={"totals": Totals(connections_rejected=400), "connections_open": 10},
    ),
    Situation(
        "the backlog is full", "connections",
        ("97 of 100 clients wait for a connection", "takes none; 2 are in its backlog, which is full"),
        tuning={"server": "blocking"}, experiment={"backlog": 1}, in_flight=3,
        swarm={"clients_connecting": 97, "connections_open": 3},
        server={"connections_open": 3, "backlog": 2},
    ),
    Situation(
        "a full loop takes long to connect thousands", "connections",
        ("7,560 of 9,000 clients wait for a connection; 1,440 are made per second", "main 30 %"),
        never=("takes none", "backlog"), processes={"main": Busy(0.3, waits=0.7)}, machine=1.0,
        counts={"connections_opened": 1_440}, server={"connections_open": 1_440, "backlog": 32},
        swarm={"clients": 9_000, "clients_connecting": 7_560, "connections_open": 1_440},
    ),
    Situation(
        "most clients have been turned away and rest", "connections", ("holds 20 connections at most",),
        experiment={"max_connections": 20}, answers=2_283, counts={"errors": 75}, in_flight=20,
        swarm={"clients_retrying": 80, "last_trouble": "EOF", "connections_open": 20},
        server={"totals": Totals(connections_rejected=75), "connections_open": 20},
    ),
    Situation(
        "select runs out of descriptors", "connections", ("FD_SETSIZE", "730 more on arrival"),
        never=("20,000",), tuning={"server": "select"}, counts={"errors": 730}, answers=5_000,
        swarm={"clients": 800, "clients_retrying": 300, "last_trouble": "EOF", "connections_open": 500},
        server={"totals": Totals(connections_rejected=730), "connections_open": 500},
    ),
    Situation(
        "few fail of many, whose clients rest", "errors", ("80 of 100 clients are backing off", "reset"),
        answers=9_000, counts={"errors": 90}, in_flight=20, **ELSEWHERE,
        swarm={"clients_retrying": 80, "last_trouble": "Connection reset by peer", "connections_open": 20},
    ),
    Situation(
        "one client", "CPU", ("main 98 %",), never=("queueing",), in_flight=1,
        processes={"main": Busy(0.98)},
    ),
    Situation(
        "a handler raises", "own code", ("ValueError at mine.py:3, 1,204 times",), answers=0,
        never=("no connection",), experiment={"handler": "mine:handle"}, counts={"errors": 1_204},
        swarm={"clients_retrying": 90, "last_trouble": "EOF"},
        server={"raised": RAISED},
    ),
    # Servers elsewhere.
    Situation(
        "a server elsewhere is full", "CPU", ("target 99 % of one core",), **ELSEWHERE,
        processes={"main": Busy(0.3), "target": Busy(0.99, busiest=0.99)}, machine=0.7,
    ),
    Situation(
        "one thread of a server elsewhere is full", "CPU", ("target 130 % of one core",), **ELSEWHERE,
        processes={"main": Busy(0.3), "target": Busy(1.3, busiest=0.96)}, machine=0.8,
    ),
    Situation(
        "a server elsewhere waits for a core", "CPU", ("target 50 % of one core and waits for it 45 %",),
        **ELSEWHERE,
        processes={"main": Busy(0.3), "target": Busy(0.5, waits=0.45, busiest=0.95)}, machine=1.0,
    ),
    Situation(
        "a server elsewhere is slow", "server", ("wait 99.4 ms for each answer", "target 3 %"),
        service_s=0.0995,
        never=("more clients", "--pid"), **ELSEWHERE, processes={"main": Busy(0.1), "target": Busy(0.03)},
    ),
    Situation(
        "a server elsewhere is slow, its process not known", "server", ("99.4 ms for each answer", "--pid"),
        service_s=0.0995, **ELSEWHERE,
    ),
    Situation(
        "a server elsewhere is stopped", "process", ("target process 101 is stopped",), answers=0,
        **ELSEWHERE,
        processes={"main": Busy(0.1), "target": Busy(0.0, rest={"state": STOPPED})},
    ),
    Situation(
        "a server elsewhere says nothing", "server", ("no answer for 1.00 s", "100 requests are in flight"),
        answers=0, **ELSEWHERE,
    ),
    Situation(
        "a server elsewhere waits for delayed acknowledgements", "server", ("wait 43.", "delayed ACK"),
        answers=230, service_s=0.0435, in_flight=10, counts={"messages_torn": 230}, **ELSEWHERE,
    ),
    *(
        Situation(
            f"large messages go through small buffers, {limit}", limit,
            ("takes 128 reads: 1.05 MB", "8.19 kB (SO_RCVBUF)"), answers=13, service_s=0.27, in_flight=4,
            tuning={"request_bytes": 1 << 20, "rcvbuf_bytes": 4096}, counts={"reads": 13 * 128},
            swarm={"clients": 4, "connections_open": 4,
                   "socket_options": (SocketOption("SO_RCVBUF", 4_096, 8_192),)},
            processes=processes,
        )
        for limit, processes in (("buffers", APART), ("CPU", {"main": Busy(0.98)}))
    ),
    Situation(
        "answers of a server elsewhere are never whole", "timeouts", ("500 B came, but no whole answer",),
        answers=0, counts={"timeouts": 50, "bytes_in": 500}, **ELSEWHERE,
    ),
    Situation(
        "threads that compute keep a server from accepting", "CPU", ("server 85 %",), answers=220,
        service_s=0.17, tuning={"server": "threaded", "work": "cpu", "service_time_s": 0.003},
        processes={"main": Busy(0.02), "server": Busy(0.85), "clients": Busy(0.02)},
        server={"connections_open": 50, "backlog": 50},
    ),
    # What is held by those who have it.
    Situation(
        "permits", "semaphore", ("50 of 50 permits", "50.0 ms each"),
        tuning={"permits": 50, "service_time_s": 0.045},
        swarm={"limiter": taken(50, 50)}, in_flight=50,
    ),
    Situation(
        "permits of a server elsewhere", "semaphore", tuning={"permits": 50},
        swarm={"limiter": taken(50, 50)},
        in_flight=50, **ELSEWHERE,
    ),
    Situation(
        "permits, and service longer than the second", "semaphore", answers=0, in_flight=3,
        tuning={"permits": 3, "service_time_s": 3.0}, swarm={"limiter": LimiterStatistics(3, 3, 97)},
    ),
    Situation(
        "the server's admission", "admission", ("5 of 5",), tuning={"server_permits": 5, "permits": 50},
        server={"limiter": taken(5, 45)}, swarm={"limiter": taken(50, 50)}, in_flight=50,
    ),
    Situation(
        "a pool of connections", "pool", ("8 of 8",), tuning={"pool": 8}, swarm={"pool": taken(8, 92)},
        in_flight=8,
    ),
    *(
        Situation(
            f"{one}, and next to it {other}", one, ("more would wait for", word),
            tuning={"service_time_s": 0.045, "permits": 9, **knobs}, in_flight=9, server={"limiter": inner},
            swarm={"limiter": LimiterStatistics(9) if pooled.permits else taken(9, 91), "pool": pooled},
        )
        for one, other, word, knobs, inner, pooled in (
            ("semaphore", "admission", "8 requests admitted", {"server_permits": 8},
             LimiterStatistics(8, 8, 1, 1_000, 300, 6.0), LimiterStatistics()),
            ("pool", "permits", "9 permits", {"pool": 9}, LimiterStatistics(), taken(9, 91)),
            ("admission", "permits", "9 permits", {"server_permits": 8}, taken(8, 1), LimiterStatistics()),
        )
    ),
    Situation(
        "permits for nearly all", "service time", ("20.0 ms of the 22.", "more clients and permits would"),
        never=(), tuning={"permits": 50, "service_time_s": 0.02}, in_flight=50, service_s=0.0225,
        swarm={"clients": 52, "limiter": LimiterStatistics(50, 50, 2, 1_000, 1_000, 0.9)},
    ),
    Situation(
        "requests time out behind a full backlog", "timeouts", ("takes 1 connection (--backlog)",),
        counts={"timeouts": 800, "connections_opened": 300}, experiment={"backlog": 1},
        tuning={"lifetime": 1}, server={"backlog": 2, "connections_open": 20},
    ),
    *(
        Situation(
            f"a few are served over {transport}, the others are stuck until they time out", "timeouts",
            ("clients spend 9", "on requests that get no answer", word), answers=answers, service_s=service_s,
            tuning={"transport": transport}, in_flight=95, kernel_dropped=dropped,
            swarm={"connected_s": 100.0, "idle_s": 1.0}, processes={"main": Busy(0.98)},
        )
        for transport, answers, service_s, dropped, word in (
            ("udp", 15_000, 0.0003, 95, "kernel dropped 95 datagrams"), ("tcp", 350, 0.02, 0, "main 98 %"),
        )
    ),
    # What takes longest.
    Situation(
        "thinking", "think time", ("think 20.0 ms and wait 8.",),
        tuning={"think_time_s": 0.02, "service_time_s": 0.005},
        service_s=0.008, in_flight=20,
    ),
    Situation(
        "thinking for longer than the second", "think time", ("think 30.0 s",), answers=0, in_flight=0,
        tuning={"think_time_s": 30.0},
    ),
    Situation(
        "service", "service time", ("50.0 ms of the 5",), never=(), tuning={"service_time_s": 0.05},
        service_s=0.052,
    ),
    Situation(
        "service of as many clients as permits", "service time", ("more clients and permits would",),
        never=(), tuning={"service_time_s": 0.05, "permits": 100}, service_s=0.052,
    ),
    Situation(
        "service of all threads of the pool", "service time", ("no more requests at a time",), answers=1_950,
        service_s=0.051, tuning={"server": "pool", "service_time_s": 0.05},
    ),
    Situation(
        "connecting", "connections", ("70 of 100 clients",), answers=300, in_flight=20,
        tuning={"lifetime": 1},
        swarm={"clients_connecting": 70, "connections_open": 25}, server={"connections_open": 25},
    ),
    Situation(
        "a handler that waits", "server", ("wait 49.", "mine:handle"), experiment={"handler": "mine:handle"},
    ),
    Situation("nothing but each other", "latency", never=(), answers=900, service_s=0.001, in_flight=1),
    Situation(
        "a server that nobody asks", "clients", ("no connection",), swarm=None, experiment={"role": "server"},
        server={"connections_open": 0},
    ),
)  # fmt: skip
