"""Where the figures of a run without a screen go, and who is not waited for."""

from __future__ import annotations

import fcntl
import json
import os

import pytest

from sockscope.core.run.snapshot import Totals
from sockscope.faces.output import Output, OutputForm, Plan
from tests.core.runs import role, run
from tests.each import each


@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="pipes of a page are Linux's")
@each("form", [OutputForm.JSON_STREAM, OutputForm.CSV])
def test_a_reader_that_takes_nothing_is_not_waited_for_and_gets_everything_later(form: OutputForm) -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    seen = run(swarm=role("swarm", Totals()))
    with os.fdopen(reader, "rb") as taken:
        with Output(Plan(form, f"/dev/fd/{writer}")) as output:
            os.close(writer)
            told = 0
            while output.hand_over():
                output.interval(seen)
                told += 1
            output.interval(seen)
            before = b""
            while not output.hand_over():
                before += os.read(reader, 4096)
        lines = (before + taken.read()).decode().splitlines()
    assert len(lines) == told + 1 + (form is OutputForm.CSV)
    if form is OutputForm.JSON_STREAM:
        assert [json.loads(line)["type"] for line in lines] == ["interval"] * len(lines)
