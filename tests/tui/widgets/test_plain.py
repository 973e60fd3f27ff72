"""Nothing that steers a terminal, and nothing without a cell, gets through."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len, get_character_cell_size

from sockscope.faces.tui.widgets.plain import pad, plain, shorten

anything = st.text(st.characters())
"""Every code point, surrogates too."""


@given(anything)
def test_each_character_has_a_cell_of_its_own(text: str) -> None:
    shown = plain(text)
    assert len(shown) == len(text)
    assert all(get_character_cell_size(character) in (1, 2) for character in shown)
    assert cell_len(shown) == sum(map(get_character_cell_size, shown))
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp", "Mn"}


@given(anything)
def test_what_was_made_plain_stays_as_it_is(text: str) -> None:
    assert plain(plain(text)) == plain(text)


def test_what_is_harmless_is_kept() -> None:
    for text in ("127.0.0.1:80", "[red]markup[/]", "日本語", "🙂", "4.9 µs", "é", ""):
        assert plain(text) == text


def test_what_is_not_becomes_visible() -> None:
    assert plain("a\x1b[31mb") == "a␛[31mb"
    assert plain("\x00\n\x7f\x9b") == "␀␊␡·"
    assert plain("a\u202eb\u200bc\u2028d\ud800") == "a·b·c·d·"
    assert plain("👩\u200d🔬 👍🏽 🇩🇪 ❤\ufe0f") == "👩·🔬 👍· DE ❤·"


@given(anything, st.integers(0, 30))
def test_a_cut_never_exceeds_its_room(text: str, width: int) -> None:
    shown = plain(text)
    cut = shorten(shown, width)
    assert cell_len(cut) <= width
    assert cut == shown or cut.endswith("…") or width == 0


@given(anything, st.integers(0, 30), st.sampled_from(["left", "right"]))
def test_padding_only_adds_spaces(text: str, width: int, align: str) -> None:
    shown = plain(text)
    padded = pad(shown, width, align)
    assert cell_len(padded) == max(width, cell_len(shown))
    assert padded.strip() == shown.strip()
