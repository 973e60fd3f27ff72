"""Three network namespaces on a bridge, as three machines on a switch, and a worker of a cluster in each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.ports import unused_port

NET = "10.213.77"
HERE = f"{NET}.254"
NUMBERS = (1, 2, 3)


def ip(*arguments: str) -> str:
    """Run ip(8), and return what it wrote."""
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


def why_not() -> str:
    """Return why there can be no namespaces here; nothing where they can be."""
    if os.geteuid() != 0:
        return "only root makes network namespaces"
    try:
        ip("netns", "add", _name(0))
        ip("netns", "del", _name(0))
        ip("link", "add", _bridge(), "type", "bridge")
        ip("link", "del", _bridge())
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no network namespaces here: {error}"
    return ""


def _name(number: int) -> str:
    return f"sockscope-{os.getpid()}-{number}"


def _bridge() -> str:
    return f"ssb{os.getpid() % 1_000_000}"


def link(number: int) -> str:
    """Return the name of the end on this side of the link to a namespace."""
    return f"ss{number}v{os.getpid() % 1_000_000}"


@contextmanager
def joined() -> Iterator[None]:
    """Have the namespaces, with the address NET.number in each and HERE outside."""
    with ExitStack() as left:
        ip("link", "add", _bridge(), "type", "bridge")
        left.callback(ip, "link", "del", _bridge())
        ip("addr", "add", f"{HERE}/24", "dev", _bridge())
        ip("link", "set", _bridge(), "up")
        for number in NUMBERS:
            inside = _name(number)
            ip("netns", "add", inside)
            left.callback(ip, "netns", "del", inside)
            ip("link", "add", link(number), "type", "veth", "peer", "name", "eth0", "netns", inside)
            ip("link", "set", link(number), "master", _bridge())
            ip("link", "set", link(number), "up")
            ip("-n", inside, "addr", "add", f"{NET}.{number}/24", "dev", "eth0")
            ip("-n", inside, "link", "set", "eth0", "up")
            ip("-n", inside, "link", "set", "lo", "up")
        yield


@contextmanager
def cluster(folder: Path, pem: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Have a scheduler here and a worker in each namespace, over TLS with the certificate and key in ``pem``.

    Return the address of the scheduler, and the processes of the workers.
    """
    address = f"tls://{HERE}:{unused_port()}"
    dask = [sys.executable, "-m"]
    over_tls = [f"--tls-{what}={pem}" for what in ("ca-file", "cert", "key")]
    quiet = {**os.environ, "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}
    listen = ["--host", HERE, "--port", address.rpartition(":")[2], "--no-dashboard", *over_tls]
    commands = [[*dask, "distributed.cli.dask_scheduler", "--protocol", "tls", *listen]]
    for number in NUMBERS:
        worker = [*dask, "distributed.cli.dask_worker", address, "--host", f"{NET}.{number}", *over_tls]
        more = [
            "--no-nanny",
            "--no-dashboard",
            "--nthreads",
            "1",
            "--local-directory",
            str(folder / str(number)),
        ]
        commands.append(["ip", "netns", "exec", _name(number), *worker, *more])
    processes = [
        subprocess.Popen(command, env=quiet, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for command in commands
    ]
    try:
        yield address, processes[1:]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def udp_sent(number: int) -> int:
    """Return how many datagrams were sent from a namespace, as its kernel has counted (``OutDatagrams``)."""
    told = ip("netns", "exec", _name(number), "cat", "/proc/net/snmp").splitlines()
    names, values = (line.split()[1:] for line in told if line.startswith("Udp:"))
    return int(values[names.index("OutDatagrams")])
