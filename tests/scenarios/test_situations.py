"""The limit sentence of one second of a run, situation by situation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sockscope.core.run.findings import limit_of, limit_of_run
from sockscope.core.run.snapshot import RunState
from tests.scenarios.situations import SITUATIONS, Situation


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
def test_the_limit_is_named_with_its_evidence(situation: Situation) -> None:
    window = situation.window()
    found = limit_of(window)
    assert found.limit == situation.limit, found.text
    for word in situation.words:
        assert word in found.text
    for word in situation.never:
        assert word not in found.text
    # A run that has ended is judged alike.
    assert limit_of_run(replace(window, state=RunState.STOPPED)).limit == situation.limit
