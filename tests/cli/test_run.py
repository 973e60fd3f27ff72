"""Headless runs through the installed command: what they write, and how they end."""

import csv
import json
import os
import pty
import signal
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from tests.cli.command import (
    COMMAND,
    PATIENCE_S,
    WARM,
    clean_environment,
    figures,
    finished,
    next_complaint,
    next_line,
    running,
    sockscope,
)
from tests.cli.warm import WarmCommand
from tests.ports import unused_port


def _ipv6_is_missing() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return True
    return False


IPV6 = pytest.param("-6", marks=pytest.mark.skipif(_ipv6_is_missing(), reason="needs IPv6"))
FAMILIES = pytest.mark.parametrize("family", ["-4", IPV6])
TRANSPORTS = pytest.mark.parametrize("transport", ["--tcp", "--udp"])
QUICK = ("-n", "200", "-c", "10", "--service-time", "0")
FOREVER = ("-d", "0", "-c", "4", "--service-time", "1ms")


# What is written.


def test_the_distribution_goes_to_a_file_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "service.hgrm"
    found = figures("run", *QUICK, "--hdr", str(file), "--hdr-of", "service")
    lines = file.read_text().splitlines()
    assert lines[0].split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    *_, last = (line.split() for line in lines[1:] if line and line[0] != "#")
    assert last[1:] == ["1.000000000000", str(found["service_time_s"]["count"]), "inf"]
    assert float(last[0]) == pytest.approx(found["service_time_s"]["max"] * 1_000, abs=0.0006)
    found = figures("run", *QUICK, "--permits", "2", "--hdr", str(file))
    *_, unit = file.read_text().splitlines()
    assert unit == "# response time; values in milliseconds"
    refused = sockscope("run", "--hdr-of", "service")
    assert refused.stderr == "sockscope: --hdr-of = 'service' has no effect without --hdr\n"
    refused = sockscope("run", "--hdr", "-", "--json")
    assert refused.stderr == "sockscope: --hdr = '-' is where the figures go already\n"
    refused = sockscope("run", "--hdr", str(tmp_path / "none" / "x"))
    assert (refused.returncode, "--hdr" in refused.stderr) == (2, True)


@TRANSPORTS
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@FAMILIES
def test_json_counts_every_request(transport: str, loop: str, family: str) -> None:
    found = figures("run", transport, *QUICK, "--loop", loop, family)
    totals, server = found["totals"], found["server"]
    assert (found["schema_version"], found["type"], found["state"]) == (2, "summary", "stopped")
    assert found["loop"] == found["experiment"]["loop"] == loop
    assert totals["requests"] == totals["responses"] == 200
    assert server["requests"] == server["responses"] == 200
    assert totals["bytes_out"] == server["bytes_in"]
    assert (totals["timeouts"], totals["errors"], totals["datagrams_lost"]) == (0, 0, 0)
    assert totals["datagrams_sent"] == (200 if transport == "--udp" else 0)
    assert found["service_time_s"]["count"] == 200
    assert found["rates"]["requests_per_s"] == pytest.approx(200 / found["duration_s"])
    assert found["rates"]["bytes_per_s"] == pytest.approx(200 * 64 / found["duration_s"])
    assert found["environment"]["python"]


def test_tls_is_told_and_judged_wherever_it_runs() -> None:
    pytest.importorskip("cryptography")
    tls = ("run", "--tls", "-n", "20", "-c", "2", "--service-time", "0", "--lifetime", "request")
    found = figures(*tls, "--place", "apart")
    for role in (found["totals"], found["server"]):
        assert role["handshakes"] == role["connections_opened"] == role["responses"] == 20
        assert (role["sessions_reused"], role["handshakes_failed"], role["failed"]) == (18, 0, 0)
    assert found["tls"].startswith("TLSv1.3 ")
    assert found["tls_handshake_s"]["count"] == 20
    assert 0 < found["tls_handshake_s"]["p50"] <= found["tls_handshake_s"]["max"]
    told = sockscope(*tls, "--fail-if", "tls_handshake_s.p99>1us", "--fail-if", "sessions_reused<18")
    assert (told.returncode, told.stdout.splitlines()[0][:32]) == (3, "SockScope: TLS server and client")
    assert f"TLS           {found['tls']}, 20 handshakes (18 of an" in told.stdout
    assert told.stderr.count("holds: ") == 1


@TRANSPORTS
def test_a_run_cut_by_its_duration_accounts_for_what_was_in_flight(transport: str) -> None:
    found = figures("run", transport, "-d", "0.3")
    totals = found["totals"]
    in_flight = found["clients"]["in_flight"]
    answered = totals["responses"] + totals["timeouts"] + totals["errors"]
    assert totals["requests"] == answered + in_flight
    assert 0 <= totals["requests"] - found["server"]["requests"] <= in_flight
    assert found["duration_s"] >= 0.3


@TRANSPORTS
def test_the_stream_adds_up_to_its_summary(transport: str) -> None:
    done = sockscope("run", transport, "-d", "0.35", "-i", "100ms", "--json-stream")
    assert (done.returncode, done.stderr) == (0, "")
    *intervals, summary = map(json.loads, done.stdout.splitlines())
    assert {interval["type"] for interval in intervals} == {"interval"}
    assert summary["type"] == "summary"
    for name in ("requests", "responses", "bytes_in"):
        assert sum(interval["totals"][name] for interval in intervals) == summary["totals"][name]
    assert sum(i["service_time_s"]["count"] for i in intervals) == summary["service_time_s"]["count"]
    assert sum(i["duration_s"] for i in intervals) == pytest.approx(summary["duration_s"])


def test_csv_has_one_header_and_a_row_per_interval() -> None:
    done = sockscope("run", "-d", "0.35", "-i", "100ms", "--csv")
    assert (done.returncode, done.stderr) == (0, "")
    header, *rows = csv.reader(done.stdout.splitlines())
    assert "service_time_s.p99" in header
    assert rows
    assert {len(row) for row in rows} == {len(header)}
    assert [row[header.index("warming_up")] for row in rows] == ["false"] * len(rows)


@TRANSPORTS
def test_the_summary_fits_a_chat(transport: str) -> None:
    done = sockscope("run", transport, *QUICK)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert len(lines) <= 24, "on a busy machine the limit is a sentence of four lines"
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith(f"SockScope: {transport[2:].upper()} server and clients, 127.0.0.1:")
    assert "200 answered of 200" in done.stdout
    assert ("kernel UDP" in done.stdout) == (transport == "--udp" and os.path.exists("/proc/net/snmp"))


def test_a_warm_up_is_left_out_of_the_figures() -> None:
    done = sockscope("run", "-d", "0.2", "--warmup", "1s", "-i", "100ms", "--json-stream")
    first, *_, summary = map(json.loads, done.stdout.splitlines())
    assert first["warming_up"]
    assert not summary["warming_up"]
    assert summary["duration_s"] < summary["elapsed_s"] - 0.9
    assert summary["totals"]["connections_opened"] == 0


def test_intervals_begin_with_the_figures_and_are_whole() -> None:
    done = sockscope("run", "-d", "0.4", "--warmup", "300ms", "-i", "200ms", "--json-stream")
    *found, summary = map(json.loads, done.stdout.splitlines())
    measured = [one for one in found if not one["warming_up"]]
    assert sum(one["totals"]["requests"] for one in measured) == summary["totals"]["requests"]
    assert min(one["duration_s"] for one in measured) > 0.05


def test_requests_under_way_at_the_end_are_waited_for_or_lower_bounds() -> None:
    slow = ("run", "-c", "4", "-d", "0.3", "--timeout", "20s", "--json")
    answered, given_up = (
        json.loads(sockscope(*slow, "--service-time", service_time).stdout)
        for service_time in ("200ms", "10s")
    )
    for found in (answered, given_up):
        known = found["service_time_s"]["count"] + found["service_time_s"]["unanswered"]
        assert known == found["totals"]["requests"]
    assert answered["clients"]["in_flight"] == 4
    assert answered["service_time_s"]["unanswered"] == 0
    assert (given_up["service_time_s"]["count"], given_up["clients"]["in_flight"]) == (0, 4)
    assert "service_time_s.p50" in given_up["at_least"]


@pytest.mark.parametrize("form", ["--json", "--json-stream", "--csv", None])
def test_output_goes_to_a_file(tmp_path: Path, form: str | None) -> None:
    file = tmp_path / "figures"
    done = sockscope("run", *QUICK, *([form] if form else []), "-o", str(file))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert file.read_text()
    assert list(tmp_path.iterdir()) == [file]
    assert stat.S_IMODE(file.stat().st_mode) & 0o400


def test_a_file_keeps_its_mode_and_a_link_its_place(tmp_path: Path) -> None:
    file, link = tmp_path / "figures", tmp_path / "link"
    file.write_text("before")
    file.chmod(0o640)
    link.symlink_to(file)
    assert sockscope("run", *QUICK, "--json", "-o", str(link)).returncode == 0
    assert link.is_symlink()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert json.loads(file.read_text())["schema_version"] == 2


def test_a_device_is_written_to_and_not_replaced() -> None:
    assert sockscope("run", *QUICK, "--json", "-o", os.devnull).returncode == 0
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_run_that_cannot_start_leaves_the_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "figures"
    file.write_text("before")
    assert sockscope("run", "--bind", "192.0.2.1", "--json", "-o", str(file)).returncode == 1
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_a_file_that_cannot_be_written_is_told_before_the_run(tmp_path: Path) -> None:
    done = sockscope("run", "-d", "0", "-o", str(tmp_path / "none" / "figures"))
    assert done.returncode == 2
    assert "cannot be written: No such file or directory" in done.stderr


def test_progress_is_one_line_that_goes_away() -> None:
    mine, childs = pty.openpty()
    child = WarmCommand(
        WARM, [COMMAND, "run", "-d", "0", "-i", "50ms"], env=clean_environment(),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=childs, text=True,
    )  # fmt: skip
    os.close(childs)
    shown = b""
    while shown.count(b"req/s") < 2:
        shown += os.read(mine, 65_536)
    child.terminate()
    try:
        while chunk := os.read(mine, 65_536):
            shown += chunk
    except OSError:
        pass  # Linux reports the end of a pseudo-terminal as EIO.
    os.close(mine)
    out, _ = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 0
    assert b"\n" not in shown
    lines = shown.split(b"\r")
    assert b"req/s" in lines[1]
    assert max(map(len, lines)) < 80
    assert lines[-1] == b""
    assert lines[-2].strip() == b""
    assert out.startswith("SockScope: ")


# How a run is judged.


def test_thresholds_that_hold() -> None:
    done = sockscope("run", *QUICK, "--fail-if", "errors>0", "--fail-if", "p99 > 1m", "-q")
    assert (done.returncode, done.stderr) == (0, "")


def test_each_missed_threshold_is_told() -> None:
    done = sockscope(
        "run", *QUICK, "--fail-if", "p99>1ns", "--fail-if", "errors>0", "--fail-if", "responses>=200"
    )
    assert done.returncode == 3
    assert "sockscope: --fail-if p99>1ns holds: service_time_s.p99 is " in done.stderr
    assert "sockscope: --fail-if responses>=200 holds: totals.responses is 200\n" in done.stderr
    assert "errors" not in done.stderr
    assert "200 answered" in done.stdout


# The server holds the loop that paces the clients up, for 5 ms each time.
HELD_UP = ("run", "--rate", "100", "--arrivals", "poisson", "--work", "block", "--service-time", "5ms")


def test_a_generator_that_is_the_limit_makes_no_valid_result() -> None:
    done = sockscope(*HELD_UP, "-n", "40", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 4
    assert found["valid"] is False
    assert found["invalid_reason"].startswith("generator-bound: ")
    assert f"the result is not valid: {found['invalid_reason']}" in done.stderr
    allowed = sockscope(*HELD_UP, "-n", "40", "--allow-invalid", "-q")
    assert (allowed.returncode, allowed.stderr) == (0, "")
    assert "not valid     generator-bound: " in allowed.stdout


# One client is served and answered, the others are in the backlog and time out.
COLLAPSED = ("run", "--server", "blocking", "-c", "4", "--permits", "0", "--timeout", "100ms", "-d", "0.5")


def test_timeouts_are_failures_and_no_errors() -> None:
    conditions = ("--fail-if", "failed>0", "--fail-if", "timeouts>0", "--fail-if", "errors>0")
    done = sockscope(*COLLAPSED, *conditions, "--json")
    totals = json.loads(done.stdout)["totals"]
    assert done.returncode == 3
    assert (totals["failed"], totals["errors"]) == (totals["timeouts"], 0)
    assert totals["responses"]
    assert totals["timeouts"]
    assert "--fail-if failed>0 holds: " in done.stderr
    assert "--fail-if timeouts>0 holds: " in done.stderr
    assert "--fail-if errors>0" not in done.stderr


def test_percentiles_among_timeouts_are_lower_bounds_everywhere() -> None:
    done = sockscope(*COLLAPSED, "--fail-if", "p99>10s", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 3
    assert "--fail-if p99>10s may hold: service_time_s.p99 is ≥ 100 ms" in done.stderr
    # What is in flight at the end is waited for, but not for longer than others were.
    timeouts, in_flight = found["totals"]["timeouts"], found["clients"]["in_flight"]
    assert timeouts <= found["service_time_s"]["unanswered"] <= timeouts + in_flight
    assert {"service_time_s.max", "service_time_s.mean", "response_time_s.p99"} <= set(found["at_least"])
    assert "service_time_s.p999" in found["at_least"]
    assert found["service_time_s"]["p999"] >= 0.1
    assert "max ≥ 100 ms" in sockscope(*COLLAPSED).stdout


def test_a_figure_that_is_not_known_counts_as_missed() -> None:
    done = sockscope("serve", "-d", "0.1", "--fail-if", "p99>1m")
    assert done.returncode == 3
    assert "there is no service_time_s.p99 in this run" in done.stderr


@pytest.mark.parametrize("condition", ["p99", "p99>", ">1", "p99>soon", "p98>1ms", "errors>-1", "cpu>x"])
def test_a_condition_that_makes_no_sense_is_refused_before_the_run(condition: str) -> None:
    done = sockscope("run", "-d", "0", "--fail-if", condition)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"sockscope: --fail-if = {condition!r}")


def test_forms_exclude_each_other() -> None:
    done = sockscope("run", "--json", "--csv")
    assert done.returncode == 2
    assert "--json and --csv cannot be combined" in done.stderr


@TRANSPORTS
def test_a_swarm_that_nobody_answers_fails_and_says_why(transport: str) -> None:
    target = f"127.0.0.1:{unused_port()}"
    done = sockscope("swarm", target, transport, "-d", "0.3", "-c", "2")
    assert done.returncode == 1
    assert f"sockscope: no request was answered: nobody listens at {target}\n" in done.stderr
    assert "0 answered" in done.stdout


# Faults.


@TRANSPORTS
def test_a_port_in_use(transport: str) -> None:
    kind = socket.SOCK_STREAM if transport == "--tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if transport == "--tcp":
            taken.listen()
        done = sockscope("run", transport, "-p", str(taken.getsockname()[1]), "-d", "0")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the port is in use; choose another with --port" in done.stderr
    assert done.stderr.count("\n") == 1


@TRANSPORTS
def test_an_address_of_another_machine(transport: str) -> None:
    done = sockscope("run", transport, "--bind", "192.0.2.1", "-d", "0")
    assert (done.returncode, done.stdout) == (1, "")
    assert "machine has no such address; leave out --bind" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may listen on every port")
def test_a_port_without_permission() -> None:
    done = sockscope("run", "-p", "1", "-d", "0")
    assert done.returncode == 1
    assert "no permission" in done.stderr


def test_too_many_clients_for_the_descriptor_limit() -> None:
    done = subprocess.run(
        ["sh", "-c", 'ulimit -n 200 && exec "$0" run -c 1000 -d 0', COMMAND],
        env=clean_environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "1,000 clients need 2,064 descriptors, but this process may open 200" in done.stderr
    assert "use at most 68 clients, or raise the limit first: ulimit -n 2064" in done.stderr


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which ``$0`` is the command."""
    return subprocess.run(
        ["bash", "-c", line, COMMAND], env=clean_environment(), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip


FULL = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
COMMANDS = [("--help",), ("run", *QUICK), ("run", "-d", "0", "-i", "20ms", "--json-stream")]


@FULL
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_full_disk_is_told_in_a_sentence(command: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = sockscope(*command, stdout=full)
    assert done.stderr == "sockscope: cannot write to standard output: No space left on device\n"
    assert done.returncode == 1


def test_a_closed_output_is_told_in_a_sentence() -> None:
    done = shell('"$0" serve <&- >&-')
    assert done.stderr == "sockscope: cannot write to standard output: it is closed\n"
    assert done.returncode == 1


def test_a_reader_that_is_gone_from_the_beginning_is_no_fault() -> None:
    reads, writes = os.pipe()
    os.close(reads)
    with open(writes, "w") as nobody:
        done = sockscope("run", "-d", "0", "-i", "20ms", "--json-stream", stdout=nobody)
    assert (done.returncode, done.stderr) == (0, "")


@FULL
def test_a_verdict_does_not_depend_on_who_hears_it() -> None:
    with open("/dev/full", "w") as full:
        done = sockscope("run", *QUICK, "--fail-if", "p99>0", stderr=full)
    assert done.returncode == 3
    assert "200 answered" in done.stdout
    done = shell(f"\"$0\" run {' '.join(QUICK)} --fail-if 'p99>0' <&- 2>&-")
    assert done.returncode == 3
    assert "200 answered" in done.stdout


def test_closed_standard_streams_do_no_harm_to_a_file(tmp_path: Path) -> None:
    file = tmp_path / "figures"
    done = shell(f'"$0" run {" ".join(QUICK)} --json -o {file} <&- >&- 2>&-')
    assert done.returncode == 0
    assert json.loads(file.read_text())["totals"]["requests"] == 200


def test_output_goes_to_whatever_can_be_written_to() -> None:
    for where, errors in (("-", subprocess.PIPE), ("/dev/stderr", subprocess.STDOUT)):
        done = sockscope("run", *QUICK, "--json", "-o", where, stderr=errors)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["schema_version"]
    reads, writes = os.pipe()
    with running("run", *QUICK, "--csv", "-o", f"/dev/fd/{writes}", pass_fds=[writes]) as child:
        os.close(writes)
        with open(reads) as written:
            assert "duration_s" in written.read()
        assert finished(child) == (0, "", "")


def test_output_to_a_descriptor_adds_to_its_file(tmp_path: Path) -> None:
    file = tmp_path / "figures"
    file.write_text("before\n")
    with file.open("a") as end:
        done = sockscope("run", *QUICK, "--json", "-o", "/dev/stdout", stdout=end)
    assert (done.returncode, done.stderr) == (0, "")
    assert file.read_text().startswith("before\n{")


def test_a_pipe_waits_for_its_reader_and_says_so(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    with running("run", *QUICK, "--json", "-o", str(pipe)) as child:
        assert next_complaint(child) == f"sockscope: waiting for a reader on {pipe}\n"
        assert json.loads(pipe.read_text())["totals"]["requests"] == 200
        assert finished(child) == (0, "", "")
    with running("run", *QUICK, "--json", "-o", str(pipe)) as child:
        next_complaint(child)
        child.send_signal(signal.SIGINT)
        assert finished(child)[0] == 130


@pytest.mark.parametrize("ended_by", [signal.SIGHUP, signal.SIGKILL])
def test_a_run_that_is_killed_leaves_no_file(tmp_path: Path, ended_by: signal.Signals) -> None:
    with running("serve", "--json", "-o", str(tmp_path / "figures")) as child:
        assert next_line(child)
        assert list(tmp_path.iterdir()) == []
        child.send_signal(ended_by)
        child.wait(PATIENCE_S)
    assert list(tmp_path.iterdir()) in ([], [tmp_path / "figures"])


def test_a_reader_that_goes_away_ends_the_run_quietly() -> None:
    with running("run", *FOREVER, "--json-stream", "-i", "20ms") as child:
        assert next_line(child)
        assert child.stdout is not None
        child.stdout.close()
        assert child.stderr is not None
        assert child.stderr.read() == ""
        assert child.wait(PATIENCE_S) == 0


# Signals.


def test_the_first_interrupt_ends_the_run_with_its_summary() -> None:
    with running("run", *FOREVER, "--json-stream", "-i", "20ms") as child:
        assert next_line(child)
        child.send_signal(signal.SIGINT)
        code, out, err = finished(child)
    assert (code, err) == (0, "sockscope: stopping; press Ctrl+C again to quit at once\n")
    assert json.loads(out.splitlines()[-1])["type"] == "summary"


def test_the_second_interrupt_leaves_at_once() -> None:
    # Requests that are never answered keep the stop waiting for its grace time.
    never = ("--service-time", "60s", "--timeout", "90s")
    with running("run", *FOREVER, *never, "--json-stream", "-i", "20ms") as child:
        while not json.loads(next_line(child))["clients"]["in_flight"]:
            pass
        child.send_signal(signal.SIGINT)
        assert "stopping" in next_complaint(child)
        child.send_signal(signal.SIGINT)
        code, out, err = finished(child)
    assert (code, err) == (130, "")
    assert "summary" not in out


def test_a_second_interrupt_leaves_no_half_written_file(tmp_path: Path) -> None:
    # An answer that is still due keeps the stop waiting for its grace time.
    with running("serve", "--service-time", "1s", "--json", "-o", str(tmp_path / "figures")) as server:
        address = next_line(server).strip()
        host, port = address.split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"\0\0\0\1x" * 2)
            assert connection.recv(5) == b"\0\0\0\1x"
            server.send_signal(signal.SIGINT)
            assert "stopping" in next_complaint(server)
            server.send_signal(signal.SIGINT)
            code, _, _ = finished(server)
    assert code == 130
    assert list(tmp_path.iterdir()) == []


def test_sigterm_ends_cleanly() -> None:
    with running("run", *FOREVER, "--json-stream", "-i", "20ms") as child:
        assert next_line(child)
        child.send_signal(signal.SIGTERM)
        code, out, err = finished(child)
    assert (code, err) == (0, "")
    assert json.loads(out.splitlines()[-1])["totals"]["requests"]


# Two processes.


@pytest.mark.parametrize(
    ("transport", "family"),
    [
        pytest.param("--tcp", "-6", marks=IPV6.marks),
        ("--udp", "--unix"),
    ],
)
def test_serve_and_swarm_are_the_two_halves_of_a_run(tmp_path: Path, transport: str, family: str) -> None:
    file = tmp_path / "server.json"
    with running("serve", transport, family, "--json", "-o", str(file)) as server:
        address = next_line(server).strip()
        swarm = figures("swarm", address, transport, *QUICK[:4])
        server.send_signal(signal.SIGTERM)
        code, out, err = finished(server)
    assert (code, out, err) == (0, "", "")
    served = json.loads(file.read_text())
    assert served["address"] == swarm["address"] == address
    assert swarm["totals"]["responses"] == served["server"]["requests"] == 200
    assert swarm["totals"]["bytes_out"] == served["server"]["bytes_in"]
    assert set(swarm["server"].values()) == {None}
    assert set(served["totals"].values()) == {None}
    assert swarm["experiment"]["service_time_s"] is None
    assert served["experiment"]["clients"] is None
    assert served["rates"]["requests_per_s"] == pytest.approx(200 / served["duration_s"])


@pytest.mark.parametrize("where", [[], ["-o", "-"]])
def test_serve_keeps_json_on_stdout_clean(where: list[str]) -> None:
    done = sockscope("serve", "-d", "0.1", "--json", *where)
    assert done.returncode == 0
    assert json.loads(done.stdout)["state"] == "stopped"
    assert done.stderr.startswith("sockscope: listening on 127.0.0.1:")
