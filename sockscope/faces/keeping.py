"""A run that has ended goes into the history, or a sentence says why not."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sockscope.core.results.kinds import kind_of
from sockscope.errors import HistoryError
from sockscope.faces.printing import say
from sockscope.faces.summary import summary_row
from sockscope.store.history import History, default_path


def keep(
    history: History | None,
    report: Mapping[str, Any],
    *,
    title: str,
    began_at: datetime,
    intervals: Sequence[Mapping[str, Any]] = (),
    cut_short: bool = False,
) -> int | None:
    """Keep a run or a race and return its number; None without a history, or when it cannot be kept.

    A run whose history cannot be written is as good as any other, so that is no fault of the run.
    """
    if history is None:
        return None
    try:
        return history.add(report, title=title, began_at=began_at, intervals=intervals, cut_short=cut_short)
    except HistoryError as error:
        say(f"this {kind_of(report).name} was not saved to the history: {error}")
        return None


def kept_text(kind: str, number: int | None, history: History | None) -> str:
    """Return the line of a summary that tells how to see a ``kind`` of result again, or nothing."""
    if number is None or history is None:
        return ""
    elsewhere = "" if history.path == default_path() else f" --history {shlex.quote(str(history.path))}"
    again = f"sockscope history show {number}{elsewhere}"
    # Not wrapped, so that the command can be pasted.
    return "".join(summary_row("kept as", f"{kind} {number}")) + f" ({again})\n"
