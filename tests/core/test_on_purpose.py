"""The verdict knows what is made on purpose."""

from __future__ import annotations

from dataclasses import replace

from sockscope.core.config.tuning import Tuning
from sockscope.core.impairment.impaired import Impaired
from sockscope.core.roles import RELAY
from sockscope.core.run.findings import Kind, limit_of
from sockscope.core.run.relay import Passed, RelayFigures
from sockscope.core.run.snapshot import Snapshot, Totals
from tests.core.runs import histogram, role, run


def under(
    fault: str, *, lost: int = 0, timeouts: int = 0, service_s: float = 0.006, out: int = 0
) -> Snapshot:
    """Return a second of a run over UDP under a fault."""
    totals = Totals(requests=1_000, responses=1_000 - timeouts, timeouts=timeouts)
    swarm = role("swarm", totals, clients=100, in_flight=5, service_time=histogram(*[service_s] * 10))
    passed = Passed(impaired=Impaired(lost=lost), bytes_out=out)
    relay = role(RELAY, Totals(), relay=RelayFigures(up=passed))
    found = run(
        tuning=Tuning(transport="udp", fault=fault, permits=0), seconds=1.0, swarm=swarm,
        server=role("server", totals),
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


def test_a_delay_that_is_most_of_the_latency_is_told_as_such() -> None:
    found = limit_of(under("delay=20ms", service_s=0.046))
    assert found.kind is Kind.INJECTED
    assert "40.0 ms of the 46.0 ms of a request are delay made on purpose" in found.sentence
    assert limit_of(under("delay=1ms", service_s=0.046)).kind is not Kind.INJECTED


def test_a_line_that_is_full_is_told_as_such() -> None:
    found = limit_of(under("rate=100kB/s up", service_s=0.2, out=99_000))
    assert found.kind is Kind.INJECTED
    assert "the line up carries all of the 100 kB/s" in found.sentence
    assert limit_of(under("rate=100kB/s up", service_s=0.2, out=50_000)).kind is not Kind.INJECTED
