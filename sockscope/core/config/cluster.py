"""How a cluster is named: the address of its scheduler, or one of this machine by its number of workers."""

from __future__ import annotations

from sockscope.core.addresses import Address, is_loopback

CLUSTER = "cluster"
"""The place that is the workers of a cluster."""
CLUSTER_KEYS = ("cluster", "cluster_ca", "cluster_cert", "cluster_key", "allow_insecure_cluster")
"""The fields that name a cluster, and tell how it is reached."""
CLUSTER_FILES = ("cluster_ca", "cluster_cert", "cluster_key")
"""Those of them that name the files of TLS."""
LOCAL = "local"
INSECURE = (
    "whoever reaches a cluster without TLS runs code on its workers; use tls:// with --cluster-ca and "
    "--cluster-cert, or --allow-insecure-cluster"
)
LOCAL_WORKERS = 2
"""Workers of a local cluster that is named without a number: one for the server, one for the clients."""
MOST_LOCAL_WORKERS = 64


def local_workers(text: str) -> int:
    """Return how many workers a cluster of this machine is to have; 0 for one that is elsewhere.

    Raises ValueError with the reason where the number is none.
    """
    name, _, number = text.partition(":")
    if name != LOCAL:
        return 0
    workers = int(number) if number.isdecimal() else 0 if number else LOCAL_WORKERS
    if not 2 <= workers <= MOST_LOCAL_WORKERS:
        raise ValueError(
            f"needs 2 to {MOST_LOCAL_WORKERS} workers, such as {LOCAL}:2: one for the server, the others for "
            "the clients"
        )
    return workers


def parse_cluster(text: str) -> str:
    """Return the text, which names a cluster; raise ValueError with the reason where it does not."""
    if not local_workers(text):
        scheme, host, port = _parts(text)
        if scheme not in ("tcp", "tls") or not host or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise ValueError(
                f"is neither {LOCAL}:N nor the address of a scheduler, such as tcp://127.0.0.1:8786"
            )
    return text


def is_encrypted(address: str) -> bool:
    """Tell whether a scheduler or a worker is talked to over TLS."""
    return address.startswith("tls://")


def host_of(address: str) -> str:
    """Return the host in the address of a scheduler or of a worker."""
    return _parts(address)[1]


def address_of(address: str) -> Address:
    """Return host and port of the address of a scheduler or of a worker."""
    _, host, port = _parts(address)
    return host, int(port)


def is_here(address: str) -> bool:
    """Tell whether an address of a scheduler or of a worker is this machine's loopback."""
    return is_loopback(host_of(address))


def _parts(address: str) -> tuple[str, str, str]:
    scheme, _, rest = address.partition("://")
    host, _, port = rest.rpartition(":")
    return scheme, host.strip("[]"), port
