import asyncio

import pytest

from sockscope.engine.turns import in_turns


@pytest.mark.parametrize(("count", "at_once", "others"), [(0, 3, 0), (2, 3, 0), (3, 3, 1), (10, 3, 3)])
async def test_other_calls_of_the_loop_come_between_the_parts(count: int, at_once: int, others: int) -> None:
    loop = asyncio.get_running_loop()
    done: list[int] = []
    seen: list[int] = []

    def another() -> None:
        seen.append(len(done))
        loop.call_soon(another)

    loop.call_soon(another)
    await in_turns(range(count), done.append, at_once)
    assert done == list(range(count))
    assert seen == [at_once * part for part in range(1, others + 1)]


async def test_what_is_gone_meanwhile_is_called_all_the_same_and_what_comes_is_not() -> None:
    items = {number: number for number in range(5)}
    done: list[int] = []

    def call(number: int) -> None:
        items.pop(4, None)
        items[10 + number] = number
        done.append(number)

    await in_turns(items.values(), call, at_once=2)
    assert done == [0, 1, 2, 3, 4]
