"""The verdict knows what is made on purpose."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sockscope.core.config.tuning import Tuning
from sockscope.core.impairment.impaired import Impaired
from sockscope.core.roles import RELAY
from sockscope.core.run.findings import Finding, Kind, limit_of
from sockscope.core.run.relay import Passed, RelayFigures
from sockscope.core.run.snapshot import Snapshot, Totals
from tests.core.runs import histogram, role, run


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


@pytest.mark.parametrize(
    "fault", ["delay=20ms", "jitter=30ms", "rate=1MB/s", "slice=1, slice-gap=1ms", "stall=40ms"]
)
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


@pytest.mark.parametrize(("fault", "kind"), [("refuse=100%", Kind.INJECTED), ("delay=1ms", Kind.NO_SERVER)])
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
