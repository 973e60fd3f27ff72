"""Widgets stand on screens of their own, with nothing that runs behind them."""

import pytest


@pytest.fixture(autouse=True)
def hasty_pilot() -> None:
    """Let the pilot wait as it does by itself: here the process does get idle."""
