from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sockscope.core.config.experiment import FIELDS, Experiment, Tuning
from sockscope.core.config.faults import MAX_UDP_PAYLOAD_BYTES
from sockscope.core.config.fields import Value
from sockscope.core.wire.dialogue import Dialogue
from sockscope.core.wire.framing import encode
from sockscope.core.wire.sequence import SEQUENCE_BYTES
from sockscope.errors import EXIT_USAGE, ConfigError


def faulty(config: Tuning | Experiment) -> dict[str, str]:
    return {fault.field: fault.why for fault in config.faults()}


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


@pytest.mark.parametrize("size", [1, SEQUENCE_BYTES - 1, MAX_UDP_PAYLOAD_BYTES + 1, 16 << 20])
def test_a_size_that_udp_cannot_carry_is_refused_for_udp_alone(size: int) -> None:
    assert "UDP" in faulty(Tuning(transport="udp", request_bytes=size))["size"]
    assert not faulty(Tuning(transport="tcp", request_bytes=size))


def test_a_client_model_speaks_what_it_can() -> None:
    assert "over UDP: selector, protocol" in faulty(Tuning(transport="udp", client="streams"))["client"]
    assert not faulty(Tuning(client="streams"))


@pytest.mark.parametrize(
    ("values", "field", "why"),
    [
        ({"depth": 2, "transport": "udp"}, "depth", "is for TCP"),
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


@pytest.mark.parametrize("size", [SEQUENCE_BYTES, MAX_UDP_PAYLOAD_BYTES])
def test_the_sizes_at_the_edge_of_udp_are_taken(size: int) -> None:
    assert not faulty(Tuning(transport="udp", request_bytes=size))


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
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


@pytest.mark.parametrize("framing", ["length", "newline", "fixed", "none"])
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


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"request": "@file"}, {"request": "only the command line"}),
        ({"request": "hex:0"}, {"request": "two digits a byte"}),
        ({"request": "\\q", "until": "\\q", "expect_bytes": -1},
         {"request": "no escape", "until": "no escape", "expect": "at least"}),
        ({"until": "hex:"}, {"until": "not even one byte"}),
        ({"until": "x" * 1025}, {"until": "longer than 1,024 B"}),
        ({"until": "\\n", "expect_bytes": 3}, {"until": "exclude each other"}),
        ({"expect_bytes": (16 << 20) + 1}, {"expect": "at most 16 MiB"}),
        ({"request": "x" * ((1 << 20) + 1)}, {"request": "at most 1,048,576 B"}),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_told(values: dict[str, Any], words: dict[str, str]) -> None:
    found = faulty(Experiment(**values).settled())
    assert found.keys() == words.keys()
    for field, why in words.items():
        assert why in found[field]


@pytest.mark.parametrize("given", [{"request": "12345678"}, {"until": "\\n"}, {"expect_bytes": 64}])
def test_a_dialogue_of_ones_own_is_for_tcp(given: dict[str, Any]) -> None:
    udp = Experiment(Tuning(transport="udp"), **given).settled()
    assert "loss could not be told" in faulty(udp)["transport"]
    assert not faulty(replace(udp, role="server"))


def test_what_follows_from_a_dialogue_is_settled() -> None:
    settled = Experiment(request="PING\\r\\n", until="\\r\\n").settled()
    assert (settled.tuning.request_bytes, settled.tuning.framing) == (6, "none")
    assert settled.dialogue == Dialogue(b"PING\r\n", 0, b"\r\n")
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


# One's own server, and one that runs elsewhere.


@pytest.mark.parametrize("key", ["handler", "protocol"])
@pytest.mark.parametrize(
    "reference",
    ["handle", "a:", ":b", "a b:c", "a:b c", "a.py:b", "/tmp/a:b", "a:1", "1a:b", "a:b\n", "a..b:c"],
)
def test_references_that_name_nothing(key: str, reference: str) -> None:
    found = faulty(Experiment().with_values({key: reference}))
    if reference == "a.py:b":  # a module called py in a package a
        assert found == {}
    else:
        assert "is not module:" in found[key]


def test_ones_own_server_excludes_what_it_replaces() -> None:
    assert not faulty(Experiment(handler="a.b:c.d"))
    assert "exclude" in faulty(Experiment(handler="a:b", protocol="a:c"))["protocol"]
    assert "exclude" in faulty(Experiment(Tuning(server="protocol"), handler="a:b"))["server"]
    assert "TCP" in faulty(Experiment(Tuning(transport="udp"), protocol="a:b"))["transport"]
    swarm = Experiment(role="swarm", target="127.0.0.1:1", handler="a:b")
    assert not faulty(swarm)
    assert swarm.own_server == ""
    assert Experiment(protocol="a:c").own_server == "a:c"


def test_a_pid_needs_a_target() -> None:
    assert "--target" in faulty(Experiment(pid=7))["pid"]
    assert not faulty(Experiment(role="swarm", target="127.0.0.1:1", pid=7))
    assert "at least 0" in faulty(Experiment(role="swarm", target="127.0.0.1:1", pid=-7))["pid"]
