"""From flags, environment and TOML to an experiment."""

import os
import random
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from sockscope.cli.app import app
from sockscope.cli.flags import called
from sockscope.cli.spec import Given, build, read_environment, to_toml
from sockscope.core.config.experiment import FIELDS, READY, Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.wire.octets import format_octets
from sockscope.errors import EXIT_USAGE
from tests.each import each


def invoke(*arguments: str, **env: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={**env})


def spec(*arguments: str, command: str = "run", **env: str) -> Experiment:
    """Return the experiment that ``--print-spec`` prints."""
    result = invoke(*([command] if command else []), *arguments, "--print-spec", **env)
    assert (result.exit_code, result.stderr) == (0, "")
    return from_toml(result.stdout)


def from_toml(text: str) -> Experiment:
    layer = {key: Given(raw, _name(key, raw)) for key, raw in tomllib.loads(text).items()}
    return build([layer], {}, {})


def _name(key: str, raw: bool | int | str) -> str:
    flag = FIELDS[key].spec.flag
    return called(key) if flag is not None and flag.only_typed(raw) else key


def complaint(*arguments: str, **env: str) -> str:
    result = invoke(*arguments, **env)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr
    return result.stderr


@each(
    ("arguments", "key", "value"),
    [
        (["-u"], "transport", "udp"),
        (["--udp"], "transport", "udp"),
        (["--tcp"], "transport", "tcp"),
        (["-4"], "family", "ipv4"),
        (["-6"], "family", "ipv6"),
        (["-c", "1k"], "clients", 1_000),
        (["--clients", "7"], "clients", 7),
        (["--permits", "off"], "permits", 0),
        (["-l", "64K"], "size", 65_536),
        (["--service-time", "250ms"], "service_time", 0.25),
        (["--think-time", "1"], "think_time", 1.0),
        (["--lifetime", "request"], "lifetime", 1),
        (["--lifetime", "run"], "lifetime", 0),
        (["--lifetime", "100"], "lifetime", 100),
        (["--framing", "newline"], "framing", "newline"),
        (["--loop", "asyncio"], "loop", "asyncio"),
        (["--timeout", "2s"], "timeout", 2.0),
        (["--connect-timeout", "1m"], "connect_timeout", 60.0),
        (["-p", "7007"], "port", 7_007),
        (["--bind", "127.0.0.2"], "bind", "127.0.0.2"),
        (["--delay"], "no_delay", False),
        (["--no-delay"], "no_delay", True),
        (["--rcvbuf", "1MiB"], "rcvbuf", 1 << 20),
        (["--sndbuf", "64k"], "sndbuf", 64_000),
        (["-d", "5m"], "duration", 300.0),
        (["-d", "0"], "duration", 0.0),
        (["-n", "10k"], "requests", 10_000),
        (["--warmup", "500ms"], "warmup", 0.5),
        (["--warmup", "ready"], "warmup", READY),
        (["--backlog", "16"], "backlog", 16),
        (["--max-connections", "10"], "max_connections", 10),
        (["--give-up", "30"], "give_up", 30.0),
        (["--give-up", "never"], "give_up", 0),
        (["--idle-timeout", "30"], "idle_timeout", 30.0),
        (["--seed", "42"], "seed", 42),
        (["--allow-remote"], "allow_remote", True),
        (["--handler", "my.server:handle"], "handler", "my.server:handle"),
        (["--protocol", "server:P"], "protocol", "server:P"),
        (["--request", "PING\\r\\n"], "request", "PING\\r\\n"),
        (["--request", " hex:"], "request", " hex:"),
        (["--request", "PING\\r\\n"], "size", 6),
        (["--request", "hex:00ff"], "request", "hex:00ff"),
        (["--expect", "7"], "expect", 7),
        (["--expect", "7"], "framing", "none"),
        (["--until", "\n"], "until", "\\n"),
        (["--target", "127.0.0.1:7"], "target", "127.0.0.1:7"),
        (["--target", "127.0.0.1:7"], "role", "swarm"),
        (["--target", "[::1]:7", "--pid", "1"], "pid", 1),
    ],
)
def test_every_flag_reaches_its_field(arguments: list[str], key: str, value: object) -> None:
    assert spec(*arguments).value(key) == value


def test_the_dashboard_takes_the_same_flags() -> None:
    assert spec("-u", "-c", "5", command="") == Experiment(tuning=Tuning(transport="udp", clients=5))


def test_without_flags_the_defaults_stand() -> None:
    assert spec(command="") == Experiment()


def test_who_types_a_cluster_has_the_roles_there_unless_a_place_is_named() -> None:
    assert spec("--cluster", "local:2").tuning.place == "cluster"
    assert spec("--cluster", "local:2", "--place", "apart").tuning.place == "apart"


def test_run_lasts_ten_seconds_unless_told() -> None:
    assert spec().duration_s == 10
    assert spec("-n", "5").duration_s == 0
    assert spec(SOCKSCOPE_DURATION="3").duration_s == 3
    assert spec("127.0.0.1:80", command="swarm").duration_s == 10
    assert spec(command="serve").duration_s == 0


def test_an_ipv6_address_to_listen_on_implies_the_family() -> None:
    assert spec("--bind", "::1").tuning.family == "ipv6"
    assert "--bind = '127.0.0.1' is not an address of the family ipv6" in complaint(
        "run", "-6", "--bind", "127.0.0.1"
    )


@each(
    ("bind", "address"),
    [
        ("[::1]", "::1"),
        ("0:0::0:1", "::1"),
        ("[::FFFF:127.0.0.1]", "::ffff:127.0.0.1"),
        ("::1%25lo", "::1%1"),
        ("LOCALHOST", "127.0.0.1"),
        ("a.localhost.", "127.0.0.1"),
        ("127.0.0.2", "127.0.0.2"),
        ("*", ""),
        ("127.0.0.1:80", ""),
        ("[::1", ""),
        ("::1%nosuch", ""),
        ("fe80::1", ""),
    ],
)
def test_every_form_of_an_address_to_listen_on(bind: str, address: str) -> None:
    if not address:
        assert "--bind = " in complaint("run", "--bind", bind)
        return
    found = spec("--bind", bind, *(["-4"] if "local" in bind.lower() else []))
    assert (found.bind, found.tuning.family) == (address, "ipv6" if ":" in address else "ipv4")


@pytest.mark.parametrize(
    "tapped",
    [
        ["6380", "127.0.0.1:6379"],
        ["[::1]:6380", "127.0.0.1:6379", "--also", "6381=unix:@of-another"],
        ["unix:@a", "unix:@b"],
    ],
)
def test_the_spec_of_a_tap_runs_as_the_tap(tapped: list[str], tmp_path: Path) -> None:
    printed = invoke("tap", *tapped, "--duration", "3s", "--print-spec").stdout
    (tmp_path / "tap.toml").write_text(printed)
    assert invoke("run", "--spec", str(tmp_path / "tap.toml"), "--print-spec").stdout == printed


def test_all_addresses_of_a_target_are_kept() -> None:
    found = spec("[::1]:80,127.0.0.1:80,[::1]:80", command="swarm")
    assert (found.target, found.targets) == ("[::1]:80,127.0.0.1:80", (("::1", 80), ("127.0.0.1", 80)))


def test_roles() -> None:
    assert spec(command="serve").role == "server"
    swarm = spec("[::1]:7007", command="swarm")
    assert (swarm.role, swarm.target, swarm.tuning.family) == ("swarm", "[::1]:7007", "ipv6")
    assert swarm.tuning.service_time_s == 0


def test_a_name_is_resolved() -> None:
    assert spec("localhost:7007", "-4", command="swarm").target == "127.0.0.1:7007"
    # A dot ends a complete name; a hosts file, or whoever knows the name, knows it without.
    assert spec("127.0.0.1.:7007", command="swarm").target == "127.0.0.1:7007"


@each(
    ("target", "reason"),
    [
        ("localhost", "is not an address with a port"),
        ("localhost:0", "is not an address with a port"),
        ("localhost:65536", "is not an address with a port"),
        (":80", "is not an address with a port"),
        ("a..b:80", "cannot be resolved"),
        (".:80", "cannot be resolved"),
        ("x" * 70 + ".invalid:80", "cannot be resolved"),
        ("192.0.2.1:80", "is another machine; only with --allow-remote"),
        ("127.0.0.1:80,224.0.0.1:80", "is a multicast address, not that of one machine"),
        ("[::ffff:255.255.255.255]:80", "is the broadcast address"),
    ],
)
def test_targets_that_do_not_do(target: str, reason: str) -> None:
    assert reason in complaint("swarm", target)


def test_an_address_of_the_other_family_does_not_resolve() -> None:
    assert "is not an address of the family ipv6" in complaint("swarm", "-6", "127.0.0.1:80")


def test_a_swarm_needs_a_target(tmp_path: Path) -> None:
    assert "HOST:PORT is missing" in complaint("swarm")
    file = tmp_path / "spec.toml"
    file.write_text('target = "127.0.0.1:7007"')
    assert spec("--spec", str(file), command="swarm").target == "127.0.0.1:7007"


@each(("command", "flag"), [("swarm", "--service-time"), ("serve", "--clients")])
def test_a_role_has_no_flags_of_the_other(command: str, flag: str) -> None:
    said = complaint(command, flag, "1")
    assert "No such option" in said
    assert flag in said


@pytest.mark.parametrize("command", ["run", ""])
def test_a_target_makes_it_a_swarm(command: str, tmp_path: Path) -> None:
    aimed = spec("--target", "localhost:7007", "-4", "--expect", "3", command=command)
    assert (aimed.role, aimed.target, aimed.tuning.service_time_s) == ("swarm", "127.0.0.1:7007", 0)
    assert spec("--target", "[::1]:7", command=command).tuning.family == "ipv6"
    assert spec(command=command, SOCKSCOPE_TARGET="127.0.0.1:7").role == "swarm"
    file = tmp_path / "spec.toml"
    file.write_text(to_toml(aimed))
    assert spec("--spec", str(file), command=command) == aimed
    said = complaint("run", "--target", "nowhere", "-c", "0")
    assert said.startswith("sockscope: --clients = 0 must be at least 1")
    assert complaint("run", "--target", "192.0.2.1:80").count("only with --allow-remote") == 1
    assert complaint("run", "--target", "a..b:80").startswith("sockscope: --target = 'a..b:80' cannot be")


@each(
    ("arguments", "sentences"),
    [
        (["--target", "127.0.0.1:7", "--service-time", "5ms", "-p", "80", "--handler", "a:b"],
         ["--service-time = '5ms' has no effect: the server is elsewhere",
          "--port = '80' has no effect: the server is elsewhere",
          "--handler = 'a:b' has no effect: the server is elsewhere"]),
        (["--handler", "a:b", "--work", "cpu", "--server", "protocol", "--read-bytes", "1K"],
         ["--work = 'cpu' has no effect: a:b serves, not a model", "--read-bytes = '1K' has no effect",
          "--server = 'protocol' cannot be combined with --handler"]),
        (["--handler", "a:b", "--protocol", "a:c", "-u"],
         ["--protocol = 'a:c' cannot be combined with --handler"]),
        (["--pid", "7"], ["--pid = 7 is the process of a server elsewhere: only with --target"]),
        (["--request", "PING", "-l", "5"], ["--size = 5 is set by the request, which is 4 B"]),
        (["--until", "\\n", "--framing", "length"], ["--framing = 'length' tells how answers end, and so"]),
        (["--until", "\\n", "--expect", "3"], ["--until = '\\\\n' cannot be combined with --expect"]),
        (["--until", ""], ["--until = '' is empty"]),
        (["--until", "hex:0"], ["--until = 'hex:0' is not hexadecimal"]),
        (["--request", "\\y"], ["--request = '\\\\y' is not text: there is no escape \\y"]),
        (["--request", "a", "--request", "hex:a"], ["wrong at character 5 of the text that is number 2"]),
        (["-u", "--request", "12345678"], ["--request = '12345678' needs a --target over UDP"]),
    ],
)  # fmt: skip
def test_what_goes_together_with_nothing_is_told(arguments: list[str], sentences: list[str]) -> None:
    said = complaint("run", *arguments)
    for sentence in sentences:
        assert said.count(sentence) == 1, said
    assert len(said.splitlines()) == (1 if len(sentences) == 1 else 1 + len(sentences))


def test_the_request_can_stand_in_a_file(tmp_path: Path) -> None:
    text, binary, empty, large = (tmp_path / name for name in ("text", "binary", "empty", "large"))
    text.write_bytes(b"GET / HTTP/1.1\r\n\r\n")
    binary.write_bytes(b"\0\xff")
    empty.touch()
    large.write_bytes(bytes((1 << 20) + 1))
    (tmp_path / "nothing").mkdir()
    os.mkfifo(pipe := tmp_path / "pipe")
    found = spec("--request", f"@{text}", "--until", "hex:0d0a")
    assert found.request == "GET / HTTP/1.1\\r\\n\\r\\n"
    assert found.tuning.request_bytes == 18
    assert spec("--request", f"@{binary}").request == "hex:00ff"
    (tmp_path / "several").mkdir()
    for name in ("b", "a", ".hidden"):
        (tmp_path / "several" / name).write_text(f"{name}\n")
    several = spec("--request", "x{n}", "--request", f"@{tmp_path / 'several'}", "--weights", "2,1,1")
    assert several.request.split("\n") == ["x{n}", "a\\n", "b\\n"]
    assert several.weights == "2,1,1"
    for path, reason in (
        (empty, "is an empty file"),
        (large, "is larger than 1,048,576 B"),
        (tmp_path / "none of them", "cannot be read: No such file or directory"),
        (tmp_path / "nothing", "is an empty directory"),
        ("/dev/zero", "is a device, not a regular file"),
        (pipe, "is a pipe, not a regular file"),
        (tmp_path / "none", "cannot be read: No such file or directory"),
        ("", "cannot be read: No such file or directory"),
        ("a\0b", "no file has a NUL in its name"),
    ):
        assert reason in complaint("run", "--request", f"@{path}")


def test_later_layers_go_before_earlier_ones(tmp_path: Path) -> None:
    file = tmp_path / "spec.toml"
    file.write_text('clients = 1\npermits = 1\nsize = "1K"\nservice_time = 0.5\ntransport = "udp"\n')
    found = spec("--spec", str(file), "-c", "3", "--tcp", SOCKSCOPE_CLIENTS="2", SOCKSCOPE_PERMITS="2")
    tuning = found.tuning
    assert (tuning.clients, tuning.permits, tuning.request_bytes) == (3, 2, 1_024)
    assert (tuning.service_time_s, tuning.transport) == (0.5, "tcp")


def test_an_empty_variable_counts_as_not_set() -> None:
    assert read_environment({"SOCKSCOPE_CLIENTS": "", "SOCKSCOPE_OTHER": "1", "CLIENTS": "3"}) == {}


@each(
    ("arguments", "sentence"),
    [
        (["-c", "-5"], "--clients = '-5' must not be negative (for example"),
        (["-c", "0"], "--clients = 0 must be at least 1"),
        (["-c", "10001"], "--clients = 10001 must be at most 10,000"),
        (["-c", ""], "--clients = '' is empty"),
        (["--bind", ""], "--bind = '' is empty"),
        (["--bind", "a..b"], "--bind = 'a..b' cannot be resolved"),
        (["--bind", "127.0.0.1:80"], "--bind = '127.0.0.1:80' names a port; that is --port"),
        (["--bind", "[::1]:80"], "--bind = '[::1]:80' names a port; that is --port"),
        (["--bind", "http://[::1]/"], "--bind = 'http://[::1]/' is a URL"),
        (["--bind", "0xe0000001"], "--bind = '224.0.0.1' is a multicast address"),
        (["-l", "12parsec"], "--size = '12parsec' is not a size"),
        (["--service-time", "-1ms"], "--service-time = '-1ms' must not be negative"),
        (["--service-time", "soon"], "--service-time = 'soon' is not a duration"),
        (["--timeout", "0"], "--timeout = 0.0 must be at least 1 ms"),
        (["--loop", "trio"], "--loop = 'trio' is not one of uvloop, asyncio"),
        (["-p", "65536"], "--port = 65536 must be at most 65,535"),
        (["-d", "nan"], "--duration = 'nan' is not a duration"),
        (["-u", "-l", "65508"], "--size = 65508: a UDP datagram carries at most 65,507 B"),
        (["-u", "-l", "4"], "--size = 4: a UDP request needs 8 B"),
        (["-u", "--unix", "-l", "65508"], "--size = 65508: a Unix datagram carries at most 65,507 B"),
        (["--unix", "-p", "80"], "--port = 80 is for IP; a Unix socket has a path (--bind unix:/path)"),
        (["--bind", "unix:@it", "--delay"], "--no-delay = False has no effect: a Unix socket has no such"),
        (["--bind", "unix:@it", "-4"], "--bind = 'unix:@it' is not an address of the family ipv4"),
        (["--bind", "unix:@"], "--bind = 'unix:@' is not a Unix socket, such as unix:/run/my.sock"),
        (["--unix", "--server-processes", "2"], "--server-processes = 2 needs SO_REUSEPORT, which Unix"),
        (["--target", "unix:/it", "-6"], "--target = 'unix:/it' is not an address of the family ipv6"),
        (["--target", "localhost:80", "--unix"], "--target = 'localhost:80' is not a Unix socket"),
        (["--target", "unix:/it,[::1]:80"], "target = 'unix:/it,[::1]:80' has Unix sockets and others"),
        (["--cluster", "local:0"], "--cluster = 'local:0' needs 2 to 64 workers"),
        (["--cluster", "127.0.0.1"], "--cluster = '127.0.0.1' is neither local:N nor"),
        (["--cluster", "tls://[::1]:8786"], "--cluster = 'tls://[::1]:8786' needs --cluster-ca and"),
        (["--cluster", "local:2", "--cluster-ca", "ca.pem"], "--cluster-ca = 'ca.pem' has no effect: only"),
    ],
)
def test_nonsense_is_refused_in_a_sentence_that_names_the_flag(arguments: list[str], sentence: str) -> None:
    said = complaint("run", *arguments)
    assert said.startswith(f"sockscope: {sentence}")
    assert said.count("\n") == 1


def test_a_faulty_variable_is_named() -> None:
    assert complaint("run", SOCKSCOPE_CLIENTS="many").startswith(
        "sockscope: SOCKSCOPE_CLIENTS = 'many' is not a number"
    )


def test_every_fault_is_told_in_one_go(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(
        'clinets = 5\nsize = "x"\nclients = 0\nservice_time = [1]\npermits = true\nbacklog = 1.5\n'
        f"seed = 1{'0' * 400}\nduration = inf\n[swarm]\nsize = 1\n"
    )
    said = complaint("run", "--spec", str(file), "--framing", "morse", SOCKSCOPE_LOOP="x")
    for field, reason in {
        f"clinets in {file}": "there is no such field; did you mean clients?",
        f"size in {file}": "not a size",
        f"clients in {file}": "must be at least 1",
        f"service_time in {file}": "is not a duration",
        f"permits in {file}": "is not a whole number",
        f"backlog in {file}": "is not a whole number",
        f"seed in {file}": "must be at most",
        f"duration in {file}": "must be finite",
        f"swarm in {file}": "there is no such field",
        "--framing": "is not one of length, newline, fixed, none",
        "SOCKSCOPE_LOOP": "is not one of uvloop, asyncio",
    }.items():
        assert any(field in line and reason in line for line in said.splitlines()), (field, reason)
    assert said.startswith("sockscope: 11 things are wrong:\n")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"clients = 5\npermits = \n", "is not TOML: Invalid value (at line 2, column 11)"),
        (b"clients = 5\nclients = 6\n", "is not TOML: Cannot overwrite a value (at line 2"),
        (b"\xff\xfe", "is not UTF-8: byte 0 is 0xff"),
        (b"clients = " + b"[" * 5_000 + b"]" * 5_000, "is not TOML: it is nested too deeply"),
        (b"clients" + b".a" * 200_000 + b" = 1", "is not TOML: it is nested too deeply"),
        (b"clients.a.a = 1", "clients in {file} = {...} is not a whole number"),
        (b"clients = " + b"1" * 5_000, "is not TOML: a number has too many digits"),
        (b"clients = 0x" + b"f" * 5_000, "= a number of 20,000 bits must be at most 1,000,000"),
        (b'target = "127.0.0.1:' + b"1" * 5_000 + b'"', "is not an address with a port"),
        (b"#" * (4 << 20) + b"\n", "is larger than 4,194,304 B, the most that is read"),
    ],
)
def test_a_file_that_is_not_toml(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_bytes(content)
    assert reason.replace("{file}", str(file)) in complaint("run", "--spec", str(file))


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "marked.toml"
    file.write_bytes("\ufeffclients = 7\r\n".encode())
    assert spec("--spec", str(file)).tuning.clients == 7


@pytest.mark.parametrize(
    ("given", "flag"),
    [
        ('bind = "0.0.0.0"', "--bind"),
        ('bind = "192.0.2.1"', "--bind"),
        ("allow_remote = true", "--allow-remote"),
        ('target = "192.0.2.1:80"\nallow_remote = true', "--allow-remote"),
        ('request = "@/etc/hostname"', "--request"),
        ('tls = true\ntls_key = "/etc/hostname"\ntls_cert = "/etc/hostname"', "--tls-key"),
        ("tls = true\ntls_insecure = true", "--tls-insecure"),
    ],
)
def test_only_what_is_typed_leaves_this_machine(tmp_path: Path, given: str, flag: str) -> None:
    file = tmp_path / "theirs.toml"
    file.write_text(given)
    assert f"can only be given on the command line, as {flag}" in complaint("run", "--spec", str(file))
    variables = {f"SOCKSCOPE_{key.upper()}": str(raw) for key, raw in tomllib.loads(given).items()}
    assert f"can only be given on the command line, as {flag}" in complaint("run", **variables)


def test_what_is_typed_allows_what_a_file_names(tmp_path: Path) -> None:
    file = tmp_path / "theirs.toml"
    file.write_text('target = "192.0.2.1:80"\nallow_remote = true\n')
    assert spec("--spec", str(file), "--allow-remote").target == "192.0.2.1:80"
    file.write_text('bind = "127.0.0.2"\nallow_remote = false')
    assert spec("--spec", str(file)).bind == "127.0.0.2"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in complaint("run", "--spec", str(tmp_path / "none.toml"))
    assert "cannot be read: Is a directory" in complaint("run", "--spec", str(tmp_path))
    assert "is a device, not a regular file" in complaint("run", "--spec", "/dev/zero")


def test_of_thousands_of_faults_some_are_told(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("".join(f"{'k' * 5_000}{number} = 1\n" for number in range(500)))
    said = complaint("run", "--spec", str(path))
    assert "500 things are wrong" in said
    assert "and 480 more" in said
    assert len(said) < 10_000


def test_control_characters_of_a_file_do_not_reach_the_terminal(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text('"\\u001b[2Jsize" = 1\n')
    said = complaint("run", "--spec", str(file))
    assert "\x1b" not in said
    assert "\\x1b[2Jsize" in said


def test_the_printed_spec_describes_every_field() -> None:
    text = invoke("--print-spec").stdout
    assert set(tomllib.loads(text)) == set(FIELDS)
    for entry in FIELDS.values():
        assert f"# {entry.spec.doc}" in text


_DURATION = st.integers(1_000, 60_000_000).map(lambda us: us / 1e6)


@given(
    st.builds(
        Experiment,
        tuning=st.builds(
            Tuning,
            transport=st.sampled_from(["tcp", "udp"]),
            clients=st.integers(1, 10_000),
            permits=st.integers(0, 10_000),
            request_bytes=st.integers(8, 65_507),
            service_time_s=_DURATION,
            request_timeout_s=_DURATION,
            lifetime=st.integers(0, 1_000_000_000),
            no_delay=st.booleans(),
            rcvbuf_bytes=st.integers(0, 1 << 30),
        ),
        loop=st.sampled_from(["uvloop", "asyncio"]),
        port=st.integers(0, 65_535),
        duration_s=_DURATION,
        requests=st.integers(0, 10**15),
        bind=st.sampled_from(["", "127.0.0.1", "0.0.0.0"]),
        seed=st.integers(0, 1 << 62),
    )
)
def test_a_printed_spec_reads_back_to_the_same_experiment(experiment: Experiment) -> None:
    assert from_toml(to_toml(experiment)) == experiment


_OCTETS = st.binary(min_size=1, max_size=12).map(format_octets)
_PATTERN = st.sampled_from([r"/^\d{3} /", "/^-/i", "ok", r'/"\\\x00é\t/', "/'''/"])
_SEVERAL = st.lists(_OCTETS, min_size=1, max_size=4)
_CONVERSATION: dict[str, st.SearchStrategy[Any]] = {
    "accept": _PATTERN, "reject": _PATTERN, "greeting": _OCTETS, "preamble": _SEVERAL.map("\n".join),
    "preamble_until": _OCTETS, "unasked": st.sampled_from(FIELDS["unasked"].spec.choices),
}  # fmt: skip
_ENDS = st.one_of(
    st.tuples(st.just("until"), _OCTETS),
    st.tuples(st.just("until_line"), _PATTERN),
    st.tuples(st.just("expect"), st.integers(1, 1 << 20)),
    st.tuples(st.just("length_field"), st.sampled_from(["0:4", "2:2:little+6", "1:varint", "12:2-14"])),
    st.tuples(st.just("answer"), st.sampled_from(["http", "resp", "websocket"])),
)


@settings(max_examples=30)
@given(
    said=st.fixed_dictionaries({}, optional=_CONVERSATION),
    end=_ENDS,
    requests=_SEVERAL,
    seed=st.randoms(use_true_random=False),
)
def test_a_printed_conversation_reads_back_the_same(
    said: dict[str, Any], end: tuple[str, Any], requests: list[str], seed: random.Random
) -> None:
    if "preamble" not in said:
        said.pop("preamble_until", None)
    if len(requests) > 1:
        said["weights"] = ",".join(str(seed.randint(1, 9)) for _ in requests)
    aimed = {"role": "swarm", "target": "127.0.0.1:1", "request": "\n".join(requests)}
    experiment = Experiment().with_values({**aimed, **said, end[0]: end[1]}).settled().validated()
    assert from_toml(to_toml(experiment)) == experiment


@pytest.mark.parametrize("given", ["file", "variable", "flag"])
def test_a_protocol_is_named_in_a_file_a_variable_or_a_flag(given: str, tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text('as = "redis"\nrequest = "GET a\\\\r\\\\n"\n')
    asked = {"file": ("--spec", str(file)), "variable": (), "flag": ("--as", "redis")}[given]
    env = {"SOCKSCOPE_AS": "redis" if given == "variable" else ""}
    found = spec(*asked, "--target", "127.0.0.1:1", "--reject", "/^-ERR/", **env)
    assert (found.answer, found.tuning.reject) == ("resp", "/^-ERR/")
    assert found.request == (r"GET a\r\n" if given == "file" else r"PING\r\n")
    assert found.request == Experiment().speaking("redis").request or given == "file"


@pytest.mark.parametrize("raw", ['"gopher"', '""', "3"])
def test_a_protocol_that_is_none_is_refused(raw: str, tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(f"as = {raw}\n")
    done = invoke("run", "--spec", str(file))
    assert done.exit_code == EXIT_USAGE
    assert f"as in {file} = " in done.stderr
    assert "is none of http, redis" in done.stderr


def test_the_help_has_headings() -> None:
    told = invoke("run", "--help").stdout
    parts = {part.split(":\n")[0]: part for part in told.split("\n\n") if ":\n" in part}
    assert "--until-line" in parts["Conversation: which server is asked, how, and what counts as an answer"]
    assert "--backlog" in parts["Server"]
    assert "--clients" in parts["Clients"]
    assert "--fail-if" in parts["Output and other options"]
    assert "Commands:" in invoke("--help").stdout
