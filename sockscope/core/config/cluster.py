"""How a cluster is named: the address of its scheduler, or one of this machine by its number of workers."""

from __future__ import annotations

from sockscope.core.addresses import is_loopback

CLUSTER = "cluster"
"""The place that is the workers of a cluster."""
LOCAL = "local"
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
    if local_workers(text):
        return text
    host, colon, port = text.removeprefix("tcp://").rpartition(":")
    if not text.startswith("tcp://") or not colon or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ValueError(f"is neither {LOCAL}:N nor the address of a scheduler, such as tcp://127.0.0.1:8786")
    if not is_loopback(host.strip("[]")):
        raise ValueError(
            "is not on this machine, and whoever reaches a scheduler runs code on it: only tcp://127.0.0.1:PORT"
        )
    return text
