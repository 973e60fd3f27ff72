"""What starting the command costs, and what it does without a terminal."""

import subprocess
import sys

import pytest

from sockscope import __version__
from tests.cli.command import PATIENCE_S, clean_environment, installed, sockscope

HEAVY = {"textual", "rich", "asyncio", "psutil", "uvloop"}
_LOADED = """
import sys
from sockscope.__main__ import main
words = sys.argv[1:]
while words:
    end = words.index("then")
    sys.argv, words = ["sockscope", *words[:end]], words[end + 1:]
    try:
        main()
    except SystemExit:
        pass
    finally:
        print(" ".join(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


def loaded_by(*arguments: str) -> set[str]:
    """Return the top-level modules that a process has imported when it ends."""
    return loaded_by_each(list(arguments))[-1]


def loaded_by_each(*commands: list[str]) -> list[set[str]]:
    """Return what a process has imported after each command that it runs, one after the other."""
    words = [word for command in commands for word in (*command, "then")]
    done = subprocess.run(
        [sys.executable, "-c", _LOADED, *words],
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return [set(line.split()) for line in done.stderr.splitlines() if " sys " in line]


def test_nothing_heavy_is_imported_without_need() -> None:
    helps = [
        ["--version"], ["--help"], ["run", "--help"], ["serve", "--help"], ["swarm", "--help"],
        ["doctor", "--help"], ["history", "--help"], ["history", "show", "--help"], ["diff", "--help"],
    ]  # fmt: skip
    commands = [
        *helps, ["--print-spec"], ["run", "--print-spec"], ["run", "--clients", "0"], ["history"],
        ["diff", "1", "2"],
    ]  # fmt: skip
    loaded = loaded_by_each(*commands)
    assert len(loaded) == len(commands)
    for command, modules in zip(commands, loaded, strict=True):
        assert not modules & HEAVY, command
        assert ("sqlite3" in modules) == (command in (["history"], ["diff", "1", "2"])), command


def test_a_headless_run_does_not_import_the_dashboard() -> None:
    loaded = loaded_by("run", "-n", "1", "-c", "1", "-q")
    assert "uvloop" in loaded
    assert not loaded & {"textual", "rich"}


def test_version() -> None:
    done = installed("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"sockscope {__version__}\n", "")


def test_the_dashboard_without_a_terminal_points_to_run() -> None:
    done = installed()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("sockscope: the dashboard needs a terminal; without one, use: sockscope run\n")
    assert "textual" not in loaded_by()


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
