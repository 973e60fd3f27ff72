"""Whatever is typed, in a TOML file or in a variable: an experiment, or sentences that name what is wrong."""

from __future__ import annotations

import socket
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from sockscope.cli.app import app
from sockscope.core.config.experiment import FIELDS

_OPTIONS = [option for command in app.commands.values() for option in command.params]
_FLAGS = sorted({name for option in _OPTIONS for name in option.opts})
_WORDS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
    st.sampled_from([
        "", " ", "-1", "0", "1e999", "nan", "inf", "1" * 5_000, "9" * 400 + "h", "1_0", "٣", "1.5.2",
        "0x10", "10k", "64K", "250ms", "1m30s", "on", "127.0.0.1:1", "[::1]:1", "::1", "fe80::1%x",
        "localhost:99999", "hex:0g", "\\x", "@", "@/dev/zero", "/dev/full", "\x1b[2J", "\udcff",
        "p99>", "p99>1s", "errors<-1%", "default", "protocol",
    ]),
)  # fmt: skip
_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\'), max_size=12)
_VALUES = st.one_of(
    st.integers(-(10**30), 10**30).map(str),
    st.floats().map(str),
    _TEXT.map('"{}"'.format),
    st.sampled_from([
        "true", "false", "1979-05-27T07:32:00", "[1, [2]]", "{a = {b = 1}}", "0x" + "f" * 5_000,
        '"\\u001b[2J"', '"@/dev/zero"', '"hex:00"',
    ]),
)  # fmt: skip
_KEYS = st.sampled_from([*FIELDS, "clents", '"\\u001b[2J"', "a.b.c"])


@pytest.fixture(autouse=True, scope="module")
def _no_name_is_looked_up() -> Iterator[None]:
    look_up = socket.getaddrinfo

    def numeric(host: str, port: int, *rest: Any, **more: Any) -> Any:
        if not host.isascii() or not set(host) <= set("0123456789abcdefABCDEF.:%"):
            raise socket.gaierror(socket.EAI_NONAME, "there are no names here")
        return look_up(host, port, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", numeric)
        yield


def ends_in_words(*arguments: str, **variables: str) -> bool:
    """Run the command, which must end in words that a terminal can show; return whether it was content."""
    done = CliRunner().invoke(app, arguments, env=variables)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code in (0, 2)
    assert bool(done.stderr) == bool(done.exit_code)
    for line in done.output.splitlines():
        assert line.isprintable()
    return done.exit_code == 0


@given(
    st.sampled_from(["run", "serve", "swarm", "race"]),
    st.lists(st.one_of(st.sampled_from(_FLAGS), _WORDS), max_size=8),
)
@example("swarm", ["127.0.0.1:" + "1" * 5_000])
@example("run", ["--\x1b[2J"])
def test_the_command_line(command: str, words: list[str]) -> None:
    # It must run nothing, whatever the words are: they come after, and cannot take this back.
    words = [word for word in words if word not in ("--", "--spec", "--history", "--help")]
    ends_in_words(command, "--print-spec", *words)


@given(st.dictionaries(_KEYS, _VALUES, max_size=5))
@example({"service_time": "0x" + "f" * 5_000})
def test_a_file(values: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "nonsense.toml"
        file.write_text("".join(f"{key} = {value}\n" for key, value in values.items()), encoding="utf-8")
        if ends_in_words("run", "--spec", str(file), "--print-spec"):
            assert set(tomllib.loads(file.read_text(encoding="utf-8"))) <= set(FIELDS)


@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf\xef\xbb\xbf")
def test_a_file_of_any_bytes(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "nonsense"
        file.write_bytes(data)
        ends_in_words("run", "--spec", str(file), "--print-spec")
        ends_in_words("run", "--request", f"@{file}", "--until", "x", "--print-spec")


@given(st.dictionaries(st.sampled_from([f"SOCKSCOPE_{key.upper()}" for key in FIELDS]), _WORDS, max_size=4))
def test_the_environment(variables: dict[str, str]) -> None:
    ends_in_words("run", "--print-spec", **variables)
