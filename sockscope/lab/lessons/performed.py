"""A process that carries out one coroutine of a lesson, and tells the figures that it returns.

``python -m sockscope.lab.lessons.performed FILE COROUTINE LOOP ARGUMENTS`` writes an empty line to stdout
when the coroutine begins, and its figures as a JSON object when it has ended; what the code itself prints
goes to stderr. It is a process of its own because such code blocks its loop, loses tasks and changes what the
interpreter does with exceptions. It ends with its parent, which holds the other end of stdin.

It imports next to nothing: a lesson starts one for each of its steps.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from sockscope.lab.lessons.cannot import CannotBeShown


def main(path: str, name: str, loop: str, arguments: str) -> None:
    """Carry out the coroutine, and write its figures."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # in order with what goes to stderr
    coroutine, runner = _coroutine(path, name), asyncio.Runner(loop_factory=_loop_factory(loop))
    print(file=results, flush=True)
    try:
        # The loop is not closed: what a script leaves on it ends with the process.
        figures = runner.run(coroutine(**json.loads(arguments)))
        told: dict[str, object] = {"figures": {one: float(value) for one, value in figures.items()}}
    except CannotBeShown as reason:
        told = {"cannot_be_shown": str(reason)}
    json.dump(told, results)
    results.close()
    sys.stderr.flush()
    os._exit(0)  # a deadlock among threads is a lesson, too, and would keep the process


def _loop_factory(loop: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if loop != "uvloop":
        return None
    import uvloop

    return uvloop.new_event_loop


def _coroutine(path: str, name: str) -> Callable[..., Coroutine[Any, Any, Mapping[str, float]]]:
    spec = importlib.util.spec_from_file_location("lesson", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["lesson"] = module
    spec.loader.exec_module(module)
    found: Callable[..., Coroutine[Any, Any, Mapping[str, float]]] = getattr(module, name)
    return found


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
