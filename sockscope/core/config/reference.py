"""How own code is named: ``module:name``, or ``module:name@revision`` for what it was in a commit of git."""

from __future__ import annotations

import re
from typing import NamedTuple

_NAMES = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_FORM = re.compile(rf"({_NAMES}):({_NAMES})(@.*)?", re.DOTALL)
MAX_REVISION_LENGTH = 200


class Reference(NamedTuple):
    """A name in a module, and the revision whose files are meant; empty: those that are there."""

    module: str
    name: str
    revision: str = ""


def parse_reference(text: str) -> Reference:
    """Return what ``text`` names; raises ValueError with the reason, empty where it has not got the form."""
    if not (found := _FORM.fullmatch(text)):
        raise ValueError("")
    module, name, at = found.groups()
    revision = (at or "")[1:]
    if at and not revision.strip():
        raise ValueError("has no revision after the @, such as mine:handle@HEAD~1")
    # What git would take for an option of its own.
    if revision.startswith("-") or not revision.isprintable() or len(revision) > MAX_REVISION_LENGTH:
        raise ValueError("has no revision of git after the @, such as mine:handle@HEAD~1")
    return Reference(module, name, revision)
