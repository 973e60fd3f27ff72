"""How often faults have struck; threads count too."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

from sockscope.core.run.injected import Injected


class Counts:
    """Cumulative figures of the faults of one server role."""

    def __init__(self) -> None:
        self.figures = Injected()
        self._lock = threading.Lock()

    def add(self, name: str, by: float = 1) -> None:
        """Add to the figure of this name, in whatever thread."""
        with self._lock:
            more: dict[str, Any] = {name: getattr(self.figures, name) + by}
            self.figures = replace(self.figures, **more)
