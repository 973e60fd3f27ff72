"""``sockscope doctor``: what this machine allows, or those of a cluster, and how to fix what is missing."""

from __future__ import annotations

import json
import os
import platform
import resource
import socket
import ssl
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace

from sockscope.core.config.experiment import LOOPBACK, Experiment
from sockscope.core.config.tuning import MAX_CLIENTS
from sockscope.core.results.schema import SCHEMA_VERSION
from sockscope.core.units import format_bytes, format_count
from sockscope.engine.addresses import family_of
from sockscope.engine.host_limits import HostLimits, host_limits
from sockscope.engine.limits import RESERVED_DESCRIPTORS
from sockscope.engine.options import tcp_info_words
from sockscope.engine.os_errors import describe
from sockscope.engine.placement.cluster.joining import joined
from sockscope.engine.sampler import kernel_udp
from sockscope.faces.characters import shows_only_ascii
from sockscope.lab.environment import supported_pythons, version_of

_ALL_DATAGRAMS_BYTES = 4 << 20
"""A receive buffer that holds a burst of 10,000 small datagrams."""
_PORTS_WANTED = 10_000
_PATIENCE_S = 1.0
"""How long a byte may take over loopback."""
_BACKLOG_WANTED = Experiment().backlog


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. ``fix`` is what to do when it is not ``ok``; ``fatal`` stops any run.

    ``worker`` is the address of the worker of a cluster where it was looked at; empty: here.
    """

    name: str
    ok: bool
    text: str
    fix: str = ""
    fatal: bool = False
    worker: str = ""


def examine() -> list[Check]:
    """Look at everything here; takes a few milliseconds and changes nothing."""
    limits = host_limits()
    looks = (
        _python(), _cores(limits), _uvloop(), _tls(), _descriptors(limits, 2), _ports(limits),
        _kernel_limits(limits), _loopback(), _observation(), _terminal(),
    )  # fmt: skip
    return [check for look in looks for check in look]


def examine_workers(found: Mapping[str, HostLimits]) -> list[Check]:
    """Judge the limits of the workers of a cluster, by address; each has one role in a process."""
    return [
        replace(check, worker=worker)
        for worker, limits in found.items()
        for look in (_cores(limits), _descriptors(limits, 1), _ports(limits), _kernel_limits(limits))
        for check in look
    ]


async def limits_of_workers(experiment: Experiment) -> Mapping[str, HostLimits]:
    """Return the limits of the workers of the cluster that an experiment names; raises EngineError."""
    cluster = await joined(experiment)
    try:
        return dict(cluster.limits)
    finally:
        await cluster.leave()


def to_text(checks: Iterable[Check]) -> str:
    """Return a line per check, below each lack its fix, and before those of a worker its address."""
    lines, worker = [], ""
    for check in checks:
        if check.worker != worker:
            worker = check.worker
            lines += ["", f"worker {worker}"]
        lines.append(f"{'ok' if check.ok else '!!'}  {check.name:<18}{check.text}")
        if not check.ok and check.fix:
            lines.append(f"    {'':18}{check.fix}")
    return "\n".join(lines)


def to_json(checks: Iterable[Check]) -> str:
    """Return the checks as one JSON object."""
    checks = list(checks)
    return json.dumps(
        {
            "schema_version": SCHEMA_VERSION,
            "type": "doctor",
            "can_run": not any(check.fatal for check in checks),
            "checks": [asdict(check) for check in checks],
        },
        indent=2,
    )


def _python() -> Iterator[Check]:
    tested = supported_pythons()
    running = ".".join(platform.python_version_tuple()[:2])
    yield Check(
        "Python", not tested or running in tested,
        f"{platform.python_version()} on {platform.system()} {platform.release()}",
        f"not a version that SockScope is tested with: {', '.join(tested)}",
    )  # fmt: skip


def _cores(limits: HostLimits) -> Iterator[Check]:
    cores = limits.cores
    yield Check(
        "cores", (cores or 2) > 1, f"{cores or 'unknown'}",
        "with one core, the dashboard and the traffic take turns; expect higher loop lag",
    )  # fmt: skip


def _uvloop() -> Iterator[Check]:
    version = version_of("uvloop")
    missing = version is None
    yield Check(
        "uvloop", not missing, version or "not installed",
        "pip install uvloop", fatal=missing and sys.platform != "win32",
    )  # fmt: skip


def _tls() -> Iterator[Check]:
    maker = version_of("cryptography")
    made = (
        f"certificates for a run by cryptography {maker}" if maker else "no certificate can be made for a run"
    )
    yield Check("TLS", maker is not None, f"{ssl.OPENSSL_VERSION}; {made}", "pip install 'sockscope[tls]'")


def _descriptors(limits: HostLimits, ends: int) -> Iterator[Check]:
    """Judge how many TCP clients there can be, with so many ends of their connections in one process."""
    most = limits.most_descriptors
    clients = max(0, (most - RESERVED_DESCRIPTORS) // ends)
    wanted = ends * MAX_CLIENTS + RESERVED_DESCRIPTORS
    least = RESERVED_DESCRIPTORS + ends
    who = "TCP clients with their server" if ends == 2 else "TCP clients or connections of a server"
    yield Check(
        "descriptors",
        most >= wanted,
        f"soft {_limit(limits.soft_descriptors)}, hard {_limit(limits.hard_descriptors)}: "
        f"{format_count(min(clients, MAX_CLIENTS))} {who}",
        f"for {MAX_CLIENTS:,} clients: ulimit -Hn {wanted} as root, or LimitNOFILE= in the service",
        fatal=most < least,
    )


def _limit(value: int) -> str:
    return "unlimited" if value == resource.RLIM_INFINITY else format_count(value)


def _ports(limits: HostLimits) -> Iterator[Check]:
    ports = limits.ephemeral_ports
    if ports is None:
        yield Check("ephemeral ports", True, "cannot be read on this system")
        return
    yield Check(
        "ephemeral ports",
        len(ports) >= _PORTS_WANTED,
        f"{ports[0]}-{ports[-1]}: {format_count(len(ports))} connections per source address",
        "sudo sysctl net.ipv4.ip_local_port_range='32768 60999'",
    )


def _kernel_limits(limits: HostLimits) -> Iterator[Check]:
    yield _at_least(
        "net.core.somaxconn", limits.somaxconn, _BACKLOG_WANTED, format_count,
        "connections may wait to be accepted",
    )  # fmt: skip
    yield _at_least(
        "net.core.rmem_max", limits.rmem_max, _ALL_DATAGRAMS_BYTES, format_bytes,
        "is the most that --rcvbuf can get",
    )  # fmt: skip
    yield _at_least(
        "net.core.wmem_max", limits.wmem_max, _ALL_DATAGRAMS_BYTES, format_bytes,
        "is the most that --sndbuf can get",
    )  # fmt: skip


def _at_least(
    key: str, value: int | None, wanted: int, show: Callable[[float | None], str], what: str
) -> Check:
    name = key.rpartition(".")[2]
    if value is None:
        return Check(name, True, "cannot be read on this system")
    return Check(name, value >= wanted, f"{show(value)} {what}", f"sudo sysctl {key}={wanted}")


def _loopback() -> Iterator[Check]:
    for family in ("ipv4", "ipv6"):
        host = LOOPBACK[family]
        for kind, name in ((socket.SOCK_STREAM, "TCP"), (socket.SOCK_DGRAM, "UDP")):
            error = _failure_of(host, kind)
            yield Check(
                f"{name} {host}", error is None,
                "carries traffic" if error is None else describe(error),
                _loopback_fix(family, error), fatal=family == "ipv4" and error is not None,
            )  # fmt: skip


def _loopback_fix(family: str, error: OSError | None) -> str:
    if isinstance(error, TimeoutError):
        return "what is sent there gets lost; check the firewall (sudo nft list ruleset)"
    if family == "ipv6":
        return "sudo sysctl net.ipv6.conf.lo.disable_ipv6=0, or use -4"
    return "sudo ip link set lo up"


def _failure_of(host: str, kind: socket.SocketKind) -> OSError | None:
    """Send a byte from this address to itself; return what the system says to that, None when it arrives."""
    try:
        with socket.socket(family_of(host), kind) as server, socket.socket(family_of(host), kind) as client:
            for sock in (server, client):
                sock.settimeout(_PATIENCE_S)
            server.bind((host, 0))
            if kind == socket.SOCK_STREAM:
                server.listen(1)
            client.connect(server.getsockname())
            client.send(b"x")
            with server.accept()[0] if kind == socket.SOCK_STREAM else nullcontext(server) as end:
                end.settimeout(_PATIENCE_S)
                end.recv(1)
    except OSError as error:
        return error
    return None


def _observation() -> Iterator[Check]:
    yield Check(
        "UDP counters", kernel_udp() is not None,
        "the kernel's losses can be read" if kernel_udp() is not None else "there is no /proc/net/snmp",
        "datagrams that the kernel drops are not shown on this system",
    )  # fmt: skip
    readable = _tcp_info_readable()
    yield Check(
        "TCP_INFO", readable, "round-trip times can be read" if readable else "not on this system",
        "the kernel's round-trip time of a connection is not shown",
    )  # fmt: skip
    allowed = _may_capture()
    yield Check(
        "raw capture", True,
        "allowed (AF_PACKET)" if allowed else "not allowed (AF_PACKET needs root); not needed",
    )  # fmt: skip


def _tcp_info_readable() -> bool:
    try:
        with socket.socket() as sock:
            return tcp_info_words(sock) is not None
    except OSError:
        return False


def _may_capture() -> bool:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except (AttributeError, OSError):
        return False
    return True


def _terminal() -> Iterator[Check]:
    term = os.environ.get("TERM", "")
    yield Check(
        "terminal", term not in ("", "dumb"), f"TERM={term or '(not set)'}, {_colours(term)}",
        "the dashboard needs a terminal that moves its cursor: TERM=xterm-256color",
    )  # fmt: skip
    encoding = (sys.stdout.encoding or "") if sys.stdout is not None else ""
    is_utf8 = encoding.lower().replace("-", "") == "utf8"
    yield Check(
        "UTF-8", is_utf8 and not shows_only_ascii(os.environ, encoding or None),
        encoding or "unknown",
        "the dashboard is drawn in ASCII; for braille graphs: export LANG=C.UTF-8",
    )  # fmt: skip


def _colours(term: str) -> str:
    if os.environ.get("NO_COLOR"):
        return "no colours (NO_COLOR is set)"
    if os.environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return "16 million colours"
    return "256 colours" if "256" in term else "16 colours or fewer"
