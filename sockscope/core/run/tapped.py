"""Rules of the verdict for a relay that is alone between a client and a server that are not ours."""

from __future__ import annotations

from sockscope.core import units
from sockscope.core.roles import RELAY
from sockscope.core.run.evidence import HALF, RECORDER, Finding, Seen
from sockscope.core.run.kinds import Kind
from sockscope.core.run.snapshot import RoleSnapshot


def unreached(seen: Seen) -> Finding | None:
    """A target of a tap is not reached, so that its clients are reset."""
    relay = _alone(seen)
    taps = relay.relay.taps if relay is not None and relay.relay is not None else ()
    for tap in taps:
        least = max(1.0, HALF * tap.connections_opened)
        if seen.at_least("connections without a target", tap.unreached, "count", least, RECORDER):
            of = max(tap.unreached, tap.connections_opened)
            told = f"for {tap.unreached:,} of {units.counted(of, 'connection')}, which were reset"
            return Finding(Kind.NO_SERVER, f"{tap.target} cannot be reached {told}")
    return None


def tapped(seen: Seen) -> Finding | None:
    """Clients of a tap wait for its target, or ask little."""
    relay = _alone(seen)
    if relay is None:
        return None
    mean_s = relay.service_time.mean_s
    if mean_s is None:
        return Finding(Kind.CLIENTS, _unasked(seen, relay))
    delay_s = relay.relay.delay.percentile(0.5) if relay.relay is not None else None
    waits = relay.service_time.total * mean_s / relay.connected_s if relay.connected_s else 0.0
    seen.note("mean time of the target", mean_s, "s", RECORDER)
    seen.note("delay of the relay, p50", delay_s, "s", RECORDER)
    took = units.format_duration(mean_s)
    adds = f"the tap adds {units.format_duration(delay_s)} to each read"
    share = "time that connections wait for the target"
    if seen.at_least(share, waits, "ratio", HALF, RECORDER):
        how = f"for {units.format_ratio(min(waits, 1.0))} of the time that they are connected"
        return Finding(Kind.TARGET, f"clients wait for the target {how}, {took} for each answer; {adds}")
    rest = units.format_ratio(1.0 - waits)
    ask = f"clients ask nothing for {rest} of the time that they are connected"
    return Finding(Kind.CLIENTS, f"{ask}; the target takes {took} for each answer, {adds}")


def _alone(seen: Seen) -> RoleSnapshot | None:
    return seen.window.relay if seen.window.experiment.role == RELAY else None


def _unasked(seen: Seen, relay: RoleSnapshot) -> str:
    """Return in words that nothing was answered: nobody is there, or nobody has asked."""
    totals, there = relay.totals, relay.connections_open
    seen.note("connections", there or totals.connections_opened, "count", RECORDER)
    if not (there or totals.connections_opened):
        if seen.over:
            return "nobody has connected to the tap"
        return f"nobody is connected to the tap: point a client at {relay.address}"
    who = units.counted(max(there, totals.connections_opened), "connection")
    if totals.requests:
        return f"none of {units.counted(totals.requests, 'request')} on {who} was answered"
    passed = units.format_bytes(totals.bytes_in + totals.bytes_out)
    return f"no request is told apart on {who}; {passed} passed"
