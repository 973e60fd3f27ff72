"""How often faults have struck; threads count too."""

from __future__ import annotations

import threading


class Counts:
    """Cumulative counts of the faults of one server role; the names are those of ``Injected``."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self._lock = threading.Lock()

    def add(self, name: str, by: float = 1) -> None:
        """Count, in whatever thread."""
        with self._lock:
            self.values[name] = self.values.get(name, 0) + by
