"""How addresses are written: each form that RFC 3986, RFC 4007 and RFC 6874 know, and nothing else."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.addresses import (
    family_name,
    format_address,
    is_loopback,
    parse_host,
    parse_target,
    split_address,
)
from tests.each import each

ports = st.integers(1, 65_535)
zones = st.from_regex(r"[a-z][a-z0-9._-]{0,14}", fullmatch=True)
names = st.from_regex(
    r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]([a-z0-9-]{0,20}[a-z0-9])?){0,4}\.?", fullmatch=True
)


@given(st.ip_addresses(v=4), ports)
def test_ipv4(address: ipaddress.IPv4Address, port: int) -> None:
    assert parse_target(f"{address}:{port}") == (str(address), port)
    assert parse_target(f" {address}:{port:07d} ") == (str(address), port)
    assert parse_host(str(address)) == str(address)


@given(st.ip_addresses(v=6), ports, st.booleans())
def test_ipv6_in_all_its_spellings(address: ipaddress.IPv6Address, port: int, upper: bool) -> None:
    canonical = f"::ffff:{address.ipv4_mapped}" if address.ipv4_mapped else str(address)
    for text in (str(address), address.exploded):
        spelt = text.upper() if upper else text
        assert parse_target(f"[{spelt}]:{port}") == (canonical, port)
        assert parse_host(spelt) == parse_host(f"[{spelt}]") == canonical


@given(st.ip_addresses(v=4), ports)
def test_ipv4_in_ipv6(address: ipaddress.IPv4Address, port: int) -> None:
    mapped = ipaddress.IPv6Address(f"::ffff:{address}")
    for text in (str(mapped), mapped.exploded, f"::ffff:{address}", f"0:0:0:0:0:FFFF:{address}"):
        assert parse_target(f"[{text}]:{port}") == (f"::ffff:{address}", port)


@given(zones)
def test_a_zone_as_it_is_and_as_in_a_uri(zone: str) -> None:
    assert parse_target(f"[fe80::1%{zone}]:80") == (f"fe80::1%{zone}", 80)
    assert parse_target(f"[fe80::1%25{quote(zone, safe='')}]:80") == (f"fe80::1%{zone}", 80)
    assert parse_host(f"fe80::1%{zone}") == f"fe80::1%{zone}"


@given(names, ports)
def test_names_and_their_escapes(name: str, port: int) -> None:
    assert parse_target(f"{name}:{port}") == (name, port)
    escaped = "".join(f"%{byte:02X}" for byte in name.encode())
    assert parse_target(f"{escaped}:{port}") == (name, port)


@given(
    st.one_of(st.ip_addresses().map(str).map(parse_host), names, st.builds("fe80::1%{}".format, zones)), ports
)
def test_what_is_written_is_read_back(host: str, port: int) -> None:
    assert (
        parse_target(format_address((host, port)))
        == split_address(format_address((host, port)))
        == (host, port)
    )


@given(st.text(max_size=40) | st.from_regex(r"[\[\]:%.@/0-9a-f]{0,20}", fullmatch=True))
def test_anything_else_is_refused_with_a_reason_and_nothing_odd_gets_through(text: str) -> None:
    for host in (_parsed(parse_target, text), _parsed(parse_host, text)):
        if isinstance(host, ValueError):
            assert str(host).startswith(("is ", "has ", "names "))
            continue
        assert host
        assert host.isprintable()
        assert not set(" []@/?#\\") & set(host)
        assert (":" in host) == (family_name(host) == "ipv6")


def _parsed(parse: Callable[[str], str | tuple[str, int]], text: str) -> str | ValueError:
    try:
        found = parse(text)
    except ValueError as error:
        return error
    return found if isinstance(found, str) else found[0]


@each(
    ("text", "reason"),
    [
        ("::1:80", "in brackets"),
        ("::1", "in brackets"),
        ("[::1]", "with a port"),
        ("[::1]80", "with a port"),
        ("[::1:80", "unclosed"),
        ("[127.0.0.1]:80", "not an IPv6 address"),
        ("[v1.fe80::a+en1]:80", "IPvFuture"),
        ("[fe80::1%]:80", "zone"),
        ("[fe80::1%25]:80", ""),
        ("[fe80::1%a%b]:80", "zone"),
        ("[::1%25%zz]:80", "zone"),
        ("http://localhost:80/", "URL"),
        ("me@localhost:80", "user"),
        ("localhost", "with a port"),
        ("localhost:", "with a port"),
        (":80", "with a port"),
        ("h:²", "with a port"),
        ("h:-1", "with a port"),
        ("h:+1", "with a port"),
        ("h:0", "with a port"),
        ("h:65536", "with a port"),
        ("h:" + "9" * 5_000, "with a port"),
        ("%ff:80", "UTF-8"),
        ("a b:80", "nor a name"),
        ("a%2Fb:80", "nor a name"),
        ("x" * 256 + ":80", "nor a name"),
        ("", "with a port"),
    ],
)
def test_what_is_wrong_is_said(text: str, reason: str) -> None:
    if not reason:  # the zone with the number 25
        assert parse_target(text) == ("fe80::1%25", 80)
        return
    with pytest.raises(ValueError, match=reason):
        parse_target(text)


def test_a_name_in_another_alphabet() -> None:
    assert (
        parse_target("bücher.example:80") == parse_target("b%C3%BCcher.example:80") == ("bücher.example", 80)
    )


@each(
    ("text", "address"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:80", ("::1", 80)), ("127.0.0.1", ("", 0)), ("h:", ("h", 0)),
     ("h:²", ("h", 0)), ("h:-1", ("h", 0)), ("", ("", 0))],
)  # fmt: skip
def test_split_address(text: str, address: tuple[str, int]) -> None:
    assert split_address(text) == address


@each(
    ("host", "here"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::1%lo", True),
        ("0.0.0.0", False),
        ("::", False),
        ("::ffff:127.0.0.1", True),
        ("::ffff:7f00:1", True),
        ("::ffff:0.0.0.0", False),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("localhost", False),
        ("", False),
    ],
)
def test_loopback_however_it_is_written(host: str, here: bool) -> None:
    assert is_loopback(host) is here


@each("text", ["unix:/run/my.sock", "unix:relative", "unix:@abstract", "unix:/a:1", "unix:/[x"])
def test_unix_sockets_are_targets_of_this_machine(text: str) -> None:
    assert parse_target(text) == (text, 0)
    assert format_address(parse_target(text)) == text
    assert split_address(text) == (text, 0)
    assert is_loopback(text)
    assert family_name(text) == "unix"


@each(
    ("text", "why"),
    [("unix:", "is not a Unix socket"), ("unix:@", "is not a Unix socket"),
     ("unix:/a\0b", "is not a Unix socket"),
     ("unix:/" + "p" * 107, "has a path of 108 B; a Unix socket has at most 107")],
)  # fmt: skip
def test_what_is_no_unix_socket_is_told(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_target(text)
