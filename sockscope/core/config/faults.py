"""What is wrong with a configuration: values out of their range, and values that do not go together.

Addresses are checked in :mod:`sockscope.core.config.experiment`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import TYPE_CHECKING

from sockscope.core.config.bounds import bound_faults
from sockscope.core.config.cluster import CLUSTER, INSECURE, is_encrypted, is_here, local_workers
from sockscope.core.config.fields import spec_of
from sockscope.core.config.models import CLIENT_MODELS, SERVER_MODELS, SERVERS_OF, server_model
from sockscope.core.config.reference import parse_reference
from sockscope.core.impairment.fault import BOTH, DOWN, UP, Fault, default_of
from sockscope.core.impairment.kinds import FAULTS, LINK, FaultKind, faults_of
from sockscope.core.impairment.kinds import SERVER as IN_SERVER
from sockscope.core.impairment.link import link_faults
from sockscope.core.impairment.quantity import Quantity, format_quantity
from sockscope.core.roles import RELAY, SWARM
from sockscope.core.wire.dialogue import FAULT
from sockscope.core.wire.ends import Known, Until
from sockscope.core.wire.recognise import AUTO
from sockscope.core.wire.requests import MAX_REQUESTS, Requests, parse_weights
from sockscope.core.wire.sequence import SEQUENCE_BYTES
from sockscope.errors import FieldFault

if TYPE_CHECKING:
    from sockscope.core.config.experiment import Experiment
    from sockscope.core.config.tuning import Tuning

MAX_UDP_PAYLOAD_BYTES = 65_507
"""65,535 less the 20 bytes of an IPv4 header and the 8 of a UDP header (RFC 768, RFC 791)."""
MAX_TURN_BYTES = 64 << 20
"""Most bytes that a client has under way at once: 64 MiB."""
MAX_REQUEST_BYTES = 1 << 20
"""Largest request of one's own: 1 MiB."""
MAX_UNTIL_BYTES = 1 << 10
_CALL = re.compile(r"[^()]*\(.*\)", re.DOTALL)
_SERVING = ("handler", "protocol", "asgi")
_REFERENCE_FORM = {
    "handler": "module:function, such as my_server:handle",
    "protocol": "module:class, such as my_server:MyProtocol",
    "asgi": "module:application, such as my_app:app",
    "startup": "module:function, such as my_server:prepare",
    "shutdown": "module:function, such as my_server:end",
}


def range_faults(config: Tuning | Experiment) -> Iterator[FieldFault]:
    """Yield each field whose value is not of its kind or not in its range."""
    for f in fields(config):
        if "spec" in f.metadata:
            spec = spec_of(f)
            value = getattr(config, f.name)
            if why := spec.check(value):
                yield FieldFault(spec.key, value, why)


def tuning_faults(tuning: Tuning) -> Iterator[FieldFault]:
    """Yield everything that is wrong with a tuning."""
    out_of_range = list(range_faults(tuning))
    if out_of_range:
        yield from out_of_range
        return
    yield from bound_faults(tuning)
    yield from _model_faults(tuning)
    yield from _pipeline_faults(tuning)
    yield from _pool_faults(tuning)
    yield from injected_faults(tuning)
    if tuning.tls and tuning.transport != "tcp":
        yield FieldFault("tls", tuning.tls, "is for TCP: over UDP there is none (DTLS)")
    if tuning.transport == "udp":
        yield from _datagram_faults(tuning)


def injected_faults(tuning: Tuning) -> Iterator[FieldFault]:
    """Yield what is wrong with faults on demand, each by its own part of the text."""
    on = tuning.faults
    for fault in on:
        kind, shown = fault.about, tuning.transport.upper()
        if tuning.transport not in kind.transports:
            others = ", ".join(k.name for k in faults_of(tuning.transport) if k.where == kind.where)
            why = f"is for {kind.transports[0].upper()}; over {shown} there are {others}"
            yield FieldFault("fault", fault.text, why)
        elif kind.modifies and not any(
            other.kind == kind.modifies and other.direction in (BOTH, fault.direction) for other in on
        ):
            lacking = default_of(FAULTS[kind.modifies], fault.direction).text
            yield FieldFault("fault", fault.text, f"needs {kind.modifies}: add {lacking}")
    yield from _burst_faults(on)


def _burst_faults(on: Iterable[Fault]) -> Iterator[FieldFault]:
    """Yield bursts that are too short for a loss: in between, at least one datagram has to pass."""
    for direction in (UP, DOWN):
        link = link_faults(on, direction, "udp")
        if link.loss_burst and link.loss_ratio < 1:
            shortest = math.ceil(link.loss_ratio / (1 - link.loss_ratio) - 1e-9)
            if link.loss_burst < shortest:
                loss = format_quantity(Quantity.RATIO, link.loss_ratio)
                why = f"is too short: a loss of {loss} needs bursts of {shortest}"
                yield FieldFault("fault", f"loss-burst={link.loss_burst:.0f}", why)
                return


def _datagram_faults(tuning: Tuning) -> Iterator[FieldFault]:
    if tuning.request_bytes > MAX_UDP_PAYLOAD_BYTES:
        yield FieldFault(
            "size", tuning.request_bytes,
            f"a {tuning.carrier.removesuffix(' datagram')} datagram carries at most "
            f"{MAX_UDP_PAYLOAD_BYTES:,} B; make it smaller or use TCP",
        )  # fmt: skip


def _model_faults(tuning: Tuning) -> Iterator[FieldFault]:
    serving, shown = SERVERS_OF[tuning.transport], tuning.transport.upper()
    if tuning.server_model not in serving:
        yield FieldFault(
            "server", tuning.server, f"does not serve {shown}; over {shown}: {', '.join(serving)}"
        )
    if tuning.family == "unix" and tuning.server_processes > 1:
        why = "needs SO_REUSEPORT, which Unix sockets have not: one process serves there"
        yield FieldFault("server_processes", tuning.server_processes, why)
    if 0 < tuning.server_permits < tuning.server_processes:
        yield FieldFault(
            "server_permits", tuning.server_permits,
            f"is less than one for each of {tuning.server_processes} server processes",
        )  # fmt: skip


def cluster_faults(experiment: Experiment) -> Iterator[FieldFault]:
    """Yield what keeps the roles from running on a cluster."""
    tuning = experiment.tuning
    if tuning.place != CLUSTER:
        return
    if not experiment.cluster:
        why = "needs a cluster: --cluster local:2, for two workers here"
        yield FieldFault("place", CLUSTER, why)
    elif not local_workers(experiment.cluster):
        yield from _encryption_faults(experiment)
    for key in ("server_processes", "swarm_processes"):
        if (processes := experiment.value(key)) != 1:
            yield FieldFault(key, processes, "means nothing on a cluster: a role has one process per worker")


def _encryption_faults(experiment: Experiment) -> Iterator[FieldFault]:
    """Yield what keeps a cluster that somebody else has brought up from being reached safely."""
    cluster = experiment.cluster
    if is_encrypted(cluster):
        if missing := [key for key in ("cluster_ca", "cluster_cert") if not experiment.value(key)]:
            flags = " and ".join(f"--{_flag(key)}" for key in missing)
            why = f"needs {flags}: both ends of a cluster over TLS show a certificate"
            yield FieldFault("cluster", cluster, why)
    elif not (is_here(cluster) or experiment.allow_insecure_cluster):
        yield FieldFault("cluster", cluster, f"is another machine: {INSECURE}")


def placed_faults(experiment: Experiment) -> Iterator[FieldFault]:
    """Yield faults on demand that nobody here can make."""
    for fault in experiment.tuning.faults:
        kind = fault.about
        if kind.where == LINK and experiment.role == "server":
            yield FieldFault(
                "fault", fault.text, "needs clients here: it is made between them and the server"
            )
        if kind.where != IN_SERVER:
            continue
        if experiment.role in (SWARM, RELAY):
            yield FieldFault("fault", fault.text, "is made in a server here, and the server is elsewhere")
        elif not experiment.own_server and (why := _not_of_model(kind, experiment.tuning)):
            yield FieldFault("fault", fault.text, why)


def _not_of_model(kind: FaultKind, tuning: Tuning) -> str:
    """Return why the server model of ``tuning`` cannot have a fault, with the cure; empty when it can."""
    model = server_model(tuning.transport, tuning.server)
    if model is None:
        return ""
    others = [one for (transport, _), one in SERVER_MODELS.items() if transport == tuning.transport]
    if kind.of_tasks and not model.tasks:
        cure = " or ".join(one.name for one in others if one.tasks)
        return f"needs a task for each connection, and the {model.name} server has none; use --server {cure}"
    if kind.of_loop and model.threaded:
        cure = " or ".join(one.name for one in others if not one.threaded)
        why = f"needs an event loop that serves, and the {model.name} server has threads"
        return f"{why}; use --server {cure}"
    return ""


def telling_faults(experiment: Experiment) -> Iterator[FieldFault]:
    """Yield what tells a tap twice where messages end, or where datagrams do."""
    ends = experiment.ends
    if experiment.tuning.transport == "udp":
        for key in ends if experiment.told_apart == AUTO else ["told_apart", *ends]:
            yield FieldFault(key, experiment.value(key), "is for TCP: over UDP a datagram is a message")
    for key in ends[1:]:
        yield FieldFault(key, experiment.value(key), f"cannot be combined with --{_flag(ends[0])}")
    if ends and experiment.told_apart != AUTO:
        why = f"cannot be combined with --{_flag(ends[0])}: one of them tells where messages end"
        yield FieldFault("told_apart", experiment.told_apart, why)


def tls_faults(experiment: Experiment) -> Iterator[FieldFault]:
    """Yield what of TLS does not go together."""
    for cert, key in (("tls_cert", "tls_key"), ("tls_client_cert", "tls_client_key")):
        if experiment.value(key) and not experiment.value(cert):
            yield FieldFault(key, experiment.value(key), f"needs the certificate, --{_flag(cert)}")
    if experiment.role == "swarm" and experiment.tls_cert and experiment.tls_client_cert:
        why = "cannot be combined with --tls-cert, which is that of the clients where there is no server here"
        yield FieldFault("tls_client_cert", experiment.tls_client_cert, why)
    if experiment.tls_insecure and experiment.tls_ca and experiment.role != "server":
        why = "cannot be combined with --tls-ca: nothing would be checked by it"
        yield FieldFault("tls_insecure", experiment.tls_insecure, why)


def _pool_faults(tuning: Tuning) -> Iterator[FieldFault]:
    if tuning.pool and tuning.transport == "udp":
        yield FieldFault("pool", tuning.pool, "is for TCP: UDP has no connections to share")
    if tuning.pool and not CLIENT_MODELS[tuning.client].pools:
        why = f"needs clients on an event loop: a {tuning.client} one has its own connection"
        yield FieldFault("pool", tuning.pool, why)


def _pipeline_faults(tuning: Tuning) -> Iterator[FieldFault]:
    if tuning.batch > tuning.depth:
        yield FieldFault(
            "batch", tuning.batch,
            f"is more than the depth, {tuning.depth:,}: a client hands over no more before it waits",
        )  # fmt: skip
    if tuning.depth == 1:
        return
    if not CLIENT_MODELS[tuning.client].pipelines:
        why = f"needs clients on an event loop: a {tuning.client} one sends and waits"
        yield FieldFault("depth", tuning.depth, why)
    if tuning.depth * tuning.wire_bytes > MAX_TURN_BYTES:
        yield FieldFault(
            "depth", tuning.depth,
            f"times {tuning.wire_bytes:,} B is more than a client may send before it waits "
            f"({MAX_TURN_BYTES:,} B)",
        )  # fmt: skip


def dialogue_faults(experiment: Experiment) -> Iterator[FieldFault]:
    """Yield what is wrong with requests and answers of one's own, each of which can be read."""
    texts = experiment.request.split("\n")
    if any(text.startswith("@") for text in texts):
        yield FieldFault("request", experiment.request, "is a file, which only the command line reads")
        return
    if experiment.weights and (why := _fault_of_weights(experiment.weights, len(texts))):
        yield FieldFault("weights", experiment.weights, why)
        return
    dialogue, tuning = experiment.dialogue, experiment.tuning
    ends = experiment.ends
    if tuning.transport == "udp":
        yield from _udp_faults(experiment)
        return
    if dialogue.id_field is not None:
        yield FieldFault("id_field", experiment.id_field, "is for UDP: over TCP answers come in order")
    for key in ends[1:]:
        why = f"cannot be combined with --{_flag(ends[0])}: an answer ends in one way"
        yield FieldFault(key, experiment.value(key), why)
    if isinstance(dialogue.end, Until) and len(dialogue.end.octets) > MAX_UNTIL_BYTES:
        yield FieldFault("until", experiment.until, f"is longer than {MAX_UNTIL_BYTES:,} B")
    if dialogue.tells_ends and tuning.framing != "none":
        why = f"tells how answers end, and so does --{_flag(ends[0])}; leave it out"
        yield FieldFault("framing", tuning.framing, why)
    if dialogue.end is Known.EOF and tuning.lifetime != 1:
        yield FieldFault("lifetime", tuning.lifetime, "is one request: the connection ends with its answer")
    if dialogue.end is Known.EOF and tuning.depth > 1:
        yield FieldFault("depth", tuning.depth, "needs answers that end before their connection does")
    if tuning.depth > 1 and tuning.framing == "none" and not (dialogue.tells_ends or dialogue.wants_echo):
        why = "needs a framing, --until or the like: without one, answers in one read cannot be told apart"
        yield FieldFault("depth", tuning.depth, why)
    yield from _prologue_faults(experiment)
    if requests := dialogue.requests:
        yield from _request_faults(requests, experiment)


def _udp_faults(experiment: Experiment) -> Iterator[FieldFault]:
    """Yield what is wrong with datagrams of one's own, of which each is a request or an answer."""
    dialogue, udp = experiment.dialogue, "is for TCP: a datagram is a whole answer"
    for key in (*experiment.ends, "greeting", "preamble", "preamble_until"):
        if experiment.value(key) and not experiment.value("asgi"):
            yield FieldFault(key, experiment.value(key), udp)
    if dialogue.unasked != FAULT:
        yield FieldFault("unasked", dialogue.unasked, "is for TCP: over UDP what nobody asked for is counted")
    field, requests, size = dialogue.id_field, dialogue.requests, experiment.tuning.request_bytes
    if requests is None:
        if size < SEQUENCE_BYTES:
            why = f"a UDP request needs {SEQUENCE_BYTES} B for its sequence number; make it larger or use TCP"
            yield FieldFault("size", size, why)
        if field is not None or dialogue.accept or dialogue.reject:
            key = "id_field" if field else "accept" if dialogue.accept else "reject"
            yield FieldFault(
                key, experiment.value(key), "needs a --request: without one the answer is the filler"
            )
        return
    if experiment.role == "both" and not experiment.own_server:
        why = "needs a --target over UDP: the server models read a number in the first bytes of a request"
        yield FieldFault("request", experiment.request, why)
    yield from _request_faults(requests, experiment)
    smallest = min(template.size for template in requests.templates)
    if field is not None and smallest < field.offset + field.size:
        why = f"is beyond the end of a request of {smallest:,} B"
        yield FieldFault("id_field", experiment.id_field, why)
    depth = experiment.tuning.depth
    if field is None and depth > 1:
        why = "needs an --id-field over UDP: nothing else tells which request a datagram answers"
        yield FieldFault("depth", depth, why)
    elif field is not None and depth > field.most // 2:
        why = f"is more than half of the {field.most:,} numbers of the id field, which begin anew then"
        yield FieldFault("depth", depth, why)


def _prologue_faults(experiment: Experiment) -> Iterator[FieldFault]:
    """Yield what is wrong with what is said before the first request."""
    dialogue, tuning = experiment.dialogue, experiment.tuning
    if experiment.preamble.startswith("@") or "\n@" in experiment.preamble:
        yield FieldFault("preamble", experiment.preamble, "is a file, which only the command line reads")
    if experiment.preamble_until and not experiment.preamble:
        yield FieldFault(
            "preamble_until", experiment.preamble_until, "needs a --preamble whose answer it ends"
        )
    size = sum(map(len, dialogue.preambles))
    if size > MAX_REQUEST_BYTES:
        why = f"is {size:,} B; at most {MAX_REQUEST_BYTES:,} B are sent"
        yield FieldFault("preamble", experiment.preamble, why)
    # A fixed frame has the size of a request, which a preamble and its answer need not have.
    told = dialogue.tells_ends or tuning.framing not in ("none", "fixed") or dialogue.preamble_until
    if dialogue.preambles and not told:
        why = "needs --preamble-until: nothing tells where its answer ends"
        yield FieldFault("preamble", experiment.preamble, why)
    if dialogue.preambles and dialogue.end is Known.EOF and not dialogue.preamble_until:
        why = "needs --preamble-until: its answer cannot end with the connection"
        yield FieldFault("preamble", experiment.preamble, why)


def _request_faults(requests: Requests, experiment: Experiment) -> Iterator[FieldFault]:
    tuning, count = experiment.tuning, len(requests.templates)
    size = sum(template.size for template in requests.templates)
    what = "is" if count == 1 else "are"
    if count > MAX_REQUESTS:
        yield FieldFault(
            "request", experiment.request, f"are {count:,} requests; at most {MAX_REQUESTS:,} are asked"
        )
    if size > MAX_REQUEST_BYTES:
        why = f"{what} {size:,} B; at most {MAX_REQUEST_BYTES:,} B are sent"
        yield FieldFault("request", experiment.request, why)
    elif requests.size != tuning.request_bytes:
        why = f"is set by the request, which is {requests.size:,} B"
        yield FieldFault("size", tuning.request_bytes, why)
    if tuning.framing == "newline" and any(template.has(b"\n") for template in requests.templates):
        why = "has a newline in it, which would end it there; choose another framing, or none"
        yield FieldFault("request", experiment.request, why)
    heads = [template.filled(1, 1).startswith(b"HEAD ") for template in requests.templates]
    if experiment.answer == Known.HTTP.value and tuning.depth > 1 and 0 < sum(heads) < count:
        yield FieldFault("depth", tuning.depth, "cannot be combined with HEAD beside other requests")


def _fault_of_weights(text: str, count: int) -> str:
    if count < 2:
        return "needs several requests; there is one"
    try:
        parse_weights(text, count)
    except ValueError as error:
        return str(error)
    return ""


def _flag(key: str) -> str:
    return key.replace("_", "-")


def own_server_faults(experiment: Experiment) -> Iterator[FieldFault]:
    """Yield what is wrong with the names of the user's own server, and with what stands beside them."""
    serving = [key for key in _SERVING if experiment.value(key)]
    for key in serving[1:]:
        why = f"cannot be combined with --{serving[0]}: only one of them can serve"
        yield FieldFault(key, experiment.value(key), why)
    for key, form in _REFERENCE_FORM.items():
        reference = str(experiment.value(key))
        try:
            parse_reference(reference or "none:none")
        except ValueError as error:
            cure = "; its arguments are --handler-arg" if _CALL.fullmatch(reference) else ""
            yield FieldFault(key, reference, str(error) or f"is not {form}{cure}")
    for key in ("startup", "shutdown"):
        if "@" in (reference := str(experiment.value(key))):
            yield FieldFault(key, reference, "is of the revision that the server is of; leave the @ out")
    for key in ("handler_arg", "startup", "shutdown"):
        if (value := experiment.value(key)) and not serving:
            yield FieldFault(key, value, "needs a server of your own: --handler, --protocol or --asgi")
    for key in serving:
        if experiment.tuning.transport == "udp" and key == "asgi":
            yield FieldFault("transport", "udp", "cannot be combined with --asgi, which serves TCP")
        if experiment.tuning.server != "default":
            why = f"cannot be combined with --{key}: only one of them can serve"
            yield FieldFault("server", experiment.tuning.server, why)
