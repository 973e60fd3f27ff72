"""What is wrong with the flags that are no fields of an experiment, told all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from sockscope.errors import ConfigError, FieldFault

T = TypeVar("T")


class Faults:
    """Collects faults while flags are read; :meth:`check` comes when all have been."""

    def __init__(self) -> None:
        self._found: list[FieldFault] = []

    def add(self, flag: str, text: str, why: str) -> None:
        """Note what is wrong with the value of a flag."""
        self._found.append(FieldFault(flag, text, why))

    def read(self, flag: str, texts: Iterable[str], parse: Callable[[str], T]) -> list[T]:
        """Return what the values of a flag stand for; those that ``parse`` refuses are noted and left out."""
        values: list[T] = []
        for text in texts:
            try:
                values.append(parse(text))
            except ValueError as error:
                self.add(flag, text, str(error))
        return values

    def check(self) -> None:
        """Raise ConfigError with every fault, if there is one."""
        if self._found:
            raise ConfigError(self._found)
