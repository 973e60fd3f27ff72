"""Tasks of both loops, as the lens sees them."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sockscope.core.run.tasks import OURS, OWN, CancelOutcome, TaskState, TaskView
from sockscope.engine.lens.task_watch import MOST_BIRTHS, MOST_TASKS, TaskWatch
from tests.waiting import until


@contextmanager
def watching() -> Iterator[TaskWatch]:
    watch = TaskWatch()
    watch.begin()
    try:
        yield watch
    finally:
        watch.end()


async def ended(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def named(watch: TaskWatch, name: str) -> TaskView | None:
    return next((task for task in watch.view.tasks if task.name == name), None)


async def found(watch: TaskWatch, name: str) -> TaskView:
    await until(lambda: named(watch, name), what=f"a look has {name}")
    task = named(watch, name)
    assert task is not None
    return task


async def held(lock: asyncio.Semaphore | asyncio.Lock) -> None:
    async with lock:
        await asyncio.sleep(60)


async def numbers() -> AsyncIterator[int]:
    yield 1
    await asyncio.sleep(60)


async def count() -> None:
    async for _ in numbers():
        pass


async def wait_for_reader() -> None:
    await asyncio.wait_for(asyncio.StreamReader().read(1), 60)


async def test_a_task_is_told_with_all_that_it_waits_through() -> None:
    with watching() as watch:
        tasks = [
            asyncio.create_task(count(), name="counter"),
            asyncio.create_task(wait_for_reader(), name="reader\x1b[2J"),
        ]
        counter, reader = await found(watch, "counter"), await found(watch, "reader\\x1b[2J")
        assert [link.split()[0] for link in counter.chain] == ["count", "numbers", "sleep"]
        assert counter.coroutine.startswith("count ")
        assert "test_task_watch.py:" in counter.waits_in
        assert counter.waits_in.endswith(" sleep")
        assert (counter.state, counter.owner, counter.waits_for) == (TaskState.WAITING, OWN, "future")
        assert counter.age_known
        assert counter.made_at.startswith(reader.made_at.rpartition(":")[0])
        assert reader.waits_in.endswith(" wait_for")
        if sys.version_info < (3, 12):  # whose wait_for() makes a task
            inner = next(task for task in watch.view.tasks if task.coroutine.startswith("StreamReader.read"))
            assert inner.owner == OWN  # made by own code, though it waits in a library
        await ended(*tasks)


async def test_what_was_there_before_the_lens_has_an_age_of_at_least_that_of_the_lens() -> None:
    task = asyncio.create_task(count(), name="older")
    await asyncio.sleep(0)
    with watching() as watch:
        assert not (await found(watch, "older")).age_known
    await ended(task)


async def test_semaphores_have_holders_and_those_that_wait() -> None:
    semaphore = asyncio.Semaphore(1)
    with watching() as watch:
        tasks = [asyncio.create_task(held(semaphore), name=f"worker {n}") for n in range(3)]
        await until(lambda: watch.view.awaited and watch.view.awaited[0].holding)
        (awaited,) = watch.view.awaited
        assert (awaited.kind, awaited.state, awaited.waiting, awaited.holding) == (
            "Semaphore",
            "locked",
            2,
            1,
        )
        assert awaited.holders == ("worker 0",)
        assert awaited.waited_at.endswith(" Semaphore.acquire")
        await ended(*tasks)


async def test_thousands_of_tasks_are_counted_and_the_oldest_of_each_sort_told() -> None:
    with watching() as watch:
        tasks = [asyncio.create_task(count(), name=f"{n}") for n in range(2_000)]
        tasks.append(asyncio.create_task(wait_for_reader(), name="of another sort"))
        await until(lambda: watch.view.own > len(tasks))
        groups = [group for group in watch.view.groups if group.coroutine.startswith("count ")]
        assert sum(group.count for group in groups) == 2_000
        assert len(watch.view.tasks) == MOST_TASKS
        assert named(watch, "0") is not None
        assert named(watch, "of another sort") is not None
        await ended(*tasks)


async def test_a_users_own_factory_goes_on_making_tasks() -> None:
    loop = asyncio.get_running_loop()
    made: list[Any] = []

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **more: Any) -> asyncio.Task[Any]:
        made.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **more)

    loop.set_task_factory(factory)
    with watching() as watch:
        assert loop.get_task_factory() is factory
        task = asyncio.create_task(count(), name="made")
        await found(watch, "made")
    assert made == [task.get_coro()]
    assert loop.get_task_factory() is factory
    loop.set_task_factory(None)
    await ended(task)


async def test_exceptions_that_nobody_has_asked_for_are_counted_by_place() -> None:
    async def fail() -> None:
        raise ValueError("by nobody")

    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda loop, context: None)
    with watching() as watch:
        for _ in range(2):
            task = asyncio.create_task(fail())
            await asyncio.wait({task})
            del task
        await until(lambda: watch.view.unretrieved)
        (raised,) = watch.view.unretrieved
        assert (raised.what, raised.message, raised.count) == ("ValueError", "by nobody", 2)
        assert "test_task_watch.py:" in raised.where
    loop.set_exception_handler(handler)


async def test_the_default_executor_has_a_queue() -> None:
    go_on = threading.Event()

    def block() -> None:
        go_on.wait(30)

    with watching() as watch:
        calls = [asyncio.create_task(asyncio.to_thread(block)) for _ in range(60)]
        await until(lambda: watch.view.executor is not None and watch.view.executor.queued)
        executor = watch.view.executor
        assert executor is not None
        assert executor.running + executor.queued == len(calls)
        assert 1 <= executor.running <= executor.threads < len(calls)
        assert executor.calls[0].running
        assert "block" in executor.calls[0].name
        go_on.set()
        await asyncio.gather(*calls)
        await until(lambda: watch.view.executor is not None and not watch.view.executor.running)


async def obey() -> None:
    await asyncio.sleep(60)


async def swallow() -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
    await asyncio.Event().wait()


async def clean_up() -> None:
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(60)


async def leave() -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(60)


async def answer_back() -> None:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        raise ValueError("no") from None


async def hold_back() -> None:
    await asyncio.create_task(swallow(), name="deaf")


@pytest.mark.parametrize(
    ("work", "outcome"),
    [
        (obey, CancelOutcome.ENDED),
        (swallow, CancelOutcome.SWALLOWED),
        (clean_up, CancelOutcome.CLEANING_UP),
        (leave, CancelOutcome.RETURNED),
        (answer_back, CancelOutcome.RAISED),
        (hold_back, CancelOutcome.PENDING),
    ],
)
async def test_what_becomes_of_a_cancelled_task_is_told(
    work: Callable[[], Any], outcome: CancelOutcome
) -> None:
    with watching() as watch:
        task = asyncio.create_task(work(), name="cancelled")
        number = (await found(watch, "cancelled")).number
        cancelled = await watch.cancel(number, within_s=0.02)
        assert cancelled.outcome is outcome
        assert cancelled.task.startswith(f"cancelled ({work.__name__} ")
        if not task.done():
            assert "test_task_watch.py:" in cancelled.where
            others = [other for other in asyncio.all_tasks() if other.get_name() == "deaf"]
            await ended(task, *others)
            await asyncio.wait({task, *others})
        elif not task.cancelled():
            task.exception()
        assert (await watch.cancel(number)).outcome is CancelOutcome.GONE


async def test_a_task_in_which_no_own_code_waits_is_not_cancelled() -> None:
    task = asyncio.create_task(asyncio.Event().wait(), name="somebody's")
    with watching() as watch:
        view = await found(watch, "somebody's")
        assert view.owner == OURS
        assert (await watch.cancel(view.number)).outcome is CancelOutcome.REFUSED
        assert not task.cancelling()
    await ended(task)


async def test_tasks_that_are_not_heard_of_are_found_by_a_look() -> None:
    with watching() as watch:
        tasks = [asyncio.create_task(count(), name=f"{n}") for n in range(MOST_BIRTHS + 1)]
        await until(lambda: watch.view.own > len(tasks))
        group = [group for group in watch.view.groups if group.coroutine.startswith("count ")]
        assert sum(group.count for group in group) == len(tasks)
        await ended(*tasks)
        later = asyncio.create_task(count(), name="later")
        assert (await found(watch, "later")).age_known
        await ended(later)


async def test_transports_of_tasks_that_have_ended_are_told_until_they_are_closed() -> None:
    async def connect(port: int) -> asyncio.StreamWriter:
        return (await asyncio.open_connection("127.0.0.1", port))[1]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with watching() as watch:
        writers = [await asyncio.create_task(connect(port)) for _ in range(2)]
        await until(lambda: watch.view.unclosed and watch.view.unclosed[0].count == 2)
        line = connect.__code__.co_firstlineno + 1
        assert watch.view.unclosed[0].made_at.endswith(f"test_task_watch.py:{line}")
        for writer in writers:
            writer.close()
        await until(lambda: not watch.view.unclosed)
    server.close()
    await server.wait_closed()
