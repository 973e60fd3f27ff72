"""Three questions to a server at once, one of which fails: what becomes of the other two?"""

from __future__ import annotations

import asyncio

ANSWER_AFTER_S = 0.5


async def ask(port: int, question: bytes, answers: list[bytes]) -> None:
    """Ask one thing on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(question + b"\n")
        answer = await reader.readline()
        if not answer:
            raise ConnectionError("the server hung up")
        answers.append(answer)
    finally:
        writer.close()


async def with_gather(port: int, answers: list[bytes]) -> None:
    """Ask three things at once; the second fails."""
    await asyncio.gather(
        ask(port, b"one", answers),
        ask(port, b"hang up", answers),
        ask(port, b"three", answers),
    )


async def with_group(port: int, answers: list[bytes]) -> None:
    """Ask the same in a group of tasks."""
    async with asyncio.TaskGroup() as group:
        group.create_task(ask(port, b"one", answers))
        group.create_task(ask(port, b"hang up", answers))
        group.create_task(ask(port, b"three", answers))


async def siblings(*, group: bool = False) -> dict[str, float]:
    """Count the siblings that still run when the failure has been caught, and those that answer later."""
    asked: list[bytes] = []
    all_asked = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        question = await reader.readline()
        asked.append(question)
        if len(asked) == 3:
            all_asked.set()
        await all_asked.wait()
        if question != b"hang up\n":
            await asyncio.sleep(ANSWER_AFTER_S)
            writer.write(question)
        writer.close()

    answers: list[bytes] = []
    failures = 0
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        try:
            await (with_group if group else with_gather)(server.sockets[0].getsockname()[1], answers)
        except* ConnectionError as failed:
            failures = len(failed.exceptions)
        running = [task for task in asyncio.all_tasks() if _asks(task)]
        at_failure = len(answers)
        if running:
            await asyncio.wait(running)
    return {
        "asked": len(asked),
        "failures": failures,
        "answered_before": at_failure,
        "still_running": len(running),
        "answered_later": len(answers) - at_failure,
    }


def _asks(task: asyncio.Task[object]) -> bool:
    return getattr(task.get_coro(), "__name__", "") == ask.__name__
