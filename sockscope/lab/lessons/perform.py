"""Carrying out a script of a lesson in a process of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from sockscope.errors import EngineError
from sockscope.lab.lessons.lesson import Script

MOST_PRINTED_BYTES = 16 << 10
"""The last of what a script prints that is kept."""


START_S = 60.0
"""How long the interpreter of a script may take to start, on a machine that is busy."""


@dataclass(frozen=True, slots=True)
class Performed:
    """What a script has reported, and the last of what it has printed."""

    figures: Mapping[str, float]
    printed: str
    cannot: str = ""
    """Why it cannot be shown here; empty where it could."""


async def perform(script: Script, arguments: Mapping[str, object], patience_s: float) -> Performed:
    """Carry out a script; raise EngineError where it fails, reports no figures, or takes too long.

    ``patience_s`` is for the script alone, once its interpreter has started.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sockscope.lab.lessons.performed",
        script.path, script.name, script.loop, json.dumps(arguments),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    printing = asyncio.create_task(_last(process.stderr))
    late = f"has not begun within {START_S:g} s"
    try:
        async with asyncio.timeout(START_S) as limit:
            await process.stdout.readline()
            limit.reschedule(asyncio.get_running_loop().time() + patience_s)
            late = f"has not ended within {patience_s:g} s"
            told, printed = await asyncio.gather(_last(process.stdout), printing)
            code = await process.wait()
    except TimeoutError:
        raise EngineError(f"{script.reference} {late}") from None
    finally:
        printing.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code:
        last = printed.strip().rpartition("\n")[2] or f"exit code {code}"
        raise EngineError(f"{script.reference} has failed: {last}")
    try:
        result = json.loads(told)
        return Performed(result.get("figures", {}), printed, result.get("cannot_be_shown", ""))
    except (ValueError, AttributeError):
        raise EngineError(f"{script.reference} has reported no figures") from None


async def _last(stream: asyncio.StreamReader) -> str:
    """Return the last of what comes until the end."""
    kept = b""
    while data := await stream.read(1 << 16):
        kept = (kept + data)[-MOST_PRINTED_BYTES:]
    return kept.decode(errors="replace")
