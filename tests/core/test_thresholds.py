from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.results.run_figures import NAMES, SECTIONS
from sockscope.core.results.run_result import report
from sockscope.core.results.thresholds import ChangeThreshold, Threshold, missed
from tests.core.runs import both
from tests.each import each

REPORT: dict[str, Any] = report(both(), {})


@each(
    ("text", "figure", "limit"),
    [
        ("p99>20ms", "service_time_s.p99", 0.020),
        (" p50 >= 1m30s ", "service_time_s.p50", 90),
        ("p999<1us", "service_time_s.p999", 1e-6),
        ("p99.9>1", "service_time_s.p999", 1),
        ("MAX>0.5", "service_time_s.max", 0.5),
        ("mean==0", "service_time_s.mean", 0),
        ("service_time_s.count<10k", "service_time_s.count", 10_000),
        ("requests_per_s<9.5k", "rates.requests_per_s", 9_500),
        ("requests_per_s<9.5", "rates.requests_per_s", 9.5),
        ("bytes_per_s<1MiB", "rates.bytes_per_s", 1 << 20),
        ("requests<1000", "totals.requests", 1_000),
        ("errors>0", "totals.errors", 0),
        ("timeouts>=1", "totals.timeouts", 1),
        ("datagrams_lost>0", "totals.datagrams_lost", 0),
        ("bytes_in>64K", "totals.bytes_in", 65_536),
        ("server.errors>0", "server.errors", 0),
        ("cpu_ratio>80%", "resources.cpu_ratio", 0.8),
        ("cpu > 0.8", "resources.cpu_ratio", 0.8),
        ("loop_lag_p99>5ms", "resources.loop_lag_p99_s", 0.005),
        ("loop_lag_p99_s>5ms", "resources.loop_lag_p99_s", 0.005),
        ("rss>100MB", "resources.rss_bytes", 100_000_000),
        ("rss_bytes<=100", "resources.rss_bytes", 100),
        ("in_flight>5", "clients.in_flight", 5),
        ("wait_s>1s", "limiter.wait_s", 1),
        ("rcvbuf_errors>0", "kernel_udp.rcvbuf_errors", 0),
    ],
)
def test_reading(text: str, figure: str, limit: float) -> None:
    threshold = Threshold.parse(text)
    assert threshold.figure == figure
    assert threshold.limit == pytest.approx(limit)


@each(
    ("text", "reason"),
    [
        ("", "is not FIGURE"),
        ("p99", "is not FIGURE"),
        ("p99>", "is not FIGURE"),
        ("p99=>5", "is not FIGURE"),
        ("p99!=5ms", "is not FIGURE"),
        ("p98>5ms", "there is no figure p98; did you mean p9"),
        ("zzz>5ms", "there is no figure zzz"),
        ("p99>20", None),
        ("p99>20%", "the value 20% is not a duration"),
        ("p99>-1ms", "the value -1ms must not be negative"),
        ("rss>5ms", "the value 5ms is not a size"),
        ("cpu>lots", "the value lots is not a share"),
        ("errors>few", "the value few is not a number"),
        ("p99>" + "9" * 5_000, f"the value {'9' * 59}… is not a duration"),
        ("errors>nan", "the value nan is not a number"),
    ],
)
def test_what_makes_no_sense(text: str, reason: str | None) -> None:
    if reason is None:
        Threshold.parse(text)
        return
    with pytest.raises(ValueError, match=r"is|must") as caught:
        Threshold.parse(text)
    assert reason in str(caught.value)


@each(
    ("text", "holds"),
    [
        ("requests>1000", True), ("requests>999", False),
        ("requests>=1001", True), ("requests>=1000", False),
        ("requests<1000", True), ("requests<1001", False),
        ("requests<=999", True), ("requests<=1000", False),
        ("requests==999", True), ("requests==1000", False),
    ],
)  # fmt: skip
def test_comparing(text: str, holds: bool) -> None:
    assert (Threshold.parse(text).missed(REPORT) is None) == holds


def test_each_miss_is_told_in_the_figure_s_unit() -> None:
    texts = ("p99>1ms", "errors>0", "cpu>10%", "rss>1MB", "requests_per_s<10k")
    assert missed(map(Threshold.parse, texts), REPORT) == [
        "p99>1ms holds: service_time_s.p99 is 10.0 ms",
        "cpu>10% holds: resources.cpu_ratio is 25.0 %",
        "rss>1MB holds: resources.rss_bytes is 40.0 MB",
        "requests_per_s<10k holds: rates.requests_per_s is 500",
    ]


def test_a_run_without_a_stall_meets_a_condition_on_stalls() -> None:
    assert missed([Threshold.parse("stall>1ms")], REPORT) == []


def test_what_is_not_known_is_missed() -> None:
    assert missed([Threshold.parse("loop_lag_p99>1h")], REPORT) == [
        "loop_lag_p99>1h cannot be judged: there is no resources.loop_lag_p99_s in this run"
    ]


@each("name", [f"{section}.{figure.name}" for section in SECTIONS for figure in SECTIONS[section]])
def test_every_figure_can_be_judged(name: str) -> None:
    assert Threshold.parse(f"{name}>1").figure == name


# Conditions on changes.


@each(
    ("text", "figure", "comparison", "limit_ratio"),
    [
        ("requests_per_s<-5%", "rates.requests_per_s", "<", -0.05),
        (" p99 >= +10 % ", "service_time_s.p99", ">=", 0.10),
        ("server.errors>0%", "server.errors", ">", 0.0),
        ("rss>2.5%", "resources.rss_bytes", ">", 0.025),
        ("CPU == -.5%", "resources.cpu_ratio", "==", -0.005),
    ],
)
def test_reading_a_change(text: str, figure: str, comparison: str, limit_ratio: float) -> None:
    threshold = ChangeThreshold.parse(text)
    assert (threshold.figure, threshold.comparison) == (figure, comparison)
    assert threshold.limit == pytest.approx(limit_ratio)
    assert threshold.text == text.strip()


@each(
    ("text", "reason"),
    [
        ("requests_per_s", "is not FIGURE, one of > >= < <= ==, and a value, such as requests_per_s<-5%"),
        ("requests_per_s<", "is not FIGURE"),
        ("requets_per_s<-5%", "there is no figure requets_per_s; did you mean requests_per_s?"),
        ("p99>20ms", "the value 20ms is not a change in per cent (for example -5% or +10%)"),
        ("p99>0.05", "the value 0.05 is not a change in per cent"),
        ("p99>--5%", "is not a change in per cent"),
        ("p99>nan%", "is not a change in per cent"),
        ("p99>1e3%", "is not a change in per cent"),
        ("p99>%", "is not a change in per cent"),
        ("p99>.%", "is not a change in per cent"),
        ("p99>٣%", "is not a change in per cent"),
    ],
)
def test_changes_that_make_no_sense(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match="is") as caught:
        ChangeThreshold.parse(text)
    assert reason in str(caught.value)


@given(
    st.sampled_from(sorted(NAMES)),
    st.sampled_from([">", ">=", "<", "<=", "=="]),
    st.sampled_from(["", "+", "-"]),
    st.decimals(0, 100_000, places=3),
    st.sampled_from(["", " ", "  "]),
)
def test_every_change_reads_back(name: str, comparison: str, sign: str, percent: Decimal, space: str) -> None:
    text = f"{space}{name}{space}{comparison}{space}{sign}{percent}{space}%{space}"
    threshold = ChangeThreshold.parse(text)
    ratio = float(percent) / 100 * (-1 if sign == "-" else 1)
    assert threshold.figure == NAMES[name]
    assert threshold.comparison == comparison
    assert threshold.limit == pytest.approx(ratio)
    above, below = threshold.limit + 1, threshold.limit - 1
    assert threshold.holds(threshold.limit) == (comparison in (">=", "<=", "=="))
    assert threshold.holds(above) == (comparison in (">", ">="))
    assert threshold.holds(below) == (comparison in ("<", "<="))


@given(st.text(max_size=30) | st.from_regex(r"[a-z_0-9.]{1,12}[<>=]{1,2}[+-]?[0-9.]{0,5}%?", fullmatch=True))
def test_whatever_is_typed_is_read_or_refused_in_words(text: str) -> None:
    for parse in (ChangeThreshold.parse, Threshold.parse):
        try:
            figure = parse(text).figure
        except ValueError:
            continue
        assert figure in NAMES.values()
