"""What every host does alike, and what is made of the reports of those that are elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from sockscope.core.addresses import Address
from sockscope.core.events import Event, EventKind
from sockscope.core.histogram import Histogram
from sockscope.core.run.lens import Hold
from sockscope.core.run.snapshot import (
    Capture,
    Cursors,
    Exchange,
    KernelUdp,
    Payload,
    ProcessUse,
    Resources,
    RoleSnapshot,
    ServerSide,
    Totals,
)
from sockscope.core.run.tasks import Cancelled, CancelOutcome
from sockscope.engine.placement.channel import Report
from sockscope.engine.placement.clock import holds_later
from sockscope.engine.placement.hosted_role import HostedRole
from sockscope.engine.placement.hosts.child import ChildHost
from sockscope.engine.placement.hosts.host import Host, HostFactory, ReportHandler
from sockscope.engine.placement.hosts.loop import LoopHost
from sockscope.engine.role import Assignment, Role, Share
from sockscope.engine.roles import ROLE_KINDS
from sockscope.errors import EngineError, ListenError
from tests.engine.runs import EVERYTHING, experiment
from tests.waiting import until

HOSTS: list[HostFactory] = [LoopHost, ChildHost]
hosts = pytest.mark.parametrize("make", HOSTS, ids=["loop", "child"])
TUNING = experiment().tuning


@asynccontextmanager
async def hosting(make: HostFactory, *roles: str, **values: Any) -> AsyncIterator[Host]:
    """A host that has started, of which nothing is left afterwards."""
    troubles: list[str] = []
    host = make(
        experiment(**values), roles, 0, lambda text, fatal: troubles.append(text), lambda host, outcome: None
    )
    await host.start()
    try:
        yield host
        assert troubles == []
    finally:
        await host.end()


def here(port: int = 0) -> Assignment:
    return Assignment(TUNING, 0, ("127.0.0.1", port))


# What every host does alike.


@hosts
async def test_a_role_is_started_asked_and_stopped(make: HostFactory) -> None:
    async with hosting(make, "server") as host:
        assert host.alive
        address = await host.ask("server", "start", here())
        assert await host.ask("server", "apply", here()) == address
        assert await host.ask("server", "close_connection", 1) is False
        assert await host.ask("server", "capture", 0) is None
        host.tell("server", "hold", True)
        await host.ask("server", "drain", 1.0)
        await host.ask("server", "stop", 1.0)
        assert not host.exhausted("server")


@hosts
async def test_what_a_role_raises_arrives(make: HostFactory) -> None:
    async with hosting(make, "server") as first, hosting(make, "server") as second:
        _, port = await first.ask("server", "start", here())
        with pytest.raises(ListenError, match="the port is in use"):
            await second.ask("server", "start", here(port))
        await first.ask("server", "stop", 0.0)


@hosts
async def test_roles_of_one_host_find_each_other_and_one_spends_its_budget(make: HostFactory) -> None:
    async with hosting(make, "server", "swarm", requests=30) as host:
        address = await host.ask("server", "start", here())
        await host.ask("swarm", "start", here(address[1]), Share(budget=30))
        await until(lambda: host.exhausted("swarm"))
        assert not host.exhausted("server")
        host.tell("swarm", "refill", 5)
        host.tell("swarm", "hold", False)
        await until(lambda: host.exhausted("swarm"))
        for role in ("swarm", "server"):
            await host.ask(role, "stop", 1.0)


@hosts
async def test_a_role_without_a_share_of_the_budget_stays_exhausted(make: HostFactory) -> None:
    async with hosting(make, "server", "swarm", requests=3) as host:
        address = await host.ask("server", "start", here())
        await host.ask("swarm", "start", here(address[1]), Share(budget=0))
        await until(lambda: host.exhausted("swarm"))
        host.tell("swarm", "hold", True)
        await until(lambda: host.exhausted("swarm"))
        for role in ("swarm", "server"):
            await host.ask(role, "stop", 1.0)


@hosts
async def test_what_is_here_can_be_read_at_once_and_what_is_not_reports(make: HostFactory) -> None:
    async with hosting(make, "server") as host:
        await host.ask("server", "start", here())
        reports: list[RoleSnapshot] = []
        host.attend("server", lambda: EVERYTHING, lambda asked, report: reports.append(report))
        await host.refresh()
        role = host.local("server")
        assert (role is None) == bool(reports)
        found = role.snapshot(EVERYTHING) if role is not None else reports[0]
        assert (found.role, found.connections_open) == ("server", 0)
        assert (host.use() is None) == (role is not None)
        await host.ask("server", "stop", 0.0)
        await host.release("server")
        assert host.alive == (role is not None)


async def test_a_child_does_only_what_a_role_may_be_called_for() -> None:
    async with hosting(ChildHost, "server") as host:
        for role, method in (("server", "snapshot"), ("server", "__init__"), ("swarm", "start")):
            with pytest.raises(EngineError, match=f"a child process cannot {method} for {role}"):
                await host.ask(role, method)


async def test_a_child_that_is_told_what_cannot_be_ends_with_a_sentence() -> None:
    died: list[tuple[Host, str]] = []
    host = ChildHost(
        experiment(), ("server",), 0, lambda text, fatal: None, lambda *death: died.append(death)
    )
    await host.start()
    await host.ask("server", "start", here())
    host.tell("server", "snapshot", EVERYTHING)
    await until(lambda: died)
    [(dead, outcome)] = died
    assert dead is host
    assert outcome.endswith("ended with code 0: a child process cannot snapshot for server")
    with pytest.raises(EngineError, match="cannot snapshot"):
        await host.ask("server", "stop", 0.0)
    await host.end()


# Reports, with hosts that say what the test wants.


class FakeHost:
    """A host elsewhere, whose clock is behind ours by ``clock_offset_s``."""

    alive = True
    machine = ""

    def __init__(self, clock_offset_s: float = 0.0, answers: dict[str, Any] | None = None) -> None:
        self.clock_offset_s, self.clock_error_s = clock_offset_s, abs(clock_offset_s) / 1e6
        self.answers = {"start": ("127.0.0.1", 7), "apply": ("127.0.0.1", 7), "stop": None} | (answers or {})
        self.calls: list[tuple[Any, ...]] = []
        self.next_report = RoleSnapshot("server", "tcp", "127.0.0.1:7", Totals(), 0)
        self.was_killed = False
        self._attended: tuple[Callable[[], Cursors], ReportHandler] | None = None

    async def start(self) -> None: ...

    def local(self, role: str) -> Role | None:
        return None

    async def ask(self, role: str, method: str, *arguments: Any, within_s: float = 0.0) -> Any:
        self.calls.append((method, *arguments))
        answer = self.answers[method]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def tell(self, role: str, method: str, *arguments: Any) -> None:
        self.calls.append((method, *arguments))

    def attend(self, role: str, cursors_of: Callable[[], Cursors], on_report: ReportHandler) -> None:
        self._attended = cursors_of, on_report

    def note_reader(self) -> None: ...

    async def refresh(self) -> None:
        if self._attended is not None:
            cursors_of, on_report = self._attended
            on_report(cursors_of(), self.next_report)

    def exhausted(self, role: str) -> bool:
        return False

    def rest(self, resting: bool) -> None: ...

    def beat(self, beating: bool) -> None: ...

    def look(self, lens: bool) -> None: ...

    async def cancel_task(self, task: int) -> Cancelled:
        return Cancelled(CancelOutcome.GONE, "")

    async def release(self, role: str) -> None: ...

    async def end(self) -> None: ...

    def kill(self) -> None:
        self.was_killed = True

    def use(self) -> ProcessUse | None:
        return None


ADDRESS: Address = ("127.0.0.1", 7)
SEEN = Capture(
    Exchange(0, 1_000.0, 1, 2, 2, 0.5, "ok", b"hi"), "", "", "tcp", "length", Payload(b"hi", 2), None, None
)


def report(begin_s: float, record_id: int = 0) -> RoleSnapshot:
    return RoleSnapshot(
        "server", "tcp", "", Totals(requests=1), 1, time_s=begin_s + 9.0, began_s=begin_s,
        ready_s=begin_s + 3.0, awaited_since_s=begin_s + 4.0,
        events=(Event(begin_s + 1.0, EventKind.OPEN, "server"),), events_cursor=1,
        exchanges=(SEEN.exchange._replace(record_id=record_id, time_s=begin_s + 2.0),), exchanges_cursor=1,
    )  # fmt: skip


async def started(*fakes: FakeHost) -> HostedRole:
    role = HostedRole(ROLE_KINDS["server"], fakes, lambda text, fatal: None)
    await role.start(Assignment(TUNING, 0, ("127.0.0.1", 0)), Share(first_record=10))
    # The first reading says what the next report is to contain.
    role.snapshot(EVERYTHING)
    return role


async def test_times_of_another_clock_are_told_on_ours() -> None:
    ahead, behind = FakeHost(-50.0), FakeHost(100.0)
    role = await started(ahead, behind)
    ahead.next_report, behind.next_report = report(1_050.0), report(900.0)
    await role.refresh()
    found = role.snapshot(EVERYTHING)
    assert (found.time_s, found.began_s, found.last_answer_s) == (1_009.0, 1_000.0, 0.0)
    assert (found.ready_s, found.awaited_since_s) == (1_003.0, 1_004.0)
    assert [event.time_s for event in found.events] == [1_001.0, 1_001.0]
    assert [exchange.time_s for exchange in found.exchanges] == [1_002.0, 1_002.0]
    assert [exchange.record_id for exchange in found.exchanges] == [10, 11]
    assert found.totals.requests == 2


async def test_the_answer_to_a_request_is_looked_for_by_the_clock_of_who_gave_it() -> None:
    side = ServerSide(5, 900.1, 900.2, Payload(b"hi", 2))
    nobody, served = FakeHost(-50.0, {"find_answer": None}), FakeHost(100.0, {"find_answer": side})
    role = await started(nobody, served)
    assert await role.find_answer(SEEN) == replace(
        side, read_s=1_000.1, answered_s=1_000.2, clock_error_s=0.0001
    )
    asked = {fake: fake.calls[-1][1].exchange.time_s for fake in (nobody, served)}
    assert asked == {nobody: 1_050.0, served: 900.0}
    nobody.answers["count_held_up"] = served.answers["count_held_up"] = 2
    assert await role.count_held_up(Hold(1_000.0, 0.1, "call")) == 4
    assert [fake.calls[-1][1].begin_s for fake in (nobody, served)] == [1_050.0, 900.0]


def test_a_hold_keeps_its_time_on_our_clock_when_more_is_known_of_its_own() -> None:
    first, second = Hold(1.0, 0.1, "call"), Hold(2.0, 0.1, "call")
    before = holds_later([first], 100.0, {})
    after = holds_later([first, second], 100.5, before)
    assert [hold.begin_s for hold in after.values()] == [101.0, 102.5]


async def test_an_exchange_is_asked_of_the_host_that_has_it_by_the_number_that_it_has_there() -> None:
    one, other = FakeHost(0.0, {"capture": None}), FakeHost(0.0, {"capture": SEEN})
    role = await started(one, other)
    one.next_report, other.next_report = report(1.0, record_id=70), report(1.0, record_id=71)
    await role.refresh()
    numbers = [exchange.record_id for exchange in role.snapshot(EVERYTHING).exchanges]
    assert numbers == [10, 11]
    assert await role.capture(10) is None
    captured = await role.capture(11)
    assert captured is not None
    assert captured.exchange.record_id == 11
    assert (one.calls[-1], other.calls[-1]) == (("capture", 70), ("capture", 71))
    assert await role.capture(12) is None


async def test_a_change_that_one_host_refuses_is_taken_back_in_all() -> None:
    fine, refuses = FakeHost(), FakeHost(0.0, {"apply": EngineError("no")})
    role = await started(fine, refuses)
    changed = Assignment(replace(TUNING, server_permits=6), 1, ("127.0.0.1", 0))
    with pytest.raises(EngineError, match="no"):
        await role.apply(changed)
    applied = [arguments[0] for method, *arguments in fine.calls if method == "apply"]
    assert [assignment.generation for assignment in applied] == [1, 0]
    assert applied[-1].address == ADDRESS
    assert role.in_force == Assignment(TUNING, 0, ADDRESS)


async def test_a_host_that_does_not_stop_is_killed_and_that_is_told() -> None:
    told: list[tuple[str, bool]] = []
    fine, silent = FakeHost(), FakeHost(0.0, {"stop": EngineError("it has not answered")})
    role = HostedRole(ROLE_KINDS["server"], [fine, silent], lambda text, fatal: told.append((text, fatal)))
    await role.start(Assignment(TUNING, 0, ADDRESS))
    await role.stop(0.0)
    assert told == [("it has not answered; what it counted last is not known", False)]
    assert (fine.was_killed, silent.was_killed) == (False, True)


async def test_a_reader_s_interest_lasts_until_the_next_report() -> None:
    fake = FakeHost()
    role = await started(fake)
    fake.next_report = report(1.0)
    role.snapshot(Cursors(most_events=0, most_exchanges=0))
    await role.refresh()
    assert len(role.snapshot(EVERYTHING).events) == 1
    await asyncio.gather(role.refresh(), role.refresh())
    assert role.snapshot(EVERYTHING).totals.requests == 1


@pytest.mark.parametrize(
    ("reads_s", "often"),
    [
        ([1.0, 1.001, 2.0, 2.001, 3.0, 3.001], False),
        ([1.0, 1.2, 1.4], True),
        ([1.0, 1.6, 2.2], True),
        ([1.0, 1.01, 1.02, 1.03, 1.04, 1.05, 1.06], True),
        ([1.0, 1.2, 1.4, 9.0], False),
    ],
    ids=["once a second, twice each time", "as a dashboard", "as a busy one", "all the time", "no more"],
)
async def test_reports_come_often_for_who_reads_often(
    monkeypatch: pytest.MonkeyPatch, reads_s: list[float], often: bool
) -> None:
    now_s = [0.0]
    monkeypatch.setattr("sockscope.engine.placement.hosts.child.perf_counter", lambda: now_s[-1])
    host = ChildHost(experiment(), ("server",), 0, lambda text, fatal: None, lambda host, outcome: None)
    for read_s in reads_s:
        now_s.append(read_s)
        host.note_reader()
    assert host._is_read(read_s) is often


@pytest.mark.parametrize(
    ("awaited_s", "asked_s"),
    [
        ([], [10.0, 10.5, 11.0, 11.5, 12.0, 12.5, 13.0]),
        ([10.1, 11.1, 12.1], [10.0, 10.1, 10.5, 11.0, 11.1, 12.1]),
        ([10.1, 11.1], [10.0, 10.1, 10.5, 11.0, 11.1, 12.5, 13.0]),
    ],
    ids=["nobody", "once a second", "no more"],
)
async def test_who_waits_for_reports_spares_the_process_those_at_even_times(
    monkeypatch: pytest.MonkeyPatch, awaited_s: list[float], asked_s: list[float]
) -> None:
    now_s, found = [10.0], list[float]()
    monkeypatch.setattr("sockscope.engine.placement.hosts.child.perf_counter", lambda: now_s[-1])
    host = ChildHost(experiment(), ("server",), 0, lambda text, fatal: None, lambda host, outcome: None)
    monkeypatch.setattr(ChildHost, "alive", True)

    def answered(message: object) -> None:
        found.append(now_s[-1])
        host._take(
            Report({}, Resources(now_s[-1], None, None, None, None, None, Histogram(), KernelUdp(0, 0, 0, 0)))
        )

    monkeypatch.setattr(host._channel, "send", answered)
    host.attend("server", lambda: EVERYTHING, lambda asked, report: None)
    host._stop_polling()
    for at_s in sorted({10.5, 11.0, 11.5, 12.0, 12.5, 13.0, *awaited_s}):
        now_s.append(at_s)
        if at_s in awaited_s:
            await host.refresh()
        else:
            host._poll()
            host._stop_polling()
        assert host._silent_s() == 0.0
    assert found == asked_s
    monkeypatch.setattr(host._channel, "send", lambda message: None)
    host._request_report()
    now_s.append(now_s[-1] + 3.0)
    assert host._silent_s() == 3.0
