"""A run that has ended goes into the history, or a sentence says why not."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sockscope.core.intervals import Intervals
from sockscope.errors import HistoryError
from sockscope.faces.summary import summary_row, title_of
from sockscope.store.history import History


def keep(
    history: History | None,
    report: Mapping[str, Any],
    intervals: Intervals | None = None,
    *,
    began_at: datetime,
    cut_short: bool,
    title: str = "",
) -> int | None:
    """Keep a run or a race and return its number; None without a history, or when it cannot be kept.

    A run whose history cannot be written is as good as any other, so that is no fault of the run.
    """
    if history is None:
        return None
    try:
        return history.add(
            report,
            title=title or title_of(report),
            began_at=began_at,
            intervals=intervals.reports() if intervals is not None else (),
            cut_short=cut_short,
        )
    except HistoryError as error:
        if sys.stderr is not None:
            print(f"sockscope: this run is not kept: {error}", file=sys.stderr, flush=True)
        return None


def kept_text(number: int | None) -> str:
    """Return the line of a summary that tells the number of a run, or nothing."""
    if number is None:
        return ""
    return "\n".join(summary_row("kept as", f"run {number} (sockscope history show {number})")) + "\n"
