"""The kinds of faults: every fact about each of them, once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sockscope.core.impairment.quantity import Quantity, format_quantity

LINK, SERVER = "link", "server"
_BOTH, _TCP, _UDP = ("tcp", "udp"), ("tcp",), ("udp",)
MAX_FAULT_S = 60.0
MAX_HELD_S = 2.0
"""How long a loop may be held up: whoever wants to end that waits for it."""
NORMAL, UNIFORM = "normal", "uniform"


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One kind of fault.

    ``where`` it happens: on the link between clients and server, or in the server. ``transports`` are those
    that it is for. ``quantity`` is what its value is, ``default`` the value that one key press gives it,
    ``low`` and ``high`` its range (inclusive). ``sentence`` says what it does; its first letter is small.

    ``directed`` faults can be those of one direction alone. ``shapes`` are words that say how it is drawn at
    random, the default first. ``modifies`` names the fault without which it means nothing. ``of_loop``
    faults are made only where an event loop serves, ``of_tasks`` ones where a task serves each connection.
    ``ends`` are those that end connections on which there were answers.
    """

    name: str
    where: str
    transports: tuple[str, ...]
    quantity: Quantity
    default: float
    low: float
    high: float
    sentence: str
    directed: bool = False
    shapes: tuple[str, ...] = ()
    modifies: str = ""
    of_loop: bool = False
    of_tasks: bool = False
    ends: bool = False

    def check(self, value: float) -> str | None:
        """Return why ``value`` is not allowed, or None when it is."""
        if not math.isfinite(value):
            return "must be finite"
        if value < self.low:
            return f"must be at least {format_quantity(self.quantity, self.low)}"
        if value > self.high:
            return f"must be at most {format_quantity(self.quantity, self.high)}"
        return None


def _link(
    name: str, transports: tuple[str, ...], quantity: Quantity,
    default: float, low: float, high: float, sentence: str,
    *, directed: bool = True, shapes: tuple[str, ...] = (), modifies: str = "", ends: bool = False,
) -> FaultKind:  # fmt: skip
    return FaultKind(
        name, LINK, transports, quantity, default, low, high, sentence,
        directed=directed, shapes=shapes, modifies=modifies, ends=ends,
    )  # fmt: skip


def _server(
    name: str, quantity: Quantity, default: float, low: float, high: float, sentence: str,
    *, transports: tuple[str, ...] = _BOTH, of_tasks: bool = False, of_loop: bool = False,
    ends: bool = False,
) -> FaultKind:  # fmt: skip
    return FaultKind(
        name, SERVER, transports, quantity, default, low, high, sentence,
        of_tasks=of_tasks, of_loop=of_loop, ends=ends,
    )  # fmt: skip


_KINDS = (
    _link("delay", _BOTH, Quantity.DURATION, 0.02, 0.0001, MAX_FAULT_S,
        "all data arrives this much later"),
    _link("jitter", _BOTH, Quantity.DURATION, 0.005, 0.0001, MAX_FAULT_S,
        "the delay differs at random: by this standard deviation (normal), or by at most this (uniform); "
        "it never falls below zero",
        shapes=(NORMAL, UNIFORM)),
    _link("rate", _BOTH, Quantity.RATE, 1e6, 1e3, 1e10,
        "the link carries this much; data waits for its turn, over UDP no longer than 200 ms"),
    _link("loss", _UDP, Quantity.RATIO, 0.02, 1e-6, 1,
        "this share of the datagrams is lost"),
    _link("loss-burst", _UDP, Quantity.COUNT, 5, 2, 1000,
        "losses come in bursts of this many datagrams on average; the share that is lost stays the same",
        modifies="loss"),
    _link("duplicate", _UDP, Quantity.RATIO, 0.02, 1e-6, 1,
        "this share of the datagrams arrives twice"),
    _link("reorder", _UDP, Quantity.RATIO, 0.02, 1e-6, 0.5,
        "this share of the datagrams is overtaken by the next one of the same client"),
    _link("corrupt", _UDP, Quantity.RATIO, 0.02, 1e-6, 1,
        "one bit of the payload is flipped in this share of the datagrams"),
    _link("slice", _TCP, Quantity.SIZE, 10, 1, 1 << 16,
        "data arrives in pieces of at most this size"),
    _link("slice-gap", _TCP, Quantity.DURATION, 0.002, 0.0001, MAX_FAULT_S,
        "the pieces arrive this far apart",
        modifies="slice"),
    _link("stall", _TCP, Quantity.DURATION, 0.2, 0.001, MAX_FAULT_S,
        "each connection stands still once for this long, at the first data that comes"),
    _link("reset", _TCP, Quantity.DURATION, 1, 0, MAX_FAULT_S,
        "each connection is reset when it is this old",
        directed=False, ends=True),
    _link("half-close", _TCP, Quantity.DURATION, 1, 0, MAX_FAULT_S,
        "each connection ends (EOF) in this direction when it is this old; the other direction goes on",
        ends=True),
    _link("slow-close", _TCP, Quantity.DURATION, 0.5, 0.001, MAX_FAULT_S,
        "the end of a connection (EOF) arrives this much later"),
    _link("black-hole", _TCP, Quantity.DURATION, 1, 0, MAX_FAULT_S,
        "nothing arrives any more when a connection is this old, and nobody is told"),
    _link("refuse", _TCP, Quantity.RATIO, 0.2, 1e-6, 1,
        "this share of the new connections is reset as soon as it is made; at 100 % nobody listens, "
        "and connecting is refused",
        directed=False),
    _server("block", Quantity.DURATION, 0.1, 0.001, MAX_HELD_S,
        "once a second the loop, or the thread that serves, is held up for this long (time.sleep)"),
    _server("cpu", Quantity.DURATION, 0.001, 0.00001, MAX_HELD_S,
        "the handler computes for this long at each request, and lets nobody else in"),
    _server("exception", Quantity.RATIO, 0.01, 1e-6, 1,
        "the handler raises an exception at this share of the requests",
        ends=True),
    _server("no-drain", Quantity.SWITCH, 1, 1, 1,
        "the server writes on whoever reads slowly: what waits for the reader fills its memory",
        transports=_TCP, of_loop=True),
    _server("cancel-storm", Quantity.PER_S, 100, 1, 10_000,
        "this many handlers are cancelled per second",
        transports=_TCP, of_tasks=True, ends=True),
    _server("task-leak", Quantity.PER_S, 100, 1, 10_000,
        "this many tasks per second are started and never end",
        of_loop=True),
    _server("descriptor-leak", Quantity.PER_S, 10, 1, 1000,
        "this many descriptors per second are opened and never closed"),
    _server("full-executor", Quantity.SWITCH, 1, 1, 1,
        "all threads of the loop's default executor are busy, so that to_thread() and getaddrinfo() wait",
        of_loop=True),
    _server("swallow-cancel", Quantity.SWITCH, 1, 1, 1,
        "the handler swallows its cancellation and goes on",
        transports=_TCP, of_tasks=True),
)  # fmt: skip

FAULTS: Mapping[str, FaultKind] = {kind.name: kind for kind in _KINDS}
"""Every kind of fault by its name, those of the link first."""


def faults_of(transport: str) -> list[FaultKind]:
    """Return the kinds of faults that are for ``transport``, those of the link first."""
    return [kind for kind in _KINDS if transport in kind.transports]
