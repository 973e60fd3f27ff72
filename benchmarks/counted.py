"""One run of the engine under callgrind and ``virtual_clock.c``, for :mod:`benchmarks.instructions`.

It imports nothing of this package, so that it also runs against another tree's ``sockscope``.

Windows are named by what is counted in them: ``answers``, a ``picture``, answers with the lens ``off`` or
``on``, and answers with a fault that does nothing for as long as the run lasts (``fault``) or without one
(``none``). ``relayed`` lets the clients be another engine, that reaches the server through a relay.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from sockscope.core.config.experiment import Experiment
from sockscope.core.run.snapshot import Cursors
from sockscope.engine.engine import Engine
from sockscope.engine.loops import loop_factory

PICTURE_S = 0.2
FIRST_LOOKS_S = 0.7
"""The lens looks at tasks twice a second; its first look, which learns whose code is whose, costs more."""
FAULT = "reset=60s"
"""A fault on the link that strikes nobody in time: a relay comes, and passes on."""
_CLOCK = ctypes.CDLL(None)


def _answers(engine: Engine) -> int:
    return engine.snapshot().main.totals.responses


async def _set_pace(engine: Engine, answers_per_s: float) -> None:
    """Let each send take as long as makes so many answers a second."""
    _CLOCK.sent_so_far.restype = ctypes.c_longlong
    answers, sent = _answers(engine), _CLOCK.sent_so_far()
    await asyncio.sleep(0.02)
    answers, sent = _answers(engine) - answers, _CLOCK.sent_so_far() - sent
    _CLOCK.let_pass_per_send(ctypes.c_longlong(int(1e9 * answers / sent / answers_per_s)))
    await asyncio.sleep(0.02)


async def _count(engine: Engine, name: str, seconds: float, *, pictures: bool) -> int:
    """Count the instructions of ``seconds``, with pictures or without; return how many answers came.

    Each window begins right after a collection of garbage, so that all have as many, and has as many
    pictures, whatever a loop makes of the time that is left: one costs as much as hundreds of answers.
    """
    gc.collect()
    before, parts = _answers(engine), round(seconds / PICTURE_S) if pictures else 1
    _CLOCK.count_from_here()
    for _ in range(parts):
        await asyncio.sleep(seconds / parts)
        if pictures:
            engine.snapshot(Cursors())
    _CLOCK.count_until_here(name.encode())
    return _answers(engine) - before


@asynccontextmanager
async def _running(experiment: Experiment, *, relayed: bool) -> AsyncIterator[Engine]:
    """Run the experiment; ``relayed`` in two engines, with a relay between them."""
    if not relayed:
        async with Engine(experiment) as engine:
            yield engine
        return
    from sockscope.core.addresses import format_address, split_address
    from sockscope.engine.relay.relay import Relay
    from sockscope.engine.role import Assignment

    async with Engine(replace(experiment, role="server", port=0)) as server:
        relay = Relay(experiment)
        target = split_address(server.snapshot().main.address)
        through = await relay.start(Assignment(experiment.tuning, 0, target))
        async with Engine(replace(experiment, role="swarm", target=format_address(through))) as engine:
            yield engine
        await relay.stop(0.0)


def _have_threads() -> None:
    """Make this a process that has had a thread, as children are and the one of a dashboard.

    From its first thread on glibc lets each system call that may wait be cancelled, for some 70 instructions
    each, which the lens's own thread would be charged with.
    """
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()


async def _turn(engine: Engine, name: str) -> None:
    """Switch what the name of a window is about."""
    if name in ("off", "on"):
        await engine.apply(replace(engine.tuning, lens=name == "on"))
        await asyncio.sleep(FIRST_LOOKS_S)
    if name in ("fault", "none"):
        await engine.apply(replace(engine.tuning, fault=FAULT if name == "fault" else ""))
        await engine.all_connected()
        while getattr(engine.snapshot().swarm, "rolling", 0) or (
            name == "none" and (relay := engine.snapshot().roles.get("relay")) and relay.connections_open
        ):
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.02)


async def _run(
    loop: str,
    knobs: dict[str, Any],
    answers_per_s: float,
    seconds: float,
    windows: list[str],
    relayed: bool = False,
) -> None:
    base = {"permits": 0, "request_bytes": 64, "service_time_s": 0.0}
    tuning = replace(Experiment().tuning, **{**base, **knobs})
    answers: list[int] = []
    _have_threads()
    async with _running(Experiment(tuning=tuning, loop=loop), relayed=relayed) as engine:
        await engine.all_connected()
        await asyncio.sleep(0.05)
        await _set_pace(engine, answers_per_s)
        for name in windows:
            if name == "picture":
                await asyncio.sleep(0.02)
                _CLOCK.count_from_here()
                engine.snapshot(Cursors())
                _CLOCK.count_until_here(name.encode())
                answers.append(1)
                continue
            if name != "answers":
                await _turn(engine, name)
            answers.append(await _count(engine, name, seconds, pictures=name in ("off", "on")))
        if engine.error:
            raise SystemExit(f"the engine failed: {engine.error}")
    print(json.dumps(answers))


if __name__ == "__main__":
    _given = json.loads(sys.argv[1])
    with asyncio.Runner(loop_factory=loop_factory(_given["loop"])) as _runner:
        _runner.run(_run(**_given))
