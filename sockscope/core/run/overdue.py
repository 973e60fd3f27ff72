"""Rules of the verdict for requests that get no answer, with the cause where one is known."""

from __future__ import annotations

import math

from sockscope.core import units
from sockscope.core.run.connecting import overflow_source, overflow_told, overflows, unaccepted
from sockscope.core.run.cycle import model_of
from sockscope.core.run.evidence import (
    FAILING_RATIO,
    HALF,
    RCVBUF_ERRORS,
    RECORDER,
    SK_DROPS,
    TUNING,
    Finding,
    Seen,
    first,
)
from sockscope.core.run.figures import UNANSWERED_S
from sockscope.core.run.held import admission
from sockscope.core.run.kinds import Kind
from sockscope.core.run.little import accounted_ratio
from sockscope.core.run.snapshot import Snapshot
from sockscope.core.run.unanswered import nothing_came, what_came
from sockscope.core.run.used_up import cpu, held_up, machine, occupied, stuck


def timeouts(seen: Seen) -> Finding | None:
    """Requests time out, many of them or for most of the time."""
    swarm = seen.window.swarm
    if swarm is None:
        return None
    totals, timeout_s = swarm.totals, seen.window.tuning.request_timeout_s
    ended = totals.responses + totals.failed
    if not totals.timeouts or totals.timeouts < totals.errors:
        return None
    after = f"time out after {units.format_duration(timeout_s)}"
    if seen.at_least("requests that time out", totals.timeouts / ended, "ratio", FAILING_RATIO, RECORDER):
        share = units.format_ratio(totals.timeouts / ended)
        return Finding(Kind.TIMEOUTS, f"{share} of the requests {after}{_because(seen)}")
    # Few may time out among many quick ones, and yet most clients do nothing but wait for that, except for
    # the time that the others took: what timed out may have begun long before.
    asking_s = swarm.clients * seen.window.measured_s * seen.window.tuning.depth
    answered_s = (swarm.service_time.mean_s or 0.0) * swarm.service_time.total
    spent = min(totals.timeouts * timeout_s, asking_s - answered_s) / (asking_s or math.inf)
    if not seen.at_least("time of the clients spent on them", spent, "ratio", HALF, RECORDER):
        return None
    share = units.format_ratio(min(spent, 1.0))
    return Finding(
        Kind.TIMEOUTS, f"clients spend {share} of their time on requests that {after}{_because(seen)}"
    )


def unanswered(seen: Seen) -> Finding | None:
    """Nothing has been answered."""
    swarm = seen.window.swarm
    if swarm is None or swarm.totals.responses or not swarm.in_flight:
        return None
    least_s = max(UNANSWERED_S, seen.cycle.work_s)
    if not seen.at_least("time without an answer", seen.window.measured_s, "s", least_s, RECORDER):
        return None
    seen.note("requests in flight", swarm.in_flight, "count", RECORDER)
    length = units.format_duration(max(seen.window.measured_s, _silent_s(seen.window)))
    asked = "1 request is" if swarm.in_flight == 1 else f"{swarm.in_flight:,} requests are"
    return Finding(Kind.NO_ANSWER, f"no answer for {length}: {asked} in flight{_because(seen)}")


def _silent_s(window: Snapshot) -> float:
    """Return for how long an answer has been awaited, before the window too; 0 if that is not known."""
    answered_s, awaited_s = window.main.last_answer_s, window.main.awaited_since_s
    return window.time_s - max(answered_s, awaited_s) if answered_s and awaited_s else 0.0


def lost(seen: Seen) -> Finding | None:
    """A server alone has not got all the datagrams that were sent to it."""
    totals = seen.window.main.totals
    lost, sent = totals.datagrams_lost, totals.datagrams_lost + totals.datagrams_received
    if seen.window.swarm is not None or not lost:
        return None
    source = f"{RECORDER}, sequence numbers"
    if not seen.at_least("datagrams lost", lost / sent, "ratio", FAILING_RATIO, source):
        return None
    told = f"{units.format_ratio(lost / sent)} of the datagrams to the server were lost"
    return Finding(Kind.UDP_RECEIVE_BUFFER, f"{told}{_because(seen)}")


def dropped(seen: Seen) -> Finding | None:
    """Datagrams find the receive buffer of a socket of the run full, and that is why requests time out."""
    server, swarm = seen.window.server, seen.window.swarm
    if swarm is None or seen.window.tuning.carrier != "UDP":
        return None
    to_clients = swarm.totals.datagrams_dropped
    at = [("clients", to_clients, to_clients + swarm.totals.datagrams_received)]
    if server is not None:
        at.insert(0, ("server", server.totals.datagrams_dropped, swarm.totals.datagrams_sent))
    if not (count := sum(lost for _, lost, _ in at)):
        return None
    told = []
    for whose, lost, came in at:
        share = lost / came if came else 0.0
        if seen.at_least(f"{whose}: datagrams dropped", share, "ratio", FAILING_RATIO, SK_DROPS):
            told.append(f"{units.format_ratio(min(share, 1.0))} of the datagrams to the {whose}")
    least = HALF * swarm.totals.timeouts
    if not told or not seen.at_least("datagrams dropped", count, "count", least, SK_DROPS):
        return None
    cause = "".join(f"; {one}" for one in _slow(seen))
    sentence = f"receive buffers are full: {' and '.join(told)} are dropped (--rcvbuf){cause}"
    return Finding(Kind.UDP_RECEIVE_BUFFER, sentence)


def overdue(seen: Seen) -> Finding | None:
    """Most of the clients' time is in requests that were not answered in the window, nor given up in it."""
    swarm, overdue = seen.window.swarm, _overdue_ratio(seen)
    if swarm is None:
        return None
    if not seen.at_least(
        "time of the clients in requests without an answer", overdue, "ratio", HALF, RECORDER
    ):
        return None
    least = HALF * swarm.clients
    if not seen.at_least("requests in flight", swarm.in_flight, "count", least, RECORDER):
        return None
    told = f"clients spend {units.format_ratio(overdue)} of their time on requests that get no answer"
    return Finding(Kind.TIMEOUTS, f"{told}{_because(seen)}")


def _overdue_ratio(seen: Seen) -> float:
    """Return the share of the clients' time in requests that nothing is known of yet.

    At the end of a run they have been given up: those older than any answer took.
    """
    swarm, measured_s = seen.window.swarm, seen.window.measured_s
    accounted = accounted_ratio(seen.window)
    lacking = max(1 - accounted, 0.0) if accounted is not None else 0.0
    if not seen.over or swarm is None or measured_s <= 0:
        return lacking
    usual_s = max(swarm.service_time.max_s or 0.0, seen.cycle.work_s)
    spent_s = sum(age_s * count for age_s, count in swarm.unanswered.counts.items() if age_s > usual_s)
    return max(lacking, min(spent_s / (swarm.clients * measured_s * seen.window.tuning.depth), 1.0))


def _because(seen: Seen) -> str:
    """Return why requests get no answer, as far as it is known, to be put behind a sentence."""
    return "".join(f"; {cause}" for cause in (*_dropped(seen), *_slow(seen)))


def _dropped(seen: Seen) -> list[str]:
    """Return what the kernel dropped, of the whole machine, or held, if that is enough for these timeouts."""
    lost, timeouts = seen.window.resources.kernel_udp, seen.window.main.totals.timeouts
    if seen.window.tuning.carrier == "Unix datagram":
        count = seen.window.main.totals.datagrams_held
        told = f"{units.counted(count, 'request')} had to wait for room in the queue of the server's socket"
        name, source = "requests that found the queue full", f"{RECORDER}, EAGAIN"
    elif seen.window.tuning.transport == "udp":
        count = lost.rcvbuf_errors if lost is not None else 0
        told = f"receive buffers were full: the kernel dropped {units.counted(count, 'datagram')}"
        name, source = "datagrams dropped", RCVBUF_ERRORS
    else:
        count, told = overflows(seen), overflow_told(seen)
        name, source = "connections dropped", overflow_source(seen)
    enough = count and seen.at_least(name, count, "count", FAILING_RATIO * timeouts, source)
    return [told] if enough else []


def _slow(seen: Seen) -> list[str]:
    """Return why the server answers late or not at all."""
    work_s, timeout_s = seen.cycle.work_s, seen.window.tuning.request_timeout_s
    if work_s >= timeout_s:
        seen.at_least("service time", work_s, "s", timeout_s, TUNING)
        return [f"the service time alone is {units.format_duration(work_s)}"]
    cause = first(seen, (cpu, occupied, stuck, unaccepted, machine, held_up, admission))
    if cause is not None:
        return [cause.sentence]
    if model_of(seen.window) is None:
        return _says_little(seen)
    server, most = seen.window.server, seen.window.experiment.backlog
    if server is not None and server.backlog >= most:
        return [f"the backlog is full: it takes {units.counted(most, 'connection')} (--backlog)"]
    return []


def _says_little(seen: Seen) -> list[str]:
    """Return what came from a server that is none of our models instead of answers."""
    if came := what_came(seen.window):
        return [came]
    told, totals = [], seen.window.main.totals
    if (target := seen.target) is not None and target.cpu_ratio is not None:
        told.append(f"the target is at {units.format_ratio(target.cpu_ratio)} of a core")
    if not (totals.responses or totals.bytes_in):
        told.append(nothing_came(seen.window))
    return told
