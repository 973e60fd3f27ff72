"""Addresses as sockets have them: families, zones, and which of them are this machine's."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import struct
from typing import Any

from sockscope.core.addresses import UNIX, UNNAMED, Address, format_address, is_loopback, is_unix, numeric
from sockscope.core.config.experiment import Experiment
from sockscope.core.roles import RELAY, SWARM
from sockscope.errors import ConfigError, FieldFault

_ANY_PORT = 9
"""Of no account: nothing is sent there."""
_NOWHERE: Address = ("0.0.0.0", 0)
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "::ffff:0.0.0.0": "::ffff:127.0.0.1"}


def family_of(host: str) -> socket.AddressFamily:
    """Return the address family of a numeric host, or of a Unix socket."""
    if is_unix(host):
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def socket_address(address: Address) -> Address | tuple[str, int, int, int] | str:
    """Return an address as a socket takes it: a zone is the number of an interface there, a path a path.

    Raises OSError when there is no such interface.
    """
    if is_unix(address[0]):
        path = address[0].removeprefix(UNIX)
        return f"\0{path[1:]}" if path.startswith("@") else path
    host, _, zone = address[0].partition("%")
    if not zone:
        return address
    return (
        host,
        address[1],
        0,
        int(zone) if zone.isascii() and zone.isdigit() else socket.if_nametoindex(zone),
    )


def plain_address(name: Any) -> Address:
    """Return host and port of what a socket calls an address; a link-local host with its zone (RFC 4007).

    None is a datagram socket of the other end that has no name.
    """
    if name is None or isinstance(name, str | bytes):
        return _unix_host(name), 0
    host, port = name[:2]
    scope = name[3] if len(name) > 3 else 0
    if not scope or "%" in host:
        return host, port
    with contextlib.suppress(OSError):
        return f"{host}%{socket.if_indextoname(scope)}", port
    return f"{host}%{scope}", port


def _unix_host(name: str | bytes | None) -> str:
    if not name:
        return UNNAMED
    octets = os.fsencode(name) if isinstance(name, str) else name
    # As /proc/net/unix writes abstract names, which may have zeros anywhere.
    return UNIX + octets.decode("utf-8", "backslashreplace").replace("\0", "@")


def both_ends(sock: socket.socket) -> tuple[Address, Address]:
    """Return the local and the remote address of a connected socket; raises OSError.

    Where nobody listens at a port that the kernel gives out itself, it may give it to whoever connects there,
    who is then connected to itself and hears its own requests (simultaneous open, RFC 9293, section 3.5).
    That is a refusal; the port is free again at once.
    """
    local, remote = plain_address(sock.getsockname()), plain_address(sock.getpeername())
    if local == remote and sock.family is not socket.AF_UNIX:
        if sock.type is socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    return local, remote


def ends_of(transport: asyncio.BaseTransport, local: Address = _NOWHERE) -> tuple[Address, Address]:
    """Return the local (``local`` where that is not known) and the remote address of a connection."""
    ours, theirs = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
    if ours:
        local = plain_address(ours)
    # A peer that is gone before it was accepted has no address any more, that of a Unix socket perhaps none.
    return local, plain_address(theirs or (None if is_unix(local[0]) else _NOWHERE))


def aim(address: Address) -> Address:
    """Return where clients connect to for a server that listens on ``address``."""
    host, port = address
    return _WILDCARDS.get(host, host), port


def targets_of(experiment: Experiment, address: Address) -> tuple[Address, ...]:
    """Return where who is aimed at ``address`` connects: a server elsewhere may have several addresses."""
    elsewhere = experiment.targets if experiment.role in (SWARM, RELAY) else ()
    return elsewhere if address in map(aim, elsewhere) else (address,)


def is_here(host: str) -> bool:
    """Tell whether an address is this machine's own: the loopback, or that of one of its interfaces."""
    if is_loopback(aim((host, 0))[0]):
        return True
    try:
        with socket.socket(family_of(host), socket.SOCK_DGRAM) as sock:
            # Connecting a UDP socket sends nothing. A machine talks to its own addresses from themselves.
            sock.connect(socket_address((host, _ANY_PORT)))
            return numeric(sock.getsockname()[0]) == numeric(host)
    except OSError:
        return False


def check_reach(experiment: Experiment) -> None:
    """Raise ConfigError when clients would aim at another machine and nobody has allowed it."""
    if experiment.allow_remote or experiment.role not in (SWARM, RELAY):
        return
    why = "is another machine; only with --allow-remote"
    asked = {"target": experiment.targets}
    if experiment.role == RELAY:
        asked["also"] = tuple(target for lead in experiment.leads for target in lead.targets)
    faults = [
        FieldFault(key, format_address(target), why)
        for key, targets in asked.items()
        for target in targets
        if not is_here(target[0])
    ]
    if faults:
        raise ConfigError(faults)
