"""Situations of a second of a run as data, and what its limit is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.histogram import Histogram
from sockscope.core.run.raised import Raised
from sockscope.core.run.snapshot import (
    STOPPED,
    KernelTcp,
    KernelUdp,
    LimiterStatistics,
    ProcessUse,
    Resources,
    Snapshot,
    SocketOption,
    TcpSample,
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
    threads: int = 1
    rest: Mapping[str, Any] = field(default_factory=dict)

    def resources(self, machine: float) -> Resources:
        """Return its readings; ``machine`` is how much of two cores are taken."""
        late = round(self.late * 100)
        made = resources(cpu_s=self.cpu, lag=histogram(*[0.05] * late, *[0.0005] * (100 - late)))
        return replace(
            made, core_wait_s=self.waits, busiest_s=self.busiest, threads=self.threads,
            machine_busy_s=2 * machine, machine_cores=2,
            kernel_udp=KernelUdp(10, 10, 0, 0), time_s=101.0, since_s=100.0,
        )  # fmt: skip


@dataclass(frozen=True)
class Situation:
    """A second of a run of 100 clients.

    ``limit`` is the kind that is found, or the coarser word for it. ``answers`` took ``service_s`` each.
    ``server`` None: it runs elsewhere, or not at all.
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
    overflows: int = 0
    delayed_acks: int | None = None

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
            resources=replace(
                uses[0].resources, kernel_udp=udp, kernel_tcp=KernelTcp(self.overflows, self.delayed_acks)
            ),
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
    # An open loop.
    *(
        Situation(
            f"500 per second are offered: {name}", kind, words, answers=answers, service_s=0.01, in_flight=5,
            never=(), tuning={"rate": 500},
            counts={"requests_due": 500, "requests_dropped": dropped},
            swarm={"queued": queued, "schedule_lateness": histogram(*[0.0001] * 98, *[late_s] * 2),
                   "response_time": histogram(*[0.01] * 100)},
        )
        for name, kind, words, answers, dropped, queued, late_s in (
            ("all answered", "offered rate", ("rate of 500 per second is reached: 500",), 500, 0, 0, 0.0),
            ("four standard deviations less", "offered rate", ("reached: 386 are",), 386, 0, 25, 0.0019),
            ("still fewer are answered", "latency", (), 385, 0, 25, 0.0),
            ("one is dropped", "latency", (), 500, 1, 0, 0.0),
            ("many wait", "latency", (), 500, 0, 27, 0.0),
            ("they go out late", "generator-bound", ("p99 2.1", "more than 2.00 ms"), 500, 0, 0, 0.0021),
        )
    ),
    Situation(
        "the rate has just been turned up", "offered rate",
        ("what was due is answered, 500 per second: less than the rate of 2,000",), never=("is reached",),
        answers=500, service_s=0.01, in_flight=5, tuning={"rate": 2_000}, counts={"requests_due": 500},
        swarm={"schedule_lateness": histogram(*[0.0001] * 100)},
    ),
    Situation(
        "of three requests that are due one is answered", "latency", never=(), answers=1, in_flight=2,
        tuning={"rate": 10}, counts={"requests_due": 3}, swarm={"schedule_lateness": histogram(0.0001)},
    ),
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
        "other programs have the core that one loop waits for", "other programs",
        ("main 10 % of one core and waits for it 85 %", "190 % of a core by other programs"),
        processes={"main": Busy(0.1, waits=0.85)}, machine=1.0,
    ),
    Situation(
        "a loop has a core of its own for as long as it waits for one", "CPU",
        ("main 50 % of one core and waits for it 45 %",), processes={"main": Busy(0.5, waits=0.45)},
        machine=1.0,
    ),
    Situation(
        "our own processes keep each other from a core", "CPU",
        ("server 30 % of one core and waits for it 65 %",),
        processes={"main": Busy(0.05), "server": Busy(0.3, 0.65), "clients": Busy(0.9, 0.1)}, machine=0.7,
    ),
    Situation(
        "our own processes have the cores that they wait for", "machine CPU",
        ("server 40 %", "waits for it 55 %"), machine=1.0,
        processes={"main": Busy(0.9), "server": Busy(0.4, 0.55), "clients": Busy(0.38, 0.55)},
    ),
    Situation(
        "other programs have what two processes leave of the cores", "latency", ("nothing is used up",),
        processes={"main": Busy(0.05), "server": Busy(0.62, 0.02), "clients": Busy(0.6, 0.02)}, machine=1.0,
        never=("machine",), in_flight=1,
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
    *(
        Situation(
            f"clients are full and the server is at {round(server * 100)} %", kind, ("clients 94 %",),
            processes={"main": Busy(0.05), "server": Busy(server), "clients": Busy(0.94)}, machine=0.9,
        )
        for server, kind in ((0.84, "client CPU"), (0.86, "CPU"))
    ),
    Situation(
        "peers do not read, and the loop waits for a core at times", "slow readers", swarm=None,
        server={"connections_open": 10, "connected_s": 10.0, "unwritable_s": 9.0}, machine=1.0,
        processes={"main": Busy(0.17, waits=0.28, late=0.65)}, experiment={"role": "server"},
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
        ("at times for a core; 100 % of", "by other programs; more clients"), never=("used up",),
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
        "a service that blocks a loop which others share", "blocked", ("each request holds it for 2.00 ms",),
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
        "threads of a handler keep the interpreter from its loop", "blocked", ("held up for 89 %", "the GIL"),
        experiment={"handler": "mine:handle"}, service_s=0.12,
        processes={"main": Busy(0.05), "server": Busy(0.49, late=0.89, threads=7), "clients": Busy(0.1)},
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
        "blocking leaves more clients waiting than its backlog takes", "server",
        ("99 of 100 wait until that one ends; the kernel dropped 300 connections", "backlog of 2"),
        tuning={"server": "blocking"}, experiment={"backlog": 2}, never=("in its backlog",),
        server={"connections_open": 1, "listen_drops": 300},
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
        for transport, words in (("udp", "answers cannot be sent"), ("tcp", "not a frame (--framing length)"))
    ),
    Situation(
        "the server answers what --accept does not take", "answers",
        ("the server answers, but 75 % of its answers are rejected", "--accept does not take -ERR"),
        answers=100, counts={"errors": 300, "answers_rejected": 300},
        swarm={"last_trouble": "--accept does not take -ERR"},
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
        "a server elsewhere is too busy to accept", "backlog", ("perhaps the server, take 130 %",),
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
        "requests of the tuning before time out, while all clients are served", "service time",
        ("20.0 ms of the 23",), never=("time out",), answers=2_100, service_s=0.0235, in_flight=50,
        counts={"timeouts": 50}, tuning={"service_time_s": 0.02}, swarm={"clients": 50},
    ),
    *(
        Situation(
            f"answers come too late over UDP, {name}", "timeouts", ("97 %", "dropped 90 datagrams", words),
            answers=7, counts={"timeouts": 233, "datagrams_late": 90}, kernel_dropped=90, in_flight=50,
            **where,
        )
        for name, words, where in (
            ("since each blocks the server", "up all the others for 10.0 ms: 97 per second take 97 %", {
                "tuning": {"transport": "udp", "work": "block", "service_time_s": 0.01},
                "server": {"totals": Totals(requests=97, responses=97)},
            }),
            ("from elsewhere", "90 answers arrived after the timeout", {
                "tuning": {"transport": "udp"}, **ELSEWHERE,
            }),
        )
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
        "only timeouts of a loop that is held up", "timeouts", ("100 %", "loop of main is held up for 99 %"),
        answers=0, counts={"timeouts": 100}, tuning={**BLOCK, "request_timeout_s": 0.1},
        processes={"main": Busy(0.01, late=0.99)},
    ),
    Situation(
        "a few clients still rest after what failed before", "CPU", ("main 98 %",), never=("no connection",),
        answers=9_000, swarm={"clients_retrying": 12, "last_trouble": "timeout"}, in_flight=88,
        processes={"main": Busy(0.98)},
    ),
    Situation(
        "the service takes longer than the timeout, on a busy machine", "timeouts",
        ("service time alone is 100 ms",), never=("core",), answers=0, counts={"timeouts": 500}, machine=1.0,
        tuning={"transport": "udp", "service_time_s": 0.1, "request_timeout_s": 0.05},
        processes={"main": Busy(0.02, waits=0.8, late=0.5)},
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
        "nobody listens any more", "server gone", ("the server has gone", "100 of 100", "connection refused"),
        answers=0, in_flight=0, counts={"connections_refused": 80}, **ELSEWHERE,
        swarm={"clients_retrying": 100, "last_trouble": "Connection refused", "last_conn_id": 100},
    ),
    *(
        Situation(
            f"{without} connects of a hundred find no port", kind, words, answers=100 - without,
            tuning={"lifetime": 1}, never=(),
            counts={"connects_without_port": without, "connections_failed": without,
                    "connections_opened": 100 - without},
        )
        for without, kind, words in (
            (5, "ephemeral ports", ("no ephemeral port is left for 5 % of the connections", "--lifetime")),
            (4, "latency", ()),
        )
    ),
    *(
        Situation(
            f"the kernel does not take {unsent} datagrams of a hundred", kind, words, answers=100 - unsent,
            tuning={"transport": "udp"}, never=(),
            counts={"datagrams_sent": 100 - unsent, "datagrams_unsent": unsent},
        )
        for unsent, kind, words in (
            (5, "UDP send buffer", ("did not take 5 % of the datagrams of the clients",)), (4, "latency", ()),
        )
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
        ("97 of 100 clients wait for a connection", "takes none", "2 are in its backlog, which is full"),
        tuning={"server": "blocking"}, experiment={"backlog": 1}, in_flight=3,
        swarm={"clients_connecting": 97, "connections_open": 3},
        server={"connections_open": 3, "backlog": 2},
    ),
    *(
        Situation(
            f"short connections do not fit into a backlog, {name}", "connections",
            ("86 of 100 clients wait", "dropped 213 connections", words), answers=1_047, in_flight=14,
            never=("queueing", "more clients"), tuning={"lifetime": 1}, overflows=213, processes=processes,
            counts={"connections_opened": 1_050}, swarm={"clients_connecting": 86, "connections_open": 14},
            **where,
        )
        for name, words, processes, where in (
            ("which is short", "of 4 (--backlog)", {"main": Busy()}, {"experiment": {"backlog": 4}}),
            ("as it seems of a full loop", "of 4", {"main": Busy(0.98)}, {"experiment": {"backlog": 4}}),
            ("of a server elsewhere", "for a full backlog;", {"main": Busy()}, ELSEWHERE),
        )
    ),
    *(
        Situation(
            f"{dropped} connections of the server's own listener are dropped", limit, words, overflows=500,
            answers=100, service_s=0.2, tuning={"lifetime": 1}, counts={"connections_opened": 100},
            experiment={"backlog": 1}, server={"listen_drops": dropped}, never=(),
        )
        for dropped, limit, words in (
            (50, "accept queue", ("dropped 50 connections for a full backlog of 1 (--backlog)",)),
            (49, "latency", ()), (0, "latency", ()),
        )
    ),
    Situation(
        "a server elsewhere accepts nobody, and its backlog is full", "not accepting",
        ("64 connections wait in the backlog",), answers=0, in_flight=64, **ELSEWHERE,
        swarm={"connections_open": 64, "backlog": 64, "listen_drops": 70},
    ),
    *(
        Situation(
            f"{dropped} connections of a server elsewhere are dropped, and clients give up", kind,
            (words,), answers=50, counts={"connections_opened": 50, "connections_timed_out": 20},
            swarm={"clients_retrying": 60, "listen_drops": dropped, "last_trouble": "no connection in time"},
            **ELSEWHERE, tuning={"lifetime": 1}, overflows=500,
        )
        for dropped, kind, words in ((50, "accept queue", "50 connections"), (49, "no connection", "in time"))
    ),
    Situation(
        "others' connections do not fit into a backlog", "connections", ("70 of 100",), overflows=20,
        never=("dropped",), answers=300, in_flight=20, tuning={"lifetime": 1},
        counts={"connections_opened": 300}, swarm={"clients_connecting": 70, "connections_open": 25},
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
        "a server elsewhere is silent", "timeouts", ("target is at 3 %", "the server sent nothing"),
        answers=0, counts={"timeouts": 90}, **ELSEWHERE, machine=1.0, never=("waits for it",),
        processes={"main": Busy(0.02, waits=0.6, late=0.3), "target": Busy(0.03)},
    ),
    Situation(
        "no connection to a server elsewhere in time", "server",
        ("50 of 100 clients", "3 are in its backlog"),
        answers=0, in_flight=0, counts={"connections_timed_out": 8, "timeouts": 3}, **ELSEWHERE,
        swarm={"clients_retrying": 8, "clients_connecting": 42, "connections_open": 0, "backlog": 3},
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
        "a server elsewhere waits for delayed acknowledgements", "delayed ACK",
        ("100 % of the answers come 40.0 ms late: the server writes them in parts",),
        answers=230, service_s=0.0435, in_flight=10, counts={"messages_torn": 230}, **ELSEWHERE,
    ),
    *(
        Situation(
            f"half of the answers and {name}", kind, words, answers=100, service_s=0.045, in_flight=5,
            counts={"messages_torn": torn}, server={"tcp": TcpSample(looks=10, nagle=nagle)},
            delayed_acks=acks, never=(),
        )
        for name, torn, nagle, acks, kind, words in (
            ("Nagle at the server", 50, 5, 50, "delayed ACK", ("the server writes them in parts",)),
            ("one connection less with Nagle", 50, 4, 50, "latency", ()),
            ("one less in parts", 49, 5, 50, "latency", ()),
            ("one delayed ACK less", 50, 5, 49, "latency", ()),
        )
    ),
    *(
        Situation(
            f"answers of {service_s * 1e3:.0f} ms to several small requests of each client", kind, words,
            answers=100, service_s=service_s, in_flight=8, delayed_acks=100, never=(),
            swarm={"tcp": TcpSample(looks=10, nagle=10)}, tuning={"depth": 4, "no_delay": False},
        )
        for service_s, kind, words in (
            (0.041, "delayed ACK", ("clients write several requests in turn",)), (0.030, "latency", ()),
            (0.070, "latency", ()),
        )
    ),
    *(
        Situation(
            f"{again} segments are sent again for a hundred answers", kind, words, answers=100, service_s=0.2,
            in_flight=20, swarm={"tcp": TcpSample(looks=10, retransmits=again - 10)},
            server={"tcp": TcpSample(looks=10, retransmits=10)}, never=(),
        )
        for again, kind, words in (
            (51, "retransmissions", ("51 segments had to be sent again", "most of the 20")),
            (48, "latency", ()),
        )
    ),
    Situation(
        "what is sent again costs no answer 200 ms", "latency", answers=100, service_s=0.19, in_flight=20,
        swarm={"tcp": TcpSample(looks=10, retransmits=300)}, never=(),
    ),
    *(
        Situation(
            f"{acks} delayed ACKs keep back bursts of three requests", kind, answers=100, service_s=0.041,
            in_flight=8, delayed_acks=acks, swarm={"tcp": TcpSample(looks=10, nagle=10)}, never=(),
            tuning={"depth": 4, "no_delay": False},
        )
        for acks, kind in ((17, "delayed ACK"), (16, "latency"))
    ),
    *(
        Situation(
            f"{count} of a thousand datagrams are dropped, {late} requests time out", kind, words,
            answers=1_000 - late, tuning={"transport": "udp"}, never=(),
            counts={"timeouts": late, "datagrams_sent": 1_000},
            server={"totals": Totals(requests=1_000 - count, datagrams_dropped=count)},
        )
        for count, late, kind, words in (
            (50, 100, "UDP receive buffer", ("5 % of the datagrams to the server are dropped (--rcvbuf)",)),
            (49, 60, "timeouts", ()),
            (50, 101, "timeouts", ()),
        )
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
        "answers of a server elsewhere are never whole", "timeouts", ("500 B arrived, but no whole answer",),
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
        "as many permits as the server works on", "semaphore", ("wait for the server, which works on 1",),
        answers=60, service_s=0.014, tuning={"permits": 1, "work": "block", "service_time_s": 0.01},
        swarm={"clients": 10, "limiter": LimiterStatistics(1, 1, 9, 60, 59, 59 * 0.15)}, in_flight=1,
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
        "thinking between short connections of a server that serves one", "think time", ("think 100 ms",),
        tuning={"server": "blocking", "lifetime": 1, "think_time_s": 0.1, "service_time_s": 0.005},
        answers=88, service_s=0.014, in_flight=2, swarm={"clients": 10, "connections_open": 2},
        server={"connections_open": 1},
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
    *(
        Situation(
            f"a server alone {name}", limit, words, swarm=None, tuning=tuning, processes={"main": busy},
            experiment={"role": "server", "backlog": 4}, overflows=overflows, kernel_dropped=110,
            server={"totals": Totals(**{"bytes_in": 6_400, **counts}), "connections_open": 20, **held},
        )
        for name, limit, words, tuning, counts, busy, overflows, held in (
            ("that is blocked", "blocked", ("holds up all the others for 20.0 ms",),
             {"work": "block", "service_time_s": 0.02}, {"requests": 48, "responses": 48}, Busy(0.02), 0, {}),
            ("that serves", "service time", ("50.0 ms of service", "19 of 20 connections"),
             {"service_time_s": 0.05}, {"requests": 380, "responses": 380}, Busy(), 0, {}),
            ("that rests", "clients", ("waits for requests from 20 connections",),
             {"service_time_s": 0.05}, {"requests": 80, "responses": 80}, Busy(), 20, {}),
            ("that is held up", "blocked", ("held up for 70 %",),
             {"service_time_s": 0.0}, {"requests": 80, "responses": 80}, Busy(0.02, late=0.7), 0, {}),
            ("that nobody asks, on a busy machine", "clients", ("waits for requests",),
             {}, {"bytes_in": 0}, Busy(0.02, waits=0.6, late=0.7), 0, {}),
            ("that loses datagrams", "buffers",
             ("14 % of the datagrams", "dropped 110 datagrams", "holds up all the others for 5.00 ms"),
             {"transport": "udp", "work": "block", "service_time_s": 0.005},
             {"requests": 190, "responses": 190, "datagrams_received": 701, "datagrams_lost": 110},
             Busy(), 0, {}),
            ("whose backlog is full", "connections", ("dropped 20 connections for a full backlog of 4",),
             {}, {"requests": 80, "responses": 80}, Busy(), 20, {"backlog": 4}),
        )
    ),
    *(
        Situation(
            f"peers do not read for {still_s} of ten seconds", kind, (words,), swarm=None,
            experiment={"role": "server"},
            server={"connections_open": 10, "connected_s": 10.0, "unwritable_s": still_s},
        )
        for still_s, kind, words in (
            (5.0, "slow readers", "5 of 10 connections stand still"), (4.9, "clients", "waits for requests"),
        )
    ),
    Situation(
        "a server that nobody asks", "clients", ("no connection",), swarm=None, experiment={"role": "server"},
        server={"connections_open": 0},
    ),
)  # fmt: skip
