"""What limits a run: rules that turn a window of it into one sentence with the evidence.

A closed loop always has a limit: something that everybody waits for. The rules go from what keeps requests
from being answered at all, over what is used up (a core, a server that works on one request at a time,
admission, permits, a pool), to what most of a client's time goes to while nothing is used up. The first that
holds speaks; each names the figures it stands on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from sockscope.core import units
from sockscope.core.roles import SWARM
from sockscope.core.run.connecting import (
    connecting,
    no_connection,
    overflowed,
    rejected,
    served_few,
    starving,
    turned_away,
    unaccepted,
    unconnected,
)
from sockscope.core.run.evidence import HALF, Evidence, Finding, Looked, Rule, Seen, look
from sockscope.core.run.failing import (
    dead,
    errors,
    not_accepted,
    not_accepting,
    not_running,
    raised,
    silent,
    stopped,
)
from sockscope.core.run.figures import process_figures
from sockscope.core.run.held import admission, permits, pool
from sockscope.core.run.held_on_purpose import burnt, crowded_out, held, leaked
from sockscope.core.run.kinds import Kind
from sockscope.core.run.longest import buffers, elsewhere, latency, server_alone, service, think
from sockscope.core.run.network import delayed_ack, retransmissions
from sockscope.core.run.no_room import out_of_ports, send_buffer, slow_readers
from sockscope.core.run.offered import generator, lateness_of, rate_reached
from sockscope.core.run.on_purpose import (
    injected_delay,
    injected_failures,
    injected_refusals,
    injected_silence,
)
from sockscope.core.run.overdue import dropped, lost, overdue, timeouts, unanswered
from sockscope.core.run.snapshot import MAIN, RunState, Snapshot
from sockscope.core.run.tapped import tapped, unreached
from sockscope.core.run.used_up import cpu, held_up, machine, occupied, stuck

__all__ = [
    "RULES",
    "Evidence",
    "Finding",
    "Kind",
    "Looked",
    "Verdict",
    "limit_of",
    "limit_of_run",
    "or_screen",
    "screen_limit",
    "verdict_of",
]


_OF_CORES = (Kind.SERVER_CPU, Kind.CLIENT_CPU, Kind.SHARED_CPU, Kind.MACHINE_CPU, Kind.OTHER_PROGRAMS)
_OF_LOOPS = (Kind.BLOCKED_LOOP, Kind.OTHER_PROGRAMS, Kind.MACHINE_CPU)


def screen_limit(dropped: int, pictures: int) -> Finding | None:
    """Return that the terminal does not keep up, when it has not taken half of the last ``pictures``."""
    if dropped * 2 < pictures:
        return None
    slow = f"the terminal was too slow for {dropped} of the last {pictures} redraws"
    skipped = Evidence("redraws skipped", dropped, "count", pictures / 2, "terminal")
    return Finding(Kind.SCREEN, f"{slow}; the traffic is not held up", evidence=(skipped,))


def or_screen(
    finding: Finding, window: Snapshot, screen_ratio: float | None, longest_s: float = 0.0
) -> Finding:
    """Return that the screen is the limit, where it takes half of what the process at its limit uses.

    ``finding`` is what limits the run in ``window``, ``screen_ratio`` the share of a core that drawing takes
    in this process, and ``longest_s`` the longest time for which it has kept the loop: where that is more
    than a generator here may be late by, it is what makes it late.
    """
    if finding.kind is Kind.GENERATOR_BOUND:
        return _late_by_screen(finding, window, longest_s)
    ours = [process for process in process_figures(window) if process.name in finding.who]
    if finding.kind is not Kind.SHARED_CPU or len(ours) != 1 or screen_ratio is None:
        return finding
    half = HALF * (ours[0].cpu_ratio or 0.0)
    drawing = Evidence("drawing the screen", screen_ratio, "ratio", half, "CPU time of the loop's thread")
    if not drawing.holds:
        return finding
    told = f"the screen takes {units.format_ratio(screen_ratio)} of the core that it shares with the run"
    sentence = f"{told}; {finding.sentence}"
    return Finding(Kind.SCREEN_CPU, sentence, finding.who, (drawing, *finding.evidence))


def _late_by_screen(finding: Finding, window: Snapshot, longest_s: float) -> Finding:
    swarm = window.swarm
    if swarm is None or any(SWARM in use.roles for use in window.processes if use.name != MAIN):
        return finding
    _, most_s = lateness_of(swarm)
    drawing = Evidence("drawing the screen, longest", longest_s, "s", most_s, "time that the loop was kept")
    if not drawing.holds:
        return finding
    told = f"drawing the screen holds up the clients for up to {units.format_duration(longest_s)}"
    return replace(finding, sentence=f"{told}; {finding.sentence}", evidence=(drawing, *finding.evidence))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What limits a run in a window, and everything that was looked at.

    ``before`` are the rules that were asked before the one that speaks, none of which holds; ``after`` those
    that would have been asked next.
    """

    finding: Finding
    before: tuple[Looked, ...]
    after: tuple[Looked, ...]


def looks(seen: Seen, rules: Iterable[Rule]) -> Iterator[Looked]:
    """Yield what each rule went by, in turn."""
    for rule in rules:
        yield Looked(rule, *look(seen, rule.look))


def verdict_of(window: Snapshot) -> Verdict:
    """Return what limits the run in a window of it, with all rules; :func:`limit_of` says the same."""
    looked = tuple(looks(Seen(window), RULES))
    at = next(number for number, one in enumerate(looked) if one.finding is not None)
    finding = looked[at].finding
    assert finding is not None
    return Verdict(finding, looked[:at], looked[at + 1 :])


def limit_of(window: Snapshot) -> Finding:
    """Return what limits the run in a window of it."""
    return _speaking(Seen(window), RULES)


def limit_of_run(end: Snapshot) -> Finding:
    """Return what limited a run as a whole, or has limited it so far; ``end`` covers all of it."""
    if end.state is RunState.FAILED:
        told = Evidence("state of the run", end.state.value, "", None, "engine")
        return Finding(Kind.RUN, f"the run failed: {end.error}", evidence=(told,))
    if end.state is RunState.PAUSED:
        return limit_of(end)
    return _speaking(Seen(end, over=end.state is not RunState.RUNNING), RULES[1:])


def _speaking(seen: Seen, rules: Iterable[Rule]) -> Finding:
    """Return what the first rule that holds says; the last one always does."""
    return next(one.finding for one in looks(seen, rules) if one.finding is not None)


RULES: tuple[Rule, ...] = (
    Rule("a run that does not go on", (Kind.RUN, Kind.PAUSED), not_running),
    Rule("a process that has ended", (Kind.PROCESS, Kind.SERVER_GONE), dead),
    Rule("a process that is stopped", (Kind.PROCESS,), stopped),
    Rule("a server held up on purpose", (Kind.INJECTED,), held),
    Rule("a process that does not answer", (Kind.BLOCKED_LOOP,), silent),
    # Requests fail, or cannot be made.
    Rule("failures made on purpose", (Kind.INJECTED,), injected_failures),
    Rule("answers kept back on purpose", (Kind.INJECTED,), injected_silence),
    Rule("an executor that is full on purpose", (Kind.INJECTED,), crowded_out),
    Rule("own code that raises", (Kind.OWN_CODE,), raised),
    Rule("connections refused on purpose", (Kind.INJECTED,), injected_refusals),
    Rule("descriptors leaked on purpose", (Kind.INJECTED,), leaked),
    Rule("descriptors", (Kind.DESCRIPTORS,), not_accepting),
    Rule("target of a tap", (Kind.NO_SERVER,), unreached),
    Rule("ephemeral ports", (Kind.EPHEMERAL_PORTS,), out_of_ports),
    Rule("backlog of a server that serves few at a time", (Kind.BACKLOG,), served_few),
    Rule("accept queue", (Kind.ACCEPT_QUEUE,), overflowed),
    Rule("clients without a server", (Kind.NO_SERVER, Kind.SERVER_GONE, Kind.NO_CONNECTION), no_connection),
    Rule("connections turned away", (Kind.CONNECTIONS,), rejected),
    Rule("clients that get no connection", (Kind.ACCEPT_QUEUE, Kind.CONNECTIONS), unconnected),
    Rule("accept queue of a server alone", (Kind.ACCEPT_QUEUE,), turned_away),
    Rule("connections that nobody accepts", (Kind.NOT_ACCEPTING,), starving),
    Rule("datagrams that are not taken", (Kind.UDP_SEND_BUFFER,), send_buffer),
    Rule("datagrams dropped at sockets of the run", (Kind.UDP_RECEIVE_BUFFER,), dropped),
    Rule("timeouts", (Kind.TIMEOUTS,), timeouts),
    Rule("answers that are rejected", (Kind.ANSWERS,), not_accepted),
    Rule("errors", (Kind.ERRORS,), errors),
    Rule("datagrams lost on their way to a server alone", (Kind.UDP_RECEIVE_BUFFER,), lost),
    Rule("no answer at all", (Kind.NO_ANSWER,), unanswered),
    Rule("requests that are overdue", (Kind.TIMEOUTS,), overdue),
    # An open loop keeps its rate, or does not.
    Rule("a generator that is late", (Kind.GENERATOR_BOUND,), generator),
    Rule("a rate that is reached", (Kind.OFFERED_RATE,), rate_reached),
    # Something is used up, from the server outwards.
    Rule("CPU time burnt on purpose", (Kind.INJECTED,), burnt),
    Rule("a core", _OF_CORES, cpu),
    Rule("a server that works on few at a time", (Kind.SERVER_OCCUPIED, Kind.BLOCKED_LOOP), occupied),
    Rule("peers that do not read", (Kind.SLOW_READERS,), slow_readers),
    Rule("a loop that is held up nearly always", _OF_LOOPS, stuck),
    Rule("all cores", (Kind.MACHINE_CPU, Kind.OTHER_PROGRAMS), machine),
    Rule("admission at the server", (Kind.ADMISSION,), admission),
    Rule("permits of the clients", (Kind.SEMAPHORE,), permits),
    Rule("pool of connections", (Kind.POOL,), pool),
    # Nothing is: what takes longest.
    Rule("delay or a rate made on purpose", (Kind.INJECTED,), injected_delay),
    Rule("clients of a tap", (Kind.TARGET, Kind.CLIENTS), tapped),
    Rule("think time", (Kind.THINK_TIME,), think),
    Rule("acknowledgements that are delayed", (Kind.DELAYED_ACK,), delayed_ack),
    Rule("segments that are sent again", (Kind.RETRANSMISSIONS,), retransmissions),
    Rule("a loop that is held up now and then", _OF_LOOPS, held_up),
    Rule("connections in the backlog", (Kind.NOT_ACCEPTING,), unaccepted),
    Rule("a server alone", (Kind.SERVICE_TIME, Kind.CLIENTS), server_alone),
    Rule("clients that connect", (Kind.CONNECTIONS, Kind.ACCEPT_QUEUE), connecting),
    Rule("socket buffers", (Kind.SOCKET_BUFFERS,), buffers),
    Rule("service time", (Kind.SERVICE_TIME,), service),
    Rule("a server elsewhere", (Kind.SERVER,), elsewhere),
    Rule("anything", (Kind.LATENCY, Kind.NOT_KNOWN), latency),
)
"""The rules in the order in which they are asked; the first that holds speaks, and the last always does."""
