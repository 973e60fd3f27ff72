"""Rules of the verdict for what happens between the two sockets of a TCP connection."""

from __future__ import annotations

import math

from sockscope.core import units
from sockscope.core.run.evidence import HALF, RECORDER, TUNING, Finding, Seen
from sockscope.core.run.kinds import Kind
from sockscope.core.run.snapshot import RoleSnapshot

DELAYED_ACK_S = 0.04
"""After so long Linux acknowledges data that it has not answered (TCP_DELACK_MIN); Nagle waits for that."""
COMB_S = (0.95 * DELAYED_ACK_S, 1.5 * DELAYED_ACK_S)
"""Beyond the service time, an answer that came so late waited for a delayed acknowledgement."""
RTO_MIN_S = 0.2
"""What is lost is sent again after so long at least (TCP_RTO_MIN), where no later data tells of the loss."""
DELAYED_ACKS = "/proc/net/netstat DelayedACKs"
RETRANS_SEGS = "/proc/net/snmp RetransSegs"
TCP_INFO = "TCP_INFO"
NO_DELAY = "getsockopt TCP_NODELAY"


def delayed_ack(seen: Seen) -> Finding | None:
    """Most answers wait for a delayed acknowledgement, as their writer's Nagle algorithm does (RFC 896)."""
    swarm, tuning = seen.window.swarm, seen.window.tuning
    if swarm is None or tuning.carrier != "TCP" or not swarm.totals.responses:
        return None
    least_s, most_s = (seen.cycle.work_s + beyond_s for beyond_s in COMB_S)
    late, comb = _taking(swarm, least_s, most_s)
    if not seen.at_least("time in answers that come 40 ms late", comb, "ratio", HALF, RECORDER):
        return None
    # One acknowledgement keeps back all that is written behind what it is for.
    acks = late / max(tuning.depth - tuning.batch, 1)
    if not (whose := _writes_in_parts(seen)) or not _acknowledged_late(seen, acks):
        return None
    share = units.format_ratio(min(late / swarm.totals.responses, 1.0))
    return Finding(
        Kind.DELAYED_ACK,
        f"{share} of the answers come {units.format_duration(DELAYED_ACK_S)} late: {whose}, and a later one "
        "waits for the delayed ACK of the first (Nagle's algorithm: TCP_NODELAY is off there)",
    )


def _taking(swarm: RoleSnapshot, least_s: float, most_s: float = math.inf) -> tuple[int, float]:
    """Return how many answers took so long, and their share of the time that all of them took."""
    times = swarm.service_time.occupied()
    found = [(time_s, count) for time_s, count in times if least_s <= time_s < most_s]
    whole_s = sum(time_s * count for time_s, count in times)
    return (
        sum(count for _, count in found),
        sum(time_s * count for time_s, count in found) / (whole_s or math.inf),
    )


def _writes_in_parts(seen: Seen) -> str:
    """Return who writes in parts with Nagle on, in words; empty when nobody does."""
    window, totals = seen.window, seen.window.main.totals
    torn = totals.messages_torn / totals.responses
    if seen.at_least("answers that come in parts", torn, "ratio", HALF, RECORDER):
        if window.server is None or _nagles(seen, "server", window.server):
            return "the server writes them in parts"
    elif (more := window.tuning.depth - window.tuning.batch) > 0 and window.swarm is not None:
        seen.note("requests that are written behind others", more, "count", TUNING)
        if _nagles(seen, "clients", window.swarm):
            return "clients write several requests in turn"
    return ""


def _nagles(seen: Seen, who: str, role: RoleSnapshot) -> bool:
    off = role.tcp.nagle / role.tcp.looks if role.tcp.looks else None
    return seen.at_least(f"{who}: connections without TCP_NODELAY", off, "ratio", HALF, NO_DELAY)


def _acknowledged_late(seen: Seen, acks: float) -> bool:
    """Tell whether the kernel has delayed half as many acknowledgements, where it tells."""
    kernel = seen.window.resources.kernel_tcp
    if kernel is None or kernel.delayed_acks is None:
        return True
    return seen.at_least("delayed ACKs", kernel.delayed_acks, "count", HALF * acks, DELAYED_ACKS)


def retransmissions(seen: Seen) -> Finding | None:
    """Most of the latency is the wait until what was lost is sent again."""
    window, service_s = seen.window, seen.cycle.service_s
    swarm = window.swarm
    if swarm is None or window.tuning.carrier != "TCP" or service_s is None:
        return None
    again = sum(role.tcp.retransmits for role in window.roles.values())
    if not again:
        return None
    each_s = again * RTO_MIN_S / max(swarm.totals.responses, 1)
    kernel = window.resources.kernel_tcp
    seen.note("segments sent again", again, "count", f"{TCP_INFO} total_retrans")
    if kernel is not None and kernel.retransmitted is not None:
        seen.note("segments sent again, whole machine", kernel.retransmitted, "count", RETRANS_SEGS)
    if not seen.at_least(
        "retransmissions per answer x 200 ms", each_s, "s", HALF * service_s, f"{TCP_INFO}, TCP_RTO_MIN"
    ):
        return None
    # What later data tells of is sent again at once, and costs no such wait.
    _, waited = _taking(swarm, RTO_MIN_S)
    if not seen.at_least("time in answers that took 200 ms or more", waited, "ratio", HALF, RECORDER):
        return None
    return Finding(
        Kind.RETRANSMISSIONS,
        f"{units.counted(again, 'segment')} had to be sent again for "
        f"{units.counted(swarm.totals.responses, 'answer')}: each loss is noticed after "
        f"{units.format_duration(RTO_MIN_S)} or more, most of the {units.format_duration(service_s)} each",
    )
