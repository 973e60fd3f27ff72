"""The kinds of verdict: a closed list. ``docs/limits.md`` tells what each means, and what it stands on."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What limits a run, in the words in which it is shown and written.

    ``limit`` is the coarser word of ``limit.name`` in results.
    """

    limit: str

    def __new__(cls, words: str, limit: str = "") -> Kind:
        """Make a kind; ``limit`` is ``words`` where it is not given."""
        made = str.__new__(cls, words)
        made._value_ = words
        made.limit = limit or words
        return made

    # Nothing goes on.
    RUN = "run"
    PAUSED = "paused"
    PROCESS = "process"

    # Requests fail, or cannot be made.
    OWN_CODE = "own code"
    INJECTED = "injected fault", "fault"
    DESCRIPTORS = "descriptors"
    SERVER_GONE = "server gone", "server"
    EPHEMERAL_PORTS = "ephemeral ports", "connections"
    NO_SERVER = "no server", "server"
    NO_CONNECTION = "no connection", "server"
    CONNECTIONS = "connections"
    ACCEPT_QUEUE = "accept queue", "connections"
    BACKLOG = "backlog", "server"
    NOT_ACCEPTING = "not accepting", "backlog"
    TIMEOUTS = "timeouts"
    NO_ANSWER = "no answer", "server"
    ANSWERS = "answers"
    ERRORS = "errors"
    UDP_RECEIVE_BUFFER = "UDP receive buffer", "buffers"
    UDP_SEND_BUFFER = "UDP send buffer", "buffers"

    # An open loop keeps its rate, or does not.
    GENERATOR_BOUND = "generator-bound"
    OFFERED_RATE = "offered rate"

    # Something is used up.
    SERVER_CPU = "server CPU", "CPU"
    CLIENT_CPU = "client CPU", "CPU"
    SHARED_CPU = "CPU"
    SCREEN_CPU = "screen CPU", "CPU"
    MACHINE_CPU = "machine CPU", "CPU"
    OTHER_PROGRAMS = "other programs", "CPU"
    SERVER_OCCUPIED = "server occupied", "server"
    BLOCKED_LOOP = "blocked loop", "blocked"
    ADMISSION = "admission"
    SEMAPHORE = "semaphore"
    POOL = "pool"

    # Nothing is: what takes longest.
    THINK_TIME = "think time"
    SERVICE_TIME = "service time"
    SLOW_READERS = "slow readers", "clients"
    SOCKET_BUFFERS = "socket buffers", "buffers"
    DELAYED_ACK = "delayed ACK", "server"
    RETRANSMISSIONS = "retransmissions"
    SERVER = "server"
    TARGET = "target", "server"
    CLIENTS = "clients"
    LATENCY = "latency"
    SCREEN = "screen"
    NOT_KNOWN = "not known", "latency"
