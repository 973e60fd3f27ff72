import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from sockscope.core.results.contest import FIGURES, Contest, Published
from sockscope.core.results.race_result import race_report, race_rows
from sockscope.core.results.standing import Standing
from tests.core.races import batches, contestant, rates, two_servers

PAGE = Path(__file__).parents[2] / "docs" / "json.md"
SPREAD = {"median", "min", "max", "low", "high", "rounds", "at_least"}


def section() -> str:
    text = PAGE.read_text(encoding="utf-8")
    return text.split("# `race --json`")[1].split("\n# ")[0]


def described(heading: str) -> set[str]:
    """Return the names in the table under a heading of the page's section on races."""
    parts = dict(re.findall(r"^## `?(\w+)`?.*?\n(.*?)(?=^## |\Z)", section(), re.MULTILINE | re.DOTALL))
    return set(re.findall(r"^\| `(\w+)` \|", parts[heading], re.MULTILINE))


def test_the_page_and_the_report_name_the_same_fields() -> None:
    written = race_report(two_servers(), {"python": "3"})
    assert described("race") == set(written)
    (first, *_) = written["contestants"]
    assert described("contestants") == set(first)
    assert described("spread") == SPREAD == set(first["ratio"])
    assert described("csv") == set(next(race_rows(two_servers())))


def test_the_page_names_what_is_in_the_lists() -> None:
    contest = replace(
        two_servers().contest,
        left_out=(("kqueue", "is not on Linux"),),
        published=(Published("slow", 10.23, 9.78, 0.10, 15_200_000, 1.0),),
    )
    found = race_report(two_servers(contest=contest), {})
    for name in ("left_out", "published"):
        (meaning,) = re.findall(rf"^\| `{name}` \| \| (.*) \|$", section(), re.MULTILINE)
        assert re.findall(r"`(\w+)`", meaning) == list(found[name][0])


def test_a_contestant_as_it_is_written() -> None:
    written = race_report(two_servers(), {})
    best, other = written["contestants"]
    assert (best["name"], best["model"], best["loop"], best["client"], best["rank"]) == (
        "fast", "protocol", "uvloop", "selector", 1,
    )  # fmt: skip
    assert (other["model"], other["loop"], other["rank"]) == ("threaded", None, 2)
    assert best["requests_per_s"] == {
        "median": 2_000, "min": 1_800, "max": 2_200, "low": 1_800, "high": 2_200,
        "at_least": False, "rounds": [2_000, 2_200, 1_800],
    }  # fmt: skip
    for name in FIGURES:
        assert set(best[name]) == SPREAD
    assert best["limit"] == "server"
    assert best["differs"] == {"server": "default"}
    assert written["experiment"]["server"] is None
    assert written["experiment"]["clients"] == 100
    assert (written["limit"], written["valid"], written["baseline"]) == ("mixed", True, "slow")
    json.dumps(written, allow_nan=False)


def test_the_fields_do_not_depend_on_the_race() -> None:
    def names(standing: Standing) -> tuple[set[str], list[set[str]]]:
        written = race_report(standing, {})
        return set(written), [set(each) for each in written["contestants"]]

    usual = names(two_servers())
    assert names(two_servers(laps={}, faults={"fast": "no"}, finished=False)) == usual
    batch = replace(two_servers().contest, requests=100)
    assert names(two_servers(contest=batch, laps={"slow": batches(1.0), "fast": ()})) == usual


def test_what_is_not_known_is_none() -> None:
    written = race_report(two_servers(laps={}, faults={"fast": "cannot listen"}, cut_short=True), {})
    (row,) = [each for each in written["contestants"] if each["name"] == "fast"]
    assert row["fault"] == "cannot listen"
    assert row["rank"] is None
    assert row["ratio"] == {**dict.fromkeys(SPREAD), "rounds": [], "at_least": False}
    assert (written["finished"], written["preset"], written["requests"]) == (False, None, None)


def test_a_batch_has_no_slice() -> None:
    contest = Contest((contestant("a"),), rounds=1, requests=100)
    written = race_report(Standing(contest, laps={"a": batches(0.5)}), {})
    assert (written["kind"], written["figure"], written["requests"]) == ("batch", "duration_s", 100)
    assert written["slice_s"] is written["warmup_s"] is None
    assert written["contestants"][0]["connections_per_s"]["median"] == pytest.approx(200)


def test_a_row_is_a_contestant_in_a_round() -> None:
    standing = two_servers(laps={"slow": rates(1.0, 2.0), "fast": rates(3.0)})
    found = [(row["name"], row["rank"], row["round"], row["requests_per_s"]) for row in race_rows(standing)]
    assert found == [("fast", 1, 1, 3.0), ("slow", 2, 1, 1.0), ("slow", 2, 2, 2.0)]
