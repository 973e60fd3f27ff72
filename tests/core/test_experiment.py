from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from sockscope.core.config.experiment import FIELDS, FRAMED, OWN, Experiment
from sockscope.core.config.faults import MAX_UDP_PAYLOAD_BYTES
from sockscope.core.config.fields import Value
from sockscope.core.config.models import CLIENTS, TRANSPORTS
from sockscope.core.config.reference import parse_reference
from sockscope.core.config.tuning import Tuning
from sockscope.core.wire.dialogue import Dialogue
from sockscope.core.wire.ends import Until
from sockscope.core.wire.framing import encode
from sockscope.core.wire.requests import Requests
from sockscope.core.wire.sequence import SEQUENCE_BYTES
from sockscope.errors import EXIT_USAGE, ConfigError
from tests.each import each


def faulty(config: Tuning | Experiment) -> dict[str, str]:
    return {fault.field: fault.why for fault in config.field_faults()}


def test_the_defaults_are_valid() -> None:
    assert Experiment().validated() == Experiment()
    assert Tuning().validated() == Tuning()


def test_every_fault_is_collected_and_named() -> None:
    tuning = Tuning(clients=0, permits=-1, framing="morse", request_timeout_s=0.0)
    experiment = Experiment(tuning, port=70_000, loop="trio", bind="localhost")
    with pytest.raises(ConfigError) as caught:
        experiment.validated()
    error = caught.value
    assert {fault.field for fault in error.faults} == {
        "clients", "permits", "framing", "timeout", "port", "loop", "bind",
    }  # fmt: skip
    assert error.exit_code == EXIT_USAGE
    for fault in error.faults:
        assert str(fault) in str(error)


@each("size", [1, SEQUENCE_BYTES - 1, MAX_UDP_PAYLOAD_BYTES + 1, 16 << 20])
def test_a_size_that_udp_cannot_carry_is_refused_for_udp_alone(size: int) -> None:
    assert "UDP" in faulty(Experiment(Tuning(transport="udp", request_bytes=size)))["size"]
    assert not faulty(Tuning(transport="tcp", request_bytes=size))


@each(("transport", "client"), [*itertools.product(TRANSPORTS, CLIENTS)])
def test_a_client_model_stays_as_the_transport_is_turned(transport: str, client: str) -> None:
    assert not faulty(Tuning(transport=transport, client=client))
    deep = faulty(Tuning(transport=transport, client=client, depth=16, batch=4))
    assert ("depth" in deep) == (client == "blocking")


@each(
    ("values", "field", "why"),
    [
        ({"depth": 2, "transport": "udp", "client": "blocking"}, "depth", "sends and waits"),
        ({"depth": 2, "client": "blocking"}, "depth", "sends and waits"),
        ({"depth": 1_024, "request_bytes": 1 << 20}, "depth", "more than a client may send"),
        ({"depth": 4, "batch": 5}, "batch", "is more than the depth, 4"),
        ({"pool": 4, "transport": "udp"}, "pool", "UDP has no connections"),
        ({"pool": 4, "client": "blocking"}, "pool", "has its own connection"),
    ],
)
def test_what_the_clients_cannot_do_is_refused(values: dict[str, Any], field: str, why: str) -> None:
    found = faulty(Experiment(Tuning(**values)))
    assert list(found) == [field]
    assert why in found[field]


def test_a_pipeline_without_a_framing_needs_answers_that_tell_their_end() -> None:
    deep = Tuning(depth=2, framing="none", request_bytes=4)
    assert "cannot be told apart" in faulty(Experiment(deep, request="ping"))["depth"]
    assert not faulty(Experiment(deep, request="ping", until="text"))
    assert not faulty(Experiment(deep)), "as many bytes come back as were sent"


@each("size", [SEQUENCE_BYTES, MAX_UDP_PAYLOAD_BYTES])
def test_the_sizes_at_the_edge_of_udp_are_taken(size: int) -> None:
    assert not faulty(Tuning(transport="udp", request_bytes=size))


@each(
    ("values", "field"),
    [
        ({"bind": "localhost"}, "bind"),
        ({"bind": "::1"}, "bind"),
        ({"role": "swarm"}, "target"),
        ({"role": "swarm", "target": "127.0.0.1"}, "target"),
        ({"role": "swarm", "target": "127.0.0.1:0"}, "target"),
        ({"role": "swarm", "target": "127.0.0.1:65536"}, "target"),
        ({"role": "swarm", "target": "127.0.0.1:x"}, "target"),
        ({"role": "swarm", "target": "example.org:80"}, "target"),
        ({"role": "swarm", "target": "[::1]:80"}, "target"),
        ({"role": "swarm", "target": "[::1]:80,[::1]:81"}, "target"),
        ({"role": "swarm", "target": "127.0.0.1:80,"}, "target"),
        ({"role": "swarm", "target": "127.0.0.1:80,localhost:80"}, "target"),
        ({"role": "swarm", "target": 80}, "target"),
        ({"role": 7}, "role"),
        ({"port": "80"}, "port"),
        ({"duration_s": float("nan")}, "duration"),
    ],
)
def test_addresses_and_types_are_checked(values: dict[str, Any], field: str) -> None:
    assert list(faulty(Experiment(**values))) == [field]


@each(
    "experiment",
    [
        Experiment(role="swarm", target="127.0.0.1:7007"),
        Experiment(role="swarm", target="192.0.2.1:80"),
        Experiment(role="swarm", target="[::1]:80,127.0.0.1:80"),
        Experiment(Tuning(family="ipv6"), role="swarm", target="[fe80::1%eth0]:80"),
        Experiment(Tuning(family="ipv6"), role="swarm", target="[::1]:80"),
        Experiment(Tuning(family="ipv6"), bind="::"),
        Experiment(role="server", bind="0.0.0.0"),
    ],
)
def test_good_addresses_are_taken(experiment: Experiment) -> None:
    assert not faulty(experiment)


@each(
    ("changes", "rolls"),
    [
        ({"transport": "udp"}, True), ({"family": "ipv6"}, True), ({"framing": "newline"}, True),
        ({"rcvbuf_bytes": 4096}, True), ({"sndbuf_bytes": 4096}, True),
        ({"clients": 7}, False), ({"permits": 7}, False), ({"request_bytes": 7}, False),
        ({"no_delay": False}, False),
        ({"service_time_s": 1.0}, False), ({"lifetime": 1}, False), ({}, False),
    ],
)  # fmt: skip
def test_what_needs_new_sockets(changes: dict[str, Any], rolls: bool) -> None:
    before = Tuning()
    after = replace(before, **changes)
    assert before.needs_new_sockets(after) is rolls
    assert before.changes_to(after).keys() == changes.keys()


def test_fixed_framing_needs_new_sockets_for_another_size() -> None:
    before = Tuning(framing="fixed")
    assert before.needs_new_sockets(replace(before, request_bytes=65))


@each("framing", ["length", "newline", "fixed", "none"])
def test_wire_bytes_are_what_framing_makes_of_a_payload(framing: str) -> None:
    tuning = Tuning(framing=framing, request_bytes=100)
    assert tuning.wire_bytes == len(encode(framing, b"x" * 100))
    assert replace(tuning, transport="udp").wire_bytes == 100


def test_values_go_in_and_come_out_by_their_keys() -> None:
    values: dict[str, Value] = {"service_time": 0.25, "port": 7, "loop": "asyncio", "clients": 3}
    experiment = Experiment().with_values(values)
    assert {key: experiment.value(key) for key in values} == values
    assert (experiment.tuning.service_time_s, experiment.port) == (0.25, 7)
    assert {key: Experiment().value(key) for key in FIELDS} == {
        key: Experiment().with_values({}).value(key) for key in FIELDS
    }


# What is sent, and how answers end.


@each(
    ("values", "words"),
    [
        ({"request": "@file"}, {"request": "only the command line"}),
        ({"request": "hex:0"}, {"request": "two digits a byte"}),
        ({"request": "\\q", "until": "\\q", "expect_bytes": -1},
         {"request": "no escape", "until": "no escape", "expect": "at least"}),
        ({"until": "hex:"}, {"until": "not even one byte"}),
        ({"until": "x" * 1025}, {"until": "longer than 1,024 B"}),
        ({"until": "\\n", "expect_bytes": 3}, {"until": "cannot be combined"}),
        ({"expect_bytes": (16 << 20) + 1}, {"expect": "at most 16 MiB"}),
        ({"request": "x" * ((1 << 20) + 1)}, {"request": "at most 1,048,576 B"}),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_told(values: dict[str, Any], words: dict[str, str]) -> None:
    found = faulty(Experiment(**values).settled())
    assert found.keys() == words.keys()
    for field, why in words.items():
        assert why in found[field]


@each(
    ("given", "field", "why"),
    [
        ({"until": "\\n"}, "until", "a datagram is a whole answer"),
        ({"expect_bytes": 64}, "expect", "a datagram is a whole answer"),
        ({"greeting": "\\n"}, "greeting", "a datagram is a whole answer"),
        ({"unasked": "count"}, "unasked", "is for TCP"),
        ({"accept": "x"}, "accept", "needs a --request"),
        ({"id_field": "0:2"}, "id_field", "needs a --request"),
        ({"id_field": "3:2", "request": "abcd"}, "id_field", "beyond the end of a request of 4 B"),
        ({"depth": 2, "request": "abcd"}, "depth", "needs an --id-field over UDP"),
        ({"depth": 129, "request": "abcd", "id_field": "0:1"}, "depth", "half of the 256 numbers"),
    ],
)
def test_what_datagrams_of_ones_own_cannot_be_is_told(given: dict[str, Any], field: str, why: str) -> None:
    tuning = Tuning(transport="udp", depth=given.pop("depth", 1), accept=given.pop("accept", ""))
    udp = Experiment(tuning, role="swarm", target="127.0.0.1:53", **given).settled()
    assert why in faulty(udp)[field]
    assert not faulty(replace(udp, role="server"))
    assert (
        "--target over UDP"
        in faulty(Experiment(Tuning(transport="udp"), request="PING").settled())["request"]
    )


def test_what_follows_from_a_dialogue_is_settled() -> None:
    settled = Experiment(request="PING\\r\\n", until="\\r\\n").settled()
    assert (settled.tuning.request_bytes, settled.tuning.framing) == (6, "none")
    assert settled.dialogue == Dialogue(Requests.of([b"PING\r\n"]), Until(b"\r\n"))
    assert not faulty(settled)
    assert settled.settled() == settled
    framed = Experiment(Tuning(framing="newline"), request="PING").settled()
    assert (framed.tuning.request_bytes, framed.tuning.framing) == (4, "newline")
    assert Experiment().settled() == Experiment()
    faulty_one = Experiment(request="\\q")
    assert faulty_one.settled() == faulty_one


def test_what_contradicts_a_dialogue_is_told() -> None:
    settled = Experiment(request="PING", expect_bytes=5).settled()
    turned = replace(settled, tuning=replace(settled.tuning, request_bytes=9, framing="length"))
    assert "4 B" in faulty(turned)["size"]
    assert "--expect" in faulty(turned)["framing"]
    newline = Experiment(Tuning(framing="newline"), request="a\\nb").settled()
    assert "newline" in faulty(newline)["request"]
    assert "there is one" in faulty(replace(settled, weights="2"))["weights"]
    several = Experiment(request="\n".join(["PING", "HELLO {n}"]), weights="3,1", expect_bytes=5).settled()
    assert (several.tuning.request_bytes, faulty(several)) == (9, {})
    assert "2 weights" not in faulty(replace(several, weights="3,0"))["weights"]
    assert "at most 256" in faulty(Experiment(request="\n".join("a" * 257)).settled())["request"]
    heads = Experiment(Tuning(depth=2), request="\n".join(["HEAD /", "GET /"]), answer="http").settled()
    assert "HEAD beside" in faulty(heads)["depth"]
    eof = Experiment(request="a", answer="eof").settled()
    assert faulty(eof) == {}
    assert "ends with its answer" in faulty(replace(eof, tuning=replace(eof.tuning, lifetime=2)))["lifetime"]
    assert "is for UDP" in faulty(Experiment(request="abc", id_field="0:2").settled())["id_field"]
    for framing, told in (("none", False), ("fixed", False), ("newline", True)):
        opened = Experiment(Tuning(framing=framing), request="a", preamble="b").settled()
        assert ("needs --preamble-until" in faulty(opened).get("preamble", "")) is not told


# One's own server, and one that runs elsewhere.


@each("key", OWN)
@each(
    "reference",
    ["handle", "a:", ":b", "a b:c", "a:b c", "a.py:b", "/tmp/a:b", "a:1", "1a:b", "a:b\n", "a..b:c", "@a:b"],
)
def test_references_that_name_nothing(key: str, reference: str) -> None:
    found = faulty(Experiment().with_values({key: reference}))
    if reference == "a.py:b":  # a module called py in a package a
        assert found == {}
    else:
        assert "is not module:" in found[key]


@each("revision", ["HEAD~1", "HEAD@{1}", "feature/a b", "v1.0^{commit}"])
def test_a_reference_may_name_a_revision(revision: str) -> None:
    assert not faulty(Experiment(handler=f"a.b:c@{revision}"))
    assert parse_reference(f"a.b:c@{revision}") == ("a.b", "c", revision)


def test_what_comes_before_a_server_is_of_its_revision() -> None:
    assert not faulty(Experiment(handler="a:b@HEAD", startup="a:c"))
    assert "is of the revision that" in faulty(Experiment(handler="a:b@HEAD", startup="a:c@HEAD"))["startup"]


@each("revision", ["", " ", "-f", "--output=x", "a\nb", "x" * 201])
def test_what_git_could_mistake_is_no_revision(revision: str) -> None:
    assert "after the @" in faulty(Experiment(handler=f"a:b@{revision}"))["handler"]


def test_clients_of_an_asgi_application_speak_http() -> None:
    served = Experiment(asgi="a:b").settled()
    assert (served.answer, served.tuning.framing, faulty(served)) == ("http", "none", {})
    assert served.request.startswith("GET / HTTP/1.1")
    assert served.settled() == served
    assert Experiment(asgi="a:b", request="PING").settled().answer == FRAMED
    assert Experiment(Tuning(accept="/x/"), asgi="a:b").settled().tuning.accept == "/x/"
    assert Experiment(asgi="a:b", role="server").settled().request == ""


def test_ones_own_server_excludes_what_it_replaces() -> None:
    assert not faulty(Experiment(handler="a.b:c.d"))
    assert "cannot be combined" in faulty(Experiment(handler="a:b", protocol="a:c"))["protocol"]
    assert "cannot be combined" in faulty(Experiment(Tuning(server="protocol"), handler="a:b"))["server"]
    assert "cannot be combined with --handler" in faulty(Experiment(handler="a:b", asgi="a:c"))["asgi"]
    assert "TCP" in faulty(Experiment(Tuning(transport="udp"), asgi="a:b"))["transport"]
    swarm = Experiment(role="swarm", target="127.0.0.1:1", handler="a:b")
    assert not faulty(swarm)
    assert swarm.own_server == ""
    assert Experiment(protocol="a:c").own_server == "a:c"


def test_a_pid_needs_a_target() -> None:
    assert "--target" in faulty(Experiment(pid=7))["pid"]
    assert not faulty(Experiment(role="swarm", target="127.0.0.1:1", pid=7))
    assert "at least 0" in faulty(Experiment(role="swarm", target="127.0.0.1:1", pid=-7))["pid"]
