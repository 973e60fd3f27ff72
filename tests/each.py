"""Many small cases in one test: collecting and reporting a test of its own costs more than each of them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any


def each(
    names: str | tuple[str, ...], cases: Iterable[Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Call the test with each case, as ``pytest.mark.parametrize`` would; who fails tells with which.

    For what needs no fixtures, or those that all cases may share.
    """
    split = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    every = [case if len(split) > 1 else (case,) for case in cases]

    def of(test: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(test)

        @functools.wraps(test)
        def all_of_them(*args: Any, **fixtures: Any) -> None:
            assert every, f"no case of {names}"
            for case in every:
                values = dict(zip(split, case, strict=True))
                try:
                    test(*args, **fixtures, **values)
                except BaseException as error:
                    error.add_note(f"with {values}")
                    raise

        kept = [one for name, one in signature.parameters.items() if name not in split]
        all_of_them.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
        del all_of_them.__wrapped__
        return all_of_them

    return of
