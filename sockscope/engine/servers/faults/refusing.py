"""Which faults the user's own server can have, as what it is; for models the table of kinds tells."""

from __future__ import annotations

from collections.abc import Iterable

from sockscope.core.impairment.fault import Fault
from sockscope.engine.own_forms import Form
from sockscope.errors import ConfigError, FieldFault


def refuse_faults(faults: Iterable[Fault], name: str, form: Form) -> None:
    """Raise ConfigError for those that a server of this form cannot have."""
    found = []
    for fault in faults:
        if fault.about.of_loop and form is Form.THREAD:
            why = f"needs an event loop that serves, and {name} serves in threads: make it a coroutine"
            found.append(FieldFault("fault", fault.text, why))
        elif fault.about.of_tasks and form not in (Form.COROUTINE, Form.CALLBACK):
            why = f"needs a task for each connection, and {name} has none: make it a coroutine"
            found.append(FieldFault("fault", fault.text, why))
    if found:
        raise ConfigError(found)
