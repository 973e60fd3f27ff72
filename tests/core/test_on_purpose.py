"""The verdict knows what is made on purpose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.impairment.impaired import Impaired
from sockscope.core.roles import RELAY
from sockscope.core.run.findings import Finding, Kind, limit_of
from sockscope.core.run.injected import Injected
from sockscope.core.run.relay import Passed, RelayFigures
from sockscope.core.run.snapshot import Snapshot, Totals
from tests.core.runs import histogram, resources, role, run
from tests.each import each


def under(
    fault: str,
    *,
    timeouts: int = 0,
    service_s: float = 0.006,
    out: int = 0,
    transport: str = "udp",
    refused: int = 0,
    retrying: int = 0,
    **impaired: float,
) -> Snapshot:
    """Return a second of a run under a fault, which has done ``impaired`` on the way up."""
    totals = Totals(requests=1_000, responses=1_000 - timeouts, timeouts=timeouts)
    swarm = role(
        "swarm", replace(totals, connections_refused=refused), clients=100, in_flight=5,
        service_time=histogram(*[service_s] * 10), clients_retrying=retrying,
    )  # fmt: skip
    passed = Passed(impaired=Impaired(**impaired), bytes_out=out)  # type: ignore[arg-type]
    relay = role(RELAY, Totals(), relay=RelayFigures(up=passed))
    found = run(
        tuning=Tuning(transport=transport, fault=fault, permits=0, service_time_s=0.0), seconds=1.0,
        swarm=swarm, server=role("server", totals),
    )  # fmt: skip
    return replace(found, roles={**found.roles, RELAY: relay})


def test_requests_that_fail_of_a_fault_are_told_as_such() -> None:
    found = limit_of(under("loss=10%", lost=100, timeouts=95))
    assert found.kind is Kind.INJECTED
    assert found.sentence.startswith("loss 10 %: 95 requests of 1,000 failed, and the fault struck 100 times")
    assert any(one.name == "strokes of faults on the link" and one.value == 100 for one in found.evidence)


def test_failures_that_a_fault_does_not_explain_are_not() -> None:
    assert limit_of(under("loss=10%", lost=10, timeouts=95)).kind is Kind.TIMEOUTS
    assert limit_of(under("", lost=100, timeouts=95)).kind is Kind.TIMEOUTS
    # What times out now was lost before: about as many as usual.
    assert limit_of(under("loss=10%", lost=10, admitted=1_000, timeouts=95)).kind is Kind.INJECTED
    assert limit_of(under("loss=1%", lost=10, admitted=1_000, timeouts=95)).kind is Kind.TIMEOUTS


@each(("age_s", "kind"), [(2.2, Kind.INJECTED), (4.0, Kind.TIMEOUTS)])
def test_what_a_black_hole_swallowed_before_the_window_times_out_in_it(age_s: float, kind: Kind) -> None:
    found = under("black-hole=1s", transport="tcp", timeouts=95)
    relay = found.roles[RELAY]
    passed = Passed(black_holed_at_s=found.time_s - age_s)
    relay = replace(relay, relay=RelayFigures(down=passed))
    assert limit_of(replace(found, roles={**found.roles, RELAY: relay})).kind is kind


def test_requests_that_a_fault_lets_wait_have_not_failed_yet_and_are_told_as_such() -> None:
    def waiting(stalled: int) -> Finding:
        found = under("stall=900ms", transport="tcp", stalled=stalled)
        swarm = replace(found.main, totals=Totals(requests=100), in_flight=100, service_time=histogram())
        return limit_of(replace(found, roles={**found.roles, "swarm": swarm}))

    assert waiting(10).kind is Kind.NO_ANSWER
    found = waiting(100)
    assert found.kind is Kind.INJECTED
    assert "100 requests are in flight, and the fault struck 100 times" in found.sentence


@each("fault", ["delay=20ms", "jitter=30ms", "rate=1MB/s", "slice=1, slice-gap=1ms", "stall=40ms"])
def test_what_a_fault_takes_longest_is_told_as_such_whatever_its_kind(fault: str) -> None:
    def late_by(mean_s: float, service_s: float) -> Finding:
        return limit_of(
            under(fault, transport="tcp" if "s" in fault[:2] else "udp", service_s=service_s,
                  admitted=1_010, lost=10, delayed_s=1_000 * mean_s)
        )  # fmt: skip

    found = late_by(0.040, 0.046)
    assert found.kind is Kind.INJECTED
    assert "40.0 ms of the 46.0 ms of a request are delay made on purpose" in found.sentence
    # Small ones, too, as long as nothing takes longer.
    assert late_by(0.0004, 0.0007).kind is Kind.INJECTED
    assert late_by(0.002, 0.046).kind is not Kind.INJECTED


@each(("fault", "kind"), [("refuse=100%", Kind.INJECTED), ("delay=1ms", Kind.NO_SERVER)])
def test_connections_that_a_fault_refuses_are_told_as_such(fault: str, kind: Kind) -> None:
    found = limit_of(under(fault, transport="tcp", refused=300, retrying=50))
    assert found.kind is kind
    if kind is Kind.INJECTED:
        assert "50 of 100 clients have no connection, and the fault refused 300 connections" in found.sentence


def test_a_line_that_is_full_is_told_as_such() -> None:
    found = limit_of(under("rate=100kB/s up", service_s=0.2, out=99_000))
    assert found.kind is Kind.INJECTED
    assert "the line up carries all of the 100 kB/s" in found.sentence
    assert limit_of(under("rate=100kB/s up", service_s=0.2, out=50_000)).kind is not Kind.INJECTED


ANSWERED = Totals(requests=1_000, responses=1_000)
FAILING = Totals(requests=1_000, responses=900, errors=100)
LATE = Totals(requests=1_000, responses=900, timeouts=100)
FULL = {"not_accepting": "too many open files"}
OWN = {"handler": "mine:handle"}


def served(
    fault: str,
    *,
    totals: Totals = ANSWERED,
    stalled_s: float = 0.0,
    cpu_s: float = 0.2,
    timeout_s: float = 1.0,
    server: dict[str, Any] | None = None,
    experiment: dict[str, Any] | None = None,
    **injected: float,
) -> Snapshot:
    """Return two seconds of a run whose server has had ``injected`` done to it."""
    done = Injected(**injected)  # type: ignore[arg-type]
    swarm = role("swarm", totals, clients=100, in_flight=50, service_time=histogram(*[0.05] * 10))
    tuning = Tuning(fault=fault, permits=0, service_time_s=0.0, request_timeout_s=timeout_s)
    found = run(
        tuning=tuning, experiment=Experiment(tuning=tuning, **(experiment or {})), seconds=2.0, swarm=swarm,
        server=role("server", totals, injected=done, **(server or {})),
        used=replace(resources(cpu_s=cpu_s), descriptors=250),
    )  # fmt: skip
    (main,) = found.processes
    return replace(found, stalled_s=stalled_s, processes=(replace(main, roles=("server", "swarm")),))


def silent(fault: str, silent_s: float) -> Snapshot:
    """Return such a run, whose server has told nothing for so long."""
    found = served(fault)
    (main,) = found.processes
    return replace(found, processes=(replace(main, silent_s=silent_s),))


@each(
    ("told", "window"),
    [
        ("the server was stalled on purpose for 1.00 s of 2.00 s", served("", stalled_s=1.0)),
        ("block 300 ms: the server was held up for 600 ms of 2.00 s, on purpose",
         served("block=300ms", blocks=2, blocked_s=0.6)),
        ("cpu 2 ms: 1.50 s of CPU time were burnt on purpose; main 98 %",
         served("cpu=2ms", cpu_s=1.96, burnt_s=1.5)),
        ("exception 10 %: 100 requests of 1,000 failed, and the fault struck 95 times",
         served("exception=10%", totals=FAILING, raised=95)),
        ("cancel-storm 50/s: 100 requests of 1,000 failed, and the fault struck 90 times",
         served("cancel-storm=50", totals=FAILING, handlers_cancelled=95, cancellations_swallowed=5)),
        ("100 requests of 1,000 failed, since the server stood still for 100 ms",
         served("block=100ms", totals=LATE, timeout_s=0.2, blocks=2, blocked_s=0.2)),
        ("100 requests of 1,000 failed, and 800 ms of CPU time were burnt on purpose",
         served("cpu=50ms", totals=LATE, cpu_s=1.0, burnt_s=0.8)),
        ("block 2 s: the server has been held up for 1.50 s, on purpose", silent("block=2s", 1.5)),
        ("cpu 50 ms: the server has been held up for 2.50 s, on purpose", silent("cpu=50ms", 2.5)),
        ("200 descriptors leaked on purpose; the server has stopped accepting: too many open files",
         served("descriptor-leak=100", server=FULL, descriptors_held=200)),
        ("full-executor: the threads of the default executor are kept busy on purpose; "
         "what waits for one: 3 calls",
         served("full-executor", totals=LATE, experiment=OWN, executor_sleepers=40, executor_queued=3)),
    ],
)  # fmt: skip
def test_what_is_done_to_the_server_on_purpose_is_told_as_such(told: str, window: Snapshot) -> None:
    found = limit_of(window)
    assert found.kind is Kind.INJECTED, found.sentence
    assert told in found.sentence


@each(
    ("kind", "window"),
    [
        (Kind.LATENCY, served("", stalled_s=0.3)),
        (Kind.BLOCKED_LOOP, silent("block=100ms", 1.5)),
        (Kind.TIMEOUTS, served("cpu=1ms", totals=LATE, cpu_s=1.0, burnt_s=0.3)),
        (Kind.LATENCY, served("block=100ms", blocks=2, blocked_s=0.2)),
        (Kind.SHARED_CPU, served("cpu=2ms", cpu_s=1.96, burnt_s=0.5)),
        (Kind.LATENCY, served("cpu=2ms", cpu_s=0.2, burnt_s=0.19)),
        (Kind.ERRORS, served("exception=1%", totals=FAILING, raised=45)),
        (Kind.TIMEOUTS, served("block=100ms", totals=LATE, blocks=2, blocked_s=0.2)),
        (Kind.DESCRIPTORS, served("descriptor-leak=100", descriptors_held=100, server=FULL)),
        (Kind.SERVER, served("full-executor", experiment=OWN, executor_sleepers=40)),
        (Kind.TIMEOUTS, served("full-executor", totals=LATE, experiment=OWN, executor_sleepers=40)),
    ],
)
def test_a_fault_in_the_server_that_does_not_matter_is_not_the_limit(kind: Kind, window: Snapshot) -> None:
    assert limit_of(window).kind is kind


def test_a_delay_is_no_queue_for_a_loop_that_is_busy() -> None:
    late = under("delay=50ms", transport="tcp", service_s=0.11, admitted=1_000, delayed_s=100.0)
    assert late.swarm is not None
    (main,) = late.processes
    roles = {**late.roles, "swarm": replace(late.swarm, in_flight=20)}
    busy = replace(main, roles=("server", "swarm"), resources=replace(main.resources, cpu_s=0.85))
    assert limit_of(replace(late, roles=roles, processes=(busy,))).kind is Kind.INJECTED


def test_a_delay_that_makes_requests_time_out_is_named() -> None:
    late = under("delay=800ms", timeouts=500, admitted=1_000, delayed_s=800.0)
    found = limit_of(replace(late, tuning=replace(late.tuning, request_timeout_s=1.0)))
    assert found.kind is Kind.INJECTED
    assert "what goes through is to arrive 800 ms late, made on purpose" in found.sentence


@each(("ended_s", "kind"), [(99.2, Kind.INJECTED), (98.9, Kind.TIMEOUTS)])
def test_what_times_out_after_a_stall_is_of_the_stall(ended_s: float, kind: Kind) -> None:
    after = served("", totals=LATE, experiment={"stall_s": 0.9})
    assert after.measured_since_s == 100.0
    assert limit_of(replace(after, stalled_until_s=ended_s)).kind is kind
