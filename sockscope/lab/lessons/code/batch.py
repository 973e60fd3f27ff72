"""Many small messages over one connection: a call for each, or one for many."""

from __future__ import annotations

import socket
import statistics
import struct
import threading
import time

MESSAGES = 10_000
STAMP = struct.Struct("!d16x")
"""A message: when it was made, and some more bytes."""
PACED = 200
EVERY_S = 0.002


def send_each(connection: socket.socket, messages: list[bytes], at_a_time: int) -> int:
    """Write each message with a call of its own; return how many calls that were."""
    for message in messages:
        connection.sendall(message)
    return len(messages)


def send_batches(connection: socket.socket, messages: list[bytes], at_a_time: int) -> int:
    """Write so many messages with one call; return how many calls that were."""
    calls = 0
    for first in range(0, len(messages), at_a_time):
        connection.sendall(b"".join(messages[first : first + at_a_time]))
        calls += 1
    return calls


def send_when_full(connection: socket.socket, at_a_time: int) -> None:
    """Make a message every 2 ms, and write them when there are ``at_a_time``."""
    batch = []
    for _ in range(PACED):
        time.sleep(EVERY_S)
        batch.append(STAMP.pack(time.monotonic()))
        if len(batch) == at_a_time:  # the first of them has waited for all the others
            connection.sendall(b"".join(batch))
            batch.clear()


class Receiver(threading.Thread):
    """Reads messages until the end of a connection; notes how old each is when it comes."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(daemon=True)
        self._connection = connection
        self.received_bytes = 0
        self.ages_s: list[float] = []

    def run(self) -> None:
        """Read to the end."""
        rest = b""
        while data := self._connection.recv(65536):
            now_s = time.monotonic()
            self.received_bytes += len(data)
            rest += data
            whole = len(rest) // STAMP.size * STAMP.size
            self.ages_s += [now_s - made_s for (made_s,) in STAMP.iter_unpack(rest[:whole])]
            rest = rest[whole:]


def _connected() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        served, _ = listening.accept()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client, served


async def send_many(at_a_time: int = 1) -> dict[str, float]:
    """Send messages that are all there, and tell the calls and the sender's processor time."""
    client, served = _connected()
    messages = [STAMP.pack(number) for number in range(MESSAGES)]
    with client, served:
        receiver = Receiver(served)
        receiver.start()
        begun_s = time.thread_time()
        calls = (send_each if at_a_time == 1 else send_batches)(client, messages, at_a_time)
        cpu_s = time.thread_time() - begun_s
        client.shutdown(socket.SHUT_WR)
        receiver.join()
    return {
        "messages": MESSAGES,
        "calls": calls,
        "cpu_s": cpu_s,
        "sent_bytes": MESSAGES * STAMP.size,
        "received_bytes": receiver.received_bytes,
    }


async def send_paced(at_a_time: int = 1) -> dict[str, float]:
    """Send messages that come one after the other, and tell how old they are when they arrive."""
    client, served = _connected()
    with client, served:
        receiver = Receiver(served)
        receiver.start()
        send_when_full(client, at_a_time)
        client.shutdown(socket.SHUT_WR)
        receiver.join()
    return {
        "messages": PACED,
        "received": len(receiver.ages_s),
        "median_s": statistics.median(receiver.ages_s),
        "oldest_s": max(receiver.ages_s),
    }
