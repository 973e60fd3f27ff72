"""Rules of the verdict for connections that cannot be made, or are not accepted."""

from __future__ import annotations

from sockscope.core import units
from sockscope.core.config.models import FD_SETSIZE, ServerModel
from sockscope.core.events import CloseReason
from sockscope.core.roles import SERVER
from sockscope.core.run.cycle import model_of
from sockscope.core.run.evidence import (
    BACKLOG_DEPTH,
    CPU_HIGH_RATIO,
    FAILING_RATIO,
    HALF,
    LISTEN_DROPS,
    LISTEN_OVERFLOWS,
    RECORDER,
    TUNING,
    WANTED,
    Finding,
    Seen,
    first,
    perhaps,
    share,
)
from sockscope.core.run.figures import UNANSWERED_S
from sockscope.core.run.kinds import Kind
from sockscope.core.run.unanswered import connections_wait
from sockscope.core.run.used_up import cpu, occupied, stuck

SYN_RETRY_S = 1.0
"""After so long, at first, a connection is asked for again that the kernel did not make (RFC 6298)."""
STAYING = 2
"""Fewer new connections than this times the backlog: who is in it stays there for a while."""


def no_connection(seen: Seen) -> Finding | None:
    """Clients cannot connect; those that try again because their request failed are not meant.

    Who tries at the moment is in the same boat as who will.
    """
    swarm = seen.window.swarm
    if swarm is None:
        return None
    totals, trying = swarm.totals, swarm.clients_retrying
    unmade = totals.connections_refused + totals.connections_timed_out + totals.connections_failed
    unmade += totals.handshakes_failed
    if not totals.connections_opened and unmade >= HALF * swarm.clients_connecting:
        trying += swarm.clients_connecting
    if not trying or totals.failed > unmade:
        return None
    if not seen.at_least(
        "clients without a connection", trying, "count", FAILING_RATIO * swarm.clients, RECORDER
    ):
        return None
    if swarm.last_trouble != CloseReason.TIMEOUT.value:
        seen.note("attempts to connect that failed", unmade, "count", RECORDER)
    elif not seen.at_least("attempts to connect that failed", unmade, "count", 1, RECORDER):
        return None  # they rest after requests that timed out before
    missing, of = swarm.clients_retrying + swarm.clients_connecting, swarm.clients
    who = "clients have no connection and keep trying"
    if not unmade and totals.connections_opened:
        who = "clients give up their connections and try again"
    if seen.window.tuning.pool:
        of, who = seen.window.tuning.connections, "connections of the pool are missing and being retried"
    told = [f"{min(missing, of):,} of {of:,} {who}: {lower_first(swarm.last_trouble)}"]
    kind = Kind.NO_SERVER if totals.connections_refused else Kind.NO_CONNECTION
    if totals.connections_refused and seen.window.tuning.transport == "tcp" and swarm.last_conn_id > 0:
        seen.note("connections made before", swarm.last_conn_id, "count", RECORDER)
        kind, told = Kind.SERVER_GONE, ["the server has gone", *told]
    return Finding(kind, "; ".join([*told, *backlog_told(seen)]))


def backlog_told(seen: Seen) -> list[str]:
    """Return how many connections wait to be accepted, as a part of a sentence, if any does."""
    backlog = max(role.backlog for role in seen.window.roles.values())
    if not backlog:
        return []
    full = ", which may be full"
    if seen.window.server is not None:
        full = ", which is full (--backlog)" if backlog >= seen.window.experiment.backlog else ""
    return [f"{backlog:,} {'is' if backlog == 1 else 'are'} in its backlog{full}"]


def overflows(seen: Seen) -> int:
    """Return how many connections a full backlog turned away: that of the server, where the kernel tells of
    its listeners, else of this machine, if it may be the server's."""
    window, kernel = seen.window, seen.window.resources.kernel_tcp
    if (exact := _of_the_listener(seen)) is not None:
        return exact
    here = window.server is not None or not window.experiment.allow_remote
    return (
        kernel.listen_overflows
        if kernel is not None and here and window.tuning.carrier in ("TCP", "TLS")
        else 0
    )


def overflow_source(seen: Seen) -> str:
    """Return who has counted them."""
    return LISTEN_OVERFLOWS if _of_the_listener(seen) is None else LISTEN_DROPS


def _of_the_listener(seen: Seen) -> int | None:
    holder = seen.window.server or seen.window.swarm
    return holder.listen_drops if holder is not None else None


def overflow_told(seen: Seen) -> str:
    """Return the end of a sentence on connections that did not fit into the backlog."""
    full = ""
    if seen.window.server is not None:
        full = f" of {seen.window.experiment.backlog:,} (--backlog)"
    dropped = units.counted(overflows(seen), "connection")
    return f"the kernel dropped {dropped} for a full backlog{full}; clients ask again after 1 s or more"


def served_few(seen: Seen) -> Finding | None:
    """Connections wait in the backlog of a model that serves a limited number of them at a time."""
    window, model = seen.window, model_of(seen.window)
    server, swarm = window.server, window.swarm
    if server is None or model is None or not model.at_once or window.tuning.transport != "tcp":
        return None
    if swarm is None:
        waiting, connected = server.backlog, server.backlog + server.connections_open
        source = BACKLOG_DEPTH
    else:
        # Whom the kernel has connected and the server has not accepted yet.
        waiting, connected = swarm.connections_open - server.connections_open, swarm.connections_open
        source = f"{RECORDER}: open at the clients, not at the server"
    at_once = model.at_once * window.tuning.server_processes
    if not seen.at_least("connections that wait to be accepted", waiting, "count", 1, source):
        return None
    if not seen.at_least("connections made", connected, "count", at_once + 1, RECORDER):
        return None
    waits_s = seen.cycle.wait_s + (seen.cycle.service_s or 0.0)
    if (
        window.tuning.lifetime
        and waits_s
        and not seen.below("think time", seen.cycle.think_s, "s", waits_s, TUNING)
    ):
        return None  # none stays for long
    ends = "that one ends" if at_once == 1 else "one of those ends"
    told = f"{serves(model, window.tuning.server_processes)}; {waiting:,} of {connected:,} "
    told += "waits" if waiting == 1 else "wait"
    # The kernel lets one more in (sk_acceptq_is_full in sock.h). The others only believe that they are there.
    room = (window.experiment.backlog + 1) * window.tuning.server_processes
    if waiting > room and overflows(seen):
        seen.note("connections dropped", overflows(seen), "count", overflow_source(seen))
        return Finding(Kind.BACKLOG, f"{told} until {ends}; {overflow_told(seen)}")
    return Finding(Kind.BACKLOG, f"{told} in its backlog until {ends}")


def serves(model: ServerModel, processes: int) -> str:
    """Return how many connections a model serves at a time in so many processes, as a clause."""
    served = "one connection" if model.at_once == 1 else f"{model.at_once:,} connections"
    each = f" in each of {processes:,} processes" if processes > 1 else ""
    return f"{model.name} serves {served} at a time{each}"


def rejected(seen: Seen) -> Finding | None:
    """The server holds as many connections as it may, and closes or leaves unanswered whoever comes."""
    window, server = seen.window, seen.window.server
    turned_away = server.totals.connections_rejected if server is not None else 0
    if server is None or not turned_away:
        return None
    least = FAILING_RATIO * window.main.totals.responses
    many = seen.at_least("connections or peers turned away", turned_away, "count", least, RECORDER)
    if not many and not _do_without(seen, turned_away):
        return None
    model, most = model_of(window), window.experiment.max_connections
    if window.tuning.transport == "udp":
        told = f"the server remembers {units.counted(most, 'peer')} at most (--max-connections)"
        left = units.counted(turned_away, "datagram")
        return Finding(Kind.CONNECTIONS, f"{told}; it has left {left} of others unanswered")
    told = f"the server holds {units.counted(most, 'connection')} at most (--max-connections); it"
    if model is not None and model.mechanism == "select" and most >= FD_SETSIZE:
        told = f"select(2) takes no descriptor from {FD_SETSIZE:,} on (FD_SETSIZE); the server"
    return Finding(Kind.CONNECTIONS, f"{told} has closed {turned_away:,} more on arrival")


def _do_without(seen: Seen, turned_away: int) -> bool:
    """Tell whether clients that were turned away are without a server for much of the time."""
    window, swarm = seen.window, seen.window.swarm
    if swarm is None:
        return False
    if window.tuning.transport == "udp":
        waited_s = turned_away * window.tuning.request_timeout_s
        least_s = FAILING_RATIO * swarm.clients * window.measured_s
        return seen.at_least("time that peers waited in vain", waited_s, "s", least_s, RECORDER)
    least = FAILING_RATIO * swarm.clients
    return seen.at_least("clients backing off", swarm.clients_retrying, "count", least, RECORDER)


def turned_away(seen: Seen) -> Finding | None:
    """The backlog of a server alone is full, and was."""
    server = seen.window.server
    if seen.window.swarm is not None or server is None:
        return None
    if not seen.at_least("connections dropped", overflows(seen), "count", 1, overflow_source(seen)):
        return None
    most = seen.window.experiment.backlog
    if not seen.at_least("connections in the backlog", server.backlog, "count", most, BACKLOG_DEPTH):
        return None  # the kernel counts for the whole machine
    cause = first(seen, (cpu, occupied, stuck))
    told = [overflow_told(seen), *([cause.sentence] if cause else [])]
    return Finding(Kind.ACCEPT_QUEUE, "; ".join(told))


def overflowed(seen: Seen) -> Finding | None:
    """Clients do little but wait until they ask again for connections that did not fit into the backlog.

    To some of them it looks like a request without an answer: the kernel has told them that they are
    connected, and then dropped what completes the handshake (tcp_v4_syn_recv_sock in tcp_ipv4.c).
    """
    swarm, window, dropped = seen.window.swarm, seen.window, overflows(seen)
    if swarm is None or not dropped or window.measured_s <= 0:
        return None
    asking_s = swarm.clients * window.measured_s
    waits = dropped * SYN_RETRY_S / asking_s
    if not seen.at_least(
        "connections dropped x 1 s, against the time of the clients",
        waits,
        "ratio",
        HALF,
        overflow_source(seen),
    ):
        return None
    answered = (swarm.service_time.mean_s or 0.0) * swarm.service_time.total / asking_s
    if not seen.below("time of the clients in requests that are answered", answered, "ratio", HALF, RECORDER):
        return None
    backlog = max(role.backlog for role in window.roles.values())
    made = swarm.totals.connections_opened
    if not seen.at_least("connections made", made, "count", max(STAYING * backlog, 1), RECORDER):
        return None  # nobody accepts, or listens: a longer queue would only take longer to fill
    return Finding(Kind.ACCEPT_QUEUE, overflow_told(seen))


def unaccepted(seen: Seen) -> Finding | None:
    """Most connections wait to be accepted, by whatever server."""
    window = seen.window
    holder = window.server or window.swarm
    if holder is None or not holder.backlog:
        return None
    least = HALF * window.swarm.connections_open if window.swarm is not None else 1
    if not seen.at_least("connections in the backlog", holder.backlog, "count", least, BACKLOG_DEPTH):
        return None
    told = [f"{connections_wait(holder.backlog)} in the backlog: the server does not accept them"]
    told += [share(seen.target)] if seen.target is not None else perhaps(seen)
    return Finding(Kind.NOT_ACCEPTING, "; ".join(told))


def unconnected(seen: Seen) -> Finding | None:
    """Most clients wait for a connection, and fewer are made than they need."""
    swarm = seen.window.swarm
    if swarm is None or not seen.connecting or seen.window.measured_s < UNANSWERED_S:
        return None
    made = swarm.totals.connections_opened
    if not seen.below("connections made", made, "count", seen.connecting, RECORDER) and not overflowing(seen):
        return None
    return connecting(seen)


def overflowing(seen: Seen) -> bool:
    """Tell whether those who wait for a connection do so for a full backlog, most of the time."""
    waited_s = seen.connecting * seen.window.measured_s
    dropped = overflows(seen)
    if not waited_s or not dropped:
        return False
    least = HALF * waited_s / SYN_RETRY_S
    return seen.at_least("connections dropped", dropped, "count", least, overflow_source(seen))


def starving(seen: Seen) -> Finding | None:
    """Most connections wait to be accepted and stay there, although the server has time to spare."""
    window = seen.window
    backlog = max((role.backlog for role in window.roles.values()), default=0)
    if window.swarm is None or not backlog:
        return None
    made = window.swarm.totals.connections_opened
    if not seen.below("connections made", made, "count", STAYING * backlog, RECORDER):
        return None
    servers = [process for process in seen.processes if SERVER in process.roles]
    for process in servers:
        wanted = process.wanted_ratio or 0.0
        name = f"{process.name}: runs or waits for a core"
        if not seen.below(name, wanted, "ratio", CPU_HIGH_RATIO, WANTED):
            return None
    return unaccepted(seen)


def connecting(seen: Seen) -> Finding | None:
    """Most clients wait for a connection."""
    swarm = seen.window.swarm
    if swarm is None:
        return None
    least = HALF * max(swarm.clients, 1)
    if not seen.at_least("clients that wait for a connection", seen.connecting, "count", least, RECORDER):
        return None
    rate = units.format_count(seen.figures.opened_per_s)
    made = f"{rate} {'is' if rate == '1' else 'are'} made per second"
    if not swarm.totals.connections_opened:
        made = "no TLS handshake succeeds" if seen.window.tuning.tls else "the server takes none"
    told = [f"{seen.connecting:,} of {swarm.clients:,} clients wait for a connection; {made}"]
    model, server, processes = model_of(seen.window), seen.window.server, seen.window.tuning.server_processes
    most = model.at_once * processes if model is not None else 0
    if model is not None and server is not None and 0 < most <= server.connections_open:
        told.append(serves(model, processes))
    kind = Kind.CONNECTIONS
    if overflowing(seen):
        kind = Kind.ACCEPT_QUEUE
        told.append(overflow_told(seen))
    elif (cause := first(seen, (cpu, stuck))) is not None:
        told.append(cause.sentence)
    else:
        told += backlog_told(seen)
    return Finding(kind, "; ".join(told))


def lower_first(text: str) -> str:
    """Return a message as the end of a sentence; names of exceptions stay as they are."""
    return (
        text[:1].lower() + text[1:] if text[1:2].islower() and "Error" not in text.split(" ", 1)[0] else text
    )
