"""What ``e`` writes: the figures as JSON, the series as CSV, the screen as SVG."""

from __future__ import annotations

import csv
import json
from datetime import datetime
from itertools import count
from pathlib import Path

from sockscope.core.results.run_result import report
from sockscope.core.run.trace import Trace
from sockscope.faces.tui.session import Session


def export_all(session: Session, picture: str) -> list[Path]:
    """Write three files that share a name into the current directory, one of them ``picture`` (SVG).

    Raises OSError.
    """
    folder = Path.cwd()
    now = f"sockscope-{datetime.now():%Y%m%d-%H%M%S}"
    stems = (now if number == 1 else f"{now}-{number}" for number in count(1))
    stem = next(stem for stem in stems if not (folder / f"{stem}.json").exists())
    paths = [folder / f"{stem}.{ending}" for ending in ("json", "csv", "svg")]
    snapshot = session.source.snapshot()
    figures = report(snapshot, session.environment, session.intervals.windows)
    paths[0].write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    _write_series(paths[1], session.trace, snapshot.started_s)
    paths[2].write_text(picture, encoding="utf-8")
    return paths


def _write_series(path: Path, trace: Trace, started_s: float) -> None:
    names = list(trace.series)
    times = trace.series[names[0]].times
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["time_s", *names])
        columns = [trace.series[name].values for name in names]
        for time, *values in zip(times, *columns, strict=True):
            known = ["" if value != value else f"{value:.9g}" for value in values]
            writer.writerow([f"{time - started_s:.3f}", *known])
