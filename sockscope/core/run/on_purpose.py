"""Rules of the verdict for what is made on purpose: requests that fail by it, and faults on the link."""

from __future__ import annotations

from sockscope.core import units
from sockscope.core.impairment.fault import DOWN, UP, shown
from sockscope.core.impairment.kinds import LINK
from sockscope.core.impairment.link import LinkFaults, link_faults
from sockscope.core.run.evidence import FAILING_RATIO, HALF, RECORDER, TUNING, Finding, Seen, look
from sockscope.core.run.held_on_purpose import (
    FAULT_COUNTS,
    burns_most,
    faults_in_server,
    injected,
    longest_hold_s,
)
from sockscope.core.run.kinds import Kind
from sockscope.core.run.overdue import overdue, timeouts, unanswered
from sockscope.core.run.relay import Passed, RelayFigures
from sockscope.core.run.used_up import HELD_UP_RATIO

RELAY_COUNTS = "counts of the relay"
LINE_FULL_RATIO = 0.93
"""A line that carries so much of its rate is full, as a core is that works so much of the time."""


def injected_failures(seen: Seen) -> Finding | None:
    """Requests fail, and faults have struck about as often, or made them take as long as the timeout."""
    swarm = seen.window.swarm
    if swarm is None:
        return None
    failed = swarm.totals.failed
    ended = swarm.totals.responses + failed
    many = ended > 0 and failed / ended >= FAILING_RATIO
    if not failed or not (many or look(seen, timeouts)[0]):
        return None
    on = ", ".join(filter(None, (_on(seen), faults_in_server(seen))))
    told = f"{units.counted(failed, 'request')} of {units.format_count(ended)} failed"
    for where, struck, source in (
        ("on the link", _struck(seen), RELAY_COUNTS),
        ("in the server", _struck_in_server(seen), FAULT_COUNTS),
    ):
        name = f"strokes of faults {where}"
        if struck and seen.at_least(name, struck, "count", HALF * failed, source):
            seen.note("faults that are on", on, "", TUNING)
            times = units.counted(struck, "time")
            return Finding(Kind.INJECTED, f"{on}: {told}, and the fault struck {times}, made on purpose")
    return _timed_out(seen, on, told) if swarm.totals.timeouts >= HALF * failed else None


def _timed_out(seen: Seen, on: str, told: str) -> Finding | None:
    """Requests time out since what arrives is delayed on purpose, or the server stood still."""
    least_s = HALF * seen.window.tuning.request_timeout_s
    if _swallowed(seen):
        return Finding(Kind.INJECTED, f"{on}: {told}, swallowed on purpose")
    usual, failed = _usual_losses(seen), seen.window.main.totals.failed
    if usual and seen.at_least(
        "losses by faults in a timeout, on average", usual, "count", HALF * failed, RELAY_COUNTS
    ):
        return Finding(Kind.INJECTED, f"{on}: {told}, about as many as are lost in a timeout, on purpose")
    delay_s, hold_s = seen.cycle.delay_s, longest_hold_s(seen)
    if delay_s and seen.at_least("delay by faults, both ways", delay_s, "s", least_s, RELAY_COUNTS):
        late = units.format_duration(delay_s)
        return Finding(
            Kind.INJECTED, f"{on}: {told}, and what goes through is to arrive {late} late, made on purpose"
        )
    if hold_s and seen.at_least("longest standstill on purpose", hold_s, "s", least_s, FAULT_COUNTS):
        still = units.format_duration(hold_s)
        return Finding(Kind.INJECTED, f"{told}, since the server stood still for {still}, made on purpose")
    burnt_s, least_s = injected(seen).burnt_s, HELD_UP_RATIO * seen.window.measured_s
    if burnt_s >= least_s and burns_most(seen):
        burnt = units.format_duration(burnt_s)
        return Finding(Kind.INJECTED, f"{on}: {told}, and {burnt} of CPU time were burnt on purpose")
    return None


def injected_silence(seen: Seen) -> Finding | None:
    """Requests wait for an answer that faults keep from coming: they have not failed yet."""
    natural, swarm = look(seen, unanswered)[0] or look(seen, overdue)[0], seen.window.swarm
    if natural is None or swarm is None or not _on(seen):
        return None
    struck, name = _struck(seen), "strokes of faults on the link"
    if struck and seen.at_least(name, struck, "count", HALF * swarm.in_flight, RELAY_COUNTS):
        times = units.counted(struck, "time")
        told = f"{natural.sentence}, and the fault struck {times}, made on purpose"
        return Finding(Kind.INJECTED, f"{_on(seen)}: {told}")
    if _swallowed(seen):
        return Finding(Kind.INJECTED, f"{_on(seen)}: {natural.sentence}, swallowed on purpose")
    return None


def _usual_losses(seen: Seen) -> float:
    """Return how many datagrams faults lose or spoil on average in the time of a timeout: what they lost
    before the window times out in it."""
    window, relay = seen.window, _passed(seen)
    if relay is None or window.measured_s <= 0:
        return 0.0
    lost = 0.0
    for way, passed in ((UP, relay.up), (DOWN, relay.down)):
        faults = link_faults(window.tuning.faults, way, window.tuning.transport)
        lost += passed.impaired.admitted * (faults.loss_ratio + faults.corrupt_ratio)
    return lost * window.tuning.request_timeout_s / window.measured_s


def _swallowed(seen: Seen) -> bool:
    """Tell whether connections were made black holes so lately that what was sent then times out now."""
    window, relay = seen.window, _passed(seen)
    newest_s = 0.0 if relay is None else max(relay.up.black_holed_at_s, relay.down.black_holed_at_s)
    if not newest_s:
        return False
    most_s = window.measured_s + (1 + HALF) * window.tuning.request_timeout_s
    return seen.below("age of the newest black hole", window.time_s - newest_s, "s", most_s, RELAY_COUNTS)


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


def _struck(seen: Seen) -> int:
    """Return how often a fault has kept data, or a connection, from arriving as it was sent, or in time."""
    relay = _passed(seen)
    if relay is None:
        return 0
    return sum(
        one.impaired.lost + one.impaired.corrupted + one.impaired.stalled
        + one.refused + one.reset + one.half_closed + one.black_holed
        for one in (relay.up, relay.down)
    )  # fmt: skip


def _struck_in_server(seen: Seen) -> int:
    """Return how many requests a fault in the server has made fail."""
    done = injected(seen)
    return done.raised + max(done.handlers_cancelled - done.cancellations_swallowed, 0)


def _passed(seen: Seen) -> RelayFigures | None:
    """Return what the relay has done, where there is one and faults are on in it."""
    relay = seen.window.relay
    return relay.relay if relay is not None and _on(seen) else None


def injected_delay(seen: Seen) -> Finding | None:
    """What takes longest of a request is what the link is made to take, or a line carries all that it may."""
    window, cycle = seen.window, seen.cycle
    relay, service_s, on = _passed(seen), cycle.service_s, _on(seen)
    if relay is None or service_s is None:
        return None
    delay_s = min(cycle.delay_s, service_s)
    others_s = max(cycle.think_s, cycle.work_s, cycle.rest_s)
    if delay_s and seen.at_least("delay by faults, both ways", delay_s, "s", others_s, RELAY_COUNTS):
        of = units.format_duration(service_s)
        told = f"{units.format_duration(delay_s)} of the {of} of a request are delay made on purpose"
        return Finding(Kind.INJECTED, f"{on}: {told}")
    for way, passed in ((UP, relay.up), (DOWN, relay.down)):
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
