"""What is wrong with a configuration: values out of their range, and values that do not go together.

Addresses are checked in :mod:`sockscope.core.config.experiment`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING

from sockscope.core.config.fields import spec_of
from sockscope.core.config.models import CLIENT_MODELS, CLIENTS_OF, SERVERS_OF
from sockscope.core.wire.sequence import SEQUENCE_BYTES
from sockscope.errors import Fault

if TYPE_CHECKING:
    from sockscope.core.config.experiment import Experiment, Tuning

MAX_UDP_PAYLOAD_BYTES = 65_507
"""65,535 less the 20 bytes of an IPv4 header and the 8 of a UDP header (RFC 768, RFC 791)."""
MAX_TURN_BYTES = 64 << 20
"""Most bytes that a client has under way at once: 64 MiB."""
MAX_REQUEST_BYTES = 1 << 20
"""Largest request of one's own: 1 MiB."""
MAX_UNTIL_BYTES = 1 << 10
_REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_REFERENCE_FORM = {
    "handler": "module:function, such as my_server:handle",
    "protocol": "module:class, such as my_server:MyProtocol",
}


def range_faults(config: Tuning | Experiment) -> Iterator[Fault]:
    """Yield each field whose value is not of its kind or not in its range."""
    for f in fields(config):
        if "spec" in f.metadata:
            spec = spec_of(f)
            value = getattr(config, f.name)
            if why := spec.check(value):
                yield Fault(spec.key, value, why)


def tuning_faults(tuning: Tuning) -> Iterator[Fault]:
    """Yield everything that is wrong with a tuning."""
    out_of_range = list(range_faults(tuning))
    if out_of_range:
        yield from out_of_range
        return
    yield from _model_faults(tuning)
    yield from _pipeline_faults(tuning)
    yield from _pool_faults(tuning)
    if tuning.transport == "udp":
        yield from _datagram_faults(tuning)


def _datagram_faults(tuning: Tuning) -> Iterator[Fault]:
    if tuning.request_bytes > MAX_UDP_PAYLOAD_BYTES:
        yield Fault(
            "size", tuning.request_bytes,
            f"a UDP datagram carries at most {MAX_UDP_PAYLOAD_BYTES:,} B; make it smaller or use TCP",
        )  # fmt: skip
    if tuning.request_bytes < SEQUENCE_BYTES:
        yield Fault(
            "size", tuning.request_bytes,
            f"a UDP request needs {SEQUENCE_BYTES} B for its sequence number; make it larger or use TCP",
        )  # fmt: skip


def _model_faults(tuning: Tuning) -> Iterator[Fault]:
    serving, asking = SERVERS_OF[tuning.transport], CLIENTS_OF[tuning.transport]
    shown = tuning.transport.upper()
    if tuning.server_model not in serving:
        yield Fault("server", tuning.server, f"does not serve {shown}; over {shown}: {', '.join(serving)}")
    if tuning.client not in asking:
        yield Fault("client", tuning.client, f"does not speak {shown}; over {shown}: {', '.join(asking)}")
    if 0 < tuning.server_permits < tuning.server_processes:
        yield Fault(
            "server_permits", tuning.server_permits,
            f"is less than one for each of {tuning.server_processes} server processes",
        )  # fmt: skip


def _pool_faults(tuning: Tuning) -> Iterator[Fault]:
    if tuning.pool and tuning.transport == "udp":
        yield Fault("pool", tuning.pool, "is for TCP: UDP has no connections to share")
    if tuning.pool and not CLIENT_MODELS[tuning.client].pools:
        why = f"needs clients on an event loop: a {tuning.client} one has its own connection"
        yield Fault("pool", tuning.pool, why)


def _pipeline_faults(tuning: Tuning) -> Iterator[Fault]:
    if tuning.batch > tuning.depth:
        yield Fault(
            "batch", tuning.batch,
            f"is more than the depth, {tuning.depth:,}: a client hands over no more before it waits",
        )  # fmt: skip
    if tuning.depth == 1:
        return
    if tuning.transport == "udp":
        yield Fault(
            "depth", tuning.depth,
            "is for TCP: a UDP client awaits the answer or loss of a request before it sends the next",
        )  # fmt: skip
    if not CLIENT_MODELS[tuning.client].pipelines:
        why = f"needs clients on an event loop: a {tuning.client} one sends and waits"
        yield Fault("depth", tuning.depth, why)
    if tuning.depth * tuning.wire_bytes > MAX_TURN_BYTES:
        yield Fault(
            "depth", tuning.depth,
            f"times {tuning.wire_bytes:,} B is more than a client may send before it waits "
            f"({MAX_TURN_BYTES:,} B)",
        )  # fmt: skip


def dialogue_faults(experiment: Experiment) -> Iterator[Fault]:
    """Yield what is wrong with requests and answers of one's own, each of which can be read."""
    if experiment.request.startswith("@"):
        yield Fault("request", experiment.request, "is a file, which only the command line reads")
        return
    dialogue, tuning = experiment.dialogue, experiment.tuning
    given = [key for key in ("request", "expect", "until") if experiment.value(key)]
    if given and tuning.transport == "udp":
        why = f"cannot be combined with --{given[0]}: without a number in each request loss could not be told"
        yield Fault("transport", tuning.transport, why)
    if dialogue.expect_bytes and dialogue.until:
        yield Fault("until", experiment.until, "and --expect exclude each other: an answer ends in one way")
    if len(dialogue.until) > MAX_UNTIL_BYTES:
        yield Fault("until", experiment.until, f"is longer than {MAX_UNTIL_BYTES:,} B")
    if dialogue.tells_ends and tuning.framing != "none":
        why = f"tells how answers end, and so does --{given[-1]}; leave it out"
        yield Fault("framing", tuning.framing, why)
    if tuning.depth > 1 and tuning.framing == "none" and not (dialogue.tells_ends or dialogue.wants_echo):
        why = "needs a framing, --until or --expect: without, answers in one read cannot be told apart"
        yield Fault("depth", tuning.depth, why)
    size = len(dialogue.request)
    if size > MAX_REQUEST_BYTES:
        yield Fault("request", experiment.request, f"is {size:,} B; at most {MAX_REQUEST_BYTES:,} B are sent")
    elif size and size != tuning.request_bytes:
        yield Fault("size", tuning.request_bytes, f"is set by the request, which is {size:,} B")
    if tuning.framing == "newline" and b"\n" in dialogue.request:
        why = "has a newline in it, which would end it there; choose another framing, or none"
        yield Fault("request", experiment.request, why)


def own_server_faults(experiment: Experiment) -> Iterator[Fault]:
    """Yield what is wrong with the names of the user's own server, and with what stands beside them."""
    if experiment.handler and experiment.protocol:
        yield Fault("protocol", experiment.protocol, "and --handler exclude each other: one of them serves")
    for key in ("handler", "protocol"):
        reference = str(experiment.value(key))
        if not reference:
            continue
        if not _REFERENCE.fullmatch(reference):
            yield Fault(key, reference, f"is not {_REFERENCE_FORM[key]}")
        if experiment.tuning.transport == "udp":
            yield Fault("transport", "udp", f"cannot be combined with --{key}, which serves TCP")
        if experiment.tuning.server != "default":
            why = f"and --{key} exclude each other: one of them serves"
            yield Fault("server", experiment.tuning.server, why)
