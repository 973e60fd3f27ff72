from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockscope.core.results.contest import Contest
from sockscope.core.results.standing import (
    Standing,
    baseline_of,
    is_valid,
    limit_of,
    overall_limit,
    rows,
)
from sockscope.core.run.used_up import CPU_FULL_RATIO
from tests.core.races import batches, contestant, rates, two_servers

busy = st.floats(min_value=0, max_value=2)


def limit_with(server: float | None, clients: float | None, **tuned: object) -> str:
    one = contestant("a", **tuned)  # type: ignore[arg-type]
    laps = rates(1.0, 1.0, cpu_ratio=server, clients_cpu_ratio=clients)
    (row,) = rows(Standing(Contest((one,), rounds=2), laps={"a": laps}))
    assert row.limit == limit_of(one, row.figures)
    return row.limit


def test_the_best_comes_first() -> None:
    best, other = rows(two_servers())
    assert (best.name, best.rank, other.name, other.rank) == ("fast", 1, "slow", 2)
    assert best.ratio.rounds == pytest.approx((2.0, 2.0, 2.0))
    assert best.figures["requests_per_s"].median == 2_000
    assert best.figures["requests_per_s"].min == 1_800


def test_of_times_the_shortest_is_the_best() -> None:
    contest = Contest((contestant("slow"), contestant("fast")), rounds=2, requests=100)
    standing = Standing(contest, laps={"slow": batches(10.0, 10.4), "fast": batches(0.1, 0.104)})
    best, other = rows(standing)
    assert (best.name, best.rank, other.rank) == ("fast", 1, 2)
    assert baseline_of(standing) == "slow"
    assert best.ratio.median == pytest.approx(100)
    assert other.ratio.median == 1.0


def test_who_dropped_out_keeps_its_figures_and_loses_its_rank() -> None:
    standing = two_servers(faults={"fast": "its process ended"})
    assert [(row.name, row.rank, row.fault) for row in rows(standing)] == [
        ("slow", 1, ""), ("fast", None, "its process ended"),
    ]  # fmt: skip
    assert standing.slices == 3 + 3


def test_who_answers_nothing_has_no_rank_and_is_no_baseline() -> None:
    nothing = two_servers(laps={"slow": rates(0, 0, 0), "fast": rates(0, 10, 0)})
    assert [(row.name, row.rank, row.fault) for row in rows(nothing)] == [
        ("fast", 1, ""), ("slow", None, "no request was answered"),
    ]  # fmt: skip
    assert baseline_of(replace(nothing, contest=replace(nothing.contest, baseline=""))) == "fast"


def test_slices_are_counted() -> None:
    standing = two_servers(laps={"slow": rates(1.0, 2.0), "fast": rates(1.0)})
    assert (standing.slices_done, standing.slices) == (3, 6)
    assert standing.confidence == 0.0
    assert two_servers().confidence == 0.75


def test_nothing_is_known_at_the_start() -> None:
    standing = two_servers(laps={})
    table = rows(standing)
    assert [row.rank for row in table] == [None, None]
    assert {row.limit for row in table} == {"unknown"}
    assert (overall_limit(table), is_valid(table)) == ("unknown", True)


@given(busy, busy)
def test_the_limit_is_whoever_has_no_cpu_left(server: float, clients: float) -> None:
    full = {
        name
        for name, ratio in (("server", server), ("clients", clients))
        if ratio >= CPU_FULL_RATIO
    }  # fmt: skip
    wanted = "both" if len(full) == 2 else full.pop() if full else "neither"
    assert limit_with(server, clients) == wanted


def test_several_processes_are_full_when_each_of_them_is() -> None:
    assert limit_with(1.0, 0.1, server_processes=2) == "neither"
    assert limit_with(1.9, 0.1, server_processes=2) == "server"
    assert limit_with(0.1, 1.9, swarm_processes=2) == "clients"


def test_a_process_that_both_share_does_not_tell_who_it_was() -> None:
    assert limit_with(0.99, 0.99, place="loop") == "shared"
    assert limit_with(0.5, 0.5, place="loop") == "neither"
    assert limit_with(0.99, 0.99, place="child") == "both"


def test_who_dropped_out_is_no_baseline_unless_it_was_chosen() -> None:
    gone = two_servers(faults={"slow": "no"}, laps={"fast": rates(3.0)})
    assert baseline_of(gone) == "slow"
    unchosen = replace(gone, contest=replace(gone.contest, baseline=""))
    assert baseline_of(unchosen) == "fast"
    assert rows(unchosen)[0].ratio.median == 1.0


def test_what_was_not_measured_is_unknown() -> None:
    assert limit_with(None, 0.99) == "unknown"


def test_a_race_is_not_valid_when_most_waited_for_clients() -> None:
    names = ("a", "b", "c")
    contest = Contest(tuple(map(contestant, names)), rounds=1)

    def table(*clients: float) -> bool:
        laps = {
            name: rates(1.0, cpu_ratio=0.5, clients_cpu_ratio=ratio)
            for name, ratio in zip(names, clients, strict=True)
        }
        found = rows(Standing(contest, laps=laps))
        wanted = "mixed" if len(set(clients)) > 1 else "clients"
        assert overall_limit(found) == wanted
        return is_valid(found)

    assert table(1.0, 0.2, 0.2)
    assert not table(1.0, 1.0, 0.2)
    assert not table(1.0, 1.0, 1.0)


def test_a_standing_can_be_replaced_but_not_changed() -> None:
    standing = two_servers()
    assert replace(standing, round=2) != standing
    with pytest.raises(AttributeError):
        standing.round = 2  # type: ignore[misc]
