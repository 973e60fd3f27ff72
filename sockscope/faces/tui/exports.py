"""What ``e`` writes: the files that a screen offers, and a picture of it, under one name."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from datetime import datetime
from itertools import count
from pathlib import Path

from sockscope.core.results.run_result import report
from sockscope.core.run.snapshot import Snapshot
from sockscope.core.run.trace import Trace
from sockscope.faces.tui.session import Session
from sockscope.store.files import write_file


def write_files(texts: Mapping[str, str]) -> list[Path]:
    """Write texts, by ending, into files of the current directory that share a new name.

    All of them or, when one cannot be written, none. Raises OSError.
    """
    folder = Path.cwd()
    now = f"sockscope-{datetime.now():%Y%m%d-%H%M%S}"
    stems = (now if number == 1 else f"{now}-{number}" for number in count(1))
    stem = next(stem for stem in stems if not any(folder.glob(f"{stem}.*")))
    paths = [folder / f"{stem}.{ending}" for ending in texts]
    try:
        for path, text in zip(paths, texts.values(), strict=True):
            write_file(path, text)
    except OSError:
        for path in paths:
            path.unlink(missing_ok=True)
        raise
    return paths


def files_of(session: Session) -> dict[str, str]:
    """Return the figures of a run as JSON, and its series as CSV: of the moment that is on the screen."""
    snapshot = session.moment
    windows = [one for one in session.intervals.windows if one.time_s <= snapshot.time_s]
    return {
        "json": to_json(report(snapshot, session.environment, windows)),
        "csv": _series(session.trace, snapshot),
    }


def to_json(figures: Mapping[str, object]) -> str:
    """Return figures as a JSON document."""
    return json.dumps(figures, indent=2) + "\n"


def _series(trace: Trace, until: Snapshot) -> str:
    names = list(trace.series)
    times = trace.series[names[0]].times
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["time_s", *names])
    columns = [trace.series[name].values for name in names]
    for time, *values in zip(times, *columns, strict=True):
        if time > until.time_s:
            break
        known = ["" if value != value else f"{value:.9g}" for value in values]
        writer.writerow([f"{time - until.started_s:.3f}", *known])
    return file.getvalue()
