"""Faults on demand as the sheet and the palette switch them: by the tuning, so that undo takes them back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from sockscope.core.config.applicability import faults_offered
from sockscope.core.impairment.fault import Fault, shown, text_of
from sockscope.core.impairment.kinds import FaultKind
from sockscope.core.impairment.turning import brought_along, toggled
from sockscope.faces.tui.session import Session


class Command(NamedTuple):
    """A command of the palette."""

    name: str
    help: str
    call: Callable[[], None]


def inject(session: Session, faults: Sequence[Fault]) -> None:
    """Request these faults, and no others."""
    session.tuner.set({"fault": text_of(faults)})


def toggle(session: Session, kind: FaultKind) -> None:
    """Switch a fault on as one key press makes it, or off with what that key has brought along."""
    on = session.tuner.requested.faults
    after, brought = toggled(on, kind), session.brought_along.pop(kind.name, ())
    if len(after) > len(on):
        session.brought_along[kind.name] = brought_along(on, kind)
    else:
        after = tuple(fault for fault in after if fault not in brought)
    inject(session, after)


def offered(session: Session) -> list[FaultKind]:
    """Return the faults that can be made in the run as it is, those of the link first."""
    return faults_offered(session.experiment, session.tuner.requested)


def commands(session: Session) -> Iterator[Command]:
    """Yield what the palette offers: each fault on or off, and all off."""
    on = session.tuner.requested.faults
    if on:
        yield Command("faults off", f"Switch all faults off: {shown(on)}", partial(inject, session, ()))
    names = {fault.kind for fault in on}
    for kind in offered(session):
        way = "off" if kind.name in names else "on"
        sentence = kind.sentence[0].upper() + kind.sentence[1:]
        yield Command(f"fault {kind.name} {way}", sentence, partial(toggle, session, kind))
