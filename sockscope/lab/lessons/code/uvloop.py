"""The same conversations on asyncio's own loop and on uvloop, and what each costs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine

from sockscope.lab.lessons.cannot import CannotBeShown

MESSAGE = b"x" * 64
Talk = Callable[[], Coroutine[object, object, tuple[float, float]]]
"""What reports processor time and time of a request, in seconds."""


def on_each_loop(talk: Talk, rounds: int) -> dict[str, float]:
    """Carry a coroutine out on fresh loops of both kinds in turn; return the least that each has reported."""
    try:
        import uvloop
    except ImportError:
        raise CannotBeShown("uvloop is not installed, or not made for this system") from None
    found: dict[str, list[tuple[float, float]]] = {"asyncio": [], "uvloop": []}
    for _ in range(rounds):
        with asyncio.Runner() as runner:
            found["asyncio"].append(runner.run(talk()))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found["uvloop"].append(runner.run(talk()))
    cpu_s = {f"{name}_cpu_s": min(cpu_s for cpu_s, _ in times) for name, times in found.items()}
    return cpu_s | {f"{name}_took_s": min(took_s for _, took_s in times) for name, times in found.items()}


class Answer(asyncio.Protocol):
    """A server that answers with what it is asked: at once, after some work, or after a wait."""

    def __init__(self, squares: int, wait_s: float) -> None:
        self._squares, self._wait_s = squares, wait_s

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer."""
        sum(one * one for one in range(self._squares))  # work in Python, if there is any
        if self._wait_s:
            asyncio.get_running_loop().call_later(self._wait_s, self._transport.write, data)
        else:
            self._transport.write(data)


class Ask(asyncio.Protocol):
    """A client that asks a number of times, one after the other."""

    def __init__(self, times: int) -> None:
        self._left = times
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Ask again, or be done."""
        self._left -= 1
        if self._left > 0:
            self.transport.write(MESSAGE)
        else:
            self.done.set_result(None)


async def converse(clients: int, times: int, squares: int, wait_s: float) -> tuple[float, float]:
    """Let some clients ask at the same time; return processor time and time per request of both ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Answer(squares, wait_s), "127.0.0.1", 0, backlog=clients)
    port = server.sockets[0].getsockname()[1]
    made = [await loop.create_connection(lambda: Ask(times), "127.0.0.1", port) for _ in range(clients)]
    begun_s, begun_cpu_s = time.perf_counter(), time.thread_time()
    for _, client in made:
        client.transport.write(MESSAGE)
    await asyncio.gather(*(client.done for _, client in made))
    cpu_s, took_s = time.thread_time() - begun_cpu_s, time.perf_counter() - begun_s
    for _, client in made:
        client.transport.abort()
    server.close()
    return cpu_s / (clients * times), took_s / (clients * times)


async def ask(
    clients: int = 1, times: int = 500, squares: int = 0, wait_s: float = 0.0, rounds: int = 9
) -> dict[str, float]:
    """Ask on both loops, in a thread that has no loop yet."""
    bytes(16 << 20)  # freed at once, so that malloc treats both alike (the lesson allocator)
    return await asyncio.to_thread(on_each_loop, lambda: converse(clients, times, squares, wait_s), rounds)
