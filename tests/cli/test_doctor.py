import json
import platform
import subprocess
from dataclasses import replace

import pytest

from sockscope.cli import doctor
from sockscope.cli.doctor import Check, to_json, to_text
from sockscope.engine.host_limits import HostLimits, host_limits
from sockscope.lab.environment import supported_pythons
from tests.cli.command import COMMAND, PATIENCE_S, clean_environment, installed, sockscope


def test_every_line_says_ok_or_what_to_do() -> None:
    done = sockscope("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("Python", "uvloop", "descriptors", "ephemeral ports", "somaxconn", "rmem_max", "wmem_max",
                 "TCP 127.0.0.1", "UDP 127.0.0.1", "TCP ::1", "UDP ::1", "UDP counters", "TCP_INFO",
                 "raw capture", "terminal", "UTF-8"):  # fmt: skip
        assert any(line[4:].startswith(name) for line in done.stdout.splitlines()), name


def test_json() -> None:
    done = sockscope("doctor", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["schema_version"], found["type"]) == (0, 2, "doctor")
    assert found["can_run"]
    assert {"name", "ok", "text", "fix", "fatal", "worker"} == set(found["checks"][0])


def test_a_terminal_that_cannot_be_drawn_on_gets_a_fix() -> None:
    done = installed("doctor", env={"TERM": "dumb", "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "!!  terminal" in done.stdout
    assert "TERM=xterm-256color" in done.stdout
    assert "!!  UTF-8" in done.stdout


def test_a_locale_of_ascii_is_told_though_the_encoding_is_utf8() -> None:
    done = installed("doctor", env={"LC_ALL": "C", "PYTHONUTF8": "1"})
    assert "!!  UTF-8" in done.stdout
    assert "the dashboard is drawn in ASCII" in done.stdout


def test_too_few_descriptors_prevent_every_run() -> None:
    done = subprocess.run(
        ["sh", "-c", 'ulimit -n 40 && exec "$0" doctor --json', COMMAND],
        env=clean_environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert not found["can_run"]
    assert [check["name"] for check in found["checks"] if check["fatal"]] == ["descriptors"]


def test_layout() -> None:
    checks = [Check("one", True, "fine", "unused"), Check("two", False, "bad", "mend it", fatal=True)]
    assert to_text(checks) == (
        "ok  one               fine\n!!  two               bad\n                      mend it"
    )
    assert not json.loads(to_json(checks))["can_run"]


def test_a_python_that_is_not_tested_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "supported_pythons", lambda: ["3.0", "3.1"])
    (python,) = [check for check in doctor.examine() if check.name == "Python"]
    assert not python.ok
    assert not python.fatal
    assert python.fix.endswith("tested with: 3.0, 3.1")


def test_the_tested_versions_are_those_of_the_package() -> None:
    tested = supported_pythons()
    assert tested[0] == "3.11"
    assert ".".join(platform.python_version_tuple()[:2]) in tested


def test_an_address_that_cannot_be_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LOOPBACK", {"ipv4": "127.0.0.1", "ipv6": "2001:db8::1"})
    lacking = [check for check in doctor.examine() if "2001:db8::1" in check.name]
    assert len(lacking) == 2
    assert not any(check.ok or check.fatal for check in lacking)
    assert all("use -4" in check.fix for check in lacking)


def test_the_machines_of_a_cluster_are_told_apart() -> None:
    """Each has a heading and its own lacks; a role has a process to itself there."""
    fine = replace(host_limits(), cores=8, hard_descriptors=12_000, ephemeral_ports=range(20_000))
    none = HostLimits(1, 20, 64, None, None, None, None)
    checks = doctor.examine_workers({"tls://10.0.0.1:7": fine, "tls://10.0.0.2:7": none})
    lines = to_text(checks).splitlines()
    assert [line for line in lines if line.startswith("worker")] == [
        f"worker tls://10.0.0.{n}:7" for n in (1, 2)
    ]
    assert any(line.startswith("ok  descriptors") and line.endswith(
        ": 10,000 TCP clients or connections of a server") for line in lines)  # fmt: skip
    fatal = [check for check in checks if check.fatal]
    assert [(check.name, check.worker) for check in fatal] == [("descriptors", "tls://10.0.0.2:7")]
    assert not json.loads(to_json(checks))["can_run"]


def test_a_doctor_of_a_cluster_needs_one() -> None:
    for flags, said in (
        (["--allow-insecure-cluster"], "--cluster is missing"),
        (["--cluster", "tcp://192.0.2.1:8786"], "is another machine"),
    ):
        done = sockscope("doctor", *flags)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
