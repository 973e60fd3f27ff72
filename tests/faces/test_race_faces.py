"""What a race looks like: text, Markdown, CSV, SVG and the line of progress, from results that are given."""

import csv
import io
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from sockscope.core.censoring import AtLeast
from sockscope.core.results.contest import Contest, Published
from sockscope.core.results.standing import Standing, rows
from sockscope.core.units import DASH
from sockscope.faces.columns import BAR_CELLS, bar
from sockscope.faces.race import race_csv, written
from sockscope.faces.race_svg import race_svg
from sockscope.faces.race_table import INVALID, race_markdown, race_text
from sockscope.faces.rounds import RoundsForm, progress_text
from tests.core.races import batches, contestant, lap, rates, two_servers
from tests.each import each

HERE = {
    "sockscope": "0.1.0", "python": "3.11.7", "uvloop": "0.23.0", "textual": "8", "kernel": "6.1",
    "platform": "Linux x86_64", "cores": 2,
}  # fmt: skip


def test_the_table() -> None:
    assert (
        race_text(two_servers(), HERE)
        == """\
SockScope race: 2 servers in turn, 3 rounds, slices of 1.00 s after 300 ms
transport TCP, clients 100, permits off, request 64 B, service 0, place apart

rank  server  req/s                        min … max     ×   low … high      p50      p99  failed
   1  fast    2,000  ████████████████  1,800 … 2,200  2.00  2.00 … 2.00  1.00 ms  2.00 ms       0
   2  slow    1,000  ████████            900 … 1,100  1.00  1.00 … 1.00  1.00 ms  2.00 ms       0

server   CPU  clients' CPU  CPU/request      RSS  threads  switches  limit
fast    97 %          40 %      20.0 µs  30.0 MB        1     7 + 3  server
slow    50 %          40 %      20.0 µs  30.0 MB        1     7 + 3  neither

limit: not the same for all; see the column limit
Contestants that cannot be told apart from the best of their group (at 75 %) share its rank (=). ×
is how many times as fast as slow, round by round. Low and high are its interval.
SockScope 0.1.0 · Python 3.11.7 · uvloop 0.23.0 · kernel 6.1 · Linux x86_64, 2 cores
"""
    )


def test_ties_are_marked() -> None:
    tied = two_servers(laps={"slow": rates(1_000, 1_300), "fast": rates(1_200, 1_400)})
    lines = race_text(tied, HERE).splitlines()
    assert [line.split()[0] for line in lines[4:6]] == ["=1", "=1"]


def test_how_many_times_as_fast_keeps_its_bound() -> None:
    given_up = two_servers(laps={"slow": batches(*[AtLeast(10.0)] * 3), "fast": batches(2.0, 2.0, 2.0)})
    given_up = replace(given_up, contest=replace(given_up.contest, requests=100))
    fast, slow = race_text(given_up, HERE).splitlines()[4:6]
    assert "≥ 5.00 … ≥ 5.00" in fast
    assert "1.00 … 1.00" in slow


def test_a_batch_shows_times_and_what_was_published() -> None:
    contest = Contest(
        (contestant("blocking"), contestant("streams/asyncio")),
        rounds=2,
        requests=100,
        preset="guide",
        note="It is about waiting.",
        published=(
            Published("blocking", 10.23, 9.78, 0.10, 15_200_000, 1.0),
            Published("streams/asyncio", 0.87, 114.94, 0.35, 18_700_000, 11.7),
            Published("nobody", 1.0, 1.0, 1.0, 1, 1.0),
        ),
        left_out=(("kqueue", "is not on Linux"),),
    )
    laps = {"blocking": batches(10.2, 10.2), "streams/asyncio": batches(0.102, 0.102)}
    text = race_text(Standing(contest, laps=laps, finished=True), HERE)
    assert "SockScope race guide: 2 servers in turn, 2 rounds, batches of 100 requests" in text
    assert (
        """\
                 a guide  conn/s   CPU   memory     ×  |     here  conn/s   CPU   memory     ×
blocking         10.23 s    9.78  10 %  15.2 MB  1.00  |  10.20 s    9.80  50 %  30.0 MB  1.00
streams/asyncio   870 ms  114.94  35 %  18.7 MB  11.7  |   102 ms  980.39  50 %  30.0 MB   100
"""
        in text
    )
    assert "It is about waiting." in text
    assert "kqueue does not take part: is not on Linux" in text
    assert "nobody" not in text


def test_who_dropped_out_is_told() -> None:
    text = race_text(two_servers(laps={"slow": rates(1.0)}, faults={"fast": "cannot listen"}), HERE)
    assert "fast dropped out: cannot listen" in text
    (line,) = [line for line in text.splitlines() if line.startswith("   –  fast")]
    assert line.split()[2:] == [DASH] * 7


def test_a_race_without_a_comparison_says_so() -> None:
    waiting = {name: rates(1.0, cpu_ratio=0.2, clients_cpu_ratio=1.0) for name in ("slow", "fast")}
    assert INVALID.split(",")[0] in race_text(two_servers(laps=waiting), HERE)
    assert INVALID not in race_text(two_servers(), HERE).replace("\n", " ")


def test_an_early_end_is_told() -> None:
    cut = two_servers(laps={"slow": rates(1.0, 2.0), "fast": rates(2.0)}, cut_short=True)
    assert "1 of 3 rounds" in race_text(cut, HERE)
    assert "ended before its time" in race_text(cut, HERE).replace("\n", " ")


def test_tables_are_aligned_whatever_is_in_them() -> None:
    wild = two_servers(
        laps={"slow": (lap(requests_per_s=1e9, rss_bytes=1e12, failed=10**9),), "fast": rates(0.0)}
    )
    first, second = (part.splitlines() for part in race_text(wild, HERE).split("\n\n")[1:3])
    head = first[0].index("server")
    assert all(line[head : head + 4] in ("serv", "slow", "fast") for line in first)
    limits = {line.rstrip().rsplit("  ", 1)[0].__len__() for line in second}
    assert len(limits) == 1


@each(
    ("value", "longest", "drawn"),
    [(1.0, 1.0, "█" * BAR_CELLS), (0.5, 1.0, "█" * (BAR_CELLS // 2)), (1e-9, 1.0, "▏"), (0.0, 1.0, ""),
     (None, 1.0, ""), (1.0, 0.0, "")],
)  # fmt: skip
def test_bars(value: float | None, longest: float, drawn: str) -> None:
    assert bar(value, longest) == drawn


# Other forms.


def test_markdown() -> None:
    lines = race_markdown(two_servers(), HERE).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    assert table[2].startswith("| 1 | fast | 2,000 | 1,800 … 2,200 | 2.00 |")
    assert lines[0].startswith("**SockScope race: 2 servers")


def test_markdown_is_escaped() -> None:
    contest = Contest((contestant("a|b*c`<d>"),))
    text = race_markdown(Standing(contest, laps={"a|b*c`<d>": rates(1.0)}), HERE)
    assert r"a\|b\*c\`\<d>" in text


def test_csv_has_a_row_for_each_round() -> None:
    found = list(csv.DictReader(io.StringIO(race_csv(two_servers()))))
    assert [(row["name"], row["round"], row["requests_per_s"]) for row in found] == [
        ("fast", "1", "2000"), ("fast", "2", "2200"), ("fast", "3", "1800"),
        ("slow", "1", "1000"), ("slow", "2", "1100"), ("slow", "3", "900"),
    ]  # fmt: skip
    assert {row["loop"] for row in found if row["name"] == "slow"} == {""}


def test_csv_names_the_bounds_of_a_round() -> None:
    laps = {"slow": rates(1.0, 2.0, service_time_p99_s=AtLeast(1.0)), "fast": rates(3.0, 3.0)}
    found = list(csv.DictReader(io.StringIO(race_csv(two_servers(laps=laps)))))
    assert {(row["name"], row["at_least"]) for row in found} == {("slow", "service_time_p99_s"), ("fast", "")}


def test_csv_of_nothing_has_its_header_still() -> None:
    header = race_csv(two_servers()).splitlines()[0]
    assert race_csv(two_servers(laps={})) == header + "\n"


def test_every_form_can_be_written() -> None:
    for form in RoundsForm:
        for standing in (two_servers(), two_servers(laps={})):
            assert written(form, standing, HERE).endswith("\n")


def test_the_chart_is_svg_with_a_bar_for_each() -> None:
    root = ET.fromstring(race_svg(two_servers(), HERE))
    bars = [e for e in root.iter("{http://www.w3.org/2000/svg}rect") if e.get("x")]
    widths = [float(e.get("width") or 0) for e in bars]
    assert widths[0] == pytest.approx(2 * widths[1], abs=0.2)
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"1  fast", "2  slow", "2,000", "1,000"} <= set(texts)
    tied = race_svg(two_servers(laps={"slow": rates(1.0, 2.0), "fast": rates(2.0, 1.0)}), HERE)
    assert "=1  fast" in tied
    right = max(float(e.get("x") or 0) + float(e.get("width") or 0) for e in bars)
    assert right < float(root.get("width") or 0)


def test_the_chart_shows_text_as_text() -> None:
    name = "<script>&\x1b[31m'\""
    contest = Contest((contestant(name), contestant("b")))
    standing = Standing(contest, laps={"b": rates(1.0)}, faults={name: "<b>&"})
    drawn = race_svg(standing, HERE)
    root = ET.fromstring(drawn)
    assert "\x1b" not in drawn
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "<script>&?[31m'\"" in texts
    assert "<b>&" in texts
    assert not list(root.iter("script"))


# The line of progress.


def test_progress() -> None:
    standing = replace(
        two_servers(laps={"slow": rates(1.0, 2.0), "fast": rates(1.0)}),
        running="fast", round=2, time_left_s=3.9, partial=lap(requests_per_s=1234.0), finished=False,
    )  # fmt: skip
    assert progress_text(standing) == (
        "[██████████          ]  round 2 of 3  00:00:03 left  fast  1,234 req/s"
    )
    start = replace(standing, laps={}, running="", round=0, partial=None, time_left_s=None)
    assert progress_text(start) == f"[{' ' * 20}]  starting  00:00:08 so far"


def test_progress_of_a_race_in_which_all_dropped_out() -> None:
    standing = two_servers(laps={}, faults={"slow": "a", "fast": "b"})
    assert progress_text(standing).startswith("[█")
    assert {row.rank for row in rows(standing)} == {None}
