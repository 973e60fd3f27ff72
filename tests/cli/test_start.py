"""What starting the command costs, and what it does without a terminal."""

import subprocess
import sys

import pytest

from sockscope import __version__
from tests.cli.command import PATIENCE_S, installed, sockscope
from tests.loading import loaded_by_each

HEAVY = {"textual", "rich", "asyncio", "psutil", "uvloop", "sockscope.engine"}
LIGHT = (
    "--version", "--help", "run --help", "serve --help", "swarm --help", "doctor --help", "history --help",
    "history show --help", "diff --help", "history", "diff 1 2", "--print-spec", "run --print-spec",
    "run --clients 0",
)  # fmt: skip
RUN = "run -n 1 -c 1 -q"


def loaded_by(*commands: str) -> dict[str, set[str]]:
    """Return the modules that a process has imported when each of these commands ends."""
    words = [f"sys.argv[1:] = {command.split()!r}; sockscope.cli.app.main()" for command in commands]
    return dict(zip(commands, loaded_by_each(*words, first="import sockscope.cli.app"), strict=True))


def test_a_command_imports_nothing_heavy_without_need() -> None:
    loaded = loaded_by(*LIGHT, "", RUN)
    for command in LIGHT:
        assert not loaded[command] & HEAVY, command
    assert "sockscope.core.results.kinds" not in loaded["--version"]
    with_sqlite = {command for command in loaded if "sqlite3" in loaded[command]}
    assert with_sqlite == {"history", "diff 1 2", RUN}
    assert "textual" not in loaded[""]  # there is no terminal
    assert "uvloop" in loaded[RUN]
    assert not loaded[RUN] & {"textual", "rich"}


def test_version() -> None:
    done = installed("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"sockscope {__version__}\n", "")


def test_the_dashboard_without_a_terminal_points_to_run() -> None:
    done = installed()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("sockscope: the dashboard needs a terminal; without one, use: sockscope run\n")


def test_flags_before_a_subcommand_are_not_lost_in_silence() -> None:
    done = sockscope("-c", "5", "run")
    assert done.returncode == 2
    assert "--clients belongs after the command: sockscope run --clients" in done.stderr


@pytest.mark.parametrize("command", ["run", "serve", "swarm", "doctor", "history", "diff"])
def test_every_command_explains_itself(command: str) -> None:
    done = sockscope(command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: sockscope {command}")


def test_public_names_load_when_they_are_used() -> None:
    code = (
        "import sys, sockscope; assert 'uvloop' not in sys.modules; "
        "from sockscope import Engine, Experiment, Tuning; "
        "assert set(sockscope.__all__) <= set(dir(sockscope)); "
        "print(Engine.__name__, Experiment.__name__, Tuning.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    assert done.stdout == "Engine Experiment Tuning\n"


def test_unknown_public_names_are_refused() -> None:
    import sockscope as package

    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = package.Nonsense


@pytest.mark.parametrize(
    ("words", "offered"), [("ra", {"race"}), ("run --server th", {"threaded"}), ("run --fram", {"--framing"})]
)
def test_a_shell_completes_commands_flags_and_their_values(words: str, offered: set[str]) -> None:
    typed = f"sockscope {words}"
    done = sockscope(
        env={"_SOCKSCOPE_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    )
    assert {line.removeprefix("plain,") for line in done.stdout.split()} == offered
