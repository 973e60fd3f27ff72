"""Rules of the verdict for what is made on purpose: faults on the link."""

from __future__ import annotations

from sockscope.core import units
from sockscope.core.impairment.fault import DOWN, UP, shown
from sockscope.core.impairment.kinds import LINK
from sockscope.core.impairment.link import LinkFaults, link_faults
from sockscope.core.run.evidence import FAILING_RATIO, HALF, RECORDER, TUNING, Finding, Seen, look
from sockscope.core.run.kinds import Kind
from sockscope.core.run.overdue import timeouts
from sockscope.core.run.relay import Passed, RelayFigures

RELAY_COUNTS = "counts of the relay"
LINE_FULL_RATIO = 0.93
"""A line that carries so much of its rate is full, as a core is that works so much of the time."""


def injected_failures(seen: Seen) -> Finding | None:
    """Requests fail, and faults on the link have struck about as often."""
    swarm, relay = seen.window.swarm, seen.window.relay
    if swarm is None or relay is None or relay.relay is None or not (on := _on(seen)):
        return None
    failed = swarm.totals.failed
    ended = swarm.totals.responses + failed
    many = ended > 0 and failed / ended >= FAILING_RATIO
    if not failed or not (many or look(seen, timeouts)[0]):
        return None
    struck = _struck(relay.relay)
    if not seen.at_least("strokes of faults on the link", struck, "count", HALF * failed, RELAY_COUNTS):
        return None
    seen.note("faults that are on", on, "", TUNING)
    told = units.counted(failed, "request")
    return Finding(
        Kind.INJECTED,
        f"{on}: {told} of {units.format_count(ended)} failed, and the fault struck "
        f"{units.counted(struck, 'time')}, made on purpose",
    )


def injected_refusals(seen: Seen) -> Finding | None:
    """Clients are without a connection, which a fault on the link resets at once, or refuses."""
    swarm, relay = seen.window.swarm, seen.window.relay
    if swarm is None or relay is None or relay.relay is None:
        return None
    ratio = link_faults(seen.window.tuning.faults, UP, seen.window.tuning.transport).refuse_ratio
    refused = relay.relay.up.refused
    if ratio >= 1:
        refused += swarm.totals.connections_refused  # the relay does not even hear of them
    trying, of = swarm.clients_retrying + swarm.clients_connecting, swarm.clients
    if not ratio or not refused:
        return None
    if not seen.at_least("clients without a connection", trying, "count", FAILING_RATIO * of, RECORDER):
        return None
    seen.note("connections that a fault has refused", refused, "count", RELAY_COUNTS)
    told = f"{min(trying, of):,} of {of:,} clients have no connection, and"
    many = units.counted(refused, "connection")
    return Finding(Kind.INJECTED, f"{_on(seen)}: {told} the fault refused {many}, made on purpose")


def _struck(relay: RelayFigures) -> int:
    """Return how often a fault has kept data, or a connection, from arriving as it was sent, or in time."""
    return sum(
        one.impaired.lost + one.impaired.corrupted + one.impaired.stalled
        + one.refused + one.reset + one.half_closed + one.black_holed
        for one in (relay.up, relay.down)
    )  # fmt: skip


def injected_delay(seen: Seen) -> Finding | None:
    """What takes longest of a request is what the link is made to take, or a line carries all that it may."""
    window, cycle = seen.window, seen.cycle
    relay, service_s = window.relay, cycle.service_s
    if relay is None or relay.relay is None or service_s is None or not (on := _on(seen)):
        return None
    # What is read at once is late together: the mean of the reads is that of the requests.
    delay_s = min(relay.relay.up.impaired.mean_delay_s + relay.relay.down.impaired.mean_delay_s, service_s)
    others_s = max(cycle.think_s, cycle.work_s, cycle.rest_s - delay_s)
    if delay_s and seen.at_least("delay by faults, both ways", delay_s, "s", others_s, RELAY_COUNTS):
        of = units.format_duration(service_s)
        told = f"{units.format_duration(delay_s)} of the {of} of a request are delay made on purpose"
        return Finding(Kind.INJECTED, f"{on}: {told}")
    for way, passed in ((UP, relay.relay.up), (DOWN, relay.relay.down)):
        faults = link_faults(window.tuning.faults, way, window.tuning.transport)
        if _is_full(seen, way, faults, passed):
            rate = units.format_bytes(faults.rate_bytes_per_s)
            return Finding(
                Kind.INJECTED, f"{on}: the line {way} carries all of the {rate}/s that it is given"
            )
    return None


def _is_full(seen: Seen, way: str, faults: LinkFaults, passed: Passed) -> bool:
    measured_s = seen.window.measured_s
    if not faults.rate_bytes_per_s or measured_s <= 0:
        return False
    used = passed.bytes_out / measured_s / faults.rate_bytes_per_s
    return seen.at_least(f"rate of the line {way}", used, "ratio", LINE_FULL_RATIO, RECORDER)


def _on(seen: Seen) -> str:
    """Return the faults on the link in words; empty without one."""
    on = [fault for fault in seen.window.tuning.faults if fault.about.where == LINK]
    return shown(on) if on else ""
