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


def _struck(relay: RelayFigures) -> int:
    """Return how often a fault has kept data, or a connection, from arriving as it was sent, or in time."""
    return sum(
        one.impaired.lost + one.impaired.corrupted + one.impaired.stalled
        + one.refused + one.reset + one.half_closed + one.black_holed
        for one in (relay.up, relay.down)
    )  # fmt: skip


def injected_delay(seen: Seen) -> Finding | None:
    """Most of the latency is delay, or the turn at a rate, that the link is made to have."""
    window, service_s = seen.window, seen.cycle.service_s
    relay = window.relay
    if relay is None or relay.relay is None or service_s is None or not (on := _on(seen)):
        return None
    up, down = (link_faults(window.tuning.faults, way, window.tuning.transport) for way in (UP, DOWN))
    delay_s = up.delay_s + down.delay_s
    if delay_s and seen.at_least("delay both ways", delay_s, "s", HALF * service_s, TUNING):
        of = units.format_duration(service_s)
        told = f"{units.format_duration(delay_s)} of the {of} of a request are delay made on purpose"
        return Finding(Kind.INJECTED, f"{on}: {told}")
    for way, faults, passed in ((UP, up, relay.relay.up), (DOWN, down, relay.relay.down)):
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
