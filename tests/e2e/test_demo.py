from __future__ import annotations

from pathlib import Path

from tests.cli.command import COMMAND
from tests.e2e.terminal import Terminal


def test_a_demo_plays_on_a_terminal_and_hands_over_at_any_key(tmp_path: Path) -> None:
    with Terminal(COMMAND, "demo", "--no-history", size=(100, 30), warm=True, HOME=str(tmp_path)) as terminal:
        terminal.sees("lesson 1 of 4", "goes on in", "any key takes over", "M Swarm map")
        terminal.send("x")
        terminal.sees("The run goes on", "clients ◂")
        terminal.send("q")
        assert terminal.ended() == 0
        assert b"Traceback" not in terminal.written
        assert "SockScope: TCP server and clients" in terminal.left_behind
