"""The legend gives way in a fixed order and never cuts a figure."""

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from sockscope.faces.tui.widgets.braille import PATTERNS
from sockscope.faces.tui.widgets.grid import Ink
from sockscope.faces.tui.widgets.legend import LegendEntry, legend

labels = st.text("abc 日", max_size=12)
entries = st.lists(
    st.builds(
        LegendEntry,
        st.sampled_from(PATTERNS),
        labels,
        st.sampled_from(["9.9k", "  12", "1,234.5 ms"]),
        st.just(Ink.SERIES_1),
    ),
    max_size=5,
)


@given(labels, st.sampled_from(["", "req/s"]), st.sampled_from(["", " -12.4s"]), entries, st.integers(0, 120))
def test_it_fits_and_figures_are_whole(
    title: str, unit: str, lead: str, found: list[LegendEntry], width: int
) -> None:
    left, right = legend(title, unit, lead, found, width)
    assert sum(cell_len(text) for text, _ in left + right) <= width
    shown = [text for text, ink in right if ink is Ink.SERIES_1 and not set(text) & set("⠤⠄⠠ ") - {" "}]
    values = [text for text in shown if any(character.isdigit() for character in text)]
    assert values == [entry.value for entry in found][: len(values)]


def text_at(width: int) -> str:
    found = [
        LegendEntry(PATTERNS[0], "accepted", "9.9k", Ink.SERIES_1),
        LegendEntry(PATTERNS[1], "lost", " 12k", Ink.SERIES_2),
    ]
    left, right = legend("Throughput", "req/s", "", found, width)
    return "".join(text for text, _ in left) + "|" + "".join(text for text, _ in right)


def test_the_order_of_giving_way() -> None:
    assert text_at(80) == "Throughput  req/s|⠤⠤⠤⠤ accepted 9.9k   ⠄⠄⠄⠄ lost  12k"
    assert text_at(50) == "Throughput  req/s|⠤⠤ accepted 9.9k  ⠄⠄ lost  12k"
    assert text_at(46) == "Throughput  req/s|⠤ accep… 9.9k  ⠄ lost  12k"
    assert text_at(40) == "Throughp…|⠤ ac… 9.9k  ⠄ lo…  12k"
    assert text_at(30) == "Thro…|⠤ ac… 9.9k  ⠄ lo…  12k"
    assert text_at(20) == "|⠤ 9.9k  ⠄  12k"
    assert text_at(12) == "|⠤ 9.9k +1"
    assert text_at(9) == "|⠤ 9.9k +1"
    assert text_at(2) == "|"


def test_the_age_of_the_cursor_goes_before_a_label_goes() -> None:
    found = [LegendEntry(PATTERNS[0], name, "12.5", Ink.SERIES_1) for name in ("p50", "p99", "max")]
    line = "".join(text for text, _ in legend("", "", "-0.8s", found, 39)[1])
    assert line == "⠤⠤ p50 12.5  ⠤⠤ p99 12.5  ⠤⠤ max 12.5"
    assert "-0.8s" in "".join(text for text, _ in legend("", "", "-0.8s", found, 60)[1])
