import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tuning import Tuning
from sockscope.core.histogram import RELATIVE_ERROR
from sockscope.core.results.run_figures import SECTIONS
from sockscope.core.results.run_result import interval, report
from sockscope.core.results.schema import flat
from sockscope.core.run.lens import Hold, LensView
from sockscope.core.run.snapshot import RunState, Totals
from sockscope.core.run.tasks import OWN, ExecutorView, TaskGroup, TasksView, Unclosed
from tests.core.runs import both, histogram, resources, role, run

PAGE = Path(__file__).parents[2] / "docs" / "json.md"


def documented() -> Iterator[str]:
    """Yield the dotted name of every field that the page describes."""
    sections: list[str] = []
    for line in PAGE.read_text(encoding="utf-8").split("# `doctor")[0].splitlines():
        if line.startswith("## "):
            sections = re.findall(r"`(\w+)`", line)
        elif field := re.match(r"\| `(\w+)` \|", line):
            yield from (f"{section}.{field[1]}" for section in sections or [""])


def test_the_page_and_the_report_name_the_same_fields() -> None:
    written = [name for name, _ in flat(report(both(), dict.fromkeys(ENVIRONMENT, "")))]
    described = [name.lstrip(".") for name in documented()]
    assert sorted(described) == sorted(written)
    assert len(set(described)) == len(described)


ENVIRONMENT = ("sockscope", "python", "uvloop", "textual", "platform", "kernel", "cores")


def test_the_page_names_what_is_in_the_lists() -> None:
    found = report(both(), {})
    text = PAGE.read_text(encoding="utf-8")
    processes = text.split("## The list of processes")[1].split("\n## ")[0]
    bullets = re.findall(r"^- `(\w+)`:", processes, re.MULTILINE)
    assert set(bullets) | set(found["resources"]) == set(found["processes"][0])
    options = text.split("## `socket_options`")[1].split("\n|")[0]
    assert [name for name in re.findall(r"`(\w+)`", options) if name != "null"] == list(
        found["socket_options"]["swarm"][0]
    )


def test_the_page_marks_what_an_interval_has() -> None:
    text = PAGE.read_text(encoding="utf-8")
    marked = set(re.findall(r"\| `(\w+)` \|[^|]*\| i \|", text))
    for heading, body in re.findall(r"^## (.*?)\n(.*?)(?=^#)", text, re.MULTILINE | re.DOTALL):
        if body.strip().startswith("*i*."):
            marked |= set(re.findall(r"`(\w+)`", heading))
    assert marked == set(interval(both()))


def test_every_figure_is_in_the_report() -> None:
    written = report(both(), {})
    for section, figures in SECTIONS.items():
        assert list(written[section]) == [figure.name for figure in figures], section


def test_figures_of_a_run() -> None:
    written = report(both(seconds=2.0, requests=1_000), {"python": "3"})
    assert written["duration_s"] == written["elapsed_s"] == pytest.approx(2)
    assert written["totals"]["requests"] == written["server"]["requests"] == 1_000
    assert written["rates"]["requests_per_s"] == pytest.approx(500)
    assert written["rates"]["bytes_per_s"] == pytest.approx(500 * 64)
    assert written["service_time_s"]["p50"] == pytest.approx(0.010, rel=RELATIVE_ERROR)
    assert written["service_time_s"]["count"] == 1_000
    assert written["resources"]["cpu_ratio"] == pytest.approx(0.25)
    assert written["environment"] == {"python": "3"}
    assert written["address"] == "127.0.0.1:7007"
    assert written["socket_options"]["swarm"] == [
        {"name": "SO_RCVBUF", "requested": None, "effective": 131_072}
    ]
    json.dumps(written, allow_nan=False)


def test_payload_is_counted_without_framing() -> None:
    for tuning, wire_bytes in ((Tuning(framing="none"), 64), (Tuning(framing="newline"), 65)):
        totals = Totals(requests=10, responses=10, response_bytes=10 * wire_bytes)
        written = interval(run(tuning=tuning, seconds=1, swarm=role("swarm", totals)))
        assert written["rates"]["bytes_per_s"] == pytest.approx(640)


def test_the_fields_do_not_depend_on_the_run() -> None:
    totals = Totals(requests=3, responses=3)
    names = [name for name, _ in flat(report(both(), {}))]
    server = run(experiment=Experiment(role="server"), server=role("server", totals))
    swarm = run(experiment=Experiment(role="swarm"), swarm=role("swarm", totals))
    assert [name for name, _ in flat(report(server, {}))] == names
    assert [name for name, _ in flat(report(swarm, {}))] == names


def test_what_is_not_known_is_none() -> None:
    totals = Totals(requests=3, responses=3)
    server = report(run(experiment=Experiment(role="server"), server=role("server", totals)), {})
    assert set(server["totals"].values()) == {None}
    assert set(server["service_time_s"].values()) == {None}
    assert server["rates"]["requests_per_s"] == pytest.approx(1.5)
    assert server["experiment"]["clients"] is None
    assert server["experiment"]["service_time_s"] == 0.005
    swarm = report(run(experiment=Experiment(role="swarm"), swarm=role("swarm", totals)), {})
    assert set(swarm["server"].values()) == {None}
    assert swarm["experiment"]["service_time_s"] is None
    assert swarm["service_time_s"]["p99"] is None
    assert swarm["service_time_s"]["count"] == 0
    assert swarm["resources"]["loop_lag_p99_s"] is None


def test_kernel_counters_that_are_not_there() -> None:
    used = replace(resources(), kernel_udp=None, descriptors=None)
    written = interval(run(used=used, server=role("server", Totals())))
    assert set(written["kernel_udp"].values()) == {None}
    assert written["resources"]["descriptors"] is None


def test_no_time_has_passed() -> None:
    written = interval(run(seconds=0, swarm=role("swarm", Totals())))
    assert written["rates"] == {"requests_per_s": None, "bytes_per_s": None}
    assert written["resources"]["cpu_ratio"] is None


def test_a_failed_run_says_why() -> None:
    failed = replace(both(last_trouble="Connection refused"), state=RunState.FAILED, error="internal")
    written = report(failed, {})
    assert (written["state"], written["error"]) == ("failed", "internal")
    assert written["last_trouble"] == "Connection refused"
    assert report(both(), {})["error"] is None


def test_a_server_of_ones_own_whose_requests_are_not_counted() -> None:
    untold = role("server", Totals(reads=9, errors=2), counts_frames=False, last_trouble="KeyError at a.py:1")
    own = Experiment(role="server", handler="a:handle")
    written = report(run(experiment=own, server=untold), {})
    uncounted = ("requests", "responses", "messages_torn", "reads_merged")
    assert {written["server"][name] for name in uncounted} == {None}
    assert (written["server"]["reads"], written["server"]["errors"]) == (9, 2)
    assert written["rates"]["requests_per_s"] is None
    assert written["server_trouble"] == "KeyError at a.py:1"
    assert written["experiment"]["handler"] == "a:handle"
    assert written["experiment"]["service_time_s"] is None
    assert report(both(), {})["server_trouble"] is None


def test_the_experiment_is_that_of_the_end() -> None:
    turned = replace(both(), tuning=Tuning(permits=7), generation=2)
    written = report(turned, {})
    assert (written["experiment"]["permits"], written["tunings"]) == (7, 2)


def test_loop_lag() -> None:
    lag = histogram(*[0.001] * 99, 0.020)
    written = interval(run(used=resources(lag=lag), server=role("server", Totals())))["resources"]
    assert written["loop_lag_p50_s"] == pytest.approx(0.001, rel=RELATIVE_ERROR)
    assert written["loop_lag_max_s"] == pytest.approx(0.020, rel=RELATIVE_ERROR)


def test_what_a_lens_saw_is_in_the_lists_that_the_page_names() -> None:
    hold = Hold(101.0, 0.48, "call", "time.sleep", "mine.py", 12, requests=20)
    group = TaskGroup("handle mine.py:3", OWN, "mine.py:7 sleep", "future", 5, 90.0)
    tasks = TasksView(
        102.0,
        alive=9,
        own=5,
        groups=(group,),
        executor=ExecutorView(2, 1, 1),
        unclosed=(Unclosed("mine.py:14", 3, 12.0),),
    )
    lens = LensView(True, "select", 2.0, 0.5, 100, 300, held=1, held_s=0.48, holds=(hold,), tasks=tasks)
    ran = both()
    found = report(replace(ran, processes=(replace(ran.processes[0], lens=lens),)), {})
    assert (found["lens"][0]["busy_ratio"], found["lens"][0]["turns_per_s"]) == (0.25, 50.0)
    told = found["lens"][0]["tasks"]
    assert told["unclosed"] == [{"made_at": "mine.py:14", "count": 3, "oldest_s": 12.0}]
    assert (told["own"], told["groups"][0]["oldest_s"], told["executor"]["queued"]) == (5, 90.0, 2)
    assert (found["holds"][0]["begin_s"], found["holds"][0]["call"]) == (1.0, "time.sleep")
    page = PAGE.read_text(encoding="utf-8").split("## The lists `lens` and `holds`")[1].split("\n## ")[0]
    bullets = [line for line in page.splitlines() if line.startswith("- `")]
    named = [name for line in bullets for name in re.findall(r"`(\w+)`", line.split(":")[0])]
    assert sorted(named) == sorted([*found["lens"][0], *found["holds"][0]])
